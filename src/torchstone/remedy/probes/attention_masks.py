"""What masks let attention see: whether it is a band, how many scores it needs, and how many were computed."""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from torchstone.core.looks import AttentionMasked
from torchstone.parts.attention import local
from torchstone.parts.attention.band import segments
from torchstone.parts.attention.local import read_window
from torchstone.record import measure
from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.probes.products import Arguments, Options, eager
from torchstone.remedy.probes.window import Window

if TYPE_CHECKING:
    from torchstone.core.place import Place

Look = Callable[[Arguments, Options], AttentionMasked | None]
_HIDDEN = -1e4  # scripts hide a score by minus infinity, the least number, -1e9 or, in half precision, -1e4
_ROOM = 2**27  # entries of masks that are looked at: of more heads and sequences some are left out
_PLACES = 40  # kinds of calls that are told of
# Products with weights, and the weights' axis of outputs; those of attention itself have no matrix of two axes.
_WEIGHTED: tuple[tuple[Any, str, int], ...] = (
    (functional, "linear", 0), (functional, "conv1d", 0), (functional, "conv2d", 0), (torch, "matmul", 1), (torch, "mm", 1),
    (Tensor, "matmul", 1), (Tensor, "__matmul__", 1), (Tensor, "mm", 1),
)  # fmt: skip


@dataclass(frozen=True)
class Sight:
    """How far queries see to the left and right, T - 1 where nothing limits them, and whether they see all between."""

    left: int
    right: int
    banded: bool


