"""Why the loss of a recurrent classifier of four classes jumps early, what ends that, and where loss and accuracy start.

The task is temporal order (Hochreiter and Schmidhuber 1997, section 5.6, shortened to 20 symbols): a gated network of 16 units
learns by gradient descent with momentum 0.9, a new batch of 64 sequences every step. A large step (1.5) is tried at 4, 16 and 64
units, since a width that is too small has been named as the cause; then with the gradient's norm clipped, and a small step instead.

- start: loss and accuracy of the untrained network on 1,024 new sequences, against ln 4 and 1/4
- peak: the highest loss of a run in doublings of ln 4, so 1 is twice the loss of guessing: more than luck of a batch. Cut at 4
  doublings: by how much a run explodes says nothing more
- rate / threshold: the learning rate over 2 (1 + beta) / lambda, beyond which descent diverges, in doublings: above 0 is beyond
  it. lambda is the Hessian's largest eigenvalue in the 10 steps before the first loss of 2 ln 4, or at 10 steps spread over a run
  without one. Runs are held against it where no gradient is clipped: a clipped step may be short where the threshold is passed
- end: the mean loss of the last 10 batches, cut at 4 nats, and their accuracy

What came out (`torchstone study temporal-order`, 10 seeds, 67 CPU s on one core, torch 2.13; recorded/temporal-order.jsonl):

- start 1.3927 ±0.0034 nats (ln 4 is 1.3863, and logits of spread 0.12 add 0.007) and 0.250 ±0.008 right.
- rate 1.5 reaches twice the loss of guessing in 9 of 10 runs at 4 units, and in all at 16 and 64; 16 times that loss in 6, 9 and
  10 of them: more width does not end it. In the steps before, the rate is 2 to 3 times the threshold (1.3 ±1.1, 1.4 ±0.6 and
  1.1 ±0.7 doublings).
- clipped at 0.1, or at rate 0.2, the highest loss of any run is 1.13 ln 4, and all 20 runs learn the task (accuracy 1).

Limits: one task, one kind of network, momentum 0.9. The threshold is that of a quadratic with the batch's own curvature; that it is
passed before the jump is no proof that nothing else adds to it.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

import torch
from torch.nn import functional

from torchstone.core.evidence import Evidence
from torchstone.core.quantity import Amount, Unit
from torchstone.core.study import Curve, Outcome, Outcomes, Plot, Setting, interval
from torchstone.laws.loss import uniform_accuracy, uniform_cross_entropy
from torchstone.laws.optimization import divergence_threshold
from torchstone.studies.judging import above, below, near
from torchstone.studies.models.temporal_order import (
    CHANCE,
    CLASSES,
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
from torchstone.studies.study import Tools, measured

NAME = "temporal-order"
QUESTION = "What makes a sequence classifier's loss jump above its start, what ends it, and why does it start where it does?"
SETTLES = ("E1.4", "E2")
FIGURES = {
    "start": "first loss [nats]", "hits": "first accuracy", "peak": "peak [doublings of ln 4]",
    "steepness": "rate / threshold [doublings]", "last": "last loss, at most 4 [nats]", "accuracy": "last accuracy",
}  # fmt: skip
QUICK = "4 seeds and 120 steps: whether every run spikes and every remedy holds is seen on few"
OWN_DATA = "sequences that it draws"
SEEDS, QUICK_SEEDS = 10, 4

LARGE, SMALL, CLIP, UNITS, WIDTHS = 1.5, 0.2, 0.1, 16, (4, 16, 64)
STEPS, QUICK_STEPS, LOOKS, ROWS, BLOCK, LAST = 300, 120, 10, 1024, 4, 10
HIGHEST = 4.0  # doublings of ln 4
CUT = 4.0  # nats: where an exploded run's losses are cut, which say nothing by their size
_UNIFORM, _ACCURACY, _THRESHOLD = "loss.uniform_cross_entropy", "loss.uniform_accuracy", "optimization.divergence_threshold"


def named(rate: float, clip: float = math.inf, units: int = UNITS) -> str:
    """A setting's name."""
    return f"rate {rate:g}" + f", {units} units" * (units != UNITS) + ", clipped" * (clip < math.inf)


LARGE_STEP, CLIPPED, SMALL_STEP = named(LARGE), named(LARGE, CLIP), named(SMALL)
REMEDIES = (CLIPPED, SMALL_STEP)


def settings(*, quick: bool) -> Sequence[Setting]:
    """The large step at every width, then the two remedies."""
    tried = [(LARGE, math.inf, units) for units in WIDTHS] + [(LARGE, CLIP, UNITS), (SMALL, math.inf, UNITS)]
    steps = QUICK_STEPS if quick else STEPS
    return [Setting(named(*one), {"rate": one[0], "clip": one[1], "units": one[2], "steps": steps}) for one in tried]


def run(setting: Setting, seed: int, tools: Tools) -> Outcome:
    """The untrained network, a training run, and the same run again with looks at its curvature."""
    rate, clip = float(setting.values["rate"]), float(setting.values["clip"])
    units, count = int(setting.values["units"]), int(setting.values["steps"])
    start, hits, square = _untrained(units, seed)
    steps = descend(rate, clip, units, count, seed=seed, tell=lambda done, _: tools.tell(done, 2 * count))
    looks = looks_before(first_spike(steps), count, LOOKS)
    looked = descend(
        rate, clip, units, max(looks) + 1, seed=seed, looks=looks, tell=lambda done, _: tools.tell(count + done, 2 * count)
    )
    threshold = divergence_threshold("momentum", MOMENTUM, max(looked[number].curvature for number in looks))
    figures = {
        "start": start, "hits": hits, "peak": min(math.log2(highest(steps) / CHANCE), HIGHEST),
        "steepness": math.log2(rate / threshold), "last": fmean(_cut(step.loss) for step in steps[-LAST:]),
        "accuracy": fmean(step.accuracy for step in steps[-LAST:]), "square": square,
    }  # fmt: skip
    return measured(figures, {"loss": _blocks(steps, "loss"), "accuracy": _blocks(steps, "accuracy")})


