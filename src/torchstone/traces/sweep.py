"""The sweeps over a tape: values upwards, derivatives upwards, adjoints downwards. Numbers only, standard library only."""

import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torchstone.laws.autodiff import elemental_derivative, elemental_value
from torchstone.traces.expression import Expression, Row

# Where such a function does not take an argument, nothing comes through, not even an infinity: torch masks here, too.
SELECTING = {"relu", "max", "min", "where", ">", ">=", "<", "<="}
ULPS = 4  # as far as torch's elemental functions may lie from the C library's
RUNS = 4
UNDERFLOW = sys.float_info.min / sys.float_info.epsilon  # what is rounded like a number of this size: where numbers get lost

# A number, and the size of the terms that it was rounded from.
Noise = Callable[[float, float], float]


@dataclass(frozen=True, slots=True)
class Sent:
    """What row `source` sends back through its argument `slot`: `amount` is added to the adjoint `before`."""

    source: int
    slot: int
    position: int
    amount: float
    before: float
    total: float
    first: bool


@dataclass(frozen=True, slots=True)
class Tape:
    """An expression with the number at every position, and every row's partial derivatives."""

    expression: Expression
    numbers: Mapping[int, float]
    partials: Sequence[Sequence[float]]

    def rows(self) -> Iterator[tuple[int, Row, Sequence[float]]]:
        """Position, row and partial derivatives, upwards."""
        return ((position, *pair) for position, pair in enumerate(zip(self.expression.rows, self.partials, strict=True), 1))

    def taken(self, row: Row) -> list[float]:
        """The numbers that a row takes."""
        return [self.numbers[argument] if isinstance(argument, int) else argument for argument in row.arguments]

    def tangents(self, direction: Sequence[float]) -> dict[int, float]:
        """The derivative at every position along a direction of the variables: one forward sweep."""
        found = {index + 1 - len(direction): float(component) for index, component in enumerate(direction)}
        for position, row, partials in self.rows():
            terms = [
                passed(row.operation, partial, found[argument])
                for partial, argument in zip(partials, row.arguments, strict=True)
                if isinstance(argument, int)
            ]
            found[position] = sum(terms, 0.0)
        return found

    def adjoints(self) -> list[Sent]:
        """Every accumulation of one reverse sweep, in its order."""
        found = {self.expression.result: 1.0}
        sent = []
        for position, row, partials in reversed(list(self.rows())):
            for slot, (partial, argument) in enumerate(zip(partials, row.arguments, strict=True)):
                if not isinstance(argument, int) or position not in found:
                    continue
                amount = passed(row.operation, partial, found[position])
                before = found.get(argument, 0.0)
                sent.append(Sent(position, slot, argument, amount, before, before + amount, argument not in found))
                found[argument] = before + amount
        return sent

    def gradient(self) -> tuple[float, ...]:
        """The adjoints of the variables; 0 where a variable is not used."""
        names = self.expression.variables
        found = {self.expression.result: 1.0} | {one.position: one.total for one in self.adjoints()}
        return tuple(found.get(index + 1 - len(names), 0.0) for index in range(len(names)))


def passed(operation: str, partial: float, change: float) -> float:
    """A partial derivative times a derivative or an adjoint."""
    return 0.0 if partial == 0 and operation in SELECTING else partial * change


def cancelled(operation: str, value: float) -> float:
    """The size of what cancels where torch makes a derivative from the value: 1 - y*y, y*(1 - y), y + 1; else 0."""
    return abs({"tanh": value * value, "sigmoid": value, "expm1": 1.0}.get(operation, 0.0))


def _quiet(number: float, size: float) -> float:
    del size
    return number


def sweep(expression: Expression, at: Sequence[float], noise: Noise = _quiet) -> Tape:
    """Values and partial derivatives at a point; `noise` may disturb each result, as rounding does."""
    numbers = {index + 1 - len(at): float(value) for index, value in enumerate(at)}
    partials = []
    for position, row in enumerate(expression.rows, 1):
        taken = [numbers[argument] if isinstance(argument, int) else argument for argument in row.arguments]
        value = elemental_value(row.operation, taken)
        numbers[position] = noise(value, abs(value))
        lost = cancelled(row.operation, value)
        partials.append(tuple(noise(one, abs(one) + lost) for one in elemental_derivative(row.operation, taken)))
    return Tape(expression, numbers, partials)


def spread(tape: Tape) -> tuple[float, ...]:
    """How far the value and each partial derivative move when every row is off by a few units in the last place.

    Monte Carlo arithmetic (Parker 1997): an estimate of what rounding does to this formula at this point, cancellation included.
    """
    generator = random.Random(0)  # noqa: S311 - rounding, not secrets
    unit = ULPS * sys.float_info.epsilon / 2

    def disturbed(number: float, size: float) -> float:
        return number + unit * (size + UNDERFLOW) * generator.uniform(-1, 1)

    at = [tape.numbers[index + 1 - len(tape.expression.variables)] for index in range(len(tape.expression.variables))]
    results = [_result(tape), *(_result(sweep(tape.expression, at, disturbed)) for _ in range(RUNS))]
    return tuple(max(abs(one - column[0]) for one in column) for column in zip(*results, strict=True))


def _result(tape: Tape) -> tuple[float, ...]:
    return (tape.numbers[tape.expression.result], *tape.gradient())
