"""A trace held against torch: each row alone by torch.func.jvp and vjp in float64, then the whole.

A row is given the trace's own numbers, so that its tolerance is a few roundings however ill-conditioned the formula is; rows of
one operation go through torch together. That every row is right and that the rows are the formula's makes the trace right;
the whole is held as well, with a tolerance measured by disturbing every row as rounding does.
"""

import math
import operator
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from torchstone.traces.expression import Expression, Row
from torchstone.traces.rules import adjoint_name, tangent_name, value_name
from torchstone.traces.sweep import UNDERFLOW, Sent, Tape, cancelled, spread
from torchstone.traces.table import Comparison, Seed, Verification

ROUNDINGS = 16
_JIT = "PYTORCH_JIT"
_REASON = f"{ROUNDINGS} roundings in float64 at the size of the row's terms"
_WHOLE_REASON = "8 times what the number moves when every row is off by 4 units in the last place, and 16 roundings"
_OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "negative": operator.neg,
    "softplus": functional.softplus,
    "max": torch.maximum,
    "min": torch.minimum,
    ">": lambda a, b: (a > b).double(),
    ">=": lambda a, b: (a >= b).double(),
    "<": lambda a, b: (a < b).double(),
    "<=": lambda a, b: (a <= b).double(),
    "where": lambda chosen, a, b: torch.where(chosen != 0, a, b),
}


def in_torch(operation: str) -> Callable[..., Tensor]:
    """Torch's function for an elemental function of laws.autodiff; constants come as tensors, exponents as numbers."""
    return _OPERATIONS.get(operation) or getattr(torch, operation)


def jvp(function: Callable[..., Tensor], point: tuple[Tensor, ...], direction: tuple[Tensor, ...]) -> Tensor:
    """torch.func.jvp's derivative along a direction.

    The first call in a process would compile decompositions of losses by torch.jit, deprecated: 0.8 s, and a warning. No elemental
    function needs them, and PYTORCH_JIT=0, which torch reads at each call, leaves them out.
    """
    before = os.environ.get(_JIT)
    os.environ[_JIT] = "0"
    try:
        found: Tensor = torch.func.jvp(function, point, direction)[1]
    finally:
        if before is None:
            del os.environ[_JIT]
        else:
            os.environ[_JIT] = before
    return found


def in_torch_at(expression: Expression, at: Sequence[float]) -> tuple[float, ...]:
    """The formula's value and gradient, computed by torch as one function."""

    def whole(*variables: Tensor) -> Tensor:
        found = dict(enumerate(variables, 1 - len(variables)))
        for position, row in enumerate(expression.rows, 1):
            arguments = [found[a] if isinstance(a, int) else _constant(row, a) for a in row.arguments]
            found[position] = _applied(row.operation, arguments)
        return found[expression.result]

    value, pull, *_ = torch.func.vjp(whole, *(torch.tensor(number, dtype=torch.float64) for number in at))
    return (value.item(), *(adjoint.item() for adjoint in pull(torch.ones_like(value))))


def _constant(row: Row, number: float) -> Tensor | float:
    return number if row.operation == "**" else torch.tensor(number, dtype=torch.float64)


def _applied(operation: str, arguments: Sequence[Tensor | float]) -> Tensor:
    if not any(isinstance(argument, Tensor) for argument in arguments):
        arguments = [torch.tensor(arguments[0], dtype=torch.float64), *arguments[1:]]
    return in_torch(operation)(*arguments)


def verify(
    tape: Tape, tangents: Sequence[tuple[Seed, Mapping[int, float]]], sent: Sequence[Sent], whole: tuple[float, ...], whole_of: str
) -> Verification:
    """Hold every row of a trace, and its value and gradient, against torch.

    `whole` is the value and the gradient as torch gives them for the whole, `whole_of` says of what.
    """
    held = _Holding(tape, [seed.name for seed, _ in tangents], [found for _, found in tangents], sent)
    for members in _groups(tape):
        held.hold(members)
    return Verification(tuple(held.comparisons), tuple(_whole(tape, tangents, whole)), whole_of, held.incomparable)


def _groups(tape: Tape) -> Iterator[list[int]]:
    """Positions of rows that torch computes together: one operation, the same arguments constant, equal constant powers."""
    groups: dict[object, list[int]] = defaultdict(list)
    for position, row in enumerate(tape.expression.rows, 1):
        constants = tuple(a if row.operation == "**" else True for a in row.arguments if isinstance(a, float))
        groups[row.operation, tuple(isinstance(a, int) for a in row.arguments), constants].append(position)
    yield from groups.values()


