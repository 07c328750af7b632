"""What every answer measures with: evidence from two numbers, the worst of many, and posted expressions evaluated."""

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping

import sympy
import torch

from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.law import find_law
from torchstone.core.problem import Claim
from torchstone.core.quantity import EXACT, Amount, Quantity, Tolerance, Unit
from torchstone.traces.expression import evaluate, parse
from torchstone.traces.symbolic import to_sympy

SITE = Site("torchstone.problems")


def generator(seed: int = 0) -> torch.Generator:
    """A seeded source of draws: an answer is the same every time."""
    return torch.Generator().manual_seed(seed)


def rounding(operations: float, scale: float = 1.0) -> Tolerance:
    """What `operations` roundings of float64 numbers as large as `scale` may add up to."""
    amount = operations * max(scale, sys.float_info.min) * sys.float_info.epsilon
    return Tolerance(rounding=Amount(amount, f"{operations:g} roundings in float64 at {scale:.3g}"))


def compared(
    law: str,
    predicted: float,
    measured: float,
    tolerance: Tolerance = EXACT,
    how: str = "float64",
    *,
    relation: Relation = Relation.EQUAL,
    unit: Unit | None = None,
) -> Evidence:
    """Evidence in the unit of a law, or another. A prediction must be finite: where it is not, it is held as the measured side."""
    if not math.isfinite(predicted):
        predicted, measured = measured, predicted
    unit = unit or find_law(law).unit
    return Evidence(law, SITE, Quantity(float(predicted), unit), Quantity(float(measured), unit), tolerance, relation, how)


def worst(evidence: Iterable[Evidence]) -> Evidence:
    """The evidence that goes furthest beyond its tolerance, or comes closest to it."""
    return max(evidence, key=_excess)


def _excess(evidence: Evidence) -> float:
    if evidence.measured is None:
        return -math.inf
    difference = (evidence.measured - evidence.predicted).value
    if math.isnan(difference):
        return math.inf
    signed = {Relation.EQUAL: abs(difference), Relation.AT_MOST: difference, Relation.AT_LEAST: -difference}
    return signed[evidence.relation] - evidence.tolerance.total


def claimed(about: str, evidence: Iterable[Evidence], sentence: Callable[[Evidence], str]) -> Claim:
    """A posted claim held by its worst evidence, which the sentence puts into words."""
    against = worst(evidence)
    return Claim(about, against, sentence(against))


def found(evidence: Evidence) -> float:
    """What evidence measured, for a sentence; NaN where nothing was."""
    return math.nan if evidence.measured is None else evidence.measured.value


def value(expression: object, functions: Mapping[str, Callable[[float], float]] | None = None, **at: float) -> float:
    """A posted expression evaluated at a point, such as x*H(x) with `functions` {"H": heaviside}. Numbers are themselves.

    Raises UsageError for what is no expression in these names.
    """
    text = str(expression)
    for name, function in (functions or {}).items():
        text = re.sub(rf"\b{name}\(([^()]*)\)", _called(function, at), text)
    parsed = parse(f"({text})*unit")  # the parser wants a variable, and a posted answer may be a number
    given = {**at, "unit": 1.0}
    return evaluate(parsed, {name: given[name] for name in parsed.variables if name in given})


def _called(function: Callable[[float], float], at: Mapping[str, float]) -> Callable[[re.Match[str]], str]:
    """What stands in place of a call: the function's value at its argument."""
    return lambda found: f"({function(value(found[1], None, **at))!r})"


def derivative(expression: str, name: str, at: float) -> float:
    """The derivative of an expression in one variable, by sympy, at a point."""
    symbol = sympy.Symbol(name, real=True)
    return float(sympy.diff(to_sympy(parse(expression), {name: symbol}), symbol).subs(symbol, at))
