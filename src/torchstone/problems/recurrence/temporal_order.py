"""E1.4 and E2: a recurrent classifier of four classes in training: where it starts, why its loss jumps, and what cures that.

The task is the temporal order of Hochreiter and Schmidhuber 1997, section 5.6, shortened: two of 20 symbols are X or Y, one early
and one in the middle, and their order is the class. examples/temporal_order.py is the same as a script,
`torchstone study temporal-order` the same over many seeds.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from torchstone import laws
from torchstone.core.evidence import Evidence, Relation
from torchstone.core.problem import Answer, Claim, Drawing, Posted
from torchstone.core.quantity import Amount, Tolerance, Unit
from torchstone.problems.answering import answers, proved
from torchstone.problems.curves import curves
from torchstone.problems.measuring import claimed, compared, found, generator, rounding, value
from torchstone.problems.studied import studied
from torchstone.studies import temporal_order as study
from torchstone.studies.models.temporal_order import (
    BATCH,
    CHANCE,
    CLASSES,
    EXPLODED,
    LENGTH,
    MOMENTUM,
    SPIKE,
    Step,
    descend,
    draw,
    first_spike,
    highest,
    looks_before,
    network,
)

STEPS, UNITS, WIDTHS = 160, 16, (4, 16, 64)
LARGE, SMALL, CLIP = 1.5, 0.2, 0.1
LOOKS = 10  # looks at the curvature: in the steps just before a first spike, or spread over a run without one
DRAWN = 4.0  # nats: where curves are cut
NETWORKS, ROWS = 64, 256

_UNIFORM, _ACCURACY = "loss.uniform_cross_entropy", "loss.uniform_accuracy"
_THRESHOLD = "optimization.divergence_threshold"


@cache
def run(rate: float, clip: float = math.inf, units: int = UNITS, looks: tuple[int, ...] = ()) -> tuple[Step, ...]:
    """A run of the task that all answers share: the same data and the same start for one number of units.

    looks: the steps whose curvature is wanted.
    """
    return descend(rate, clip, units, STEPS, looks=looks)


def steepest(rate: float) -> float:
    """The largest curvature in the steps just before the first spike; of a run without one, at steps spread over it."""
    looks = looks_before(first_spike(run(rate)), STEPS, LOOKS)
    return max(step.curvature for step in run(rate, looks=tuple(looks)))


@cache
def starts() -> tuple[Tensor, Tensor, float]:
    """Loss and accuracy of untrained networks on balanced classes, one number a network, and the mean square of centred logits."""
    source, losses, hits, spreads = generator(1), [], [], []
    for seed in range(NETWORKS):
        sequences, classes = draw(ROWS, source)
        with torch.no_grad():
            logits = network(UNITS, seed)(sequences)
        losses.append(functional.cross_entropy(logits, classes))
        hits.append((logits.argmax(1) == classes).double().mean())
        spreads.append(logits.var(1, correction=0).mean())
    return torch.stack(losses), torch.stack(hits), torch.stack(spreads).mean().item()


def start_loss(predicted: float, given: float = 0.0) -> Evidence:
    """The mean initial loss against a predicted one, which may itself be rounded by `given`."""
    losses, _, square = starts()
    allowed = Tolerance(
        Amount(square / 2, f"logits of spread {math.sqrt(square):.2g}: s²/2"),
        Amount(4 * losses.std().item() / math.sqrt(NETWORKS), f"4 standard errors of {NETWORKS} networks"),
        Amount(given, "half of the last digit given" if given else ""),
    )
    return compared(_UNIFORM, predicted, losses.mean().item(), allowed, f"{NETWORKS} untrained networks, {ROWS} sequences each")


def start_accuracy(predicted: float) -> Evidence:
    """The mean initial accuracy against a predicted one."""
    _, hits, _ = starts()
    error = Amount(4 * hits.std().item() / math.sqrt(NETWORKS), f"4 standard errors of {NETWORKS} networks")
    return compared(_ACCURACY, predicted, hits.mean().item(), Tolerance(sampling=error), f"{NETWORKS} untrained networks")


def spiked(steps: Sequence[Step], how: str, *, wanted: bool) -> Evidence:
    """Whether a run's loss reaches twice that of guessing, held against what is wanted of it."""
    relation = Relation.AT_LEAST if wanted else Relation.AT_MOST
    return compared(_UNIFORM, SPIKE, min(highest(steps), EXPLODED), how=f"highest loss, {how}, against 2 ln 4", relation=relation)


def _named(rate: float, clip: float = math.inf, units: int = UNITS) -> str:
    return f"rate {rate:g}" + (f", norm clipped at {clip:g}" if clip < math.inf else "") + f", {units} units"


