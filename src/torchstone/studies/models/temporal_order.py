"""The temporal order task and a recurrent classifier of it: four classes, told by two symbols that stand far apart.

Hochreiter and Schmidhuber 1997, section 5.6, shortened: two of 20 symbols are X or Y, one early and one in the middle, and
their order is the class: XX, XY, YX or YY. Axis letters: b batch, t time, m units.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from torchstone.parts import GatedRNN, curvature

CLASSES, SYMBOLS, LENGTH, BATCH, MOMENTUM = 4, 8, 20, 64, 0.9
EXPLODED = 1e6  # nats: nothing more is learned about a run from there on
CHANCE = math.log(CLASSES)
SPIKE = 2 * CHANCE  # a batch may lie a little above its start by chance; at twice the start it is no chance
_ITERATIONS = 12  # of Lanczos, a look at the curvature
_NOISE, _FIRST_TOLD, _BEGIN, _END = 4, 4, 6, 7  # how many noise symbols; the numbers of X, of the first symbol and of the last


class Step(NamedTuple):
    """Before an update: the loss, the accuracy, and the Hessian's largest eigenvalue, 0 where it was not looked at."""

    loss: float
    accuracy: float
    curvature: float


class Classifier(nn.Module):
    """A gated network that reads one-hot symbols, and a linear head on its last state. In float64."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.cell = GatedRNN(SYMBOLS, units, bias=True, batch_first=True)
        self.head = nn.Linear(units, CLASSES)
        gate = torch.empty(units).uniform_(1, LENGTH - 1).log()  # each unit keeps for a time of its own (Tallec, Ollivier 2018)
        with torch.no_grad():
            cast("Tensor", self.cell.bias).copy_(torch.cat([gate, torch.zeros(units)]))
        self.double()

    def forward(self, sequences: Int[Tensor, "b t"]) -> Float[Tensor, "b classes"]:
        """The logits of sequences."""
        states, _ = self.cell(functional.one_hot(sequences, SYMBOLS).double())
        logits: Tensor = self.head(states[:, -1])
        return logits


def network(units: int, seed: int) -> Classifier:
    """An untrained network of that seed; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(units)


def draw(batch: int, source: torch.Generator) -> tuple[Int[Tensor, "b t"], Int[Tensor, "b"]]:
    """Sequences with X or Y (symbols 4 and 5) at two places, and their classes."""
    sequences = torch.randint(_NOISE, (batch, LENGTH), generator=source)
    sequences[:, 0], sequences[:, -1] = _BEGIN, _END
    told = torch.randint(2, (batch, 2), generator=source)
    for number, begin in enumerate((LENGTH // 10, LENGTH // 2)):
        places = begin + torch.randint(LENGTH // 10, (batch,), generator=source)
        sequences[torch.arange(batch), places] = _FIRST_TOLD + told[:, number]
    return sequences, 2 * told[:, 0] + told[:, 1]


def descend(
    rate: float, clip: float, units: int, steps: int, *, seed: int = 0, looks: Collection[int] = (),
    tell: Callable[[int, int], None] = lambda done, every: None,  # noqa: ARG005 - told nobody
) -> tuple[Step, ...]:  # fmt: skip
    """Gradient descent with momentum; the same data and the same start for one seed and width, whatever the rate and the clip.

    looks: the steps whose curvature is wanted. A run ends early where its loss explodes.
    """
    model, source = network(units, seed), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=MOMENTUM)
    seen: list[Step] = []
    for number in range(steps):
        sequences, classes = draw(BATCH, source)
        logits = model(sequences)
        loss = functional.cross_entropy(logits, classes)
        steep = curvature(loss, model.parameters(), iterations=_ITERATIONS).largest if number in looks else 0.0
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        seen.append(Step(loss.item(), (logits.argmax(1) == classes).double().mean().item(), steep))
        tell(number + 1, steps)
        if not loss.item() < EXPLODED:
            break
    return tuple(seen)


def highest(steps: Sequence[Step]) -> float:
    """The highest loss of a run; infinite where it ended as no number."""
    return max(math.inf if math.isnan(step.loss) else step.loss for step in steps)


def first_spike(steps: Sequence[Step]) -> int:
    """The first step whose loss is twice that of guessing; the number of steps where there is none."""
    return next((number for number, step in enumerate(steps) if not step.loss < SPIKE), len(steps))


def looks_before(spike: int, steps: int, count: int) -> range:
    """Where to look at the curvature: in the steps just before a first spike, or spread over a run without one."""
    return range(max(0, spike - count), spike) if spike < steps else range(0, steps, steps // count)
