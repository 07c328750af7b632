"""Changes of what attention may read: no later position, no padding."""

import functools
import inspect
from contextlib import ExitStack

import torch
from torch import Tensor
from torch.nn import functional

from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, Arguments, items, whole

_MASKED = -1e3  # what is filled in to mask; scores are never this low
_KEPT = 16


class _Masked(Applied):
    """Gives attention another mask, in every spelling of it, at the lines that the finding names. Compiled models run eagerly."""

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(arguments)
        self._places = {str(place) for place in items(arguments["places"])}

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap torch's two attentions, and the soft-max."""
        replace(stack, functional, "scaled_dot_product_attention", functools.partial(self._wrapped, watcher, self.products))
        replace(stack, functional, "multi_head_attention_forward", functools.partial(self._wrapped, watcher, self.heads))
        for holder in (torch, Tensor, functional):
            replace(stack, holder, "softmax", functools.partial(self._wrapped, watcher, self.scores))
        self._inside = False

    def _wrapped(self, watcher: Watcher, change: Function, original: Function) -> Function:
        def masked(*arguments: object, **options: object) -> object:
            if self._inside or torch.compiler.is_compiling() or str(user_place(2)) not in self._places:
                return original(*arguments, **options)
            self._inside = True
            try:
                changed = change(original, arguments, options)
            finally:
                self._inside = False
            if changed is None:
                return original(*arguments, **options)
            self.applied(watcher, str(user_place(2)))
            return changed

        return masked

    def products(self, original: Function, arguments: tuple[object, ...], options: dict[str, object]) -> object:
        """Of scaled_dot_product_attention."""
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = {**dict(zip(names, arguments, strict=False)), **options}
        query, key = given["query"], given["key"]
        if not isinstance(query, Tensor) or not isinstance(key, Tensor):
            return None
        return self.of_products(original, given, query, key)

    def of_products(self, original: Function, given: dict[str, object], query: Tensor, key: Tensor) -> object:
        """The call with another mask, or None."""
        raise NotImplementedError

    def heads(self, original: Function, arguments: tuple[object, ...], options: dict[str, object]) -> object:
        """Of multi_head_attention_forward."""
        raise NotImplementedError

    def scores(self, original: Function, arguments: tuple[object, ...], options: dict[str, object]) -> object:
        """Of the soft-max."""
        given = options.get("input", arguments[0] if arguments else None)
        axis = options.get("dim", arguments[1] if len(arguments) > 1 else None)
        if not isinstance(given, Tensor) or not isinstance(axis, int) or given.dim() < 2 or axis % given.dim() != given.dim() - 1:  # noqa: PLR2004
            return None
        masked = self.of_scores(given)
        if masked is None:
            return None
        empty = torch.isneginf(masked).all(-1, keepdim=True)
        masked = torch.where(empty, given, masked)
        if "input" in options:
            return original(*arguments, **{**options, "input": masked})
        return original(masked, *arguments[1:], **options)

    def of_scores(self, scores: Tensor) -> Tensor | None:
        """Scores with other ones masked, or None."""
        raise NotImplementedError


def _later(queries: int, device: torch.device) -> Tensor:
    """True where a position is later than the one that reads it."""
    return torch.ones(queries, queries, dtype=torch.bool, device=device).triu(1)


