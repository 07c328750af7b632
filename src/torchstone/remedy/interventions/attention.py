"""Changes of how attention is computed."""

import functools
from contextlib import ExitStack

import torch
from torch import Tensor
from torch.nn import functional

from torchstone.core.place import Place
from torchstone.parts.attention import local
from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, Arguments, items, whole

_ROWS = 8  # of a mask, that are looked at in every call


class LocalAttention(Applied):
    """Compute torch's attention, at the lines of a finding, by `torchstone.parts.local_attention`."""

    KIND = "local-attention"

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(arguments)
        self._places = {Place(str(file), whole(line)) for file, line in map(items, items(arguments["places"]))}
        self._within = False

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Stand before torch's function."""
        replace(stack, functional, "scaled_dot_product_attention", functools.partial(self._wrapped, watcher))

    def _wrapped(self, watcher: Watcher, original: Function) -> Function:
        def attend(*arguments: object, **options: object) -> object:
            # Local attention calls torch's for its blocks: those calls are its own.
            if torch.compiler.is_compiling() or self._within or user_place(2) not in self._places:
                return original(*arguments, **options)
            names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
            given = {**dict(zip(names, arguments, strict=False)), **options}
            if not self._fits(given.get("query"), given.get("attn_mask")):
                return original(*arguments, **options)
            self._within = True
            try:
                result = self._attend(given)
            finally:
                self._within = False
            self.applied(watcher, ", ".join(map(str, sorted(self._places, key=str))))
            return result

        return attend

    def _fits(self, query: object, mask: object) -> bool:
        """Whether a mask is the band, by some of its rows: another call on the same line may have another mask."""
        if not (isinstance(query, Tensor) and isinstance(mask, Tensor)) or mask.shape[-1] != mask.shape[-2]:
            return False
        length = mask.shape[-1]
        if query.shape[-2] != length:
            return False
        rows = torch.arange(0, length, max(1, length // _ROWS), device=mask.device)
        back = rows[:, None] - torch.arange(length, device=mask.device)
        band = (back <= whole(self.arguments["left"])) & (back >= -whole(self.arguments["right"]))
        seen, padding = ~_hidden(mask[..., rows, :]), _hidden(mask.diagonal(dim1=-2, dim2=-1))
        wanted = band & ~padding.unsqueeze(-2)
        return bool(((seen == wanted).all(-1) | padding[..., rows]).all())

    def _attend(self, given: dict[str, object]) -> Tensor:
        query, key, value, mask = (_tensor(given[name]) for name in ("query", "key", "value", "attn_mask"))
        if given.get("enable_gqa"):
            key, value = (one.repeat_interleave(query.shape[-3] // one.shape[-3], -3) for one in (key, value))
        outer = torch.broadcast_shapes(*(one.shape[:-2] for one in (query, key, value)))  # type: ignore[no-untyped-call]
        rows = [one.expand(*outer, *one.shape[-2:]) for one in (query, key, value)]
        batch, heads = (outer[:-1].numel(), outer[-1]) if outer else (1, 1)
        ignored = self._ignored(mask, outer, batch, heads)
        if ignored is not None and ignored.shape[0] != batch:
            batch, heads = batch * heads, 1
        split = [one.reshape(batch, heads, *one.shape[-2:]) for one in rows]
        found = local.local_attention(
            split[0], split[1], split[2], (whole(self.arguments["left"]), whole(self.arguments["right"])),
            dropout_p=given.get("dropout_p", 0.0), scale=given.get("scale"), key_padding_mask=ignored,  # type: ignore[arg-type]
        )  # fmt: skip
        return found.reshape(*outer, *found.shape[-2:])

    @staticmethod
    def _ignored(mask: Tensor, outer: torch.Size, batch: int, heads: int) -> Tensor | None:
        """Padded keys, (batch, t) or (batch x heads, t): those that a position does not see of itself."""
        own = _hidden(mask.diagonal(dim1=-2, dim2=-1))
        if not bool(own.any()):
            return None
        by_head = own.expand(*outer, own.shape[-1]).reshape(batch, heads, -1)
        return by_head[:, 0] if bool((by_head == by_head[:, :1]).all()) else by_head.flatten(0, 1)


def _hidden(mask: Tensor) -> Tensor:
    return ~mask if mask.dtype == torch.bool else mask < -1  # one that only hides holds zeros otherwise


def _tensor(value: object) -> Tensor:
    if not isinstance(value, Tensor):
        message = f"attention takes tensors; {type(value).__name__} came"
        raise TypeError(message)
    return value