@dataclass
class _Holding:
    """The rows of a trace on their way through torch."""

    tape: Tape
    seeds: Sequence[str]
    tangents: Sequence[Mapping[int, float]]
    sent: Sequence[Sent]
    comparisons: list[Comparison] = field(default_factory=list)
    incomparable: int = 0

    def __post_init__(self) -> None:
        self.sent_by = {(one.source, one.slot): one for one in self.sent}
        self.adjoint = {self.tape.expression.result: 1.0} | {one.position: one.total for one in self.sent}

    def hold(self, members: Sequence[int]) -> None:
        """Hold rows of one kind."""
        rows = [self.tape.expression.rows[position - 1] for position in members]
        slots = [slot for slot, argument in enumerate(rows[0].arguments) if isinstance(argument, int)]
        columns = [_tensor(column) for column in zip(*(self.tape.taken(row) for row in rows), strict=True)]

        def together(*moving: Tensor) -> Tensor:
            arguments: list[Tensor | float] = [*columns]
            for slot, column in zip(slots, moving, strict=True):
                arguments[slot] = column
            if rows[0].operation == "**":  # a constant power is torch's own case: no derivative by it
                arguments = [rows[0].arguments[i] if i not in slots else one for i, one in enumerate(arguments)]
            return _applied(rows[0].operation, arguments).expand(len(rows))

        moving = [columns[slot] for slot in slots]
        self._values(members, together(*moving))
        if slots:
            self._forward(members, slots, together, moving)
            self._reverse(members, slots, together, moving)

    def _values(self, members: Sequence[int], found: Tensor) -> None:
        for position, reference in zip(members, found.tolist(), strict=True):
            number = self.tape.numbers[position]
            known = self._finite(position) or _alike(number, reference)  # pow(-inf, 1/2) is nan or inf, by how torch gets there
            self._compare(value_name(position), number, reference, abs(number), known=known)

    def _forward(self, members: Sequence[int], slots: Sequence[int], function: Callable[..., Tensor], moving: list[Tensor]) -> None:
        for name, tangents in zip(self.seeds, self.tangents, strict=True):
            directions = [_tensor([tangents[self._argument(position, slot)] for position in members]) for slot in slots]
            found = jvp(function, tuple(moving), tuple(directions))
            for position, reference in zip(members, found.tolist(), strict=True):
                changes = {slot: tangents[self._argument(position, slot)] for slot in slots}
                scale = sum(self._size(position, slot, change) for slot, change in changes.items())
                known = self._finite(position, *changes.values()) and _alike(tangents[position], reference)
                title = f"{tangent_name(position)} along {name}"
                self._compare(title, tangents[position], reference, scale, known=known)

    def _reverse(self, members: Sequence[int], slots: Sequence[int], function: Callable[..., Tensor], moving: list[Tensor]) -> None:
        back = _tensor([self.adjoint.get(position, 0.0) for position in members])
        amounts = torch.func.vjp(function, *moving)[1](back)
        for slot, column in zip(slots, amounts, strict=True):
            for position, reference in zip(members, column.tolist(), strict=True):
                one = self.sent_by.get((position, slot))
                if one is None:
                    continue  # a row that the result does not use
                scale = self._size(position, slot, self.adjoint[position]) + abs(one.total) + abs(one.before)
                known = self._finite(position, self.adjoint[position], one.before) and _alike(one.total, reference)
                title = f"{adjoint_name(one.position)} from {value_name(position)}"
                self._compare(title, one.total, one.before + reference, scale, known=known)

    def _compare(self, name: str, number: float, reference: float, scale: float, *, known: bool = True) -> None:
        if not known:
            self.incomparable += 1
            return
        size = scale if math.isfinite(scale) else 0.0
        tolerance = ROUNDINGS * (size + UNDERFLOW) * sys.float_info.epsilon
        self.comparisons.append(Comparison(name, number, reference, tolerance, _REASON))

    def _argument(self, position: int, slot: int) -> int:
        return int(self.tape.expression.rows[position - 1].arguments[slot])

    def _finite(self, position: int, *changes: float) -> bool:
        """Whether all that a row takes is finite; torch may mask what comes after an infinity, or not."""
        return all(map(math.isfinite, (*changes, *self.tape.taken(self.tape.expression.rows[position - 1]))))

    def _size(self, position: int, slot: int, change: float) -> float:
        """How large the terms are from which torch makes a derivative: where 1 - y cancels, 1 is what is rounded."""
        operation = self.tape.expression.rows[position - 1].operation
        apart = float(operation in {"max", "min"})  # forward: b + share * (a - b)
        lost = cancelled(operation, self.tape.numbers[position]) + apart
        return (abs(self.tape.partials[position - 1][slot]) + lost + UNDERFLOW) * abs(change)


def _alike(number: float, reference: float) -> bool:
    """Unless both are not finite and differ: the order of operations decides between infinities and nan."""
    return math.isfinite(number) or math.isfinite(reference) or str(number) == str(reference)


def _tensor(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _whole(tape: Tape, tangents: Sequence[tuple[Seed, Mapping[int, float]]], whole: tuple[float, ...]) -> Iterator[Comparison]:
    """The value, the gradient and the derivative along each seed; a number that is not finite is held row by row only."""
    names = tape.expression.variables
    moved = spread(tape)
    found = (tape.numbers[tape.expression.result], *tape.gradient())
    wanted = zip(("y", *(f"dy/d{name}" for name in names)), found, whole, moved, strict=True)
    along = [
        (
            f"dy along {seed.name}",
            ours[tape.expression.result],
            sum(map(operator.mul, seed.direction, whole[1:])),
            sum(map(operator.mul, map(abs, seed.direction), moved[1:])),
        )
        for seed, ours in tangents
    ]
    for name, number, reference, moves in (*wanted, *along):
        if all(map(math.isfinite, (number, reference, moves))):
            tolerance = 8 * moves + ROUNDINGS * (abs(number) + UNDERFLOW) * sys.float_info.epsilon
            yield Comparison(name, number, reference, tolerance, _WHOLE_REASON)
