"""Local attention: every query sees the keys of a window around it, at the cost of the window instead of the length.

Blocks of queries meet overlapping views of the keys in torch's own attention kernel. The backward pass keeps no weights: it
computes them again, block by block, and adds the gradients of overlapping windows by taking blocks together that share no key.

Axis letters: b batch, h heads, t positions, d features of queries and keys, e features of values.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import register_flop_formula

from torchstone.core.errors import UsageError
from torchstone.parts.attention.band import Chunk, allowed, as_rows, barren, chunks, segments

Window = int | tuple[int, int]


def local_attention(
    query: Float[Tensor, "b h t d"],
    key: Float[Tensor, "b h t d"],
    value: Float[Tensor, "b h t e"],
    window: Window,
    *,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    key_padding_mask: Bool[Tensor, "b t"] | None = None,
) -> Float[Tensor, "b h t e"]:
    """F.scaled_dot_product_attention in which query i sees the keys i - left .. i + right that exist, at the cost of the window.

    window: k for (k, k), that is 2k + 1 keys, or (left, right), both counted without the query's own position and 0 or more.
    is_causal: sees nothing ahead, (left, 0). scale: 1/sqrt(d) by default. key_padding_mask: True = ignore that key, as in
    nn.MultiheadAttention. A query with no key left gives 0. The ends are exact: nothing wraps, no pad is ever seen.
    dropout_p: share of the weights that is dropped, the rest scaled up, always (as in torch: give 0.0 in evaluation); it keeps the
    weights of the band for the backward pass, which otherwise keeps nothing but query, key and value.
    Gradients of first and second order. Raises UsageError for shapes or types that do not go together and windows below 0.
    Source: Beltagy, Peters and Cohan 2020, section 3.1: sliding window attention.

    >>> x = torch.ones(1, 1, 5, 1)
    >>> local_attention(x, x, torch.arange(5.0).view(1, 1, 5, 1), window=1).flatten().tolist()
    [0.5, 1.0, 2.0, 3.0, 3.5]
    """
    left, right = read_window(window, is_causal=is_causal)
    _refuse(query, key, value, key_padding_mask, dropout_p)
    by = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    if dropout_p > 0:
        return blockwise(query, key, value, key_padding_mask, left, right, by, dropout_p)
    attend: Any = _forward if torch.compiler.is_compiling() else _Local.apply
    found: Tensor = attend(query, key, value, key_padding_mask, left, right, by)
    return found


def read_window(window: Window, *, is_causal: bool = False) -> tuple[int, int]:
    """(left, right) of a window: k is (k, k), and the right is 0 where nothing ahead is seen. Raises UsageError below 0."""
    left, right = (window, window) if isinstance(window, int) else window
    if min(left, right) < 0:
        message = f"a window is k or (left, right), 0 or more; {window} came"
        raise UsageError(message)
    return left, 0 if is_causal else right


def _refuse(query: Tensor, key: Tensor, value: Tensor, ignored: Tensor | None, dropout_p: float) -> None:
    axes = 4
    if any(one.dim() != axes for one in (query, key, value)) or key.shape != query.shape or value.shape[:-1] != query.shape[:-1]:
        shapes = ", ".join(str(tuple(one.shape)) for one in (query, key, value))
        message = f"query and key (b, h, t, d) and value (b, h, t, e) of one length are needed; {shapes} came"
        raise UsageError(message)
    if len({(one.dtype, one.device) for one in (query, key, value)}) > 1 or not query.is_floating_point():
        kinds = ", ".join(f"{one.dtype} on {one.device}" for one in (query, key, value))
        message = f"query, key and value of one floating type on one device are needed; {kinds} came"
        raise UsageError(message)
    if ignored is not None and (ignored.dtype != torch.bool or ignored.shape != (query.shape[0], query.shape[2])):
        message = f"key_padding_mask is bool (b, t), True = ignore; {ignored.dtype} {tuple(ignored.shape)} came"
        raise UsageError(message)
    if not 0 <= dropout_p <= 1:
        message = f"dropout_p is a probability, 0 to 1; {dropout_p} came"
        raise UsageError(message)


def _bias(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a query sees a key and minus infinity where not."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, -math.inf)


def _ignored(chunk: Chunk, ignored: Tensor) -> Tensor:
    """Ignored keys of each window: (t,) to (n, 1, 1, size)."""
    rows = ignored[None, :, None]
    return Chunk(chunk.segment, slice(0, 1), chunk.at, chunk.step, chunk.count).windows(rows).transpose(-1, -2)


# An operator of its own is one node to torch.compile, which would unroll the loop over blocks.
@torch.library.custom_op("torchstone::local_attention", mutates_args=())
def _forward(
    query: Tensor, key: Tensor, value: Tensor, ignored: Tensor | None, left: int, right: int, scale: float
) -> Tensor:
    output = _output(query, value)
    if not output.numel():
        return output
    for lost, (q, k, v, out) in as_rows(ignored, query, key, value, output):
        for segment in segments(query.shape[2], left, right):
            bias = _bias(allowed(segment, left, right, query.device), query.dtype)
            for chunk in chunks(segment, len(q), query.device):
                mask = bias if lost is None else bias.masked_fill(_ignored(chunk, lost), -math.inf)
                found = functional.scaled_dot_product_attention(
                    chunk.queries(q), chunk.windows(k), chunk.windows(v), attn_mask=mask, scale=scale
                )
                chunk.queries(out).copy_(found)
        if lost is not None:
            out.masked_fill_(barren(lost, left, right)[:, None], 0.0)
    return output


def _output(query: Tensor, value: Tensor) -> Tensor:
    """Room for the output, laid out as the query is."""
    return torch.empty_like(query) if value.shape == query.shape else value.new_empty(*query.shape[:-1], value.shape[-1])


@torch.library.custom_op("torchstone::local_attention_backward", mutates_args=())
def _backward(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, ignored: Tensor | None, left: int, right: int, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    exact = torch.promote_types(query.dtype, torch.float32)  # sums of many terms: not in bfloat16
    # Contiguous whatever the layout of the inputs: what is added to all the time should lie together (a tenth faster).
    wanted = query.new_empty(query.shape), key.new_zeros(key.shape, dtype=exact), value.new_zeros(value.shape, dtype=exact)
    if gradient.numel():
        for lost, rows in as_rows(ignored, gradient, query, key, value, *wanted):
            if lost is not None:
                rows[0] = rows[0].masked_fill(barren(lost, left, right)[:, None], 0.0)
            for segment in segments(query.shape[2], left, right):
                bias = _bias(allowed(segment, left, right, query.device), exact)
                for chunk in chunks(segment, len(rows[0]), query.device, step=segment.apart):
                    _differentiate(chunk, rows, bias, lost, scale)
    return wanted[0], wanted[1].to(key.dtype), wanted[2].to(value.dtype)


def _differentiate(chunk: Chunk, rows: list[Tensor], bias: Tensor, lost: Tensor | None, scale: float) -> None:
    """Adds the gradients of some blocks whose windows share no key to those of query, key and value, the last three rows."""
    *given, by_query, by_key, by_value = rows
    views = (chunk.queries(given[0]), chunk.queries(given[1]), chunk.windows(given[2]), chunk.windows(given[3]))
    gradient, query, key, value = (one.reshape(-1, *one.shape[2:]).to(bias.dtype) for one in views)
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=scale)
    if lost is not None:  # not minus infinity: a row without a key has no softmax, and a gradient of 0 here
        by_block = scores.view(chunk.count, -1, *bias.shape)
        by_block.masked_fill_(_ignored(chunk, lost), torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1)
    by_weights = torch.bmm(gradient, value.transpose(1, 2))
    by_scores = torch.ops.aten._softmax_backward_data(by_weights, weights, -1, weights.dtype)  # noqa: SLF001 - what autograd calls
    chunk.queries(by_query).copy_(torch.bmm(by_scores, key).mul_(scale).view_as(views[1]))
    chunk.windows(by_key).add_(torch.bmm(by_scores.transpose(1, 2), query).view_as(views[2]), alpha=scale)
    chunk.windows(by_value).add_(torch.bmm(weights.transpose(1, 2), gradient).view_as(views[3]))


def blockwise(
    query: Float[Tensor, "b h t d"],
    key: Float[Tensor, "b h t d"],
    value: Float[Tensor, "b h t e"],
    ignored: Bool[Tensor, "b t"] | None,
    left: int,
    right: int,
    scale: float,
    dropout_p: float = 0.0,
) -> Float[Tensor, "b h t e"]:
    """The same by plain products and soft-max over blocks, differentiable any number of times; keeps the weights of the band."""
    parts = []
    for segment in segments(query.shape[2], left, right):
        blocks, end = (segment.count, segment.block), segment.start + segment.block * (segment.count - 1) + segment.size
        visible = allowed(segment, left, right, query.device)
        if ignored is not None:
            lost = ignored[:, segment.start : end].unfold(1, segment.size, segment.block)
            visible = visible & ~lost[:, None, :, None]
        rows = query[:, :, segment.first : segment.first + segment.block * segment.count].reshape(*query.shape[:2], *blocks, -1)
        keys, values = (x[:, :, segment.start : end].unfold(2, segment.size, segment.block) for x in (key, value))
        scores = (rows @ keys * scale).masked_fill(~visible, torch.finfo(query.dtype).min)
        weights = scores.softmax(-1).masked_fill(~visible, 0.0)  # a row without a key: 0 in place of a uniform one
        parts.append((functional.dropout(weights, dropout_p) @ values.transpose(-1, -2)).flatten(2, 3))
    return torch.cat(parts, 2)


@_forward.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, ignored: Tensor | None, left: int, right: int, scale: float) -> Tensor:  # noqa: ARG001
    return _output(query, value)


@_backward.register_fake
def _(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG001
    return query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape)


def _folded(function: Any, batch: int, in_dims: Sequence[int | None], arguments: Sequence[Any]) -> tuple[Any, Any]:
    """What torch.vmap does with a function of tensors and three numbers: its axis becomes part of the batch."""
    tensors, numbers = arguments[:-3], arguments[-3:]
    rows = [
        x if x is None else (x.expand(batch, *x.shape) if at is None else x.movedim(at, 0)).flatten(0, 1)
        for x, at in zip(tensors, in_dims, strict=False)
    ]
    found = function.apply(*rows, *numbers)
    if isinstance(found, Tensor):
        return found.reshape(batch, -1, *found.shape[1:]), 0
    return tuple(one.reshape(batch, -1, *one.shape[1:]) for one in found), (0,) * len(found)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001 - the output is not needed again
    ctx.save_for_backward(*inputs[:-3])
    ctx.numbers = inputs[-3:]


def _compiled_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return (*_backward(gradient, *ctx.saved_tensors, *ctx.numbers), None, None, None, None)


_forward.register_autograd(_compiled_backward, setup_context=_keep)


class _Local(torch.autograd.Function):
    """Keeps the inputs, and no weights, for the backward pass. Outside a compiler: operators of one's own know no torch.func."""

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        found: Tensor = _forward(*inputs)
        return found

    setup_context = staticmethod(_keep)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (*_LocalBackward.apply(gradient, *ctx.saved_tensors, *ctx.numbers), None, None, None, None)  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Any, Any]:
        return _folded(_Local, info.batch_size, in_dims, inputs)


