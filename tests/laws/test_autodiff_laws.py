"""Where values and gradients stop being finite: at poles and by overflow, one each, and nowhere else."""

import math
import re

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from laws.holding import DOUBLE, breaks, holds
from torchstone.core.errors import InvariantError
from torchstone.laws import autodiff


def bad(values):
    return int((~values.isfinite()).sum())


@pytest.mark.parametrize("poles", [0, 1, 5])
@pytest.mark.parametrize("operation", [torch.log, torch.reciprocal, torch.rsqrt])
def test_each_zero_under_a_function_with_a_pole_gives_one_value(poles, operation):
    inputs = torch.ones(9)
    inputs[:poles] = 0
    holds("autodiff.non_finite_values", {"poles": poles}, bad(operation(inputs)))
    holds("autodiff.non_finite_values", {"poles": 0}, bad(operation(inputs.clamp_min(1e-6))))
    if poles:
        breaks("autodiff.non_finite_values", {"poles": 0}, bad(operation(inputs)))


@pytest.mark.parametrize("overflows", [0, 2])
def test_each_overflow_gives_one_value(overflows):
    inputs = torch.full((7,), 3.0)
    inputs[:overflows] = 100.0
    holds("autodiff.non_finite_values", {"poles": 0, "overflows": overflows}, bad(inputs.exp()))
    holds("autodiff.non_finite_values", {"poles": 0, "overflows": 0}, bad(inputs.double().exp()))
    if overflows:
        breaks("autodiff.non_finite_values", {"poles": 0}, bad(inputs.exp()))


def test_a_finite_root_has_a_pole_in_its_gradient():
    inputs = torch.tensor([0.0, 1.0, 4.0], requires_grad=True)
    roots = inputs.sqrt()
    roots.sum().backward()
    holds("autodiff.non_finite_values", {"poles": 0}, bad(roots))
    holds("autodiff.non_finite_values", {"poles": 1}, bad(inputs.grad))
    breaks("autodiff.non_finite_values", {"poles": 0}, bad(inputs.grad))


def test_a_pole_behind_where_breaks_the_gradient_of_what_where_has_left_out():
    inputs = torch.tensor([0.0, 1.0], requires_grad=True)
    torch.where(inputs > 0, inputs.log() * inputs, inputs).sum().backward()
    breaks("autodiff.non_finite_values", {"poles": 0}, bad(inputs.grad))


@pytest.mark.parametrize(("poles", "overflows"), [(-1, 0), (0, -2)])
def test_fewer_than_no_poles_are_refused(poles, overflows):
    with pytest.raises(InvariantError) as refused:
        autodiff.non_finite_values(poles, overflows)
    assert str(refused.value) == f"poles and overflows are counted from zero; {poles}, {overflows} came"


UNARY = sorted(name for name, count in autodiff.ELEMENTALS.items() if count == 1)
BINARY = ["+", "-", "*", "/", "**", "max", "min", ">", ">=", "<", "<="]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 20.0, 25.0, -30.0, 1e-300, 1e300, -1e300, math.inf, -math.inf, math.nan]


def torchs(operation, numbers):
    from torchstone.traces.verification import in_torch

    tensors = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in numbers]
    value = in_torch(operation)(*tensors)
    slopes = torch.autograd.grad(value, tensors) if value.requires_grad else [torch.zeros(())] * len(numbers)
    return value.item(), [slope.item() for slope in slopes]


def same(ours, reference, scale):
    """Equal, or both nan, or within a few roundings."""
    if math.isnan(ours) or math.isnan(reference) or math.isinf(ours) or math.isinf(reference):
        return str(ours) == str(reference)
    return abs(ours - reference) <= 1e-14 * scale + 5e-308


@pytest.mark.parametrize("operation", UNARY)
@pytest.mark.parametrize("x", SPECIAL)
def test_values_and_derivatives_are_torchs_at_poles_kinks_and_infinities(operation, x):
    value, slopes = torchs(operation, [x])
    assert same(autodiff.elemental_value(operation, (x,)), value, abs(value))
    (ours,) = autodiff.elemental_derivative(operation, (x,))
    if (operation, x) == ("asin", math.nan) or math.isfinite(x):
        assert same(ours, slopes[0], max(1.0, abs(slopes[0]))) or {abs(ours), abs(slopes[0])} & {math.inf}


