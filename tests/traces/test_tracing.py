"""Traces: the textbook's table, both modes, births of what is not finite, and torch's verdict on every row."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torchstone
from torchstone.core.errors import UsageError
from torchstone.laws.autodiff import elemental_derivative
from torchstone.traces import sweep
from torchstone.traces.expression import FUNCTIONS, parse
from torchstone.traces.table import Comparison
from torchstone.traces.tracing import trace, trace_function
from torchstone.traces.verification import in_torch_at

FORMULA, POINT = "1/(x1+x2) + x2**2 + cos(x1)", {"x1": 3, "x2": 6}


def test_the_face_has_it():
    assert torchstone.trace is trace


def test_both_modes_of_the_formula():
    found = trace(FORMULA, POINT)
    assert [(row.name, row.rule) for row in found.values] == [
        ("v_-1", "x1"), ("v_0", "x2"), ("v_1", "v_-1 + v_0"), ("v_2", "1/v_1"), ("v_3", "v_0**2"), ("v_4", "v_2 + v_3"), ("v_5", "cos(v_-1)"),
        ("v_6", "v_4 + v_5"), ("y", "v_6"),
    ]  # fmt: skip
    assert [row.rule for row in found.tangents[2:]] == [
        "dv_-1 + dv_0", "-dv_1/v_1**2", "2*v_0*dv_0", "dv_2 + dv_3", "-sin(v_-1)*dv_-1", "dv_4 + dv_5", "dv_6",
    ]  # fmt: skip
    assert [(row.name, row.rule, row.source) for row in found.adjoints] == [
        ("bar_v_6", "bar_y", "y"), ("bar_v_4", "bar_v_6", "v_6"), ("bar_v_5", "bar_v_6", "v_6"), ("bar_v_-1", "-bar_v_5*sin(v_-1)", "v_5"),
        ("bar_v_2", "bar_v_4", "v_4"), ("bar_v_3", "bar_v_4", "v_4"), ("bar_v_0", "bar_v_3*2*v_0", "v_3"), ("bar_v_1", "-bar_v_2/v_1**2", "v_2"),
        ("bar_v_-1", "bar_v_-1 + bar_v_1", "v_1"), ("bar_v_0", "bar_v_0 + bar_v_1", "v_1"), ("dy/dx1", "bar_v_-1", ""), ("dy/dx2", "bar_v_0", ""),
    ]  # fmt: skip
    assert found.value == pytest.approx(1 / 9 + 36 + math.cos(3), rel=1e-15)
    assert found.gradient == pytest.approx({"x1": -1 / 81 - math.sin(3), "x2": -1 / 81 + 12}, rel=1e-14)
    assert found.derivatives == pytest.approx(found.gradient, rel=1e-14)
    assert len(found.verification.rows) == 6 + 2 * 6 + 9 and not found.failed and found.exit_code == 0


def test_a_mode_computes_what_it_shows():
    forward, reverse = trace(FORMULA, POINT, "forward", "x2"), trace(FORMULA, POINT, mode="reverse")
    assert not forward.adjoints and forward.derivatives == {"x2": forward.tangents[-1].numbers[0]}
    assert not reverse.tangents and not reverse.seeds and reverse.derivatives == {}
    assert forward.gradient == reverse.gradient


def test_a_direction_is_a_sum_of_partial_derivatives():
    found = trace(FORMULA, POINT, seed={"x2": -2, "x1": 1})
    (number,) = found.derivatives.values()
    assert found.seeds[0].name == "x1 - 2*x2" and not found.adjoints
    assert number == pytest.approx(found.gradient["x1"] - 2 * found.gradient["x2"], rel=1e-14)
    assert trace(FORMULA, POINT, seed={"x1": 0}).derivatives == {"0": 0.0}


def test_the_order_of_the_point_is_the_order_of_the_variables():
    found = trace("a - b", {"b": 1, "a": 5})
    assert found.variables == ("b", "a") and found.at == (1.0, 5.0) and found.value == 4.0
    assert found.values[2].rule == "v_0 - v_-1" and found.gradient == {"b": -1.0, "a": 1.0}


def test_many_variables_are_differentiated_in_reverse_only_unless_asked():
    point = {f"x{i}": 0.1 * i for i in range(7)}
    formula = "+".join(point)
    assert not trace(formula, point).tangents and trace(formula, point).adjoints
    assert len(trace(formula, point, "forward").seeds) == 7 and len(trace(formula, point, "both").seeds) == 7


def test_a_variable_alone_and_one_not_alone():
    found = trace("x", {"x": 2})
    assert found.value == 2 and found.gradient == {"x": 1.0} and [row.rule for row in found.adjoints] == ["bar_y", "bar_v_0"]
    assert trace("x*x", {"x": 3}).gradient == {"x": 6.0}
    assert trace("x**x", {"x": 2}).gradient["x"] == pytest.approx(4 * (1 + math.log(2)))


@pytest.mark.parametrize(
    ("mode", "seed", "said"),
    [
        ("backward", None, "mode is one of forward, reverse, both; 'backward' came"),
        ("reverse", "x1", "a seed is forward mode's: reverse mode starts at the value, with the adjoint 1; leave one of the two out"),
        ("forward", "x3", "the seed 'x3' is no variable; there are x1, x2"),
        ("forward", {"x3": 1}, "x3: no such variable in the formula, which has x1, x2"),
        (None, {"x1": "much"}, "x1 needs a number in float64's range; 'much' came"),
    ],
)
def test_a_mode_or_seed_that_does_not_fit_is_told(mode, seed, said):
    with pytest.raises(UsageError) as refused:
        trace(FORMULA, POINT, mode, seed)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("formula", "at", "births"),
    [
        ("log(x)", {"x": 0}, [("value", "v_1", "log(0)", -math.inf), ("derivative", "dv_1", "", math.inf), ("adjoint", "bar_v_0", "", math.inf)]),
        ("1/(x-y) + 2", {"x": 1, "y": 1}, [("value", "v_2", "1/0", math.inf), ("derivative", "dv_2", "", -math.inf), ("adjoint", "bar_v_1", "", -math.inf)]),
        ("sqrt(x)", {"x": 0}, [("derivative", "dv_1", "", math.inf), ("adjoint", "bar_v_0", "", math.inf)]),
        ("sqrt(x)*0", {"x": 0}, [("derivative", "dv_1", "", math.inf), ("derivative", "dv_2", "", math.nan), ("adjoint", "bar_v_0", "", math.nan)]),
        ("exp(x)", {"x": 800}, [("value", "v_1", "exp(800)", math.inf), ("derivative", "dv_1", "", math.inf), ("adjoint", "bar_v_0", "", math.inf)]),
        ("log(x)", {"x": -1}, [("value", "v_1", "log((-1))", math.nan)]),
        ("x + 1", {"x": math.inf}, [("value", "v_0", "given", math.inf)]),
    ],
)
def test_the_row_where_a_number_stops_being_finite_is_named(formula, at, births):
    found = trace(formula, at)
    named = [(one.table, one.name, one.numbers, one.number) for one in found.births]
    assert [str(one) for one in named] == [str(one) for one in births]
    assert found.exit_code == 1 and not found.failed


def test_zero_times_infinity_is_born_after_the_pole():
    births = [(one.name, str(one.number)) for one in trace("x*(1/y)", {"x": 0, "y": 0}).births if one.table == "value"]
    assert births == [("v_1", "inf"), ("v_2", "nan")]


@pytest.mark.parametrize(
    ("formula", "at", "gradient"),
    [
        ("relu(x)", {"x": 0}, [0.0]), ("abs(x)", {"x": 0}, [0.0]), ("max(x, y)", {"x": 1, "y": 1}, [0.5, 0.5]), ("min(x, y)", {"x": 1, "y": 1}, [0.5, 0.5]),
        ("max(x, x)", {"x": 1}, [1.0]), ("x**0", {"x": 0}, [0.0]), ("x**y", {"x": 0, "y": 2}, [0.0, 0.0]), ("softplus(x)", {"x": 21}, [1.0]),
    ],
)  # fmt: skip
def test_kinks_are_torchs(formula, at, gradient):
    found = trace(formula, at)
    assert list(found.gradient.values()) == gradient and not found.failed
    assert in_torch_at(parse(formula), tuple(map(float, at.values())))[1:] == tuple(gradient)


@pytest.mark.parametrize(
    ("formula", "at"),
    [
        ("(x + 1) - x", {"x": 1e12}), ("tanh(x)", {"x": 15}), ("sigmoid(x)", {"x": 30}), ("expm1(x)", {"x": -30}), ("1 - cos(x)", {"x": 1e-8}),
        ("sin(x)", {"x": math.pi}), ("exp(x)", {"x": -745}), ("x*1e-300*1e-300", {"x": 1}), ("asin(x)", {"x": 1 - 1e-12}), ("sqrt(x*x + 1) - x", {"x": 1e8}),
        ("log(exp(x))", {"x": 700}), ("x**20 - 20*x", {"x": 1.000001}), ("erf(x)", {"x": 5}), ("tan(x)", {"x": 1.5707963}), ("x*0", {"x": -5}),
    ],
)  # fmt: skip
def test_ill_conditioned_formulas_raise_no_false_alarm(formula, at):
    found = trace(formula, at)
    assert not found.failed, [(one, one.difference) for one in found.failed]


NAMES = sorted(set(FUNCTIONS.values()))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_formulas_agree_with_torch(data):
    leaf = st.sampled_from(["x", "y", "z", "2", "0.3"])
    one = st.sampled_from([name for name in NAMES if name not in {"max", "min"}])

    def larger(inner):
        pair = st.tuples(inner, st.sampled_from("+-*/"), inner).map("({0[0]} {0[1]} {0[2]})".format)
        return pair | st.tuples(one, inner).map("{0[0]}({0[1]})".format) | st.tuples(inner, inner).map("max({0[0]}, {0[1]})".format)

    formula = data.draw(st.recursive(leaf, larger, max_leaves=10)) + " + 0*x + 0*y + 0*z"
    numbers = st.floats(-3, 3).map(lambda value: round(value, 3))
    found = trace(formula, {name: data.draw(numbers) for name in "xyz"})
    assert not found.failed, (formula, found.at, found.failed)


@pytest.mark.parametrize("operation", ["cos", "*", "/", "**"])
def test_a_wrong_derivative_is_shown_as_broken(monkeypatch, operation):
    def wrong(name, arguments):
        right = elemental_derivative(name, arguments)
        return tuple(1.000001 * partial for partial in right) if name == operation else right

    monkeypatch.setattr(sweep, "elemental_derivative", wrong)
    found = trace("x*y/3 + cos(x)**3", {"x": 0.5, "y": 2})
    names = [one.name for one in found.failed]
    assert found.exit_code == 1 and any(name.startswith("dv_") for name in names) and any(name.startswith("bar_v") for name in names)
    assert "dy/dx" in names and "✗" in str(found) and "torch gives" in str(found)


def test_a_wrong_value_is_shown_as_broken(monkeypatch):
    monkeypatch.setattr(sweep, "elemental_value", lambda *_: 0.5)
    assert {one.name for one in trace("x*y", {"x": 2, "y": 3}).failed} == {"v_1", "y"}


def test_a_comparison_of_numbers_that_are_not_finite():
    def differ(number, reference):
        return Comparison("v_1", number, reference, 1.0, "").difference

    assert differ(math.inf, math.inf) == differ(math.nan, math.nan) == 0.0
    assert differ(math.inf, -math.inf) == differ(math.nan, 1.0) == differ(1.0, math.inf) == math.inf
    assert not Comparison("v_1", math.nan, 0.0, 1.0, "").holds


def test_a_thousand_operations_deep_and_wide():
    deep = trace("sin(" * 1000 + "x" + ")" * 1000, {"x": 1})
    assert len(deep.values) == 1002 and not deep.failed
    wide = trace(" + ".join(f"x{i}*{i}" for i in range(1000)), {f"x{i}": 1 for i in range(1000)})
    assert wide.gradient["x999"] == 999.0 and not wide.failed and len(str(wide).splitlines()) > 3000


def test_tracing_warns_of_nothing_and_leaves_torch_as_it_was():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error")
        assert trace(FORMULA, POINT).failed == ()
    assert torch.equal(before, torch.get_rng_state()) and torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("x*y", {"x": 1, "y": 2}, None, {"x": math.nan}), "the seed needs finite numbers; x = nan came"),
        (("x*y", {"x": 1, "y": 2}, None, {"y": -math.inf}), "the seed needs finite numbers; y = -inf came"),
        (("x*y", {"x": 1, "y": 2}, None, {}), "the seed is a variable's name or a mapping such as {'x': 1.0}; {} came"),
        (("x", {"x": 1}, None, 5), "the seed is a variable's name or a mapping .*; 5 came"),
        ((3, {"x": 1}), "a formula is a text such as .*; 3 came"),
        (("x", None), "the point is a mapping .*; None came"), (("x", 5), "the point is a mapping .*; 5 came"), (("x", {1: 2}), "the point is a mapping"),
        (("e*x", {"e": 2, "x": 1}), "e is Euler's number in a formula, no variable: rename the variable"),
        (("pi*x", {"pi": 2, "x": 1}), "pi is the circle's constant in a formula"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(given, said):
    with pytest.raises(UsageError, match=said):
        trace(*given)


def test_a_point_of_a_function_that_is_none_is_told():
    with pytest.raises(UsageError, match="the point is a mapping of parameters' names to numbers"):
        trace_function(lambda x: x, None)


@pytest.mark.parametrize(
    ("formula", "at", "remarks"),
    [
        ("0**x", {"x": 0}, [("v_1", "v_1*log(0)", 0.0)]), ("0**x", {"x": 2}, [("v_1", "v_1*log(0)", 0.0)]), ("0**x", {"x": -1}, []),
        ("x**y", {"x": 0, "y": 0}, [("v_1", "v_0*v_-1**(v_0 - 1)", 0.0), ("v_1", "v_1*log(v_-1)", 0.0)]), ("x**y", {"x": 2, "y": 3}, []),
        ("x**0", {"x": 0}, []), ("x**2", {"x": 0}, []), ("abs(x)", {"x": 0}, [("v_1", "sign(v_0)", 0.0)]), ("abs(x)", {"x": 1}, []),
        ("relu(x)", {"x": 0}, [("v_1", "[v_0 > 0]", 0.0)]), ("max(x, 1)", {"x": 1}, [("v_1", "H(v_0 - 1)", 0.5)]),
        ("min(x, y)", {"x": 1, "y": 1}, [("v_1", "H(v_0 - v_-1)", 0.5), ("v_1", "H(v_-1 - v_0)", 0.5)]),
    ],
)  # fmt: skip
def test_torchs_conventions_are_remarked(formula, at, remarks):
    found = trace(formula, at)
    assert [(one.name, one.partial, one.number) for one in found.remarks] == remarks
    assert str(found).count("at this point the rule is torch's convention") == len(remarks)


def test_many_remarks_are_counted():
    found = trace("+".join(f"relu(x{i})" for i in range(20)), {f"x{i}": 0 for i in range(20)})
    assert len(found.remarks) == 20 and "hold in 12 further partial derivatives" in str(found)
