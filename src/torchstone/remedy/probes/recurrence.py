"""Gradients over the time steps of recurrences: of torch's own modules and cells, and of loops written by hand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from torchstone.core.looks import RecurrenceSeen
from torchstone.core.place import NOWHERE, Place
from torchstone.record import graph, measure
from torchstone.record.watcher import Watcher
from torchstone.remedy.births import flat_tensors
from torchstone.remedy.probes.products import Arguments, Options, Products, apart, follows, leaf, place, replaced

_LAYERS = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
_CELLS = {f"{layer}_cell" for layer in _LAYERS}
_SHORTEST = 8  # steps: fewer calls of one layer, each after the other, need not be meant as time
_SAMPLES = 64
_RUNS = 64
_BATCH_FIRST = 8  # where `lstm(input, hx, weights, bias, layers, dropout, train, bidirectional, batch_first)` says so


@dataclass
class Run:
    """One recurrence in one forward pass: its weights, its steps so far, and the gradients that came back to them."""

    kind: str
    weights: list[Tensor]
    place: Place = NOWHERE
    length: int = 0
    last: graph.Node | None = None
    norms: dict[int, float] = field(default_factory=dict)

    def take(self, value: Tensor) -> Tensor:
        """What goes into the next step, so that its gradient is seen."""
        index, self.length = self.length, self.length + 1
        copy = apart(value)

        def came(gradient: Tensor) -> None:
            with measure.unseen():
                self.norms[index] = max(self.norms.get(index, 0.0), measure.norms([gradient.detach()])[0])

        copy.register_hook(came)  # type: ignore[no-untyped-call]
        return copy


class RecurrenceProbe(Products):
    """Measures, in the user's own backward pass, how the gradient changes from the last time step to the first."""

    KIND = "recurrence"

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._runs: dict[int, list[Run]] = {}

    def product(
        self, function: Callable[..., object], arguments: Arguments, options: Options, value: Tensor, weight: Tensor
    ) -> object:
        """A step of a loop written by hand, if what goes in follows from what came out the last time."""
        run = self._run("loop", [weight], value)
        copy = run.take(value)
        given = (replaced(one, value, copy) for one in arguments)
        result = function(*given, **{key: replaced(one, value, copy) for key, one in options.items()})
        run.last = result.grad_fn if isinstance(result, Tensor) else None
        return result

    def other(self, name: str, function: Callable[..., object], arguments: Arguments, options: Options) -> object:
        """A recurrent layer, or one step of a recurrent cell."""
        if name in _LAYERS and not options and len(arguments) > _BATCH_FIRST and isinstance(arguments[0], Tensor):
            return self._layer(name, function, arguments, arguments[0])
        if name in _CELLS and not options and isinstance(arguments[0], Tensor):
            return self._cell(name, function, arguments)
        return function(*arguments, **options)

    def _cell(self, name: str, function: Callable[..., object], arguments: Arguments) -> object:
        value, state, *weights = arguments
        hidden = next(flat_tensors(state))
        run = self._run(name, [w for w in weights if isinstance(w, Tensor) and w.dim() > 1], hidden)
        result = function(run.take(value), state, *weights)  # type: ignore[arg-type] # a tensor, asked above
        run.last = next(flat_tensors(result)).grad_fn
        return result

    def _layer(self, name: str, function: Callable[..., object], arguments: Arguments, value: Tensor) -> object:
        second, third = arguments[1], arguments[2]
        packed = isinstance(third, Tensor) or (isinstance(second, Tensor) and second.dim() == 1)
        weights = [w for w in flat_tensors(arguments[3 if packed else 2]) if w.dim() > 1]
        copy = apart(value)
        sizes = [int(size) for size in second] if packed and isinstance(second, Tensor) else []
        axis = 1 if arguments[_BATCH_FIRST] is True else 0
        run = Run(name, weights, place(), len(sizes) or value.shape[axis])
        self._keep(run)

        def came(gradient: Tensor) -> None:
            with measure.unseen():
                steps = torch.split(gradient.detach(), sizes) if sizes else gradient.detach().unbind(axis)
                for index, norm in enumerate(measure.norms(steps)):
                    run.norms[index] = max(run.norms.get(index, 0.0), norm)

        copy.register_hook(came)  # type: ignore[no-untyped-call]
        return function(copy, *arguments[1:])

    def _run(self, kind: str, weights: list[Tensor], state: Tensor) -> Run:
        """The run that this step goes on, or a new one."""
        known = self._runs.get(id(weights[-1]), [])
        last = known[-1] if known else None
        if last is not None and last.last is not None and follows(state, last.last):
            return last
        run = Run(kind, weights, place())
        self._keep(run)
        return run

    def _keep(self, run: Run) -> None:
        known = self._runs.setdefault(id(run.weights[-1]), [])
        if known and (known[-1].length < _SHORTEST or len(known) >= _RUNS):
            known.pop()  # no recurrence after all: a layer that is called again for other inputs
        known.append(run)

    def weights(self) -> Iterator[Tensor]:
        """Those of the recurrences that were seen to the end."""
        for run in self._whole():
            yield from (known for weight in run.weights if (known := leaf(weight)) is not None)

    def _whole(self) -> list[Run]:
        """The first recurrence of each weight that is long enough and was reached by a gradient."""
        return [
            whole[0] for runs in self._runs.values()
            if (whole := [run for run in runs if run.length >= _SHORTEST and any(run.norms.values())])
        ]

    def tell(self, watcher: Watcher) -> None:
        """One event for each recurrence."""
        for run in self._whole():
            known = [one for weight in run.weights if (one := leaf(weight)) is not None]
            numbers = tuple(n for one in known if (n := watcher.models.number(one)) is not None)
            norms = [run.norms.get(index, 0.0) for index in range(run.length)]
            if not numbers or any(norm - norm != 0 for norm in norms):
                continue
            chosen = sorted({round(i * (run.length - 1) / (_SAMPLES - 1)) for i in range(_SAMPLES)})
            resolution = max(torch.finfo(one.dtype).eps for one in known)
            watcher.writer.add(
                RecurrenceSeen(
                    watcher.step - 1, run.kind, run.length, tuple(norms[i] for i in chosen), max(norms), numbers,
                    max(map(self.moved, known)), resolution, run.place,
                ),
                always=True,
            )
        self._runs.clear()
