"""The question: what is given, what is unknown, and whether it can be answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torchstone.core.errors import UsageError, meant
from torchstone.laws.optimization.dynamics import OPTIMIZERS
from torchstone.solve.optimization.numbers import rational, read
from torchstone.solve.optimization.quadratic import quadratic
from torchstone.solve.optimization.running import Objective
from torchstone.traces.expression import parse

Start = object | Mapping[str, object] | Sequence[object] | None


@dataclass(frozen=True)
class Asked:
    """A question in sympy's numbers; None is what was not given. Gradient descent has the momentum 0."""

    objective: Objective
    optimizer: str
    start: tuple[Any, ...] | None
    steps: int | None
    rate: Any
    momentum: Any

    @property
    def unknown(self) -> str:
        """What is to be found: settings where nothing fixes the number of steps, nothing where all is given."""
        if self.steps is None and self.rate is None:
            return "settings"
        missing = [name for name, value in (("learning_rate", self.rate), ("momentum", self.momentum)) if value is None]
        return missing[0] if missing else ""


def ask(
    function: str, start: Start, steps: int | None, optimizer: str, learning_rate: object, momentum: object
) -> Asked:
    """Read a question; raises UsageError for one that is ill-posed, with the nearest that is not."""
    if optimizer not in OPTIMIZERS:
        message = f"an optimizer is one of {', '.join(OPTIMIZERS)}; {optimizer!r} came{meant(optimizer, OPTIMIZERS)}"
        raise UsageError(message)
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        message = f"steps are a whole number from 1; {steps!r} came"
        raise UsageError(message)
    rate = None if learning_rate is None else read(learning_rate, "a learning rate")
    if rate is not None and not rate > 0:
        message = f"a learning rate is positive; {rate} came: a negative one climbs"
        raise UsageError(message)
    objective = read_objective(function)
    given = _momentum(optimizer, momentum)
    asked = Asked(objective, optimizer, _start(start, objective), steps, rate, given)
    _determined(asked, momentum)
    return asked


def read_objective(function: str) -> Objective:
    """A formula as an objective; raises UsageError for one that cannot be read, and for a quadratic without a minimum."""
    import sympy

    from torchstone.traces.symbolic import to_sympy

    expression = parse(function)
    variables = tuple(sympy.Symbol(name, real=True) for name in expression.variables)
    formula = to_sympy(expression, dict(zip(expression.variables, variables, strict=True)))
    if formula.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I):
        message = f"the function {function} has no real, finite value anywhere: check its constants"
        raise UsageError(message)
    gradient = tuple(sympy.diff(formula, variable) for variable in variables)
    return Objective(expression, formula, variables, gradient, quadratic(formula, variables))


def _momentum(optimizer: str, momentum: object) -> Any:
    if optimizer != "gradient":
        return None if momentum is None else read(momentum, "a momentum")
    found = read(0 if momentum is None else momentum, "a momentum")
    if found != 0:
        message = f"gradient descent has no momentum; {found} came: choose the optimizer momentum, averaged or nesterov"
        raise UsageError(message)
    return found


def _start(start: Start, objective: Objective) -> tuple[Any, ...] | None:
    """One number, a number for each variable by name, or in the order in which they first occur."""
    names = [str(variable) for variable in objective.variables]
    if start is None:
        return None
    if isinstance(start, Mapping):
        strange = [name for name in start if name not in names]
        missing = [name for name in names if name not in start]
        if strange or missing:
            wrong = f"no variable is named {strange[0]!r}" if strange else f"{missing[0]} has no value"
            near = meant(str(strange[0]), names) if strange else ""
            message = f"a start gives every variable a value, such as {_example(names)}; {wrong}{near}"
            raise UsageError(message)
        return tuple(_coordinate(start[name], f"the start of {name}") for name in names)
    numbers = list(start) if isinstance(start, Sequence) and not isinstance(start, str) else [start]
    if len(numbers) != len(names):
        message = f"the function has the variables {', '.join(names)}; {len(numbers)} came as a start: give {_example(names)}"
        raise UsageError(message)
    return tuple(_coordinate(number, f"the start of {name}") for number, name in zip(numbers, names, strict=True))


def _coordinate(value: object, name: str) -> Any:
    """A number as `read` takes it, or a formula without variables such as pi/2: to 50 digits where it is not rational."""
    from torchstone.traces.symbolic import to_sympy

    try:
        return read(value, name)
    except UsageError:
        if not isinstance(value, str):
            raise
        try:
            found = to_sympy(parse(f"({value}) + 0*unit"))
        except UsageError:
            found = None
        if found is None or found.free_symbols or not found.is_finite or not found.is_real:
            raise
        return read(str(rational(found)), name)


def _example(names: Sequence[str]) -> str:
    return ",".join(f"{name}=1" for name in names)


def _determined(asked: Asked, momentum: object) -> None:
    """Refuse what has fewer conditions than unknowns."""
    if asked.steps is None and asked.rate is not None and asked.momentum is None:
        message = (
            f"with the learning rate {asked.rate} alone nothing fixes the momentum: give the steps (which momentum arrives?) "
            "or the momentum (what do the two do?), or leave the learning rate out (which pair is best?)"
        )
        raise UsageError(message)
    if asked.steps is None and asked.rate is None and momentum is not None and asked.optimizer != "gradient":
        message = (
            f"with the momentum {momentum} alone nothing fixes the learning rate: give the steps (which rate arrives?) "
            "or the learning rate (what do the two do?), or leave the momentum out (which pair is best?)"
        )
        raise UsageError(message)
    if asked.steps is not None and asked.rate is None and asked.momentum is None:
        message = (
            f"arriving in {asked.steps} step{'s' * (asked.steps > 1)} is one condition on two unknowns: every learning rate has "
            "its own momenta; give the learning rate or the momentum, or leave the steps out (which pair is best?)"
        )
        raise UsageError(message)
