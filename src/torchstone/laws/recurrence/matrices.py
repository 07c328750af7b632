"""Products of small matrices of plain numbers, and the refusal of those that do not fit."""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError

Vector = Sequence[float]
Matrix = Sequence[Vector]


def check(rows: Sequence[Vector], width: int) -> None:
    """Refuse vectors that are not all of one width, one or more."""
    if width < 1 or any(len(row) != width for row in rows):
        message = f"vectors of one width, one or more, are needed; widths {[len(row) for row in rows]} came where {width} is due"
        raise InvariantError(message)


def same_length(**sequences: Sequence[object]) -> int:
    """The one length of all of these; refuses different ones."""
    lengths = {name: len(rows) for name, rows in sequences.items()}
    if len(set(lengths.values())) != 1:
        message = f"one row for each step is needed of all; lengths {lengths} came"
        raise InvariantError(message)
    return next(iter(lengths.values()))


def dot(one: Vector, other: Vector) -> float:
    """The inner product."""
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def times(matrix: Matrix, vector: Vector) -> list[float]:
    """Matrix times vector."""
    check(matrix, len(vector))
    return [dot(row, vector) for row in matrix]


def transposed(matrix: Matrix) -> list[list[float]]:
    """Rows for columns."""
    return [list(column) for column in zip(*matrix, strict=True)]


def product(left: Matrix, right: Matrix) -> list[list[float]]:
    """Matrix times matrix."""
    return [[sum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*right, strict=True)] for row in left]


def identity(width: int) -> list[list[float]]:
    """Ones down the diagonal."""
    return [[float(i == j) for j in range(width)] for i in range(width)]


def added(*vectors: Vector) -> list[float]:
    """The sum of vectors of one width."""
    return [math.fsum(column) for column in zip(*vectors, strict=True)]
