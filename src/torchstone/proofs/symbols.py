"""A law's own formula on symbols: its `math` is exchanged for sympy's, so that nothing is typed twice."""

import math
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sympy

from torchstone.core.evidence import Evidence, Relation
from torchstone.core.law import Law
from torchstone.core.quantity import EXACT, Quantity
from torchstone.proofs.experiment import Symbolic
from torchstone.proofs.holding import SITE


class _Mathematics(types.SimpleNamespace):
    """What laws use of `math`, for symbols."""

    exp, log, cos, sin, tanh, pi, e, inf = (
        sympy.exp, sympy.log, sympy.cos, sympy.sin, sympy.tanh, sympy.pi, sympy.E, sympy.oo,
    )  # fmt: skip
    tan, asin, acos, atan, sinh, cosh, erf = sympy.tan, sympy.asin, sympy.acos, sympy.atan, sympy.sinh, sympy.cosh, sympy.erf
    sqrt = staticmethod(sympy.sqrt)  # a function, not a class like the others: it would bind as a method

    @staticmethod
    def isfinite(x: Any) -> bool:
        return x not in {sympy.oo, -sympy.oo, sympy.zoo, sympy.nan}

    @staticmethod
    def isnan(x: Any) -> bool:
        return bool(x is sympy.nan)

    @staticmethod
    def log1p(x: Any) -> Any:
        return sympy.log(1 + x)

    @staticmethod
    def expm1(x: Any) -> Any:
        return sympy.exp(x) - 1

    @staticmethod
    def prod(factors: Iterable[Any]) -> Any:
        return math.prod(factors)

    @staticmethod
    def fsum(terms: Iterable[Any]) -> Any:
        return sum(terms, sympy.Integer(0))


def symbolically(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The same code with sympy for `math`; functions of its own module, and tables of them, are exchanged likewise."""
    world: dict[str, Any] = {"max": sympy.Max, "min": sympy.Min, "abs": sympy.Abs, "float": lambda x: x}
    for name, value in vars(sys.modules[formula.__module__]).items():
        if isinstance(value, dict) and not name.startswith("__"):
            world[name] = {key: _exchanged(entry, formula.__module__, world) for key, entry in value.items()}
        elif name not in {"math", "max", "min", "abs"}:
            world[name] = _exchanged(value, formula.__module__, world)
    world["math"] = _Mathematics()
    return world[formula.__name__]  # type: ignore[no-any-return]


def _exchanged(value: Any, module: str, world: dict[str, Any]) -> Any:
    """A function of that module, in the other world; anything else is itself."""
    if not isinstance(value, types.FunctionType) or value.__module__ != module:
        return value
    other = types.FunctionType(value.__code__, world, value.__name__, value.__defaults__)
    other.__kwdefaults__ = value.__kwdefaults__
    return other


def identities(law: Law, symbolic: Symbolic) -> Iterator[Evidence]:
    """Evidence for each expression that must vanish: by simplification, else decided at a rational point."""
    zero = Quantity(0.0, law.unit)
    for expression in symbolic(symbolically(law.formula)):
        reduced = sympy.simplify(expression)
        if reduced == 0:
            yield Evidence(law.name, SITE, zero, zero, EXACT, Relation.EQUAL, "sympy")
            continue
        value = _at_a_point(reduced)
        reason = f"sympy leaves {sympy.sstr(reduced)[:60]}" if abs(value) < 1e-20 else ""  # noqa: PLR2004 - of 40 digits
        yield Evidence(law.name, SITE, zero, Quantity(value, law.unit), EXACT, Relation.EQUAL, "sympy", reason)


def _at_a_point(expression: Any) -> float:
    symbols = sorted(expression.free_symbols, key=str)
    point = {symbol: sympy.Rational(3 + 2 * i, 7 + i) for i, symbol in enumerate(symbols)}
    value = expression.subs(point).evalf(40)
    return float(value) if value.is_real else float("nan")
