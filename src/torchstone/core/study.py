"""A study: a training experiment over settings and seeds, what it measured, and the verdict on the laws that it settles."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

from torchstone.core.errors import InvariantError
from torchstone.core.evidence import Evidence, Verdict

Curve = tuple[tuple[float, float], ...]
Picture = tuple[tuple[float, ...], ...]
Value = str | int | float | bool
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to train: a name for tables and the values that make it up. seeds: at most so many runs, where one costs much."""

    name: str
    values: Mapping[str, Value] = field(default_factory=dict)
    seeds: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run measured: numbers, curves of (x, y) points, pictures as rows of grey values from 0 to 1; CPU seconds."""

    setting: str
    seed: int
    figures: Mapping[str, float]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds with half the width of its 95 % confidence interval (Student's t); infinite for a single seed."""

    mean: float
    half_width: float
    count: int

    @property
    def low(self) -> float:
        """The interval's lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """The interval's upper end."""
        return self.mean + self.half_width


def interval(values: Sequence[float]) -> Interval:
    """The mean of independent draws and its confidence interval. Source: Student 1908.

    >>> interval([1.0, 2.0, 3.0]).mean, round(interval([1.0, 2.0, 3.0]).half_width, 3)
    (2.0, 2.484)
    """
    if not values:
        message = "an interval needs at least one number; none came"
        raise InvariantError(message)
    if len(values) == 1:
        return Interval(values[0], math.inf, 1)
    return Interval(fmean(values), student_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values)), len(values))


def student_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """The t beyond which, on both sides together, Student's distribution leaves 1 - confidence.

    The distribution's integral over its angle, t = sqrt(degrees) tan(angle), is that of cos^(degrees-1): smooth and bounded,
    so that Simpson's rule and bisection give it to ten digits.

    >>> round(student_quantile(2), 4), round(student_quantile(30), 4)
    (4.3027, 2.0423)
    """
    whole = _cosine_integral(math.pi / 2, degrees - 1)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _cosine_integral(middle, degrees - 1) < confidence * whole else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _cosine_integral(end: float, power: int, pieces: int = 400) -> float:
    step = end / pieces
    weights = (1 if i in {0, pieces} else 4 if i % 2 else 2 for i in range(pieces + 1))
    return step / 3 * math.fsum(w * math.cos(i * step) ** power for i, w in enumerate(weights))


def counted(number: int, what: str) -> str:
    """A number of things in words.

    >>> counted(1, "plot"), counted(2, "plot")
    ('1 plot', '2 plots')
    """
    return f"{number} {what}{'s' * (number != 1)}"


@dataclass(frozen=True, slots=True)
class Plot:
    """Named curves over one horizontal axis, each with an optional half width a point; or pictures side by side."""

    name: str
    title: str
    x: str = ""
    y: str = ""
    series: Mapping[str, Curve] = field(default_factory=dict)
    widths: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    references: Mapping[str, float] = field(default_factory=dict)
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    points: bool = False
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Every run of a study, by setting and seed."""

    runs: tuple[Outcome, ...]

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the settings, in the order in which they ran."""
        return tuple(dict.fromkeys(run.setting for run in self.runs))

    def of(self, setting: str) -> tuple[Outcome, ...]:
        """The runs of one setting, by seed."""
        return tuple(sorted((run for run in self.runs if run.setting == setting), key=lambda run: run.seed))

    def values(self, setting: str, figure: str) -> list[float]:
        """One figure of a setting, a value a seed."""
        return [run.figures[figure] for run in self.of(setting) if figure in run.figures]

    def interval(self, setting: str, figure: str) -> Interval:
        """One figure of a setting over its seeds."""
        return interval(self.values(setting, figure))

    def difference(self, one: str, other: str, figure: str) -> Interval:
        """One setting's figure minus the other's, seed by seed: what equal seeds share cancels."""
        first = {run.seed: run.figures[figure] for run in self.of(one) if figure in run.figures}
        second = {run.seed: run.figures[figure] for run in self.of(other) if figure in run.figures}
        return interval([first[seed] - second[seed] for seed in first if seed in second])

    def mean_curve(self, setting: str, curve: str) -> Curve:
        """A curve's mean over seeds, at the points that all of them have."""
        found = [dict(run.curves[curve]) for run in self.of(setting) if curve in run.curves]
        shared = sorted(set.intersection(*(set(one) for one in found))) if found else []
        return tuple((x, fmean(one[x] for one in found)) for x in shared)


@dataclass(frozen=True, slots=True)
class StudyReport:
    """What a study came to. `remarks` say what a reader must know: what a quick run cannot show, which data it used."""

    name: str
    question: str
    settles: tuple[str, ...]
    figures: Mapping[str, str]
    outcomes: Outcomes
    evidence: tuple[Evidence, ...]
    plots: tuple[Plot, ...]
    quick: bool
    seeds: int
    seconds: float
    remarks: tuple[str, ...] = ()
    folder: Path | None = None

    def __post_init__(self) -> None:
        names = [plot.name for plot in self.plots]
        if len(set(names)) < len(names):
            message = f"study {self.name} draws two plots of one name ({', '.join(names)}): the second would replace the first"
            raise InvariantError(message)

    @property
    def verdict(self) -> Verdict:
        """Broken by one broken law; undecided where one is, or where nothing was held; else holds."""
        verdicts = {item.verdict for item in self.evidence} or {Verdict.UNDECIDED}
        return next((v for v in (Verdict.BROKEN, Verdict.UNDECIDED) if v in verdicts), Verdict.HOLDS)

    @property
    def exit_code(self) -> int:
        """1 if a law is broken: undecided is an answer."""
        return int(self.verdict is Verdict.BROKEN)
