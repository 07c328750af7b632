"""Regression on noisy features: the closed loss, its solution, several outputs, and what has no single solution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchstone.core.errors import InvariantError, UsageError
from torchstone.laws import noise
from torchstone.parts import noisy_regression_loss, noisy_regression_solution

DOUBLE = torch.float64


def data(rows, width, seed, outputs=()):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=source, dtype=DOUBLE), torch.randn(rows, *outputs, generator=source, dtype=DOUBLE)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.floats(0.1, 2), st.floats(0.05, 4), st.integers(0, 10**6))
def test_nothing_near_the_solution_is_better(rows, width, mean, variance, seed):
    x, y = data(rows, width, seed)
    weights = noisy_regression_solution(x, y, mean, variance)
    least = noisy_regression_loss(x, y, weights, mean, variance)
    for shift in torch.eye(width, dtype=DOUBLE) * 1e-3:
        for sign in (1, -1):
            assert noisy_regression_loss(x, y, weights + sign * shift, mean, variance) >= least
    law = noise.noisy_solution(x.tolist(), y.tolist(), mean, variance)
    torch.testing.assert_close(weights, torch.tensor(law, dtype=DOUBLE), rtol=1e-8, atol=1e-8)


def test_several_outputs_are_several_regressions():
    x, y = data(7, 3, 0, (2,))
    together = noisy_regression_solution(x, y, 0.7, 0.3)
    alone = torch.stack([noisy_regression_solution(x, column, 0.7, 0.3) for column in y.T], 1)
    torch.testing.assert_close(together, alone)
    parts = sum(noisy_regression_loss(x, column, weights, 0.7, 0.3) for column, weights in zip(y.T, alone.T, strict=True))
    torch.testing.assert_close(noisy_regression_loss(x, y, together, 0.7, 0.3), parts)


def test_gradients_flow_through_both():
    x, y = (one.requires_grad_() for one in data(5, 2, 1))
    assert torch.autograd.gradcheck(lambda a, b: noisy_regression_solution(a, b, 0.7, 0.3), (x, y))
    weights = torch.ones(2, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b, w: noisy_regression_loss(a, b, w, 0.7, 0.3), (x, y, weights))


@pytest.mark.parametrize(("x", "variance", "said"), [
    ([[1.0, 1.0], [2.0, 2.0]], 0.0, "2 features are linearly dependent on 2 rows: many weights are best; add noise or rows"),
    ([[1.0, 0.0], [2.0, 0.0]], 0.5, "the weights of least loss are not determined by feature 1, which is 0 throughout: leave it out"),
    ([[1.0], [2.0]], -0.5, "noise has a finite mean and a finite variance of 0 or more; mean=1.0, variance=-0.5 came"),
])  # fmt: skip
def test_what_has_no_single_solution_is_refused(x, variance, said):
    with pytest.raises(UsageError) as refused:
        noisy_regression_solution(torch.tensor(x), torch.ones(2), 1.0, variance)
    assert str(refused.value) == said


@pytest.mark.parametrize(("call", "said"), [
    (lambda: noise.noisy_loss([[1.0]], [1.0, 2.0], [1.0], 1.0, 0.1), "rows of one length and a target for each"),
    (lambda: noise.noisy_loss([[1.0], [1.0, 2.0]], [1.0, 2.0], [1.0], 1.0, 0.1), "rows of one length and a target for each"),
    (lambda: noise.noisy_loss([[1.0]], [1.0], [1.0, 2.0], 1.0, 0.1), "a regression has one weight a feature; 2 weights and 1 features came"),
    (lambda: noise.noisy_loss([[1.0]], [1.0], [1.0], 1.0, -0.1), "finite numbers and a variance of 0 or more"),
    (lambda: noise.noisy_solution([[0.0]], [1.0], 1.0, 0.1), "feature 0 adds nothing to the others"),
    (lambda: noise.mask_moments(1.0, rescaled=True), "survivors are rescaled by 1/(1-p): with p = 1 there are none"),
])  # fmt: skip
def test_laws_refuse_what_is_no_regression(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value).startswith(said)
