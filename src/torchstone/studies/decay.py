"""Which weights Adam's decay shrinks, in its L2 form and decoupled, on a real training; and what that does to the error.

A network of 64 tanh units learns 300 of scikit-learn's digits. Two experiments:

- Shrinkage. All gradients of a training without decay are recorded, then replayed with a tiny decay and without: the difference is
  what decay takes, relative to the weight. Weights are sorted by the size (root mean square) of their gradient into ten equal
  groups; the slope is that of the groups' median shrinkage over size, both logarithmic. Left out are weights that change sign
  meanwhile, whose share means nothing, and those whose decay term is not small beside their gradients, as the law assumes (pixels
  that are always blank). The same with all gradients times 10: what becomes of a decay when the loss is scaled.
- Error. The best of six decays in steps of half a decade is chosen by the error on 600 digits for validation and reported on 360
  others for test, the same for all seeds: the interval is that of training and choosing, not of the test set, whose own standard
  error is about 1.3 points at 6 %. At the chosen decay, the same training with the loss times 10: by how much the weights change.

A decay is torch's weight_decay; decoupled it takes lr times that of a weight at every step.

What came out (`torchstone study decay`, 12 seeds, 44 CPU s on one core, torch 2.13; recorded in recorded/decay.jsonl):

- L2: slope -0.948 ±0.012, so weights of small gradients shrink faster; -1 itself is outside that interval, and within what the
  law's assumption (gradients of zero mean and steady size) leaves out. Decoupled: slope 0 to rounding.
- the loss times 10 makes L2's shrinkage 0.1 of what it was (the weights end 10 % longer), and leaves the decoupled one alone.
- test error: L2 6.71 ±0.52 %, decoupled 6.55 ±0.50 %, none 6.55 ±0.46 %. The difference of the forms, 0.16 ±0.41 points, is
  undecided: on this task neither is seen to help at all.

Limits: one architecture, one learning rate, few and easy digits. That decoupled decay generalises better where decay matters is
neither shown nor refuted here.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from statistics import fmean

import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.core.quantity import Amount, Unit
from torchstone.core.study import Curve, Outcome, Outcomes, Plot, Setting, interval
from torchstone.laws.optimization import shrinkage_slope
from torchstone.parts import Adam
from torchstone.parts.optimization.adaptive import Form
from torchstone.studies.judging import above, near
from torchstone.studies.models.digits import RATE, TESTED, Split, error, fit, gradients, norm, split
from torchstone.studies.study import Tools, measured

NAME = "decay"
QUESTION = "Which weights does Adam shrink faster with L2 and with decoupled decay, and does the form matter for the error?"
SETTLES = ("C4.3", "C4.4")
FIGURES = {
    "slope": "slope of shrinkage", "rescaled": "shrinkage, loss x10 / x1", "chosen": "best decay [log10]",
    "validation": "validation error [%]", "test": "test error [%]", "norm": "weights, loss x10 / x1",
}  # fmt: skip
QUICK = "4 seeds: too few to tell the two forms' errors apart"
OWN_DATA = "scikit-learn's digits"
SEEDS, QUICK_SEEDS = 12, 4

L2, DECOUPLED, NONE = "L2", "decoupled", "no decay"
FORMS: dict[str, Form] = {L2: "l2", DECOUPLED: "decoupled"}
DECAYS = {L2: (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2), DECOUPLED: (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)}
STEPS, WARM, REPLAYED, FACTOR, TINY, GROUPS = 600, 100, 300, 10.0, 1e-6, 10
_SMALL = 0.01  # of the gradient's size: what a decay term may be at most, to be small beside it
_SLOPE = "optimization.shrinkage_slope"
_REAL = Amount(0.5, "real gradients have a mean and change their size meanwhile: half of the way to the other form's slope")
_FIRST = Amount(0.01, "first order in a decay term of at most 1 % of the gradient")


def settings(*, quick: bool) -> Sequence[Setting]:
    """Both forms, and none."""
    del quick
    return [Setting(L2), Setting(DECOUPLED), Setting(NONE)]


def run(setting: Setting, seed: int, tools: Tools) -> Outcome:
    """Shrinkage on replayed gradients, then every decay tried."""
    data = split(seed)
    if setting.name == NONE:
        model = fit(data, seed, STEPS)
        return measured({"validation": _percent(model, data, "validation"), "test": _percent(model, data, "test")})
    form, decays = FORMS[setting.name], DECAYS[setting.name]
    every = len(decays) + 2
    sizes, once = shrinkage(data, seed, form)
    groups, (_, tenfold) = grouped(sizes, once), shrinkage(data, seed, form, FACTOR)
    tools.tell(1, every)
    tried = []
    for decay in decays:
        tried.append(fit(data, seed, STEPS, decay, form))
        tools.tell(1 + len(tried), every)
    wrong = [error(model, data.validation, data.validation_labels) for model in tried]
    best = min(range(len(decays)), key=lambda number: wrong[number])
    scaled = fit(data, seed, STEPS, decays[best], form, FACTOR)
    figures = {
        "slope": slope(groups), "rescaled": (tenfold / once).nanmedian().item(), "chosen": math.log10(decays[best]),
        "validation": 100 * wrong[best][0], "test": _percent(tried[best], data, "test"), "norm": norm(scaled) / norm(tried[best]),
        "weights": float(once.isfinite().sum()),
    }  # fmt: skip
    return measured(figures, {"shrinkage": groups, "validation": _errors(decays, wrong)})


def _percent(model: torch.nn.Module, data: Split, part: str) -> float:
    return 100 * error(model, getattr(data, part), getattr(data, f"{part}_labels"))[0]


def _errors(decays: Sequence[float], wrong: Sequence[tuple[float, float]]) -> Curve:
    return tuple((decay, 100 * share) for decay, (share, _) in zip(decays, wrong, strict=True))


def shrinkage(data: Split, seed: int, form: Form, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """The size of each weight's gradient (w), and the share of it that decay takes a step (w), NaN where that means nothing."""
    seen, begun = gradients(data, seed, WARM + REPLAYED)
    (without, total, kept), (with_decay, _, _) = (_replayed(factor * seen, begun, form, decay) for decay in (0.0, TINY))
    size = seen[WARM:].square().mean(0).sqrt()
    mean = total / REPLAYED
    kept &= TINY * mean.abs() <= _SMALL * size
    return size, ((without - with_decay) / total).where(kept, torch.nan)