def _cause() -> tuple[Evidence, ...]:
    """Spikes at every width; the large step is beyond the threshold of the curvature before its spike, the small one never."""
    wide = (spiked(run(LARGE, units=units), _named(LARGE, units=units), wanted=True) for units in WIDTHS)
    sides = ((LARGE, "just before its first spike", Relation.AT_LEAST), (SMALL, "at most", Relation.AT_MOST))
    return (*wide, *(_against_threshold(*side) for side in sides))


def _against_threshold(rate: float, when: str, relation: Relation) -> Evidence:
    steep = steepest(rate)
    threshold = laws.optimization.divergence_threshold("momentum", MOMENTUM, steep)
    return compared(_THRESHOLD, threshold, rate, how=f"rate {rate:g}, curvature {steep:.3g} {when}", relation=relation)


def _at_the_spike() -> Step:
    """The step of the large rate whose loss first reaches twice that of guessing."""
    steps = run(LARGE)
    return steps[min(first_spike(steps), len(steps) - 1)]


_CURES = {"smaller learning rate": (SMALL, math.inf), "clipping": (LARGE, CLIP)}
# What would have to end the spikes if that were their cause.
_CAUSES: dict[str, tuple[float, float, int]] = {
    "under-parametrisation": (LARGE, math.inf, max(WIDTHS)),
    "over-parametrisation": (LARGE, math.inf, min(WIDTHS)),
    "too large a step": (SMALL, math.inf, UNITS),
    "exploding gradients": (LARGE, CLIP, UNITS),
}
_SIDES = {"worse than chance": Relation.AT_MOST, "chance": Relation.EQUAL, "better than chance": Relation.AT_LEAST}


def _claims(posted: Posted) -> Iterator[Claim]:
    """Each posted part against the runs: a cause by a run without it, a remedy by a run with it."""
    said = posted.claims
    if said.get("cause") in _CAUSES:
        rate, clip, units = _CAUSES[str(said["cause"])]
        calm = spiked(run(rate, clip, units), f"without it: {_named(rate, clip, units)}", wanted=False)
        yield Claim("cause", calm, f"the loss rises to {found(calm):.3g} without it: {_named(rate, clip, units)}")
    if said.get("excess") in _SIDES:
        top, relation = _at_the_spike(), _SIDES[str(said["excess"])]
        chance = compared(_ACCURACY, 1 / CLASSES, math.exp(-top.loss), how="e^-loss at the first spike", relation=relation)
        yield Claim("excess", chance, f"at a loss of {top.loss:.3g} the true class gets {found(chance):.2g} on geometric average")
    remedies = [str(one) for one in cast("Sequence[object]", said.get("remedies", ())) if str(one) in _CURES]
    if remedies:
        runs = (spiked(run(*_CURES[one]), f"{one}: {_named(*_CURES[one])}", wanted=False) for one in remedies)
        yield claimed("remedies", runs, lambda e: f"{e.how}: the loss still rises to {found(e):.3g}")
    if "loss" in said:
        numbers = cast("Sequence[object]", said["loss"])
        begun = (start_loss(value(number), 0.0 if isinstance(number, str) else 0.5e-2) for number in numbers)
        yield claimed("loss", begun, lambda e: f"untrained networks start at {found(e):.4f}, not {e.predicted.value:.4f}")
    if "accuracy" in said:
        yield claimed(
            "accuracy", [start_accuracy(value(said["accuracy"]))],
            lambda e: f"untrained networks are right for {found(e):.3f} of balanced sequences, not {e.predicted.value:.3f}",
        )


def _remedied() -> tuple[Evidence, ...]:
    """Both remedies end the spikes and let the network learn: its last loss is below that of guessing."""
    held: list[Evidence] = []
    for one, numbers in _CURES.items():
        steps, how = run(*numbers), f"{one}: {_named(*numbers)}"
        held.append(spiked(steps, how, wanted=False))
        held.append(compared(_UNIFORM, CHANCE, steps[-1].loss, how=f"last loss, {how}", relation=Relation.AT_MOST))
    return tuple(held)


@answers("E1.4")
def spikes(posted: Posted) -> Answer:
    """The four parts by runs: cause by curvature and width, height by probabilities, remedies tried, the start by the laws."""
    steep = steepest(LARGE)
    return Answer(
        says=tuple(_said(steep)),
        derivation=(
            "loss = -ln of the true class's probability, averaged; equal logits give ln K, only confidence in a wrong class more",
            "a step eta along a curvature lambda multiplies the error by 1 - eta lambda: beyond the threshold it grows",
            f"lambda rises while the network learns, from {run(SMALL, looks=(0,))[0].curvature:.2g} to {steep:.3g}: so not at once",
            "clipping shortens the step where the gradient is steep, a smaller rate everywhere",
        ),
        evidence=(
            *proved(_UNIFORM, _ACCURACY, _THRESHOLD), start_loss(CHANCE), start_accuracy(1 / CLASSES), *_cause(), *_remedied(),
        ),
        claims=tuple(_claims(posted)),
        drawings=(_losses(),),
        remarks=studied("temporal-order", [study.named(LARGE, units=units) for units in WIDTHS], "peak", "steepness"),
    )  # fmt: skip


