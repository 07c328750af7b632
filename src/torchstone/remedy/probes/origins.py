"""Where a tensor of a step comes from, as far as it says which of its axes holds the samples."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from torchstone.core.place import Place
from torchstone.record.replacing import Function, replace
from torchstone.remedy.births import flat_tensors

# What leaves every axis where it is.
_SAME = {
    "to", "cuda", "cpu", "float", "double", "half", "bfloat16", "long", "int", "contiguous", "clone", "detach", "requires_grad_",
    "requires_grad", "pin_memory", "type", "unsqueeze",
}
_LIMIT, _VIEWS = 2_000, 16


@dataclass(frozen=True)
class View:
    """A view that exchanges two leading sizes and moves nothing."""

    source: Tensor
    result: Tensor
    operation: str
    place: Place
    module: str


class Origins:
    """Follows tensors through one step by identity; everything noted is held until it is cleared, so that no id is used again."""

    def __init__(self) -> None:
        self._samples: dict[int, tuple[Tensor, int, str]] = {}
        self.views: list[View] = []
        self.placed: dict[tuple[int, int], set[int]] = {}

    def clear(self) -> None:
        """Forget the step."""
        self.__init__()  # type: ignore[misc]

    def follow_loaders(self, stack: ExitStack, is_open: Callable[[], bool]) -> None:
        """Batches that a DataLoader has stacked itself hold their samples along the first axis."""
        iterator = torch.utils.data.dataloader._BaseDataLoaderIter  # noqa: SLF001 - where every loader's batches pass
        collate = torch.utils.data.default_collate

        def wrapped(original: Function) -> Function:
            def following(loader: object, *arguments: object) -> object:
                batch = original(loader, *arguments)
                sampler = getattr(getattr(loader, "_index_sampler", None), "sampler", None)
                in_order = sampler is None or isinstance(sampler, torch.utils.data.SequentialSampler)  # it may be one long series
                if is_open() and not in_order and getattr(loader, "_collate_fn", None) is collate:
                    for tensor in flat_tensors(batch):
                        self._know(tensor, 0, "a DataLoader that shuffles stacks samples along the first axis")
                return batch

            return following

        replace(stack, iterator, "__next__", wrapped)

    def _know(self, tensor: Tensor, axis: int, how: str) -> None:
        if len(self._samples) < _LIMIT:
            self._samples[id(tensor)] = (tensor, axis, how)

    def samples_of(self, tensor: Tensor) -> tuple[int | None, str]:
        """The axis of samples and how it is known; None where nothing says so."""
        known = self._samples.get(id(tensor))
        return (known[1], known[2]) if known is not None else (None, "")

    def view_of(self, tensor: Tensor) -> View | None:
        """The view that made a tensor of tokens."""
        return next((view for view in self.views if view.result is tensor), None)

    def note(self, name: str, arguments: tuple[object, ...], result: object, site: Callable[[], tuple[Place, str]]) -> None:
        """An operation has run."""
        if not isinstance(result, Tensor) or not arguments or not isinstance(arguments[0], Tensor):
            return
        source = arguments[0]
        if name in {"view", "reshape"}:
            self._note_view(name, source, result, site)
        elif name in {"add", "iadd"} and len(arguments) > 1 and isinstance(arguments[1], Tensor):
            self._note_sum(source, arguments[1])
        elif name in {"getitem", "index_select"}:
            self._note_index(name, arguments, source, result)
        elif name in _SAME and id(source) in self._samples and (name != "unsqueeze" or result.shape[:2] == source.shape[:2]):
            self._know(result, *self._samples[id(source)][1:])

    def _note_view(self, name: str, source: Tensor, result: Tensor, site: Callable[[], tuple[Place, str]]) -> None:
        before, after = tuple(source.shape[:2]), tuple(result.shape[:2])
        if len(before) < 2 or len(after) < 2 or before != after[::-1] or before[0] == before[1] or 1 in before:  # noqa: PLR2004
            return
        if source.is_contiguous() and len(self.views) < _VIEWS:
            self.views.append(View(source, result, name, *site()))

    def _note_sum(self, value: Tensor, other: Tensor) -> None:
        """Something that varies along one of the first two axes alone is added: a code of positions, or of members."""
        for values, code in ((value, other), (other, value)):
            if values.dim() != 3 or values.shape[0] == values.shape[1] or 1 in values.shape[:2]:  # noqa: PLR2004
                continue
            sizes = tuple(code.shape)
            first, second, width = values.shape
            axes = self.placed.setdefault((first, second), set())
            if sizes in {(second, width), (1, second, width)}:
                axes.add(1)
            elif sizes == (first, 1, width):
                axes.add(0)

    def coded_along(self, first: int, second: int) -> int | None:
        """The one axis of two along which a code was added to sequences of these sizes."""
        axes = self.placed.get((first, second), set())
        return next(iter(axes)) if len(axes) == 1 else None

    def _note_index(self, name: str, arguments: tuple[object, ...], source: Tensor, result: Tensor) -> None:
        index = arguments[1] if len(arguments) > 1 else None
        known = self._samples.get(id(source))
        if isinstance(index, Tensor) and index.dim() == 1 and not index.is_floating_point() and index.dtype != torch.bool:
            in_order = bool((index.diff() == 1).all())  # a window of a series
            if not in_order and not source.requires_grad and source.dim() > 1 and name == "getitem":
                self._know(result, 0, "samples are picked along the first axis")
        elif known is not None and result.dim() == source.dim() and isinstance(index, slice | tuple):
            self._know(result, *known[1:])


def named(options: Mapping[str, object], arguments: tuple[object, ...], *names: str) -> dict[str, object]:
    """Arguments by their names, however they were given."""
    return {**dict(zip(names, arguments, strict=False)), **options}