def _replayed(seen: Tensor, begun: Tensor, form: Form, decay: float) -> tuple[Tensor, Tensor, Tensor]:
    """Where the weights end, the sum of what they were, and which kept their sign. Decay begins when the moments have settled."""
    point = begun.clone().requires_grad_()
    optimizer = Adam([point], lr=RATE, eps=1e-15, weight_decay=0.0, decay=form)
    total, positive = torch.zeros_like(begun), torch.zeros_like(begun)
    for number, gradient in enumerate(seen):
        if number >= WARM:
            optimizer.param_groups[0]["weight_decay"] = decay
            total += point.detach()
            positive += point.detach() > 0
        point.grad = gradient.clone()
        optimizer.step()
    return point.detach(), total, (positive == 0) | (positive == len(seen) - WARM)


def grouped(size: Tensor, share: Tensor) -> Curve:
    """Ten equal groups by the gradient's size: the median size and the median share of each."""
    meant = share.isfinite()
    size, share = size[meant], share[meant]
    parts = size.argsort().tensor_split(GROUPS)
    return tuple((size[part].median().item(), share[part].median().item()) for part in parts)


def slope(groups: Curve) -> float:
    """The log-log slope through the groups; NaN where a median share is not positive."""
    if min(share for _, share in groups) <= 0:
        return math.nan
    return statistics.linear_regression([math.log(x) for x, _ in groups], [math.log(y) for _, y in groups]).slope


def judge(outcomes: Outcomes, *, quick: bool) -> Iterator[Evidence]:
    """Both slopes, both answers to a scaled loss, and the claim about the error that is argued from them."""
    del quick
    slopes = {name: shrinkage_slope(form) for name, form in FORMS.items()}
    rival = abs(slopes[L2] - slopes[DECOUPLED])
    for name, wanted in slopes.items():
        how = f"{name}: log-log slope of shrinkage over the gradient's size"
        yield near(_SLOPE, wanted, outcomes.interval(name, "slope"), how, rival=rival, model=_REAL)
    for name, wanted in slopes.items():
        how = f"{name}: shrinkage with the loss times {FACTOR:g} over that without"
        yield near(_SLOPE, FACTOR**wanted, outcomes.interval(name, "rescaled"), how, rival=1 - 1 / FACTOR, model=_FIRST)
    how = "argued from it, decoupled is no worse: test error in points, L2 minus decoupled, each at its best decay"
    yield above(_SLOPE, 0.0, outcomes.difference(L2, DECOUPLED, "test"), how, Unit.VALUE, grain=100 / TESTED)


def plots(outcomes: Outcomes) -> Iterator[Plot]:
    """Shrinkage over the gradient's size; validation error over the decay."""
    sizes = {name: _middle([run.curves["shrinkage"] for run in outcomes.of(name)]) for name in FORMS}
    title = f"What a decay of {TINY:g} takes of a weight in a step"
    yield Plot("shrinkage", title, "size of its gradient", "share of the weight", sizes, log_x=True, log_y=True)
    series = {name: outcomes.mean_curve(name, "validation") for name in FORMS}
    widths = {name: _widths(outcomes, name, curve) for name, curve in series.items()}
    without = {NONE: fmean(outcomes.values(NONE, "validation"))}
    yield Plot("error", "Validation error over the decay", "weight_decay", "error, %", series, widths, without, log_x=True)


def _middle(curves: Sequence[Curve]) -> Curve:
    """Geometric means over seeds, group by group."""
    return tuple((_geometric([x for x, _ in group]), _geometric([y for _, y in group])) for group in zip(*curves, strict=True))


def _geometric(values: Sequence[float]) -> float:
    return statistics.geometric_mean([max(value, 1e-300) for value in values])  # a median share may be negative


def _widths(outcomes: Outcomes, name: str, curve: Curve) -> tuple[float, ...]:
    found = [dict(run.curves["validation"]) for run in outcomes.of(name)]
    halves = (interval([one[x] for one in found]).half_width for x, _ in curve)
    return tuple(half if math.isfinite(half) else 0.0 for half in halves)