class MaskFuture(_Masked):
    """Let no position read a later one; a square mask that is there is taken out, one for padding stays."""

    KIND = "mask-future"

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(arguments)
        self._filled: dict[int, tuple[Tensor, Tensor]] = {}

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Follow masks that are filled into scores too, to take a wrong one out again."""
        super().install(watcher, stack)
        for holder in (torch, Tensor):
            replace(stack, holder, "masked_fill", self._filling)
        replace(stack, Tensor, "masked_fill_", self._filling)

    def _filling(self, original: Function) -> Function:
        def fill(*arguments: object, **options: object) -> object:
            given, mask, value = (*arguments, options.get("mask"), options.get("value"))[:3]
            square = isinstance(mask, Tensor) and mask.dim() > 1 and mask.shape[-1] == mask.shape[-2] > 1
            hides = square and isinstance(value, float | int) and value < _MASKED
            before = given.clone() if hides and isinstance(given, Tensor) else None
            result = original(*arguments, **options)
            if before is not None and isinstance(result, Tensor):
                self._filled[id(result)] = (result, before)
                while len(self._filled) > _KEPT:
                    del self._filled[next(iter(self._filled))]
            return result

        return fill

    def of_scores(self, scores: Tensor) -> Tensor | None:
        """Later ones masked, in the scores as they were before a square mask."""
        if scores.shape[-1] != scores.shape[-2]:
            return None
        before = self._filled.get(id(scores), (scores, scores))[1]
        return before.masked_fill(_later(scores.shape[-1], scores.device), float("-inf"))

    def of_products(self, original: Function, given: dict[str, object], query: Tensor, key: Tensor) -> object:
        """`is_causal`, and what else a mask for each sample hides."""
        length, mask = query.shape[-2], given.get("attn_mask")
        if key.shape[-2] != length:
            return None
        if not isinstance(mask, Tensor) or mask.numel() == length**2:
            return original(**{**given, "attn_mask": None, "is_causal": True})
        later = _later(length, query.device)
        if mask.dtype != torch.bool:
            return original(**{**given, "attn_mask": mask.masked_fill(later, float("-inf"))})
        seen = mask & ~later
        empty = ~seen.any(-1, keepdim=True)
        return original(**{**given, "attn_mask": seen | (empty & torch.eye(length, dtype=torch.bool, device=query.device))})

    def heads(self, original: Function, arguments: tuple[object, ...], options: dict[str, object]) -> object:
        """A causal `attn_mask`; the padding mask stays."""
        given = inspect.signature(functional.multi_head_attention_forward).bind(*arguments, **options).arguments
        length, padding = given["query"].shape[0], given.get("key_padding_mask")
        if given["key"].shape[0] != length:
            return None
        mask = _later(length, given["query"].device)
        if isinstance(padding, Tensor) and padding.dtype != torch.bool:
            mask = torch.zeros(length, length, device=mask.device, dtype=padding.dtype).masked_fill(mask, float("-inf"))
        return original(**{**given, "attn_mask": mask, "is_causal": False})


class MaskPadding(_Masked):
    """Leave out the keys of padded tokens, besides what the program masks itself."""

    KIND = "mask-padding"

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(arguments)
        self._source, self._token = str(arguments["source"]), whole(arguments["token"])
        self._padded: Tensor | None = None

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """See the tokens, besides attention."""
        super().install(watcher, stack)
        replace(stack, functional, "embedding", self._looking_up)

    def _looking_up(self, original: Function) -> Function:
        def embedding(*arguments: object, **options: object) -> object:
            tokens = options.get("input", arguments[0] if arguments else None)
            if isinstance(tokens, Tensor) and tokens.dim() == 2 and str(user_place(2)) == self._source:  # noqa: PLR2004
                padded = torch.eq(tokens, self._token)
                self._padded = padded
            return original(*arguments, **options)

        return embedding

    def _keys(self, samples: int, keys: int) -> Tensor | None:
        """Which keys are padded, (samples, keys), repeated where heads are folded into the samples."""
        if self._padded is None:
            return None
        for padded in (self._padded, self._padded.T):
            if padded.shape[1] == keys and samples % len(padded) == 0:
                usable = padded & ~padded.all(1, keepdim=True)  # a sample of nothing but padding would have no key left
                return usable.repeat_interleave(samples // len(padded), 0)
        return None

    def of_scores(self, scores: Tensor) -> Tensor | None:
        """Padded keys masked."""
        padded = self._keys(len(scores), scores.shape[-1]) if scores.dim() > 2 else None  # noqa: PLR2004
        if padded is None:
            return None
        return scores.masked_fill(padded.reshape(len(scores), *[1] * (scores.dim() - 2), -1), float("-inf"))

    def of_products(self, original: Function, given: dict[str, object], query: Tensor, key: Tensor) -> object:
        """A mask of the keys, together with the one that is there."""
        del query
        padded = self._keys(len(key), key.shape[-2]) if key.dim() > 2 else None  # noqa: PLR2004
        if padded is None:
            return None
        hidden, mask = padded.reshape(len(key), *[1] * (key.dim() - 2), -1), given.get("attn_mask")
        if given.get("is_causal"):
            hidden = hidden | _later(key.shape[-2], key.device)
        if not isinstance(mask, Tensor):
            merged = ~hidden
        else:
            merged = mask & ~hidden if mask.dtype == torch.bool else mask.masked_fill(hidden, float("-inf"))
        return original(**{**given, "attn_mask": merged, "is_causal": False})

    def heads(self, original: Function, arguments: tuple[object, ...], options: dict[str, object]) -> object:
        """A `key_padding_mask`."""
        given = inspect.signature(functional.multi_head_attention_forward).bind(*arguments, **options).arguments
        key, mask = given["key"], given.get("attn_mask")
        padded = self._keys(key.shape[1], key.shape[0]) if key.dim() == 3 else None  # noqa: PLR2004
        if padded is None:
            return None
        known = given.get("key_padding_mask")
        if isinstance(known, Tensor):
            padded = padded | (known if known.dtype == torch.bool else torch.isneginf(known))
        if isinstance(mask, Tensor) and mask.dtype != torch.bool:
            padded = torch.zeros(padded.shape, device=key.device, dtype=mask.dtype).masked_fill(padded, float("-inf"))
        return original(**{**given, "key_padding_mask": padded})
