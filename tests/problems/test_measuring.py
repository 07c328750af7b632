"""Posted expressions evaluated, the worst of many, and curves."""

import math

import pytest

from torchstone.core.errors import UsageError
from torchstone.core.evidence import Relation, Verdict
from torchstone.core.quantity import Unit
from torchstone.problems.curves import curves
from torchstone.problems.measuring import compared, derivative, found, rounding, value, worst

LAW = "activation.heaviside"


def test_expressions_numbers_and_functions():
    assert value("1 / 2") == 0.5 and value(3) == 3.0 and value("-2") == -2.0
    assert value("W / (1 - p)", W=3.0, p=0.25, unused=7.0) == 4.0
    assert value("x * (1 - H(-x))", {"H": lambda x: float(x > 0)}, x=2.0) == 2.0
    assert value("log(0)") == -math.inf and value("1 / 0") == math.inf and math.isnan(value("0 / 0"))
    assert derivative("sigmoid(x)", "x", 0.0) == 0.25


def test_what_is_no_expression_is_refused():
    with pytest.raises(UsageError):
        value("x +", x=1.0)
    with pytest.raises(UsageError):
        value("y", x=1.0)


def test_a_claim_that_is_not_finite_breaks_and_does_not_raise():
    evidence = compared(LAW, math.inf, 1.0)
    assert evidence.verdict is Verdict.BROKEN and found(evidence) == math.inf
    assert compared(LAW, math.nan, 1.0).verdict is Verdict.BROKEN


def test_the_worst_goes_furthest_beyond_its_tolerance():
    near, far, nan = compared(LAW, 0.0, 0.5, rounding(1e16)), compared(LAW, 0.0, 0.1), compared(LAW, 0.0, math.nan)
    below = compared(LAW, 5.0, 1.0, relation=Relation.AT_MOST, unit=Unit.COUNT)
    assert worst([near, far, below]) is far and worst([near, nan, far]) is nan
    assert below.predicted.unit is Unit.COUNT


def test_a_flat_curve_and_one_point_are_drawn():
    drawing = curves("a & b", {"<one>": [(0.0, 1.0)]}, "x")
    assert "&lt;one&gt;" in drawing.svg and "a &amp; b" in drawing.svg and "*" in drawing.text
