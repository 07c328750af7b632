"""The laws of descent on quadratics among each other, at their borders, and refusing what no descent has."""

import math

import pytest
import sympy
from hypothesis import assume, given
from hypothesis import strategies as st

from torchstone.core.errors import InvariantError
from torchstone.laws import optimization as laws

RATES = st.floats(1e-3, 3)
MOMENTA = st.floats(0, 0.99)
CURVATURES = st.floats(1e-2, 10)
WITH_MOMENTUM = st.sampled_from(["momentum", "averaged", "nesterov"])


@given(WITH_MOMENTUM, RATES, MOMENTA, CURVATURES)
def test_the_radius_is_that_of_the_map(optimizer, rate, momentum, curvature):
    (a, b), (c, d) = laws.step_map(optimizer, rate, momentum, curvature)
    found = max(abs(complex(root)) for root in roots(1, -(a + d), a * d - b * c))
    assert laws.spectral_radius(optimizer, rate, momentum, [curvature]) == pytest.approx(found, rel=1e-6, abs=1e-6)


def roots(a, b, c):
    square = complex(b * b - 4 * a * c) ** 0.5
    return (-b + square) / (2 * a), (-b - square) / (2 * a)


@given(WITH_MOMENTUM, RATES, MOMENTA, CURVATURES, st.integers(0, 25))
def test_the_closed_form_is_the_recursion(optimizer, rate, momentum, curvature, steps):
    error, buffer = 1.0, 0.0
    for _ in range(steps):
        (a, b), (c, d) = laws.step_map(optimizer, rate, momentum, curvature)
        error, buffer = a * error + b * buffer, c * error + d * buffer
    size = max(1.0, laws.spectral_radius(optimizer, rate, momentum, [curvature])) ** steps
    assert laws.error_after(optimizer, rate, momentum, curvature, steps) == pytest.approx(error, rel=1e-7, abs=1e-10 * size * (1 + curvature))


@given(st.sampled_from(laws.OPTIMIZERS), MOMENTA, CURVATURES)
def test_the_radius_is_one_at_the_threshold_less_below_and_more_above(optimizer, momentum, curvature):
    momentum = 0.0 if optimizer == "gradient" else momentum
    threshold = laws.divergence_threshold(optimizer, momentum, curvature)
    below, at, above = (laws.spectral_radius(optimizer, threshold * factor, momentum, [curvature]) for factor in (0.99, 1, 1.01))
    assert below < 1 < above
    assert at == pytest.approx(1, abs=1e-6)


@given(st.sampled_from(laws.OPTIMIZERS), st.floats(0.1, 5), st.floats(1.0, 100), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_nothing_is_faster_than_the_best(optimizer, smallest, condition, faster, heavier):
    extremes = (smallest, smallest * condition)
    rate, momentum = laws.best_hyperparameters(optimizer, *extremes)
    best = laws.best_convergence(optimizer, *extremes)
    assert laws.spectral_radius(optimizer, rate, momentum, extremes) == pytest.approx(best, abs=1e-6)
    assert rate < laws.divergence_threshold(optimizer, momentum, extremes[1]) * (1 + 1e-12)
    other = 0.0 if optimizer == "gradient" else min(0.999, momentum * math.exp(heavier))
    assert laws.spectral_radius(optimizer, rate * math.exp(faster), other, extremes) >= best - 1e-6


@given(st.floats(0.001, 0.999), st.floats(1e-9, 0.999))
def test_the_steps_counted_are_enough_and_one_less_is_not(radius, tolerance):
    steps = laws.steps_to_tolerance(radius, tolerance)
    assert radius**steps <= tolerance
    assert steps == 1 or radius ** (steps - 1) > tolerance


@given(st.lists(CURVATURES, min_size=1, max_size=6), st.randoms())
def test_inverse_curvatures_arrive_in_any_order(curvatures, random):
    rates = [1 / curvature for curvature in curvatures]
    random.shuffle(rates)
    for curvature in curvatures:
        assert abs(laws.scheduled_error(rates, curvature)) <= 1e-9 * math.prod(1 + rate * curvature for rate in rates)


@given(RATES, CURVATURES)
def test_two_steps_at_their_momentum_arrive(rate, curvature):
    momentum = laws.two_step_momentum(rate, curvature)
    assume(momentum < 1e3)
    assert abs(laws.error_after("momentum", rate, momentum, curvature, 2)) < 1e-9 * (1 + momentum) * (1 + rate * curvature) ** 2
    usual = (3 - math.sqrt(5)) / 2 < rate * curvature < (3 + math.sqrt(5)) / 2
    assert usual == (momentum < 1) or momentum == pytest.approx(1)


def test_exact_numbers_give_exact_answers():
    low, high = sympy.Integer(2), sympy.Integer(20)
    rate, momentum = laws.best_hyperparameters("momentum", low, high)
    assert sympy.simplify(rate - (22 - 4 * sympy.sqrt(10)) / 81) == 0
    assert laws.spectral_radius("gradient", sympy.Rational(1, 11), 0, [low, high]) == sympy.Rational(9, 11)
    assert laws.divergence_threshold("nesterov", sympy.Rational(1, 2), low) == sympy.Rational(3, 4)
    assert sympy.simplify(laws.best_convergence("momentum", low, high) ** 2 - momentum) == 0


def test_one_curvature_alone_needs_no_momentum():
    for optimizer in laws.OPTIMIZERS:
        assert laws.best_hyperparameters(optimizer, 4.0, 4.0) == (0.25, 0.0)
        assert laws.best_convergence(optimizer, 4.0, 4.0) == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: laws.step_map("adam", 1, 0, 1), "an optimizer is one of gradient, momentum, averaged, nesterov; 'adam' came"),
        (lambda: laws.spectral_radius("gradient", 1, 0.5, [1]), "gradient descent has no momentum; 0.5 came: name the optimizer momentum, averaged or nesterov"),
        (lambda: laws.spectral_radius("gradient", 1, 0, []), "a spectral radius is the worst over one curvature or more; none came"),
        (lambda: laws.step_map("momentum", math.inf, 0.5, math.nan), "finite numbers are needed; learning_rate = inf, curvature = nan came"),
        (lambda: laws.error_after("gradient", 1, 0, 1, -1), "steps are counted from zero; -1 came"),
        (lambda: laws.scheduled_error([1, math.nan], 1), "finite numbers are needed; rate 2 = nan came"),
        (lambda: laws.steps_to_tolerance(1.0, 0.1), "a radius in [0, 1) and a tolerance in (0, 1) are needed; 1.0, 0.1 came"),
        (lambda: laws.divergence_threshold("momentum", 1.0, 1), "a positive curvature and a momentum in [0, 1) are needed; 1, 1.0 came"),
        (lambda: laws.best_hyperparameters("gradient", 0, 1), "curvatures with 0 < smallest <= largest are needed; 0, 1 came: there is no minimum without"),
        (lambda: laws.best_convergence("adam", 1, 2), "an optimizer is one of gradient, momentum, averaged, nesterov; 'adam' came"),
        (lambda: laws.one_step_learning_rate(3, 0, 0), "the gradient at the start 3 is 0: no learning rate moves it; start elsewhere"),
        (lambda: laws.two_step_momentum(0, 1), "a positive learning rate and curvature are needed; 0, 1 came"),
        (lambda: laws.ritz_range([]), "a matrix has one eigenvalue or more; none came"),
    ],
)
def test_what_no_descent_has_is_refused_with_its_value(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value) == said
