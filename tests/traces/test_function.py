"""Python functions of torch scalars: followed, run as they are, and refused with the line where they cannot be followed."""

import math
import sys
import warnings

import pytest
import torch
from torch.nn import functional

from torchstone.core.errors import UsageError
from torchstone.traces.function import find_function
from torchstone.traces.tracing import trace, trace_function


def helper(x):
    return functional.softplus(x) + functional.relu(x) + torch.sigmoid(x) * x.tanh()


def test_operators_functions_and_methods_are_followed_alike():
    def written(x, y):
        return helper(x) * torch.maximum(x, y).abs() + y.pow(2) + torch.pow(x, y) + x.square() - torch.rsqrt(x) / functional.silu(y)

    def mixed(x, y):
        constant = torch.tensor(2.0)
        return torch.add(x, y, alpha=1) + constant / x - constant - x + constant**y + torch.rsub(x, y) + torch.log10(x) + abs(-y) + (2 - y) + 2 / y + 2**x

    for function in (written, mixed):
        found = trace_function(function, {"x": 0.7, "y": 1.9})
        assert not found.failed and len(found.verification.whole) == 5
        assert found.verification.whole_of == "the function itself"


def test_a_loop_over_a_range_and_a_default_are_constants():
    def power(x, steps=3, factor=0.5):
        for step in range(steps):
            x = x * x * factor + step
        return x

    found = trace_function(power, {"x": 1.1})
    assert found.variables == ("x",) and len(found.values) == 2 + 9 and not found.failed
    varied = trace_function(power, {"factor": 2, "x": 1.1})
    assert varied.variables == ("x", "factor") and not varied.failed
    assert varied.text == "power(x, factor)"


@pytest.mark.parametrize("x", [-1.0, 0.5, 3.0])
def test_where_is_the_repair_of_a_branch(x):
    def huber(x):
        return torch.where(abs(x) <= 1, x**2 / 2, abs(x) - 0.5)

    found = trace_function(huber, {"x": x})
    assert not found.failed and found.gradient["x"] == max(-1.0, min(1.0, x))


def test_a_branch_that_was_not_chosen_still_poisons_the_gradient():
    found = trace_function(lambda x: torch.where(x > 0, torch.log(x), x), {"x": 0})
    assert found.value == 0 and math.isnan(found.gradient["x"])
    assert [birth.name for birth in found.births] == ["v_2", "dv_2", "bar_v_0"]
    assert not found.failed


def test_the_formula_and_the_function_have_one_trace():
    formula = trace("1/(x1+x2) + x2**2 + cos(x1)", {"x1": 3, "x2": 6})
    found = trace_function(lambda x1, x2: 1 / (x1 + x2) + x2**2 + torch.cos(x1), {"x1": 3, "x2": 6})
    assert found.values == formula.values and found.tangents == formula.tangents and found.adjoints == formula.adjoints


def test_rows_that_the_result_does_not_use_are_left_out():
    def unused(x, y):
        torch.log(x - x)
        return x * 3

    found = trace_function(unused, {"x": 2, "y": 5})
    assert len(found.values) == 4 and found.gradient == {"x": 3.0, "y": 0.0} and found.exit_code == 0
    assert found.adjoints[-1].rule == "0"


def test_a_scalar_has_a_sign_and_a_text():
    seen = []

    def talking(x):
        seen.extend([f"{x}", f"{x:.3f}", repr(x * 2)])
        return +x * 3 + x.cpu()

    found = trace_function(talking, {"x": 2})
    assert found.value == 8 and not found.failed
    assert seen[:3] == ["tensor(v_0)", "tensor(v_0)", "tensor(v_1)"]


def test_what_the_function_hides_is_shown_as_broken():
    def noisy(x):
        return x * torch.rand(())

    assert [one.name for one in trace_function(noisy, {"x": 2}).failed][:1] == ["y"]
    assert "the function itself has" in str(trace_function(noisy, {"x": 2}))


def test_two_thousand_operations_cost_no_recursion():
    def deep(x):
        for _ in range(2000):
            x = torch.sin(x)
        return x

    assert not trace_function(deep, {"x": 1}).failed


def in_place(x):
    y = x * x
    y += 1
    y *= 2
    return x * y


def overwriting(x):
    x *= x
    return x


def test_operators_in_place_are_followed():
    found = trace_function(in_place, {"x": 2})
    assert found.value == 20 and not found.failed


def test_what_torch_itself_cannot_differentiate_is_told():
    with pytest.raises(UsageError, match=r"^torch cannot differentiate the function as it is: RuntimeError: one of the variables"):
        trace_function(overwriting, {"x": 2})


def test_a_function_is_followed_under_no_grad_too():
    with torch.no_grad():
        found = trace_function(helper, {"x": 1})
    assert not found.failed


def branch(x):
    if x > 0:
        return x
    return -x


def loop(x):
    while x > 1:
        x = x / 2
    return x


def hidden(x):
    with torch.no_grad():
        factor = torch.exp(x)
    return factor * x


