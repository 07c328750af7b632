"""Holds the rows of a loss apart: what they read of later tokens, of padding and of other samples, and what lets it through."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from torchstone.core.looks import DependenceRead, Reader
from torchstone.core.place import Place
from torchstone.remedy.probes.attention_calls import AttentionCall, positions_read
from torchstone.remedy.probes.origins import Origins, View
from torchstone.remedy.probes.rows import Row, Rows, Shift, lost_in_rounding, norms, others_read, reads, shift_of
from torchstone.remedy.probes.taps import Padding, Tap

_WEIGHT = 1e-6  # attention this small is rounding: a mask of -1e4 leaves none at all
_ROWS = 4
_BEHIND = "behind the view the rows are kept apart"


@dataclass(frozen=True, eq=False)
class ModuleCall:
    """A call of a recurrent layer or of multi-head attention. layer: the transformer layer around it, if there is one."""

    class_name: str
    place: Place
    layer: str
    path: str
    module: nn.Module
    output: Tensor
    given: object
    packed: bool

    @property
    def batch_first(self) -> bool:
        """Which of its first two axes holds samples."""
        return bool(getattr(self.module, "batch_first", False))

    @property
    def time_axis(self) -> int:
        """The axis of positions."""
        return 1 if self.batch_first else 0

    @property
    def recurrent(self) -> bool:
        """Whether it is no attention."""
        return isinstance(self.module, nn.RNNBase)


@dataclass(frozen=True, eq=False)
class Forward:
    """What ran before the loss."""

    taps: Sequence[Tap]
    calls: Sequence[AttentionCall]
    modules: Sequence[ModuleCall]
    origins: Origins


class Gradients:
    """The gradient of one row at a time; what was asked once is kept."""

    def __init__(self, rows: Rows, taps: Sequence[Tap]) -> None:
        self._rows, self._taps = rows, taps
        self.prediction = rows.prediction
        self._cells: dict[Row, list[Tensor | None]] = {}

    def by(self, row: Row, tensors: Sequence[Tensor]) -> list[Tensor | None]:
        """Gradients of one row by any tensors of the graph; None for those that it does not reach."""
        seed = self._rows.seed(row)
        found = torch.autograd.grad(self._rows.prediction, list(tensors), seed, retain_graph=True, allow_unused=True)
        return list(found)

    def cells(self, row: Row, number: int) -> Tensor | None:
        """The norm of the gradient in every cell of a tap, in the layout that the program read."""
        if row not in self._cells:
            found = self.by(row, [tap.tensor for tap in self._taps])
            self._cells[row] = [_laid(gradient, tap) for gradient, tap in zip(found, self._taps, strict=True)]
        return self._cells[row][number]

    def reads(self, row: Row, number: int) -> Tensor | None:
        """Which cells of a tap a row reads; None where no gradient came, or one that is not finite."""
        cells = self.cells(row, number)
        usable = cells is not None and bool(torch.isfinite(cells).all()) and bool(cells.any())
        return reads(cells) if usable and cells is not None else None

    def touched(self, row: Row, tensors: Sequence[Tensor], axes: int = 2) -> list[Tensor | None]:
        """Which cells of other tensors a row reads."""
        found = [norms(gradient, axes) for gradient in self.by(row, tensors)]
        return [reads(cells) if cells is not None and bool(cells.any()) else None for cells in found]

    def positions(self, row: Row, tensor: Tensor, axis: int) -> Tensor | None:
        """Which positions along an axis of a tensor a row reads."""
        (gradient,) = self.by(row, [tensor])
        if gradient is None or not bool(gradient.any()):
            return None
        return reads(positions_read(gradient, axis))

    def share(self, row: Row, number: int, among: Tensor) -> float:
        """The share of a row's gradient in some cells of a tap."""
        cells = self.cells(row, number)
        return float((cells * among).sum() / cells.sum()) if cells is not None and bool(cells.any()) else 0.0


def _laid(gradient: Tensor | None, tap: Tap) -> Tensor | None:
    if gradient is None:
        return None
    if tap.tokens is not None and gradient.dim() == 2 and tap.sizes[0] == 1:  # noqa: PLR2004 - tokens without a batch
        gradient = gradient[None]
    cells = norms(gradient)
    return cells.reshape(tap.sizes) if cells is not None and cells.numel() == tap.sizes[0] * tap.sizes[1] else None


