"""Formulas in sympy: the same value, exact constants, and no recursion of ours."""

import math

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from torchstone.core.errors import UsageError
from torchstone.traces.expression import FUNCTIONS, evaluate, parse
from torchstone.traces.symbolic import exact, to_sympy


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS.values())))
def test_every_function_has_its_value_in_sympy(name):
    text = f"{name}(x, y)" if name in {"max", "min"} else f"{name}(x) + 0*y"
    for x, y in ((0.3, 0.9), (0.8, 0.1)):
        found = to_sympy(parse(text)).subs({sympy.Symbol("x", real=True): x, sympy.Symbol("y", real=True): y})
        assert float(found) == pytest.approx(evaluate(parse(text), {"x": x, "y": y}), rel=1e-12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x**2/4 - 0.1*x", "x**2/4 - x/10"), ("a-b-(c-d)", "a - b - c + d"), ("a/b/(c/d)", "a*d/(b*c)"), ("2*pi*x", "2*pi*x"), ("x/2*pi - pi/4", "pi*x/2 - pi/4"),
        ("pi*x", "pi*x"), ("x/3*e", "E*x/3"), ("(x+y)*(x+y)", "(x + y)**2"), ("-x**2", "-x**2"), ("(x+1)*2-(x+1)", "2*(x + 1) - (x + 1)"),
    ],
)  # fmt: skip
def test_constants_become_exact(text, said):
    found = to_sympy(parse(text))
    assert found == sympy.sympify(said, {name: sympy.Symbol(name, real=True) for name in "abcdxy"})


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_an_exact_number_is_that_float(value):
    assert float(exact(value)) == value


def test_infinite_constants():
    assert exact(math.inf) == sympy.oo and exact(-math.inf) == -sympy.oo and exact(math.nan) is sympy.nan
    assert exact(-math.pi) == -sympy.pi


def test_given_symbols_are_used_and_a_missing_one_is_told():
    t = sympy.Symbol("t", positive=True)
    assert to_sympy(parse("log(x**2)"), {"x": t}) == sympy.log(t**2)
    with pytest.raises(UsageError, match=r"^no symbol was given for y; the formula has x, y"):
        to_sympy(parse("x*y"), {"x": t})


def test_a_thousand_terms_stay_flat():
    found = to_sympy(parse(" + ".join(f"x{i % 7}**{i}" for i in range(1, 1001))))
    assert len(found.args) == 1000
    assert len(to_sympy(parse("*".join(f"(x + {i})" for i in range(1000)))).args) == 1000


def test_what_is_too_deep_for_sympy_is_told():
    with pytest.raises(UsageError, match=r"^the formula is nested too deep for sympy"):
        to_sympy(parse("sin(cos(" * 490 + "x" + "))" * 490))
