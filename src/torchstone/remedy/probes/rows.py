"""The terms of a loss, one a row: which sample and position each of them belongs to, and what it reads by gradient."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torchstone.record import graph

Row = tuple[int, ...]
_OF_CLASSES = {"cross_entropy", "nll_loss"}
_OF_CELLS = {
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div",
}
LOSSES = _OF_CLASSES | _OF_CELLS | {"gather"}
_ROUNDINGS = 16  # of one sum: what may be left where exact arithmetic gives 0


@dataclass(frozen=True)
class Rows:
    """The rows of one call of a loss, over one axis or two.

    target: class indices, where the loss has them. counted: where the target is not ignored.
    """

    function: str
    prediction: Tensor
    shape: tuple[int, ...]
    class_axis: int | None
    target: Tensor | None
    counted: Tensor

    def seed(self, row: Row) -> Tensor:
        """Fixed random weights on the outputs of one row: no gradient vanishes by chance, as a loss near 0 would make it."""
        seed = torch.zeros_like(self.prediction)
        index: list[int | slice] = [*row]
        if self.class_axis is None:
            index += [slice(None)] * (seed.dim() - len(row))
        else:
            index += [0] * (seed.dim() - 1 - len(row))
            index.insert(self.class_axis, slice(None))
        cell = seed[tuple(index)]
        weights = torch.randn(cell.shape, generator=torch.Generator().manual_seed(0))
        seed[tuple(index)] = weights.to(seed)
        return seed

    def spread(self, count: int) -> list[Row]:
        """Some counted rows, drawn with a seed: rows at a regular distance may all belong to one sample."""
        found = self.counted.nonzero()
        drawn = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[:count]
        return [tuple(row) for row in found[drawn].tolist()]


def rows_of(function: str, prediction: object, target: object, options: Mapping[str, object]) -> Rows | None:
    """The rows of a call of a loss, or None where there are no two of them."""
    if not isinstance(prediction, Tensor) or not prediction.requires_grad or prediction.dim() == 0:
        return None
    classes = _class_axis(function, prediction, options)
    sizes = [size for axis, size in enumerate(prediction.shape) if axis != classes]
    if function in _OF_CELLS or not isinstance(target, Tensor):
        sizes = sizes[:1] if len(sizes) > 1 and sizes[1] == 1 else sizes
    shape = tuple(sizes[:2])
    if not shape or sum(size > 1 for size in shape) == 0:
        return None
    counted, indices = torch.ones(shape, dtype=torch.bool), None
    if classes is not None and isinstance(target, Tensor) and not target.is_floating_point():
        indices = (target.squeeze(classes) if function == "gather" else target).detach()
        if list(indices.shape) != sizes:
            return None
        indices = leading(indices, len(shape)).cpu()
        counted = torch.ne(indices, int(options.get("ignore_index", -100)))  # type: ignore[call-overload] # the loss takes it
    return Rows(function, prediction, shape, classes, indices, counted)


def leading(tensor: Tensor, axes: int) -> Tensor:
    """The first axes of a tensor, at the first index of all the others."""
    while tensor.dim() > axes:
        tensor = tensor.select(-1, 0)
    return tensor


def distinct(tensor: Tensor) -> int:
    """How many different values there are; rows of more than one axis count as one value."""
    return len(torch.unique(tensor, dim=0))


def _class_axis(function: str, prediction: Tensor, options: Mapping[str, object]) -> int | None:
    if function == "gather":
        return int(options["dim"]) % prediction.dim()  # type: ignore[call-overload, no-any-return] # gather has taken it
    return 1 if function in _OF_CLASSES and prediction.dim() > 1 else None


def owners(shape: tuple[int, ...], row: Row, samples: int) -> Iterator[tuple[str, range]]:
    """Every way in which a row can belong to one of so many samples: the way's name, and the sample's indices."""
    rows, first = shape[0], row[0]
    if rows == samples:
        yield "a row each", range(first, first + 1)
    elif rows % samples == 0:
        yield "sample after sample", range(first // (rows // samples), first // (rows // samples) + 1)
        yield "in turn", range(first % samples, first % samples + 1)
    elif rows > 1 and samples % rows == 0:
        yield "in groups", range(first * (samples // rows), (first + 1) * (samples // rows))
    if len(shape) > 1 and shape[1] == samples:
        yield "along the second axis", range(row[1], row[1] + 1)


def others_read(shape: tuple[int, ...], read: Mapping[Row, Tensor], axis: int) -> int | None:
    """How many indices of an axis, other than its own, a row reads at most: in the way that fits best; None where none fits.

    read: for each row, which cells of two axes it reads.
    """
    most: dict[str, int] = {}
    for row, cells in read.items():
        along = cells.any(1 - axis)
        if not bool(along.any()):
            continue
        for way, own in owners(shape, row, len(along)):
            apart = along.clone()
            apart[own.start : own.stop] = False
            most[way] = max(most.get(way, 0), int(apart.sum()))
    return min(most.values(), default=None)


def norms(gradient: Tensor | None, axes: int = 2) -> Tensor | None:
    """A gradient's norm in every cell of the first axes, on the CPU."""
    if gradient is None:
        return None
    value = gradient.detach().double() if gradient.device.type != "mps" else gradient.detach().float()
    return value.flatten(axes).norm(dim=-1).cpu() if value.dim() > axes else value.abs().cpu()