def hold_apart(rows: Rows, forward: Forward, step: int, place: Place) -> Iterator[DependenceRead]:
    """Everything that the three laws ask of one loss."""
    gradients = Gradients(rows, forward.taps)
    start = DependenceRead("", rows.function, place, step)
    for number, tap in enumerate(forward.taps):
        about = replace(start, sizes=tap.sizes, source=tap.place)
        shift = shift_of(rows, tap.tokens) if tap.tokens is not None else None
        if shift is not None and shift.places:
            yield from _future(replace(about, what="future"), shift, gradients, number, forward)
        if tap.padding is not None:
            yield from _padding(replace(about, what="padding"), tap.padding, rows, shift, gradients, number, forward)
        known = (tap.sample_axis, tap.known_by)
        if shift is not None:
            known = (shift.sample_axis, "the targets are the tokens read later")
        if tap.sizes[0] > 1:
            yield from _samples(replace(about, what="samples"), known, rows, gradients, number, forward)


# Later tokens.


def _future(about: DependenceRead, shift: Shift, gradients: Gradients, number: int, forward: Forward) -> Iterator[DependenceRead]:
    chosen = _early(shift)
    worst, worst_row = about, None
    looked = 0
    for row in chosen:
        sample, position = shift.places[row]
        cells = gradients.reads(row, number)
        if cells is None:
            continue
        looked += 1
        along = cells[sample] if shift.sample_axis == 0 else cells[:, sample]
        later = along.clone()
        later[: position + 1] = False
        if worst_row is None or int(later.sum()) > worst.read:
            among = torch.zeros_like(cells)
            (among[sample] if shift.sample_axis == 0 else among[:, sample]).copy_(later)
            worst = replace(worst, read=int(later.sum()), of=len(along) - 1 - position, share=gradients.share(row, number, among))
            worst_row = row
    if worst_row is None:
        return
    ahead = f"the targets are the tokens read {shift.ahead} position{'s' if shift.ahead > 1 else ''} later"
    readers = tuple(_looking_ahead(worst_row, shift, gradients, forward, about.sizes)) if worst.read else ()
    reason = lost_in_rounding(gradients.prediction, worst.share) if worst.read else ""
    if shift.rolled:
        reason = "the targets are the tokens rolled by one, the first of them last: a task, no language model"
    yield replace(worst, rows=looked, known_by=ahead, readers=readers, reason=reason)