BRANCH = r"^test_function\.py:\d+: the function branches on a tensor's value, .*: use torch\.where\(condition, a, b\), torch\.maximum"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (branch, BRANCH), (loop, BRANCH), (lambda x: max(x, 1), BRANCH), (lambda x: x and 1, BRANCH), (lambda x: x if not x > 1 else 1, BRANCH),
        (lambda x: math.sin(x), r"^test_function\.py:\d+: a Python number was asked of a tensor .* use torch's function"),
        (lambda x: float(x), "a Python number was asked"), (lambda x: int(x), "a Python number was asked"),
        (lambda x: x.item() * x, r"\.item takes the number out of the graph"), (lambda x: x.detach(), r"\.detach takes the number out"),
        (lambda x: torch.detach(x), "detach is not followed"), (hidden, "computes under torch.no_grad"),
        (lambda x: torch.lgamma(x), r"^test_function\.py:\d+: lgamma is not followed; supported: \+ - \* / \*\* > >= < <= and abs, acos, "),
        (lambda x: x.sine(), "sine is not followed; did you mean 'sin'"), (lambda x: x.add_(1), r"add_ is not followed, it works in place: write x = x\.add\(\.\.\.\)"),
        (lambda x: torch.clamp(x, min=0), "clamp is not followed: write torch.maximum and torch.minimum"), (lambda x: functional.softplus(x, beta=2), "softplus with beta=2 is not followed"),
        (lambda x: torch.max(x), "max of 1 arguments is not followed: it takes 2 scalars"), (lambda x: x[0], "used as a sequence"),
        (lambda x: list(x), "used as a sequence"), (lambda x: len(x), "used as a sequence"), (lambda x: list(range(x)), "used as a whole number"),
        (lambda x: x == 1, "== and != have no derivative"), (lambda x: x != 1, "== and != have no derivative"),
        (lambda x: x * torch.ones(3), r"a tensor of shape \(3,\) meets a scalar"), (lambda x: x * "a", "'a' meets a scalar"),
        (lambda x: torch.stack([x, x]), "stack is not followed"), (lambda x: x @ x, "the operator @ is not followed; supported: "),
        (lambda x: x // 2, "the operator // is not followed"), (lambda x: 2 // x, "the operator // is not followed"), (lambda x: x % 2, "the operator % is not"),
        (lambda x: functional.leaky_relu(x), r"leaky_relu is not followed: write torch\.where\(x > 0"), (lambda x: x.clamp(min=0.5), "clamp is not followed: write"),
        (lambda x: x.float(), r"\.float leaves float64"), (lambda x: torch.stack([x, x]), "stack is not followed; supported"),
        (lambda x: x.sum(), "sum is not followed: write the scalar itself; supported"), (lambda x: torch.special.bessel_j0(x), "bessel_j0 is not followed; supp"),
        (lambda x: round(x), "a Python number was asked"), (lambda x: sys.exit(3), r"^test_function\.py:\d+: the function ends the program \(SystemExit: 3\)"),
        (lambda x: x / [0][len([0])], r"^test_function\.py:\d+: the function raised IndexError: list index out of range"),
        (lambda x: (x, x), "returns a tuple of 2: one scalar is traced"), (lambda x: {"loss": x}, "returns a dict of 1"),
        (lambda x: None, "returns nothing: is a `return` missing"), (lambda x: 3.0, "returns 3.0, which does not depend on its variables"),
        (lambda x: torch.ones(()), "which does not depend on its variables"),
        (lambda *x: x, "the parameter [*]x has no name"), (lambda **x: x, "the parameter [*][*]x has no name"),
        (lambda z: z, "no value was given for the parameter z; the function has z"), (lambda y, x: x, "no value was given for the parameter y"),
        (lambda: 1, "x is no parameter of the function, which has none"), (lambda xx=1: xx, "x is no parameter of the function, which has xx; did you mean 'xx'"),
        (3, "a Python function is traced; 3 came"), ("x**2", "a Python function is traced"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_told(function, said):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UsageError, match=said):
            trace_function(function, {"x": 2.0})


def test_a_point_without_a_variable_is_told():
    with pytest.raises(UsageError, match="no variable was given, so there is nothing to differentiate by; the function has x"):
        trace_function(lambda x=1: x, {})


def test_a_function_without_end_is_told():
    def endless(x):
        while True:
            x = x + 1

    with pytest.raises(UsageError, match="the function does more than 100,000 operations"):
        trace_function(endless, {"x": 1})


@pytest.fixture
def file(tmp_path):
    (tmp_path / "beside.py").write_text("SCALE = 3.0\n")
    path = tmp_path / "functions.py"
    path.write_text("import torch\nfrom beside import SCALE\n\nLIMIT = 3\n\ndef energy(x, y=2.0):\n    return SCALE * torch.exp(-x * y)\n")
    return path


def test_a_function_is_found_in_a_file(file):
    found = trace_function(find_function(f"{file}:energy"), {"x": 0.5})
    assert found.value == pytest.approx(3 * math.exp(-1)) and not found.failed


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("energy", "--function needs file.py:name; 'energy' came"), ("{file}", "no function|needs file.py:name"), ("{file}:", "needs file.py:name"),
        ("{file}:enrgy", "has no function enrgy; did you mean 'energy'.; it has energy"), ("{file}:LIMIT", "LIMIT in .* is no function but int"),
        ("nowhere.py:f", "there is no file nowhere.py: --function needs file.py:name"), ("{folder}:f", "there is no file"),
    ],
)  # fmt: skip
def test_a_function_that_is_not_there_is_told(file, place, said):
    with pytest.raises(UsageError, match=said):
        find_function(place.format(file=file, folder=file.parent))


def test_a_file_that_cannot_be_run_is_told(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("def f(x:\n")
    with pytest.raises(UsageError, match=r"broken\.py cannot be run: SyntaxError"):
        find_function(f"{broken}:f")
    broken.write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(UsageError, match=r"broken\.py cannot be run: it ends the program \(SystemExit: 3\)"):
        find_function(f"{broken}:f")
    broken.write_text("import nonexistent_module\n")
    with pytest.raises(UsageError, match=r"broken\.py cannot be run: ModuleNotFoundError"):
        find_function(f"{broken}:f")
