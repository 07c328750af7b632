"""The tensors of a step that a loss is differentiated by: embedded tokens and a model's own inputs, with what is known of them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchstone.core.place import Place
from torchstone.remedy.probes.origins import View
from torchstone.remedy.probes.rows import distinct


@dataclass(frozen=True)
class Padding:
    """Which cells of (n, t) or (t, n) only fill up. cells: all of them; inner: without the first of each run, maybe an end token.

    token: the token that pads, where there is one. declared: how the program says so.
    """

    sample_axis: int
    cells: Tensor
    inner: Tensor
    token: int | None
    declared: str


@dataclass(frozen=True)
class Declared:
    """A padding mask or lengths among the arguments of the model that runs."""

    name: str
    value: Tensor


@dataclass
class Tap:
    """One such tensor. tokens: what was looked up in it; sizes: the leading sizes of what the program read, before any view.

    sample_axis: where the program says so (`known_by`). view: the one that made the tokens' layout, if it moved nothing.
    """

    tensor: Tensor
    tokens: Tensor | None
    sizes: tuple[int, int]
    place: Place
    sample_axis: int | None = None
    known_by: str = ""
    padding: Padding | None = None
    view: View | None = None


def padding_of(tokens: Tensor | None, cells: Tensor, declared: str, *, constant: bool = True) -> Padding | None:
    """Padding, where the cells are runs at one end of some samples and nowhere else, and one token fills them."""
    if tokens is not None and constant and bool(cells.any()) and distinct(tokens[cells]) > 1:
        return None
    token = int(tokens[cells][0]) if tokens is not None and bool(cells.any()) else None
    for axis in (0, 1):
        runs = cells if axis == 0 else cells.T
        inner = _inner(runs)
        if inner is not None:
            return Padding(axis, cells, inner if axis == 0 else inner.T, token, declared)
    return None


def _inner(runs: Tensor) -> Tensor | None:
    """The runs at one end without the cell next to the rest; None if they are none, or if nothing is left."""
    whole = runs.all(1)
    ends = runs.flip(1).cumprod(1).flip(1).bool()
    begins = runs.cumprod(1).bool()
    if bool(runs.all()) or runs.shape[1] < 3:  # noqa: PLR2004 - nothing beside the padding
        return None
    inner = torch.zeros_like(runs)
    if bool((runs == ends).all()):
        inner[:, 1:] = runs[:, 1:] & runs[:, :-1]
    elif bool((runs == begins).all()):
        inner[:, :-1] = runs[:, :-1] & runs[:, 1:]
    inner[whole] = False
    return inner if bool(inner.any()) else None


def declared_in(module: nn.Module, arguments: tuple[object, ...], options: Mapping[str, object]) -> list[Declared]:
    """Masks and lengths that a call of a model is given, by the names of its parameters."""
    try:
        given = inspect.signature(module.forward).bind_partial(*arguments, **options).arguments
    except (TypeError, ValueError):
        given = dict(options)
    flat: dict[str, object] = {}
    for name, value in given.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    named = (Declared(str(name), value) for name, value in flat.items() if isinstance(value, Tensor))
    return [one for one in named if "mask" in one.name or "pad" in one.name or "len" in one.name]


def padding_declared(
    declared: Declared, tokens: Tensor | None, sizes: tuple[int, int], constant: Callable[[Tensor], bool]
) -> Padding | None:
    """What a mask (0 or 1 a position) or lengths among a model's arguments say of a tensor with these leading sizes."""
    value = declared.value.detach().cpu()
    if value.is_floating_point() and bool(torch.isneginf(value).any()):
        value = torch.isneginf(value).logical_not() if "pad" not in declared.name else torch.isneginf(value)
    if "len" in declared.name and value.dim() == 1 and not value.is_floating_point() and len(value) == sizes[0]:
        masks = [torch.arange(sizes[1]) >= value[:, None]]
    elif value.shape == sizes and bool(((value == 0) | (value == 1)).all()):
        masks = [value == 1, value == 0] if "pad" in declared.name else [value == 0, value == 1]
    else:
        return None
    for cells in masks:
        if constant(cells) and (found := padding_of(tokens, cells, declared.name)) is not None:
            return found
    return None
