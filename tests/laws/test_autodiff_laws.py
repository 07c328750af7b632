"""Where values and gradients stop being finite: at poles and by overflow, one each, and nowhere else."""

import pytest
import torch

from laws.holding import breaks, holds
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