@pytest.mark.parametrize("operation", BINARY)
def test_values_of_two_arguments_are_torchs_everywhere(operation):
    for a in SPECIAL:
        for b in SPECIAL:
            value, _ = torchs(operation, [a, b])
            ours = autodiff.elemental_value(operation, (a, b))
            assert same(ours, value, abs(value)), (operation, a, b, ours, value)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(BINARY), st.floats(-50, 50), st.floats(-50, 50))
@example("max", 2.0, 2.0)
@example("**", 0.0, 0.0)
@example("**", 0.0, 3.0)
@example("**", -2.0, 3.0)
@example("**", -1.3e-172, -1.5)
@example("/", 1.0, 0.0)
def test_derivatives_of_two_arguments_are_torchs(operation, a, b):
    _, slopes = torchs(operation, [a, b])
    for ours, reference in zip(autodiff.elemental_derivative(operation, (a, b)), slopes, strict=True):
        assert same(ours, reference, max(1.0, abs(reference))), (ours, reference)


def test_kinks_have_torchs_derivative():
    assert autodiff.elemental_derivative("relu", (0.0,)) == autodiff.elemental_derivative("abs", (0.0,)) == (0.0,)
    assert autodiff.elemental_derivative("max", (3.0, 3.0)) == autodiff.elemental_derivative("min", (3.0, 3.0)) == (0.5, 0.5)
    assert autodiff.elemental_derivative("where", (1.0, 5.0, 6.0)) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(("operation", "arguments"), [("sine", (1.0,)), ("sin", (1.0, 2.0)), ("+", (1.0,)), ("", ())])
@pytest.mark.parametrize("formula", [autodiff.elemental_value, autodiff.elemental_derivative])
def test_what_is_no_elemental_function_is_refused(formula, operation, arguments):
    with pytest.raises(InvariantError, match=re.escape(f"{operation!r} of {len(arguments)} came") + "$"):
        formula(operation, arguments)


def test_sweeps_are_columns_forward_and_rows_in_reverse():
    holds("autodiff.sweeps", {"inputs": 7, "outputs": 2, "mode": "forward"}, 7)
    holds("autodiff.sweeps", {"inputs": 7, "outputs": 2, "mode": "reverse"}, 2)
    breaks("autodiff.sweeps", {"inputs": 7, "outputs": 2, "mode": "reverse"}, 7)


@pytest.mark.parametrize("arguments", [(0, 1, "forward"), (1, 0, "reverse"), (1, 1, "both"), (1, 1, "")])
def test_sweeps_without_a_size_or_a_mode_are_refused(arguments):
    with pytest.raises(InvariantError, match=r"^inputs and outputs of at least 1 and mode 'forward' or 'reverse' are needed"):
        autodiff.sweeps(*arguments)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 1000))
def test_the_adjoint_of_a_linear_map_is_its_transpose(inputs, outputs, seed):
    source = torch.Generator().manual_seed(seed)
    matrix, tangent, adjoint = (torch.randn(*shape, generator=source).double() for shape in ((outputs, inputs), (inputs,), (outputs,)))
    arguments = {"output_adjoint": adjoint.tolist(), "output_tangent": (matrix @ tangent).tolist()}
    holds("autodiff.adjoint_product", arguments, ((matrix.T @ adjoint) @ tangent).item(), DOUBLE)
    breaks("autodiff.adjoint_product", arguments, ((matrix.T @ adjoint) @ tangent).item() + 1e-6, DOUBLE)


def test_an_adjoint_and_a_tangent_of_two_lengths_are_refused():
    with pytest.raises(InvariantError, match=r"^adjoint and tangent of one output are of one length; 1 and 2 came$"):
        autodiff.adjoint_product((1.0,), (1.0, 2.0))
