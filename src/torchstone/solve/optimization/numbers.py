"""Numbers in and out: what a user writes becomes a sympy number, what was found becomes text and a decimal."""

import math
from fractions import Fraction
from typing import Any

from torchstone.core.errors import UsageError
from torchstone.solve.optimization.solution import Exact

DIGITS = 50  # of what is not rational
_LONGEST = 32
_SMALLEST = Fraction(1, 10**100)


def read(value: object, name: str) -> Any:
    """A sympy Rational from a whole number, a Fraction, a decimal as written (0.1 is 1/10) or text (1/3, 0.1, 1e-3).

    Raises UsageError for anything else.
    """
    import sympy

    try:
        if isinstance(value, bool):
            raise TypeError  # noqa: TRY301 - a truth value is no number here
        found = Fraction(value if isinstance(value, int | Fraction) else str(value))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        message = f"{name} is a number such as 2, 0.5 or 1/3; {value!r} came"
        raise UsageError(message) from None
    if found and not _SMALLEST < abs(found) < 1 / _SMALLEST:
        message = f"{name} lies between 1e-100 and 1e100 in size; {value!r} came: change the scale of the function"
        raise UsageError(message)
    return sympy.Rational(found.numerator, found.denominator)


def exact(number: Any) -> Exact:
    """A real sympy number as text, where it has a short form, and decimal.

    >>> import sympy
    >>> str(exact(sympy.Rational(1, 2))), str(exact((1 + sympy.sqrt(5)) / 2)), str(exact(sympy.Float("0.25")))
    ('1/2 = 0.5', '1/2 + sqrt(5)/2 ≈ 1.618033989', '0.25')
    """
    import sympy

    value = float(number.evalf(DIGITS)) if not number.is_Rational else _float(number)
    closed = not number.has(sympy.Float, sympy.polys.rootoftools.ComplexRootOf)
    text = sympy.sstr(number) if closed else ""
    return Exact(text if len(text) <= _LONGEST else "", value)


def _float(number: Any) -> float:
    """A Rational as float; what is too large for one is infinite."""
    try:
        return int(number.p) / int(number.q)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def rational(number: Any) -> Any:
    """A real sympy number as a Rational: itself, or to DIGITS digits."""
    import sympy

    return number if number.is_Rational else sympy.Rational(str(number.evalf(DIGITS)))


def digits(number: Any) -> Any:
    """A number as a Float of DIGITS digits."""
    import sympy

    return sympy.Float(number.evalf(DIGITS), DIGITS)


def simplest(number: Any) -> Any:
    """An irrational answer in its simplest radicals, where that is quick; any other number unchanged."""
    import sympy

    if number.is_Rational or number.has(sympy.Float, sympy.polys.rootoftools.ComplexRootOf):
        return number
    return sympy.radsimp(sympy.expand(number))
