"""Three digits in a code of two numbers: what the weight beta of the bottleneck makes of the picture.

Digits 1, 4 and 7 are told apart through a two-dimensional code with a linear decoder, at beta = 1e-6, 1e-3 and 1. The pictures show
drawn codes of validation pictures, coloured by digit; their axes are the point: at a small beta codes may lie anywhere and lie far
out, at a large one they shrink into the prior and on to each other.

Which picture belongs to which beta is decided by laws on scale, not by looking: at a minimum of task + beta KL the KL does not rise
with beta, and whatever is better than a code that says nothing has a mean square of at most 2 ln 3 / beta. Which of the spaces is
the best to predict from is asked of validation pictures: error of 12 draws, and separation by the nearest class centre.

What came out (`torchstone study bottleneck-latent --data mnist/`, 4 seeds, 105 CPU s on one core, torch 2.13;
recorded/bottleneck-latent.jsonl), for beta = 1e-6, 1e-3 and 1:

- root mean square of the codes' means: 21.6 ±6.9, 5.32 ±0.70, 0.27 ±0.14 (the law's most: 1482, 46.9 and 1.48); KL: 358 ±224,
  22.0 ±5.3 and 0.06 ±0.06 bits. The scales alone tell which picture is which.
- validation error of 12 draws: 0.58 ±0.13, 0.57 ±0.08, 43 ±13 %; held-out codes nearer to another class: 0.78 ±0.11, 0.53 ±0.09,
  1.23 ±0.64 %. beta = 1e-3 is best on the mean; that it is better than 1e-6 in error, by 0.02 ±0.13 points, is undecided.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.core.quantity import Unit
from torchstone.core.study import Interval, Outcome, Outcomes, Plot, Setting
from torchstone.laws import bottleneck
from torchstone.parts.bottleneck import reparameterise
from torchstone.studies.data.images import pictures
from torchstone.studies.judging import above, below
from torchstone.studies.models import coding
from torchstone.studies.models.coding import Recipe
from torchstone.studies.study import Tools, measured

NAME = "bottleneck-latent"
QUESTION = "Which two-dimensional picture of three digits belongs to which beta, and which is best to predict from?"
SETTLES = ("D11d",)
FIGURES = {
    "scale": "root mean square of means",
    "deviation": "root mean square deviation",
    "bits": "KL, bits",
    "separation": "nearest centre, error %",
    "validation": "validation error %, 12 draws",
    "error": "test error %, 12 draws",
}
QUICK = "a small network, a few hundred steps and (without --data) 8x8 digits: which space is best stays open"
SEEDS, QUICK_SEEDS = 4, 3

DIGITS = (1, 4, 7)
BETAS = (1e-6, 1e-3, 1.0)
SIZE, QUICK_SIZE = (256, 2500), (64, 600)  # hidden, steps
LATENT, SHARE, DRAWS, SHOWN = 2, 6, 12, 120


def named(beta: float) -> str:
    """A setting's name."""
    return f"beta {beta:g}"


def settings(*, quick: bool) -> Sequence[Setting]:
    """One setting a beta."""
    hidden, steps = QUICK_SIZE if quick else SIZE
    return [Setting(named(beta), {"beta": beta, "hidden": hidden, "steps": steps}) for beta in BETAS]


def run(setting: Setting, seed: int, tools: Tools) -> Outcome:
    """Train one network; where its codes lie, how far apart the digits are, and how often it errs."""
    values = setting.values
    recipe = Recipe(float(values["beta"]), int(values["hidden"]), LATENT, len(DIGITS), int(values["steps"]), rate=1e-3)
    data = coding.split(pictures(tools.folder, tools.remark, fetch=not tools.quick), SHARE, DIGITS)
    model = coding.train(recipe, data, seed, tools)
    mean, deviation = coding.codes(model, data.train)
    held, spread = coding.codes(model, data.validation)
    figures = {
        "scale": mean.square().sum(1).mean().sqrt().item(),
        "deviation": deviation.square().mean().sqrt().item(),
        "bits": coding.bits(mean, deviation),
        "separation": _separation(mean, data.train_labels, held, data.validation_labels),
        "validation": coding.errors(model, data.validation, data.validation_labels, seed, DRAWS),
        "error": coding.errors(model, data.test, data.test_labels, seed, DRAWS),
        "grain": 100 / len(held),
    }
    noise = torch.randn(held.shape, generator=torch.Generator().manual_seed(seed))
    drawn = reparameterise(held, spread, noise)
    return measured(figures, _clouds(drawn, data.validation_labels) if seed == 0 else {})


