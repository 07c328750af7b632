"""How rules and numbers are written for people: v_-1 as v₋₁, dv_1 as dv₁, bar_v_3 as v̄₃."""

import math
import re
import unicodedata
from collections.abc import Callable

_SUBSCRIPT = str.maketrans("-0123456789", "₋₀₁₂₃₄₅₆₇₈₉")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_NAME = re.compile(r"(bar_|d)?v_(-?\d+)")
_POWER = re.compile(r"\*\*(?:(\d+)(?![\d.e])|\((-\d+)\))")  # whole exponents only: a raised point reads as nothing
_LONG_POWER = re.compile(r"\*\*(\d[\d.]*e[-+]?\d+)")
_LARGE, _SMALL = 1e7, 0.01
Notation = Callable[[str], str]


def plain(rule: str) -> str:
    """As it is: ASCII.

    >>> plain("bar_v_3*2*v_0")
    'bar_v_3*2*v_0'
    """
    return rule


def signs(rule: str) -> str:
    """With the signs of mathematics.

    >>> signs("-dv_1/v_-1**2 + bar_v_10*cos(v_0)")
    '-dv₁/v₋₁² + v̄₁₀·cos(v₀)'
    >>> signs("2.5*v_0**1.5 + v_0**(-0.5)")
    '2.5·v₀^1.5 + v₀^(-0.5)'
    """
    text = _POWER.sub(lambda found: (found[1] or found[2]).translate(_SUPERSCRIPT), rule)
    text = _LONG_POWER.sub(r"^(\1)", text)
    text = _NAME.sub(lambda found: _letter(found[1]) + found[2].translate(_SUBSCRIPT), text)
    text = text.replace("**", "^").replace("*", "·").replace(">=", "≥").replace("<=", "≤").replace("(pi)", "(π)")
    return re.sub(r"^dy/d", "∂y/∂", text).replace("bar_y", "ȳ")


def _letter(kind: str | None) -> str:
    return {"bar_": "v̄", "d": "dv", None: "v"}[kind]


def written(value: float, precision: int) -> str:
    """A number with `precision` digits after the point; with an exponent where that would hide its size.

    >>> written(35.121118, 5), written(-1.5e-9, 5), written(0.0, 5), written(math.nan, 5)
    ('35.12112', '-1.50000e-09', '0.00000', 'nan')
    """
    if not math.isfinite(value):
        return str(value)
    smallest = min(10.0 ** (2 - precision), max(_SMALL, 10.0**-precision))  # keeps digits that say something
    fixed = value == 0 or smallest <= abs(value) < _LARGE
    return f"{value + 0.0:.{precision}f}" if fixed else f"{value:.{precision}e}"


def aligned(numbers: list[str]) -> list[str]:
    """Numbers padded so that their points stand below each other.

    >>> aligned(["3.0", "-12.25", "inf"])
    ['  3.0 ', '-12.25', 'inf   ']
    """
    parts = [number.partition(".") for number in numbers]
    left, right = max(len(part[0]) for part in parts), max(len(part[1] + part[2]) for part in parts)
    return [part[0].rjust(left) + (part[1] + part[2]).ljust(right) for part in parts]


def width(text: str) -> int:
    """How many cells a text takes in a terminal: marks above a letter take none, wide letters two.

    >>> width("v̄₁"), width("x")
    (2, 1)
    """
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def padded(text: str, cells: int) -> str:
    """A text filled with spaces to so many cells."""
    return text + " " * (cells - width(text))