def _untrained(units: int, seed: int) -> tuple[float, float, float]:
    """Loss, accuracy, and the mean square of the centred logits."""
    sequences, classes = draw(ROWS, torch.Generator().manual_seed(10_000 + seed))  # none that the training draws
    with torch.no_grad():
        logits = network(units, seed)(sequences)
    hits = (logits.argmax(1) == classes).double().mean().item()
    return functional.cross_entropy(logits, classes).item(), hits, logits.var(1, correction=0).mean().item()


def _cut(loss: float) -> float:
    return min(CUT, loss)  # in this order: what is no number is cut as well


def _blocks(steps: Sequence[Step], what: str) -> Curve:
    """Means of a few steps: enough for a picture, and a tenth of the recording."""
    values = [_cut(step.loss) if what == "loss" else step.accuracy for step in steps]
    return tuple((float(at), round(fmean(values[at : at + BLOCK]), 4)) for at in range(0, len(values), BLOCK))


def judge(outcomes: Outcomes, *, quick: bool) -> Iterator[Evidence]:
    """The start by the laws of guessing; spikes at every width; what the steps were beyond; the remedies."""
    del quick
    yield from _starts(outcomes)
    for units in WIDTHS:
        name = named(LARGE, units=units)
        yield above(_UNIFORM, 1.0, outcomes.interval(name, "peak"), f"{name}: peak in doublings of ln 4", Unit.RATIO)
        yield above(_THRESHOLD, 0.0, outcomes.interval(name, "steepness"), f"{name}: log2 of rate / threshold", Unit.RATIO)
    steepness = outcomes.interval(SMALL_STEP, "steepness")
    yield below(_THRESHOLD, 0.0, steepness, f"{SMALL_STEP}: log2 of rate / threshold, at most", Unit.RATIO)
    for name in REMEDIES:
        yield below(_UNIFORM, 1.0, outcomes.interval(name, "peak"), f"{name}: peak in doublings of ln 4", Unit.RATIO)
        yield below(_UNIFORM, uniform_cross_entropy(CLASSES), outcomes.interval(name, "last"), f"{name}: last loss, against ln 4")


def _starts(outcomes: Outcomes) -> Iterator[Evidence]:
    square = fmean(outcomes.values(LARGE_STEP, "square"))
    logits = Amount(square / 2, f"logits of spread s = {math.sqrt(square):.2g}: s²/2")
    said = f"untrained, {UNITS} units, {ROWS} sequences"
    least = uniform_cross_entropy(CLASSES) - uniform_cross_entropy(CLASSES - 1)
    loss = outcomes.interval(LARGE_STEP, "start")
    yield near(_UNIFORM, uniform_cross_entropy(CLASSES), loss, f"loss, {said}", rival=least, model=logits)
    rival = uniform_accuracy(CLASSES - 1) - uniform_accuracy(CLASSES)
    yield near(_ACCURACY, uniform_accuracy(CLASSES), outcomes.interval(LARGE_STEP, "hits"), f"accuracy, {said}", rival=rival)


def plots(outcomes: Outcomes) -> Iterator[Plot]:
    """Loss and accuracy over steps for the large step and both remedies, and the peak over the width."""
    for what, y, level in (("loss", f"nats, cut at {CUT:g}", {"ln 4": CHANCE}), ("accuracy", "share", {"1/4": 1 / CLASSES})):
        found = {name: _told(outcomes, name, what) for name in (LARGE_STEP, *REMEDIES)}
        series = {name: curve for name, (curve, _) in found.items()}
        widths = {name: halves for name, (_, halves) in found.items()}
        title = f"{what.capitalize()}, mean of all seeds; exploded runs stay where they ended"
        yield Plot(what, title, "step", y, series, widths, level)
    one = {f"seed {run.seed}": run.curves["loss"] for run in outcomes.of(LARGE_STEP)[:4]}
    yield Plot("spikes", f"Single runs at {LARGE_STEP}", "step", f"nats, cut at {CUT:g}", one, references={"ln 4": CHANCE})
    peaks = [outcomes.interval(named(LARGE, units=units), "peak") for units in WIDTHS]
    series = {f"rate {LARGE:g}": tuple((float(units), peak.mean) for units, peak in zip(WIDTHS, peaks, strict=True))}
    widths = {name: tuple(_finite(peak.half_width) for peak in peaks) for name in series}
    twice = {"2 ln 4": math.log2(SPIKE / CHANCE)}
    yield Plot("width", "The highest loss over the width", "units", "doublings of ln 4", series, widths, twice, log_x=True)


def _told(outcomes: Outcomes, name: str, what: str) -> tuple[Curve, tuple[float, ...]]:
    """A curve's mean and half widths over seeds; a run that has exploded, and so ended, counts on with what it ended at."""
    steps = max((run.curves[what] for run in outcomes.runs), key=len)
    found = [run.curves[what] for run in outcomes.of(name)]
    spread = [interval([one[min(place, len(one) - 1)][1] for one in found]) for place in range(len(steps))]
    return tuple((x, one.mean) for (x, _), one in zip(steps, spread, strict=True)), tuple(_finite(one.half_width) for one in spread)


def _finite(half: float) -> float:
    return half if math.isfinite(half) else 0.0