def reads(cells: Tensor) -> Tensor:
    """Where a gradient is not 0, beside the largest: beyond what rounding in float32 can leave."""
    return (cells > _ROUNDINGS * 2.0**-23 * cells.max()) & (cells > 0)


def lost_in_rounding(prediction: Tensor, share: float) -> str:
    """Why a share of a gradient says nothing where the arithmetic was coarse: a mask that cancels leaves its rounding."""
    kind = prediction.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else prediction.dtype
    if share >= 4 * float(torch.finfo(dtype).eps):
        return ""
    return f"{share:.1g} of the gradient is no more than rounding in {str(dtype).removeprefix('torch.')} may leave"


@dataclass(frozen=True)
class Shift:
    """Targets that are the tokens read `ahead` positions after the one that predicts them.

    sample_axis: that of the tokens. places: rows with (sample, position); rolled: the last target is the first token.
    """

    sample_axis: int
    ahead: int
    places: Mapping[Row, tuple[int, int]]
    rolled: bool = False


def shift_of(rows: Rows, tokens: Tensor) -> Shift | None:
    """How targets follow the tokens (n, t) or (t, n), if they do: next-token training, in whatever layout."""
    if rows.target is None or tokens.dim() != 2:  # noqa: PLR2004
        return None
    for axis in (0, 1):
        read = tokens if axis == 0 else tokens.T
        samples, positions = read.shape
        if positions < 3:  # noqa: PLR2004 - too few to tell a shift from chance
            continue
        for indices, target, counted in _layouts(rows, samples):
            start = _first_position(rows.prediction, positions, target.shape[1])
            found = None if start is None else _ahead(read, target, counted, start)
            if start is None or found is None:
                continue
            rolled = target.shape[1] == positions and found == 1 and bool((target[:, -1] == read[:, 0]).all())
            where = _places(rows, indices, counted, positions, start)
            return Shift(axis, found, where, rolled)
    return None


def _layouts(rows: Rows, samples: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Row numbers, targets and what counts of them as (sample, place), in every layout that fits."""
    assert rows.target is not None  # noqa: S101 - the caller has asked
    numbers = torch.arange(rows.target.numel())
    shapes: list[Sequence[int]] = []
    if len(rows.shape) == 2:  # noqa: PLR2004
        shapes = [rows.shape]
    elif rows.shape[0] % samples == 0:
        shapes = [(samples, rows.shape[0] // samples), (rows.shape[0] // samples, samples)]
    for shape in shapes:
        parts = tuple(item.reshape(*shape) for item in (numbers, rows.target, rows.counted))
        if shape[0] == samples:
            yield parts[0], parts[1], parts[2]
        if shape[1] == samples:
            yield parts[0].T, parts[1].T, parts[2].T


def _ahead(read: Tensor, target: Tensor, counted: Tensor, start: int) -> int | None:
    """By how many positions the targets lie ahead of the tokens read where they are predicted; None if they do not."""
    places = target.shape[1]
    agreed: dict[int, float] = {}
    for ahead in range(3):
        left = min(places, read.shape[1] - start - ahead)
        if left < 2:  # noqa: PLR2004
            continue
        used = counted[:, :left]
        same = target[:, :left][used] == read[:, start + ahead : start + ahead + left][used]
        if same.numel() >= 4 and distinct(target[:, :left][used]) > 1:  # noqa: PLR2004 - constants say nothing
            agreed[ahead] = float(same.float().mean())
    best = max(agreed, key=lambda ahead: (agreed[ahead], -ahead), default=0)
    return best if best > 0 and agreed[best] >= 0.9 and agreed.get(0, 0.0) < 0.9 else None  # noqa: PLR2004 - words may be dropped


def _first_position(prediction: Tensor, positions: int, places: int) -> int | None:
    """The position of the first prediction: 0 where there is one for each, else where the slice behind them begins."""
    if places == positions:
        return 0
    waiting = [prediction.grad_fn] if prediction.grad_fn is not None else []
    seen: set[graph.Node] = set()
    while waiting and len(seen) < 200:  # noqa: PLR2004 - the slice stands right behind the prediction
        node = waiting.pop(0)
        if node in seen:
            continue
        seen.add(node)
        if node.name().startswith("SliceBackward"):
            sizes, axis = node._saved_self_sym_sizes, node._saved_dim  # type: ignore[attr-defined] # noqa: SLF001 - the only record
            start, end = (_plain(value, sizes[axis]) for value in (node._saved_start, node._saved_end))  # type: ignore[attr-defined] # noqa: SLF001
            if sizes[axis] == positions and end - start == places:
                return start
        waiting.extend(earlier for earlier, _ in node.next_functions if earlier is not None)
    return None


def _plain(value: int, size: int) -> int:
    signed = value - 2**64 if value >= 2**63 else value
    return min(signed + size if signed < 0 else signed, size)


def _places(rows: Rows, indices: Tensor, counted: Tensor, positions: int, start: int) -> dict[Row, tuple[int, int]]:
    """Counted rows of a few samples, with the sample and position of each; the last position has nothing after it."""
    found: dict[Row, tuple[int, int]] = {}
    telling = counted & (torch.arange(counted.shape[1]) + start < positions - 1)
    samples = telling.any(1).nonzero().flatten().tolist()
    for sample in dict.fromkeys(samples[:: max(1, len(samples) // 3)][:3]):
        for place in telling[sample].nonzero().flatten().tolist():
            number = int(indices[sample, place])
            row = divmod(number, rows.shape[1]) if len(rows.shape) > 1 else (number,)
            found[row] = (sample, place + start)
    return found