def _separation(mean: Tensor, labels: Tensor, held: Tensor, held_labels: Tensor) -> float:
    """Percent of held-out codes that are nearest to the centre of another class."""
    centres = torch.stack([mean[labels == which].mean(0) for which in range(len(DIGITS))])
    nearest = torch.cdist(held, centres).argmin(1)
    return 100 * float((nearest != held_labels).double().mean())


def _clouds(drawn: Tensor, labels: Tensor) -> dict[str, tuple[tuple[float, float], ...]]:
    """The first codes of every digit, to four digits."""
    return {
        str(digit): tuple((float(f"{x:.4g}"), float(f"{y:.4g}")) for x, y in drawn[labels == which][:SHOWN].tolist())
        for which, digit in enumerate(DIGITS)
    }


def assigned(scales: Mapping[str, float]) -> dict[str, float]:
    """Which picture belongs to which beta, by its scale alone: the larger the scale the smaller the beta.

    Raises ValueError where the law on scale allows no such order: a mean square above 2 ln 3 / beta.
    """
    order = sorted(scales, key=lambda name: -scales[name])
    found = dict(zip(order, BETAS, strict=True))
    for name, beta in found.items():
        limit = math.sqrt(bottleneck.scale(beta, len(DIGITS)))
        if scales[name] > limit:
            message = f"a scale of {scales[name]:.3g} is above {limit:.3g}, the most at beta {beta:g}"
            raise ValueError(message)
    return found


def judge(outcomes: Outcomes, *, quick: bool) -> Iterator[Evidence]:
    """The scale within its limits, the divergence falling, and the errors apart."""
    del quick
    for beta in BETAS:
        squares = Outcomes(outcomes.of(named(beta))).interval(named(beta), "scale")
        limit = bottleneck.scale(beta, len(DIGITS))
        how = f"mean square of codes' means at beta {beta:g}"
        yield below("bottleneck.scale", limit, _squared(squares), how)
    for small, large in itertools.pairwise(BETAS):
        fall = outcomes.difference(named(large), named(small), "bits")
        nats = Interval(fall.mean * math.log(2), fall.half_width * math.log(2), fall.count)
        yield below("bottleneck.divergence_falls", 0.0, nats, f"KL at beta {large:g} minus that at {small:g}")
    none, weak, strong = map(named, BETAS)
    grain = max([0.0, *outcomes.values(weak, "grain")])
    for figure in ("validation", "separation"):
        rise = outcomes.difference(strong, weak, figure)
        yield above("bottleneck.error_rises", 0.0, rise, f"{FIGURES[figure]}: {strong} minus {weak}", Unit.VALUE, grain=grain)
    dip = outcomes.difference(weak, none, "validation")
    yield below("bottleneck.dip", 0.0, dip, f"{FIGURES['validation']}: {weak} minus {none}", Unit.VALUE, grain=grain)


def _squared(value: Interval) -> Interval:
    """The interval of a number above 0 squared: its ends are squared, the wider half counts."""
    if not math.isfinite(value.half_width):
        return Interval(value.mean**2, value.half_width, value.count)
    return Interval(value.mean**2, value.high**2 - value.mean**2, value.count)


def plots(outcomes: Outcomes) -> Iterator[Plot]:
    """Drawn codes of one seed at every beta, each on its own axes; and the scale over beta."""
    for beta in BETAS:
        (first, *_) = outcomes.of(named(beta))
        title = f"Codes at beta {beta:g}: mind the axes"
        yield Plot(f"codes-{beta:g}", title, "first number of the code", "second", dict(first.curves), points=True)
    shown = {"scale": "root mean square of means", "deviation": "root mean square deviation"}
    series = {text: tuple((beta, outcomes.interval(named(beta), name).mean) for beta in BETAS) for name, text in shown.items()}
    limit = tuple((beta, math.sqrt(bottleneck.scale(beta, len(DIGITS)))) for beta in BETAS)
    yield Plot("scale", "Scale of the codes against beta", "beta", "", {**series, "law: the most": limit}, log_x=True, log_y=True)
