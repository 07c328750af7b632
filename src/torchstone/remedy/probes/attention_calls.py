"""Calls of attention in whatever spelling: which positions attend to which, and what came out."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from torchstone.core.place import Place
from torchstone.record import measure
from torchstone.remedy.probes.taps import Tap

Function = Callable[..., object]
SPELLINGS = ("scaled_dot_product_attention", "multi_head_attention_forward", "softmax")
_ELEMENTS = 20_000_000  # scores that are computed again at most


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One call. output: a tensor with the queries' positions along `axis`; future: the largest weight on later positions.

    padding: for taps (by number), the largest weight that unpadded queries lay on padded keys.
    """

    operation: str
    place: Place
    module: str
    queries: int
    keys: int
    output: Tensor
    axis: int
    future: float
    padding: Mapping[int, float] = field(default_factory=dict)


def attention_call(
    operation: str, function: Function, given: tuple[tuple[object, ...], Mapping[str, object]], result: object,
    site: tuple[Place, str], taps: Sequence[Tap],
) -> AttentionCall | None:
    """Describe a call that has just run; None where it is no attention (a soft-max over classes)."""
    arguments, options = given
    output = result[0] if isinstance(result, tuple) else result
    if not isinstance(output, Tensor) or not output.requires_grad:
        return None
    with measure.unseen():
        weights = _WEIGHTS[operation](function, arguments, options, output.detach())
        if weights is None or weights.dim() < 2:  # noqa: PLR2004
            return None
        queries, keys = weights.shape[-2:]
        if weights.dim() == 2 and queries != keys:  # noqa: PLR2004 - rows of classes
            return None
        future = float(weights.triu(1).sum(-1).max()) if queries == keys and weights.numel() else 0.0
        padding = dict(_on_padding(weights, taps))
    axis = {"scaled_dot_product_attention": output.dim() - 2, "multi_head_attention_forward": 0}.get(operation)
    if axis is None:
        axis = output.dim() - 2 if _axis(arguments, options) % output.dim() == output.dim() - 1 else output.dim() - 1
    return AttentionCall(operation, *site, queries, keys, output, axis, future, padding)


def _axis(arguments: tuple[object, ...], options: Mapping[str, object]) -> int:
    axis = arguments[1] if len(arguments) > 1 else options.get("dim")
    return axis if isinstance(axis, int) else -1


def _of_softmax(function: Function, arguments: tuple[object, ...], options: Mapping[str, object], output: Tensor) -> Tensor | None:
    del function
    keys = _axis(arguments, options) % output.dim()
    if keys == output.dim() - 1:
        return output
    return output.transpose(-1, -2) if keys == output.dim() - 2 else None


def _of_products(function: Function, arguments: tuple[object, ...], options: Mapping[str, object], output: Tensor) -> Tensor | None:
    """The weights of torch's fused attention, computed again."""
    del function, output
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = {**dict(zip(names, arguments, strict=False)), **options}
    query, key, mask = given["query"], given["key"], given.get("attn_mask")
    if not isinstance(query, Tensor) or not isinstance(key, Tensor):
        return None
    query, key = query.detach().float(), key.detach().float()
    if query.dim() == 4 and (query.shape[:-1].numel() * key.shape[-2] > _ELEMENTS or query.shape[1] != key.shape[1]):  # noqa: PLR2004
        query, key = query[:, :1], key[:, :1]
        if isinstance(mask, Tensor) and mask.dim() == 4:  # noqa: PLR2004
            mask = mask[:, :1]
    scale = given.get("scale")
    scores = query @ key.transpose(-1, -2) * (scale if isinstance(scale, float) else query.shape[-1] ** -0.5)
    if given.get("is_causal"):
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), float("-inf"))
    if isinstance(mask, Tensor):
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask.float()
    return scores.softmax(-1).nan_to_num()


def _of_heads(function: Function, arguments: tuple[object, ...], options: Mapping[str, object], output: Tensor) -> Tensor | None:
    """The weights of torch's multi-head attention, mean over its heads, without dropout."""
    del output
    bound = inspect.signature(functional.multi_head_attention_forward).bind(*arguments, **options)
    asked = {**bound.arguments, "need_weights": True, "average_attn_weights": True, "training": False, "is_causal": False}
    if bound.arguments.get("is_causal") and bound.arguments.get("attn_mask") is None:
        length = bound.arguments["query"].shape[0]
        asked["attn_mask"] = torch.ones(length, length, dtype=torch.bool, device=bound.arguments["query"].device).triu(1)
    found = function(**asked)
    weights = found[1] if isinstance(found, tuple) else None
    return weights.nan_to_num() if isinstance(weights, Tensor) else None


_WEIGHTS: dict[str, Callable[[Function, tuple[object, ...], Mapping[str, object], Tensor], Tensor | None]] = {
    "softmax": _of_softmax, "scaled_dot_product_attention": _of_products, "multi_head_attention_forward": _of_heads,
}


def _on_padding(weights: Tensor, taps: Sequence[Tap]) -> Iterator[tuple[int, float]]:
    """For each tap with padding whose samples and positions fit: the largest weight on padded keys."""
    if weights.dim() < 3:  # noqa: PLR2004 - no samples
        return
    for number, tap in enumerate(taps):
        if tap.padding is None:
            continue
        axis = tap.padding.sample_axis
        cells, inner = (item if axis == 0 else item.T for item in (tap.padding.cells, tap.padding.inner))
        samples, positions = cells.shape
        if weights.shape[-1] != positions or weights.shape[0] % samples:
            continue
        spread = weights.reshape(samples, -1, *weights.shape[-2:])
        on = (spread * inner.to(spread)[:, None, None, :]).sum(-1)
        if on.shape[-1] == positions:
            on = on.masked_fill(cells.to(on.device)[:, None, :], 0.0)
        yield number, float(on.max())


def positions_read(gradient: Tensor, axis: int) -> Tensor:
    """The norm of a gradient at each position along an axis, on the CPU."""
    rest = [other for other in range(gradient.dim()) if other != axis % gradient.dim()]
    value = gradient.detach() if gradient.device.type == "mps" else gradient.detach().double()
    return torch.linalg.vector_norm(value, dim=rest).cpu() if rest else value.abs().cpu()
