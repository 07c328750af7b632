"""Momentum, decay and Adam's lines as numbers: identities over all arguments, and arguments that no step has."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchstone.core.errors import InvariantError
from torchstone.laws import optimization

momenta, rates = st.floats(0, 0.999), st.floats(1e-6, 1e3)
gradients = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20)


@given(momenta, rates)
def test_the_maps_are_inverse(momentum, rate):
    beta, delta = optimization.averaged_hyperparameters(momentum, rate)
    back = optimization.momentum_hyperparameters(beta, delta)
    assert back[0] == momentum and math.isclose(back[1], rate, rel_tol=1e-12)


@given(gradients, momenta, rates)
def test_a_velocity_is_delta_times_the_average(given_, momentum, rate):
    beta, delta = optimization.averaged_hyperparameters(momentum, rate)
    one, other = optimization.velocity(given_, momentum, rate), delta * optimization.running_average(given_, beta)
    assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9 * rate * 1e4)


@given(gradients, momenta, rates)
def test_positions_are_summed_steps(given_, beta, delta):
    steps = (delta * optimization.running_average(given_[:t], beta) for t in range(1, len(given_) + 1))
    assert math.isclose(optimization.averaged_position(given_, beta, delta), -math.fsum(steps), rel_tol=1e-6, abs_tol=1e-9 * delta * 1e5)


@given(st.floats(-1e3, 1e3), momenta, st.integers(1, 50))
def test_a_corrected_average_of_one_value_is_that_value(value, beta, steps):
    assert math.isclose(optimization.corrected_average([value] * steps, beta), value, rel_tol=1e-9, abs_tol=1e-9)


@given(st.floats(1e-6, 1), rates)
def test_the_conventions_close(decay, rate):
    weight_decay = optimization.penalty_weight_decay(optimization.l2_penalty(decay, rate))
    assert math.isclose(optimization.decay_share(weight_decay, rate), decay, rel_tol=1e-12)
    assert optimization.form_difference([2.0, -3.0], [0.5, 0.5], rate, decay, optimization.matching_decay(0.5, rate, decay)) == (0, 0)


@pytest.mark.parametrize(("call", "said"), [
    (lambda: optimization.averaged_hyperparameters(1.0, 0.1), "a momentum in [0, 1) is needed; 1.0 came"),
    (lambda: optimization.running_average([math.nan], 0.5), "finite numbers are needed; [nan] came"),
    (lambda: optimization.average_bias(0.5, 0), "an average is of one gradient or more; 0 steps came"),
    (lambda: optimization.corrected_average([], 0.5), "an average is of one gradient or more; 0 steps came"),
    (lambda: optimization.l2_penalty(0.1, 0), "without a learning rate a penalty does nothing"),
    (lambda: optimization.decay_share(math.inf, 0.1), "finite numbers are needed; weight_decay = inf came"),
    (lambda: optimization.form_difference([1.0], [1.0, 2.0], 1, 1, 1), "M_t has one entry a parameter; 2 entries and 1 parameters came"),
    (lambda: optimization.decay_line("L2"), "decay is l2 or decoupled; 'L2' came"),
    (lambda: optimization.shrinkage_slope(""), "decay is l2 or decoupled; '' came"),
    (lambda: optimization.adam_step(1, 1, 0, 0, 0, learning_rate=1, beta1=0, beta2=0, eps=0), "a line is one of gradient, first moment"),
])  # fmt: skip
def test_what_no_step_has_is_refused(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value).startswith(said)