class _LocalBackward(torch.autograd.Function):
    """The backward pass, itself differentiable: by autograd through the plain products."""

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = _backward(*inputs)
        return found

    setup_context = staticmethod(_keep)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, ignored = ctx.saved_tensors
        with torch.enable_grad():
            gradient, query, key, value = (one.detach().requires_grad_() for one in tensors)
            output = blockwise(query, key, value, ignored, *ctx.numbers)
            first = torch.autograd.grad(output, (query, key, value), gradient, create_graph=True)
            second = torch.autograd.grad(first, (gradient, query, key, value), gradients)
        return (*second, None, None, None, None)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Any, Any]:
        return _folded(_LocalBackward, info.batch_size, in_dims, inputs)


def _flop(query: torch.Size, value: torch.Size, left: int, right: int, products: tuple[int, int]) -> int:
    batch, heads, length, width = query
    scores = sum(one.scores for one in segments(length, left, right))
    return 2 * batch * heads * scores * (products[0] * width + products[1] * value[-1])


@register_flop_formula(torch.ops.torchstone.local_attention)
def _(query: Any, _key: Any, value: Any, _ignored: Any, left: int, right: int, *_: Any, **__: Any) -> int:
    return _flop(query, value, left, right, (1, 1))


@register_flop_formula(torch.ops.torchstone.local_attention_backward)
def _(_gradient: Any, query: Any, _key: Any, value: Any, _ignored: Any, left: int, right: int, *_: Any, **__: Any) -> int:
    return _flop(query, value, left, right, (3, 2))