def _said(steep: float) -> Iterator[str]:
    """One sentence for each part that is asked."""
    losses, hits, _ = starts()
    top, limit = _at_the_spike(), laws.optimization.divergence_threshold("momentum", MOMENTUM, steep)
    widths = ", ".join(f"{units} units from step {first_spike(run(LARGE, units=units))}" for units in WIDTHS)
    yield (
        f"cause: steps too long for the curvature: {LARGE:g} where 2(1 + beta)/lambda has fallen to {limit:.3g}; not the width: it"
        f" spikes with {widths}"
    )
    yield (
        f"excess: surely wrong is worse than guessing: at a loss of {top.loss:.3g} the true class gets e^-loss ="
        f" {math.exp(-top.loss):.2g} where guessing gives 1/4; {top.accuracy:.0%} of the batch are right all the same"
    )
    calm = {f"{one} ({_named(*numbers)})": run(*numbers) for one, numbers in _CURES.items()}
    ended = (f"{one}: {highest(steps):.3g} at most, {steps[-1].loss:.2g} at last" for one, steps in calm.items())
    yield f"remedies: {'; '.join(ended)}"
    yield f"loss: ln 4 = {CHANCE:.4f}, every class gets 1/4; measured {losses.mean().item():.4f} over {NETWORKS} networks"
    yield f"accuracy: 1/4, guesses among 4 classes as frequent as each other; measured {hits.mean().item():.3f}"


def _losses() -> Drawing:
    series = {_named(LARGE): run(LARGE), _named(LARGE, CLIP): run(LARGE, CLIP), _named(SMALL): run(SMALL)}
    cut = {name: [(at, min(step.loss, DRAWN)) for at, step in enumerate(steps)] for name, steps in series.items()}
    guessing = {"ln 4": [(at, CHANCE) for at in range(STEPS)]}
    return curves(f"loss of a 4-class sequence classifier, cut at {DRAWN:g} nats", {**cut, **guessing}, "step")


def _accuracies() -> Drawing:
    series = {_named(LARGE): run(LARGE), _named(LARGE, CLIP): run(LARGE, CLIP), _named(SMALL): run(SMALL)}
    smooth = {}
    for name, steps in series.items():
        means = [[step.accuracy for step in steps[max(0, at - 9) : at + 1]] for at in range(len(steps))]
        smooth[name] = [(at, sum(mean) / len(mean)) for at, mean in enumerate(means)]
    return curves("accuracy, mean of the last 10 batches", {**smooth, "1/4": [(at, 1 / CLASSES) for at in range(STEPS)]}, "step")


@answers("E2")
def laboratory(_: Posted) -> Answer:
    """The same runs as pictures: loss, accuracy, spikes, and the remedies at work."""
    large, clipped, small = run(LARGE), run(LARGE, CLIP), run(SMALL)
    spiking = [at for at, step in enumerate(large) if not step.loss < SPIKE]
    return Answer(
        says=(
            f"loss curve: below; {STEPS} steps of {BATCH} sequences of {LENGTH}, {UNITS} units; it starts at {large[0].loss:.3f}",
            f"accuracy curve: below; {large[0].accuracy:.2f} at the start, {clipped[-1].accuracy:.2f} at the end with a remedy",
            f"spikes: {_named(LARGE)}: {len(spiking)} steps at 2 ln 4 or more, first step {spiking[0]}, up to {highest(large):.3g}",
            f"remedies: {_named(LARGE, CLIP)}: at most {highest(clipped):.3g}; {_named(SMALL)}: at most {highest(small):.3g}",
        ),
        derivation=(
            "task: temporal order (Hochreiter and Schmidhuber 1997, 5.6): XX, XY, YX or YY, 8 to 10 symbols apart",
            "examples/temporal_order.py trains it with any cell, rate and clip",
        ),
        evidence=(
            *proved(_UNIFORM, _ACCURACY), spiked(large, _named(LARGE), wanted=True), *_remedied(),
            compared(_ACCURACY, 1.0, clipped[-1].accuracy, rounding(BATCH), "last batch of the clipped run", unit=Unit.RATIO),
        ),
        drawings=(_losses(), _accuracies()),
        remarks=studied("temporal-order", (study.LARGE_STEP, *study.REMEDIES), "start", "peak", "accuracy"),
    )  # fmt: skip
