"""What `descent` returns: plain numbers, each with its exact form where there is one."""

from dataclasses import dataclass

from torchstone.core.problem import Drawing


@dataclass(frozen=True, slots=True)
class Exact:
    """A real number: its exact form as text, empty where only the decimal is known, and the decimal.

    >>> str(Exact("1/2", 0.5)), str(Exact("1/3", 1 / 3)), str(Exact("2", 2.0)), str(Exact("", 0.1234567890123))
    ('1/2 = 0.5', '1/3 ≈ 0.3333333333', '2', '0.123456789')
    """

    text: str
    value: float

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        decimal = f"{self.value:.10g}"
        if not self.text or self.text == decimal:
            return decimal
        sign = "=" if "sqrt" not in self.text and float(decimal) == self.value else "≈"
        return f"{self.text} {sign} {decimal}"


@dataclass(frozen=True, slots=True)
class Row:
    """One step of a run: the point, the function and its gradient there, and the buffer that led there."""

    step: int
    point: tuple[Exact, ...]
    value: Exact
    gradient: tuple[Exact, ...]
    buffer: tuple[Exact, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """The recursion carried out. `exact`: in rational numbers; else to 50 digits. `left` is the last distance to a minimum.

    `arrived` are the steps that end on a minimum, `stays` whether one more step would leave the last point where it is. `rows` has
    every step up to 100 and the last. `ended` says why fewer steps were made than were asked for.
    """

    steps: int
    exact: bool
    rows: tuple[Row, ...]
    arrived: tuple[int, ...]
    stays: bool
    left: float
    ended: str = ""

    @property
    def reaches(self) -> bool:
        """Whether the last step ends on a minimum."""
        return self.steps in self.arrived


@dataclass(frozen=True, slots=True)
class Minimum:
    """A minimum and the Hessian's extreme positive eigenvalues there, None where it has no curvature.

    `flat` counts the directions along which the minimum extends.
    """

    point: tuple[Exact, ...]
    value: Exact
    smallest: Exact | None
    largest: Exact | None
    flat: int = 0


@dataclass(frozen=True, slots=True)
class Setting:
    """A learning rate and momentum with the run that was made with them.

    `radius` is what a step leaves of the error in the long run, on a quadratic or near the minimum; above 1 it diverges. None for
    the one step of a function that is no quadratic.
    `unusual` says what is odd about it, if anything.
    """

    learning_rate: Exact
    momentum: Exact
    radius: float | None
    run: Run | None
    unusual: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The best fixed setting of an optimizer. `convergence` is what a step leaves of the error in the long run.

    `predicted` steps bring the error to 1e-6 of itself by `convergence`, None where that is 1 in float64; `taken` are those of the
    run, None where it was too long to count.
    `threshold` is the learning rate beyond which this momentum diverges.
    """

    optimizer: str
    learning_rate: Exact
    momentum: Exact
    convergence: Exact
    threshold: Exact
    predicted: int | None
    taken: int | None


@dataclass(frozen=True, slots=True)
class DescentSolution:
    """The answer to a question about descent.

    `unknown` is what was solved for: learning_rate, momentum, settings (the best ones), or nothing (all was given, and run).
    `solutions` are all real ones, those in the usual range first; `plans` the best fixed settings of each optimizer.
    """

    function: str
    variables: tuple[str, ...]
    optimizer: str
    unknown: str
    steps: int | None
    start: tuple[Exact, ...] | None
    minima: tuple[Minimum, ...]
    solutions: tuple[Setting, ...]
    plans: tuple[Plan, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def learning_rate(self) -> Exact:
        """That of the first solution."""
        return self.solutions[0].learning_rate

    @property
    def momentum(self) -> Exact:
        """That of the first solution."""
        return self.solutions[0].momentum

    def drawing(self) -> Drawing:
        """The first solution's run on the graph of a function of one variable; raises UsageError for several, or without a run."""
        from torchstone.solve.optimization.drawing import draw

        return draw(self)