def sight(allowed: Tensor) -> Sight | None:
    """What a mask (.., t, t), True = may be seen, lets queries see; None where no query sees its own place.

    A position that does not see itself is taken for padding: its row may be empty, its column must be.
    """
    length = allowed.shape[-1]
    masks = allowed.reshape(-1, length, length)
    masks = masks[:: max(1, masks.numel() // _ROOM)]
    alive = masks.diagonal(dim1=1, dim2=2)
    if not bool(alive.any()):
        return None
    seen = masks.any(0)
    places = torch.arange(length, device=masks.device)
    back = places[:, None] - places  # how far a key lies before its query
    left, right = (max(int(side.masked_fill(~seen, -length).max()), 0) for side in (back, -back))
    band = (back <= left) & (back >= -right)
    banded = all(_is_band(mask, band & keys, keys) for mask, keys in zip(masks, alive, strict=True))
    pairs = alive.float().T @ alive.float() > 0  # of two positions that are both there in some sequence
    if not bool((pairs & (back > left)).any()):
        left = length - 1
    if not bool((pairs & (-back > right)).any()):
        right = length - 1
    return Sight(left, right, banded)


def _is_band(mask: Tensor, wanted: Tensor, keys: Tensor) -> bool:
    """Every query sees what it should; one that is padding may see nothing."""
    return bool(((mask == wanted).all(1) | (~keys & ~mask.any(1))).all())


class AttentionMasksProbe(Window):
    """Looks at every call of attention in a step: torch's own, a softmax over masked scores, and local attention."""

    KIND = "attention-masks"

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._found: dict[tuple[Place, str, int, int, int], AttentionMasked] = {}
        self._weighted = 0
        self._open = False
        self._within = False  # a call that is being looked at: what it calls itself is part of it
        self._computed = 0  # scores that local attention has computed in it

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap what attends; the wrappers look only while the window is open."""
        replace(stack, torch, "compile", functools.partial(eager, stack))
        replace(stack, functional, "scaled_dot_product_attention", functools.partial(self._around, watcher, self._attended))
        softmaxes: tuple[Any, ...] = (functional, torch, Tensor)
        for holder in softmaxes:
            replace(stack, holder, "softmax", functools.partial(self._around, watcher, self._normalized))
        for holder, name, axis in _WEIGHTED:
            replace(stack, holder, name, functools.partial(self._weighing, watcher, axis))
        replace(stack, local, "local_attention", self._counting)
        super().install(watcher, stack)

    def _enter(self) -> None:
        self._open = True

    def _leave(self) -> None:
        self._open = False

    def after_step(self, watcher: Watcher) -> None:
        """Tell what the step showed, once."""
        watcher.emit([dataclasses.replace(event, weighted=self._weighted) for event in self._found.values()])
        self._found.clear()
        super().after_step(watcher)

    def _looking(self, watcher: Watcher) -> bool:
        """Whether a forward pass of the user's is running from which a loss may come."""
        return self._open and not self._within and torch.is_grad_enabled() and not watcher.in_backward and watcher.is_here()

    def _weighing(self, watcher: Watcher, axis: int, original: Function) -> Function:
        """Adds up the FLOP of a product with weights."""

        def multiply(*arguments: object, **options: object) -> object:
            if torch.compiler.is_compiling():
                return original(*arguments, **options)
            result = original(*arguments, **options)
            weight = options.get("weight", arguments[1] if len(arguments) > 1 else None)
            if isinstance(weight, Tensor) and isinstance(result, Tensor) and self._looking(watcher):
                matrix = 2  # axes; a right factor with more of them is a batch
                if weight.dim() == matrix or (axis == 0 and weight.dim() > matrix):
                    self._weighted += 2 * result.numel() * weight.numel() // max(weight.shape[axis], 1)
            return result

        return multiply

    def _around(self, watcher: Watcher, look: Look, original: Function) -> Function:
        """The function with a look at what it was given, where a loss may follow."""

        def attending(*arguments: object, **options: object) -> object:
            if torch.compiler.is_compiling() or not self._looking(watcher):
                return original(*arguments, **options)
            self._within, self._computed = True, 0
            try:
                result = original(*arguments, **options)
                with measure.unseen():
                    self._note(look(arguments, options))
            finally:
                self._within = False
            return result

        return attending

    def _counting(self, original: Function) -> Function:
        def counted(query: Tensor, key: Tensor, value: Tensor, window: int | tuple[int, int], **options: object) -> object:
            left, right = read_window(window, is_causal=bool(options.get("is_causal")))
            self._computed += sum(segment.scores for segment in segments(query.shape[-2], left, right))
            return original(query, key, value, window, **options)

        return counted

    def _note(self, event: AttentionMasked | None) -> None:
        if event is None:
            return
        if self._computed:
            event = dataclasses.replace(event, function="local_attention", computed=self._computed)
        key = (event.place, event.function, event.length, event.left, event.right)
        known = self._found.get(key)
        if known is not None:
            self._found[key] = dataclasses.replace(known, calls=known.calls + 1)
        elif len(self._found) < _PLACES:
            self._found[key] = event

    def _attended(self, arguments: Arguments, options: Options) -> AttentionMasked | None:
        """Attention by torch's function, under a mask that only hides."""
        given = {**dict(zip(("query", "key", "value", "attn_mask"), arguments, strict=False)), **options}
        query, key, mask = given.get("query"), given.get("key"), given.get("attn_mask")
        if not (isinstance(query, Tensor) and isinstance(key, Tensor) and isinstance(mask, Tensor)):
            return None
        length = query.shape[-2]
        if key.shape[-2] != length or tuple(mask.shape[-2:]) != (length, length):
            return None
        allowed = mask if mask.dtype == torch.bool else mask > _HIDDEN
        if mask.dtype != torch.bool and bool((mask[allowed] != 0).any()):
            return None  # a bias of positions: local attention knows none
        return _event("scaled_dot_product_attention", allowed, math.prod(query.shape[:-2]), query.shape[-1])

    def _normalized(self, arguments: Arguments, options: Options) -> AttentionMasked | None:
        """A softmax over the keys of scores, some of them hidden."""
        given = {**dict(zip(("input", "dim"), arguments, strict=False)), **options}
        scores, axis = given.get("input"), given.get("dim")
        if not isinstance(scores, Tensor) or scores.dim() < 2 or scores.shape[-1] != scores.shape[-2]:  # noqa: PLR2004
            return None
        if axis not in {-1, scores.dim() - 1} or not scores.requires_grad:
            return None
        allowed = scores > _HIDDEN
        return None if bool(allowed.all()) else _event("softmax", allowed, math.prod(scores.shape[:-2]), 0)


def _event(function: str, allowed: Tensor, heads: int, features: int) -> AttentionMasked | None:
    seen = sight(allowed)
    if seen is None:
        return None
    length = allowed.shape[-1]
    return AttentionMasked(
        function, user_place(4), 0, length, seen.left, seen.right, length**2, seen.banded, heads, features, through=_caller(),
    )  # fmt: skip


def _caller() -> str:
    """The module of torch's that attends, if the call comes from one."""
    frame = sys._getframe(4)  # noqa: SLF001 - the frame that called the wrapper
    return "nn.MultiheadAttention" if frame.f_code.co_name == "multi_head_attention_forward" else ""