def _early(shift: Shift) -> list[Row]:
    """One row near the beginning, one further on, of each of a few samples."""
    found: list[Row] = []
    for sample in dict.fromkeys(sample for sample, _ in shift.places.values()):
        rows = [row for row, (owner, _) in shift.places.items() if owner == sample]
        found += [rows[0], rows[len(rows) // 2]]
    return list(dict.fromkeys(found))[: 2 * _ROWS]


def _looking_ahead(row: Row, shift: Shift, gradients: Gradients, forward: Forward, sizes: tuple[int, ...]) -> Iterator[Reader]:
    """What lets later positions through: behind it the row reads none of them, before it it does.

    A model that first squeezes a sequence into one code (an autoencoder) reads everything before and behind, and is not named.
    """
    position, length = shift.places[row][1], sizes[1 - shift.sample_axis]
    ahead = [call for call in forward.calls if call.queries == call.keys == length and call.future > _WEIGHT]
    found = [call for call in _last_of_each_place(ahead) if _causal_behind(row, position, gradients, call.output, call.axis)]
    if found:
        for call in dict.fromkeys((*found, *_last_of_each_place(ahead))):
            yield Reader("attention", call.operation, call.place, call.module, sizes=(call.queries, call.keys))
        return
    for layer in forward.modules:
        both = layer.recurrent and getattr(layer.module, "bidirectional", False) and not layer.packed
        if not both or layer.output.shape[layer.time_axis] != length:
            continue
        if _causal_behind(row, position, gradients, layer.output, layer.time_axis):
            yield Reader("recurrent", layer.class_name, layer.place, layer.path, sizes=tuple(layer.output.shape[:2]))


def _last_of_each_place(calls: Sequence[AttentionCall]) -> list[AttentionCall]:
    last = {(call.place, call.module.rpartition(".")[2], call.operation): call for call in calls}
    return list({call.place: call for call in last.values()}.values())[-4:]


def _causal_behind(row: Row, position: int, gradients: Gradients, output: Tensor, axis: int) -> bool:
    read = gradients.positions(row, output, axis)
    return read is not None and bool(read.any()) and not bool(read[position + 1 :].any())


# Padding.


def _padding(
    about: DependenceRead, padding: Padding, rows: Rows, shift: Shift | None, gradients: Gradients, number: int, forward: Forward
) -> Iterator[DependenceRead]:
    worst, looked, attended = about, 0, False
    for row, sample in _beside_padding(rows, padding, shift, gradients, number):
        cells = gradients.reads(row, number)
        if cells is None:
            continue
        looked += 1
        inner = padding.inner.clone()
        if padding.sample_axis == 0:
            inner[torch.arange(len(inner)) != sample] = False
        else:
            inner[:, torch.arange(inner.shape[1]) != sample] = False
        read = int((cells & inner).sum())
        if looked == 1 or read > worst.read:
            worst = replace(worst, read=read, of=int(inner.sum()), share=gradients.share(row, number, inner))
        if not attended:
            outputs = [call.output for call in forward.calls if call.keys == about.sizes[1 - padding.sample_axis]]
            found = gradients.by(row, outputs) if outputs else []
            attended = any(gradient is not None and bool(gradient.any()) for gradient in found)
    if not looked or not attended:
        return
    reading = [call for call in forward.calls if call.padding.get(number, 0.0) > _WEIGHT]
    readers = tuple(
        Reader("attention", call.operation, call.place, call.module, sizes=(call.queries, call.keys))
        for call in _last_of_each_place(reading)
    )
    reason = ""
    if worst.read and any(call.recurrent for call in forward.modules):
        reason = "a recurrent layer reads the padding too"
    elif worst.read:
        reason = lost_in_rounding(rows.prediction, worst.share)
    readers = readers if worst.read else ()
    yield replace(worst, rows=looked, known_by=padding.declared, padding=padding.token, readers=readers, reason=reason)


def _beside_padding(
    rows: Rows, padding: Padding, shift: Shift | None, gradients: Gradients, number: int
) -> Iterator[tuple[Row, int]]:
    """Counted rows of samples with padding, whose own position is not padded; a row's sample is the one that it reads most of."""
    inner = padding.inner if padding.sample_axis == 0 else padding.inner.T
    cells = padding.cells if padding.sample_axis == 0 else padding.cells.T
    padded = inner.any(1)
    if shift is not None and shift.sample_axis == padding.sample_axis:
        yield from _of_shift(shift, cells, padded)
        return
    samples, positions = cells.shape
    given = 0
    for row in (tuple(row) for row in rows.counted.nonzero().tolist()):
        sample, position = _where(rows.shape, row, samples, positions)
        if sample is None or not bool(padded[sample]) or (position is not None and bool(cells[sample, position])):
            continue
        read = gradients.reads(row, number)
        along = read.any(1 - padding.sample_axis) if read is not None else None
        if along is None or not bool(along[sample]):
            continue
        yield row, sample
        given += 1
        if given >= _ROWS:
            return


def _of_shift(shift: Shift, cells: Tensor, padded: Tensor) -> Iterator[tuple[Row, int]]:
    placed = [(row, *place) for row, place in shift.places.items()]
    found = [(row, sample) for row, sample, position in placed if bool(padded[sample]) and not bool(cells[sample, position])]
    yield from found[:: max(1, len(found) // _ROWS)][:_ROWS]


def _where(shape: tuple[int, ...], row: Row, samples: int, positions: int) -> tuple[int | None, int | None]:
    """Sample and position of a row, where the sizes leave no doubt."""
    if len(shape) > 1:
        if shape[0] == samples:
            return row[0], row[1] if shape[1] == positions else None
        return (row[1], row[0] if shape[0] == positions else None) if shape[1] == samples else (None, None)
    if shape[0] == samples:
        return row[0], None
    return (row[0] // positions, row[0] % positions) if shape[0] == samples * positions else (None, None)


# Other samples.


def _samples(
    about: DependenceRead, known: tuple[int | None, str], rows: Rows, gradients: Gradients, number: int, forward: Forward
) -> Iterator[DependenceRead]:
    chosen = rows.spread(_ROWS)
    read = {row: cells for row in chosen if (cells := gradients.reads(row, number)) is not None}
    if len(read) < 2:  # noqa: PLR2004 - one row cannot be held apart from another
        return
    axes = (0, 1) if known[0] is None else (known[0],)
    others = {axis: count for axis in axes if (count := others_read(rows.shape, read, axis)) is not None and about.sizes[axis] > 1}
    if not others:
        return
    axis = min(others, key=lambda axis: others[axis])
    worst = replace(about, read=others[axis], of=about.sizes[axis] - 1, rows=len(read), known_by=known[1])
    if not worst.read:
        yield worst
        return
    view = forward.taps[number].view
    if view is not None and _apart_behind(view, rows, read):
        worst = replace(worst, readers=(_reader_of(view),), known_by=_BEHIND)
        yield worst
        return
    readers, how = _mixers(rows, list(read), gradients, forward, about.sizes, known)
    reason = "" if not readers or how else "nothing says which axis holds the samples"
    if not readers:
        reason = "nothing that mixes them by mistake was seen: rows may be meant to read each other"
    yield replace(worst, readers=readers, known_by=how, reason=reason)


def _mixers(
    rows: Rows, chosen: list[Row], gradients: Gradients, forward: Forward, sizes: tuple[int, ...], known: tuple[int | None, str]
) -> tuple[tuple[Reader, ...], str]:
    """Operations behind which the rows are kept apart along an axis along which they mix them, and how that is known."""
    views = [view for view in forward.origins.views if view.result.requires_grad]
    for view in views:
        behind = {row: cells for row in chosen if (cells := gradients.touched(row, [view.result])[0]) is not None}
        before = {row: cells for row in chosen if (cells := gradients.touched(row, [view.source])[0]) is not None}
        for axis in (0, 1):
            if others_read(rows.shape, behind, axis) == 0 and others_read(rows.shape, before, 1 - axis):
                return (_reader_of(view),), _BEHIND
    mixing: list[ModuleCall] = []
    how = known[1] if known[0] is not None else ""
    for call in forward.modules:
        axis = call.time_axis
        length, beside = call.output.shape[axis], call.output.shape[1 - axis]
        if call.packed or beside < 2 or (known[0] is not None and length != sizes[known[0]]):  # noqa: PLR2004 - one sequence
            continue
        behind = {row: cells for row in chosen if (cells := gradients.touched(row, [call.output])[0]) is not None}
        if behind and others_read(rows.shape, behind, axis) == 0:
            how = how or _alone(behind, axis) or _placed(call, forward.origins)
            mixing.append(call)
    if not mixing:
        return (), ""
    last = mixing[-1]
    alike = [call for call in forward.modules if call.class_name == last.class_name and call.output.shape == last.output.shape]
    kind = "recurrent" if last.recurrent else "attention"
    layers = tuple(dict.fromkeys(call.path for call in alike))
    given = tuple(last.output.shape[:2])
    return (Reader(kind, last.class_name, last.place, last.layer, layers, given, batch_first=last.batch_first),), how


def _apart_behind(view: View, rows: Rows, read: dict[Row, Tensor]) -> bool:
    """Whether rows that mix tokens as the program had them are kept apart in a view of them."""
    seen = {row: cells.reshape(tuple(view.result.shape[:2])) for row, cells in read.items()}
    return any(others_read(rows.shape, seen, axis) == 0 for axis in (0, 1))


def _reader_of(view: View) -> Reader:
    given = tuple(view.source.shape[:2])
    return Reader("view", view.operation, view.place, view.module, sizes=given, into=given[::-1])


def _alone(behind: dict[Row, Tensor], axis: int) -> str:
    """All rows read one and the same index of the other axis: nothing else of it would be used, were it the samples."""
    along = [cells.any(axis) for cells in behind.values()]
    same = all(bool((one == along[0]).all()) for one in along)
    if not same or int(along[0].sum()) != 1:
        return ""
    index = int(along[0].nonzero()[0])
    return f"every row reads index {index} alone of the other axis"


def _placed(call: ModuleCall, origins: Origins) -> str:
    """A code of positions was added along the axis that the layer takes for samples, and none along the other."""
    first, second = call.output.shape[:2]
    axis = origins.coded_along(first, second)
    named = ("first", "second")[1 - call.time_axis]
    return f"a code of positions is added along the {named} axis" if axis == 1 - call.time_axis else ""
