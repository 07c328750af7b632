"""Formulas read by a whitelist: Python's precedence, IEEE arithmetic, and errors that point at the place."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchstone.core.errors import UsageError
from torchstone.traces.expression import FUNCTIONS, MAX_DEPTH, Row, evaluate, parse

NAMES = {"x": 0.7, "y": -1.3, "z": 2.5}


def spelled():
    """Random formulas that Python reads alike: names, numbers, signs, functions, superfluous parentheses and spaces."""
    leaves = st.sampled_from([*NAMES, "2", "0.5", "1e-3", "pi", "3.", ".25"])

    def larger(inner):
        infix = st.tuples(inner, st.sampled_from(["+", "-", "*", "/", " + ", " - ", "**"]), inner).map("".join)
        wrapped = inner.map("({})".format)
        called = st.tuples(st.sampled_from(["sin", "cos", "exp", "atan", "abs"]), inner).map(lambda pair: f"{pair[0]}({pair[1]})")
        return infix | wrapped | called | inner.map("-{}".format) | inner.map("max({}, y, 0.1)".format)

    return st.recursive(leaves, larger, max_leaves=12).map("{} + 0*x".format)


@settings(max_examples=300, deadline=None)
@given(spelled())
def test_a_formula_means_what_python_means(text):
    world = {name: getattr(math, name) for name in ("sin", "cos", "exp", "atan", "pi")} | {"abs": abs, "max": max} | NAMES
    try:
        expected = eval(text, {"__builtins__": {}}, world)  # noqa: S307 - our own spelling, to compare with
    except (ZeroDivisionError, OverflowError, ValueError, TypeError):
        return  # TypeError: Python's root of a negative number is complex
    if isinstance(expected, complex) or not math.isfinite(expected):
        return
    parsed = parse(text)
    found = evaluate(parsed, {name: NAMES[name] for name in parsed.variables})
    assert found == expected or math.isnan(found), text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-x**2", -4.0), ("2**-x", 0.25), ("x**3**2", 512.0), ("-x*3", -6.0), ("x-1-1", 0.0), ("8/x/2", 2.0), ("x^3", 8.0), ("x²", 4.0),
        ("x¹⁰", 1024.0), ("2·x", 4.0), ("2×x÷4", 1.0), ("3−x", 1.0), ("[x+1]*2", 6.0), ("+x", 2.0), ("--x", 2.0), ("x*-1", -2.0),
        ("ln(x)", math.log(2)), ("min(x, 1, 7)", 1.0), ("max(1, x, 7, 3)", 7.0), ("0*π + x", 2.0), ("e**x", math.e**2),
        ("1e2*x", 200.0), ("x*.5", 1.0), ("sigmoid(0*x)", 0.5), ("relu(-x)", 0.0), ("arctan(x)", math.atan(2)), ("x\n+\t1", 3.0),
    ],
)  # fmt: skip
def test_how_formulas_are_spelled(text, value):
    assert evaluate(parse(text), {"x": 2.0}) == value


@pytest.mark.parametrize(
    ("text", "at", "value"),
    [
        ("1/x", 0.0, math.inf), ("1/x", -0.0, -math.inf), ("x/x", 0.0, math.nan), ("log(x)", 0.0, -math.inf), ("log(x)", -1.0, math.nan),
        ("sqrt(x)", -1.0, math.nan), ("exp(x)", 1000.0, math.inf), ("x**0.5", -1.0, math.nan), ("x**-1", 0.0, math.inf),
        ("x**-1", -0.0, -math.inf), ("x**400", 10.0, math.inf), ("x**401", -10.0, -math.inf), ("x**400", -10.0, math.inf),
        ("x*(1/0)", 0.0, math.nan), ("sin(x)", math.inf, math.nan), ("max(x, 1)", math.nan, math.nan), ("sinh(x)", -1000.0, -math.inf),
        ("cosh(x)", -1000.0, math.inf), ("asin(x)", 2.0, math.nan), ("log1p(x)", -1.0, -math.inf), ("tanh(x)", 1e9, 1.0),
        ("sigmoid(x)", -1000.0, 0.0), ("softplus(x)", 1000.0, 1000.0), ("expm1(x)", 1000.0, math.inf),
    ],
)  # fmt: skip
def test_nothing_raises_on_numbers(text, at, value):
    found = evaluate(parse(text), {"x": at})
    assert found == value or (math.isnan(found) and math.isnan(value))


def test_rows_are_those_of_three_part_notation():
    parsed = parse("1/(x1+x2) + x2**2 + cos(x1)")
    assert parsed.variables == ("x1", "x2") and parsed.result == 6
    assert parsed.rows == (
        Row("+", (-1, 0)), Row("/", (1.0, 1)), Row("**", (0, 2.0)), Row("+", (2, 3)), Row("cos", (-1,)), Row("+", (4, 5)),
    )  # fmt: skip
    assert parsed.ordered(("x2", "x1")).rows[2:5] == (Row("**", (-1, 2.0)), Row("+", (2, 3)), Row("cos", (0,)))


def test_constants_are_folded_where_they_are_finite():
    assert parse("2*3*x").rows == (Row("*", (6.0, 0)),)
    assert parse("x + 1/0").rows == (Row("/", (1.0, 0.0)), Row("+", (0, 1)))
    assert parse("x").rows == () and parse("x").result == 0


@pytest.mark.parametrize(
    ("text", "said", "column"),
    [
        ("2x", "an operator is missing between '2' and 'x': for a product write 2*x", 1),
        ("x y", "an operator is missing between 'x' and 'y': for a product write x*y", 2),
        ("(x)(y)", "an operator is missing between ')' and '(': for a product put a * between them", 3),
        ("x + sine(x)", "no function is named 'sine'; did you mean 'sin'?", 4),
        ("foo(x)", "no function is named 'foo'; functions: abs, acos", 0),
        ("sin x", "the function sin needs its argument in parentheses: sin(...)", 4),
        ("x*sin", "the function sin needs its argument in parentheses: sin(...)", 5),
        ("1+(x", "this '(' is never closed: a ')' is missing", 2),
        ("x)+1", "there is no '(' for this ')'", 1),
        ("x+", "a number, a variable or a function is missing after '+'", 2),
        ("*x", "a number, a variable or a function is missing before '*'", 0),
        ("x+*y", "a number, a variable or a function is missing after '+'", 2),
        ("sin()", "a number, a variable or a function is missing before ')'", 4),
        ("max(x,)", "a number, a variable or a function is missing after ','", 6),
        ("max(x)", "max takes 2 arguments; 1 came", 3),
        ("sin(x, y)", "sin takes 1 argument; 2 came", 3),
        ("1,5*x", "a comma stands between arguments of a function only", 1),
        ("(x,y)", "a comma stands between arguments of a function only; decimals have a point", 2),
        ("x = 3", "'=' has no meaning here: give one formula, the right side of y = ...", 2),
        ("x > 3", "'>' has no meaning here", 2),
        ("x.real", "'.' is no part of a formula, which is made of numbers, names, + - * / ** and parentheses", 1),
        ("'x'", '"\'" is no part of a formula', 0),
        ("1e999*x", "the number 1e999 is too large for float64: write a smaller one", 0),
        ("x if x else y", "this looks like Python, which is not run here: --function file.py:name traces a Python function", 2),
        ("lambda x: x", "this looks like Python", 7),
    ],
)
def test_an_error_points_at_the_place(text, said, column):
    with pytest.raises(UsageError) as refused:
        parse(text)
    message, shown, caret = str(refused.value).split("\n")
    assert message.startswith(said)
    assert shown == f"  {text}" and caret == f"  {' ' * column}^"


@pytest.mark.parametrize("text", ["__import__('os').system('true')", "().__class__", "exec(x)", "open(x)", "x; y", "x:=1", "f'{x}'", "@x", "\\x", "x\0", "x[0]", "𝟚*x"])
def test_python_is_never_run(text):
    with pytest.raises(UsageError):
        parse(text)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_formula_is_refused(text):
    with pytest.raises(UsageError, match=r"^the formula is empty: give one such as "):
        parse(text)


@pytest.mark.parametrize("text", ["3", "2*pi + 1", "sin(1)"])
def test_a_formula_without_a_variable_is_refused(text):
    with pytest.raises(UsageError, match="has no variable, so there is nothing to differentiate"):
        parse(text)


@pytest.mark.parametrize("text", ["(" * 10_000 + "x" + ")" * 10_000, "-" * 10_000 + "x", "sin(" * 10_000 + "x" + ")" * 10_000])
def test_depth_is_refused_with_its_limit(text):
    with pytest.raises(UsageError, match=r"^the formula is nested deeper than 1,000 levels: split it, or trace a Python function"):
        parse(text)


def test_depth_up_to_the_limit_and_length_are_read():
    assert len(parse("sin(" * MAX_DEPTH + "x" + ")" * MAX_DEPTH).rows) == MAX_DEPTH
    assert len(parse("+".join(["x"] * 20_000)).rows) == 19_999
    assert evaluate(parse("x**" * 5000 + "x"), {"x": 1.0}) == 1.0
    assert len(parse("(((x)))" + "+(x)" * 5000).rows) == 5000
    with pytest.raises(UsageError, match=r"^the formula has 100,001 characters, at most 100,000 are read"):
        parse("x" * 100_001)


def test_a_long_formula_is_shown_around_the_place():
    with pytest.raises(UsageError) as refused:
        parse("x+" * 100 + "2y" + "+x" * 100)
    _, shown, caret = str(refused.value).split("\n")
    assert shown.startswith("  … ") and shown.endswith(" …") and len(shown) < 90
    assert shown[caret.index("^")] == "y"


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ({"x": 1}, "no value was given for y: the formula has the variables x, y"),
        ({}, "no value was given for x, y: the formula has the variables x, y"),
        ({"x": 1, "y": 2, "z": 3}, "z: no such variable in the formula, which has x, y; leave it out"),
        ({"x": 1, "y": "two"}, "y needs a number in float64's range; 'two' came"),
        ({"x": 1, "y": None}, "y needs a number in float64's range; None came"),
        ({"x": 1, "y": 10**400}, "y needs a number in float64's range; 1000"),
    ],
)
def test_a_point_fits_its_formula(at, said):
    with pytest.raises(UsageError) as refused:
        evaluate(parse("x*y"), at)
    assert str(refused.value).startswith(said)


def test_a_misspelled_variable_is_told():
    with pytest.raises(UsageError, match="which has alpha; did you mean 'alpha'"):
        evaluate(parse("alpha"), {"alpha": 1, "alfa": 1})


def test_every_function_of_the_list_can_be_called():
    for name in FUNCTIONS:
        text = f"{name}(x, y)" if name.startswith(("max", "min")) else f"{name}(x) + 0*y"
        assert math.isfinite(evaluate(parse(text), {"x": 0.3, "y": 0.2})), name
