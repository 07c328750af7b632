"""The linear recurrence in closed form: against jacrev of a bare loop, at its smallest sizes, and refused arguments."""

import pytest
import torch

from torchstone.core.errors import InvariantError
from torchstone.laws import recurrence


def looped(inputs, initial, weight):
    state = initial
    for row in inputs:
        state = row + weight @ state
    return state


@pytest.mark.parametrize(("steps", "width"), [(1, 1), (1, 3), (5, 2), (7, 3)])
def test_the_gradient_is_jacrev_s_for_any_weight_and_for_the_identity(steps, width):
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64)
    inputs, initial = draw(steps, width), draw(width)
    for weight in (draw(width, width) / width, torch.eye(width, dtype=torch.float64)):
        states = [looped(inputs[:t], initial, weight).tolist() for t in range(steps)]
        jacobian = torch.func.jacrev(lambda w: looped(inputs, initial, w))(weight)
        found = recurrence.recurrent_weight_gradient(states, weight.tolist())
        torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), jacobian, rtol=1e-11, atol=1e-11)
    closed = recurrence.identity_weight_gradient(states)
    torch.testing.assert_close(torch.tensor(closed, dtype=torch.float64), jacobian, rtol=1e-11, atol=1e-11)
    assert jacobian.shape == (width, width, width)


def test_no_step_leaves_no_state_and_zero_starts_add_nothing():
    assert recurrence.cumulative_state([], [1.0, 2.0]) == []
    assert recurrence.cumulative_state([[1.0], [-1.0]], [0.0]) == [[1.0], [0.0]]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: recurrence.cumulative_state([[1.0], [1.0, 2.0]], [0.0]), "vectors of one width, one or more, are needed; widths [1, 2] came where 1 is due"),
        (lambda: recurrence.cumulative_state([], []), "vectors of one width, one or more, are needed; widths [] came where 0 is due"),
        (lambda: recurrence.identity_weight_gradient([]), "vectors of one width, one or more, are needed; widths [] came where 0 is due"),
        (lambda: recurrence.recurrent_weight_gradient([[1.0]], [[1.0, 2.0]]), "vectors of one width, one or more, are needed; widths [1, 2] came where 1 is due"),
        (lambda: recurrence.recurrent_weight_gradient([], [[1.0]]), "the gradient after no step is 0 and needs no law; give h_0 to h_{t-1}, one state or more"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_value(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value) == said


def test_the_two_forms_take_one_step_each_from_the_other():
    inside = [[0.5, 0.0]]
    outside = recurrence.outside_state(inside, [[1.0]], weight=[[2.0, 1.0], [0.0, 1.0]], input_weight=[[1.0], [-3.0]], bias=[0.0, 1.0])
    assert outside == [[2.0, -2.0]]
    assert recurrence.inside_state(outside, "relu") == [[2.0, 0.0]]
    assert recurrence.inside_state([[0.0]], "sigmoid") == [[0.5]]
    assert recurrence.inside_state([[-800.0, 800.0]], "sigmoid") == [[0.0, 1.0]]


def test_what_a_gain_asks_of_the_weight_is_the_bound_turned_round():
    for size, steps, steepest in ((0.3, 4, 1.0), (7.0, 9, 0.25), (1.0, 1, 0.5)):
        bound = recurrence.vanishing_gradient(steepest, size**2, steps)
        assert recurrence.exploding_weight(bound, steps, steepest) == pytest.approx(size)
    assert recurrence.vanishing_gradient(1.0, 4.0, 0) == 1.0 and recurrence.vanishing_gradient(1.0, 0.0, 3) == 0.0


def test_a_gated_network_of_one_unit_explodes_beyond_its_threshold():
    threshold = 3 * 5**0.5 / 2
    for factor, grows in ((0.99, False), (1.01, True)):
        two = abs(recurrence.gated_growth(threshold * factor, 1.0, 2))
        assert (two > 1) is grows
        assert abs(recurrence.gated_growth(threshold * factor, 1.0, 20)) == pytest.approx(two**10)
    assert recurrence.gated_growth(9.0, 9.0, 0) == 1.0


def test_without_a_gate_that_reads_the_state_nothing_grows():
    assert recurrence.gated_gain(1.0, 100.0, 0.0, 50) == 1.0
    assert recurrence.gated_jacobian([0.25, 1.0], [9.0, 9.0], [-9.0, 0.0], [[0.0, 0.0], [5.0, 5.0]]) == [[0.25, 0.0], [0.0, 1.0]]


def test_a_window_takes_what_the_recursion_gives_it_and_no_more():
    one, two = [[2.0]], [[3.0]]
    near = recurrence.attention_loss_gradient([[0.0], [1.0], [1.0]], [[one], [one]])
    far = recurrence.attention_loss_gradient([[0.0], [1.0], [1.0]], [[one], [one, two]])
    assert near == [2 * (1 + 2 * 1)] and far == [near[0] + 3]
    assert recurrence.attention_loss_gradient([[0.0], [1.0]], [[one, two]]) == [2.0]  # two steps ago is before T
    assert recurrence.attention_loss_gradient([[4.0]], []) == [4.0]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: recurrence.inside_state([[1.0]], "gelu"), "nonlinearity is one of tanh, relu, sigmoid; 'gelu' came"),
        (lambda: recurrence.outside_state([[1.0]], [], [[1.0]], [[1.0]], [0.0]), "one row for each step is needed of all; lengths {'states': 1, 'inputs': 0} came"),
        (lambda: recurrence.vanishing_gradient(-1.0, 1.0, 1), "gamma, lambda_1 and T are 0 or more; -1.0, 1.0 and 1 came"),
        (lambda: recurrence.exploding_weight(1.0, 0, 1.0), "a gain of 0 or more, a step or more and a gamma above 0 are needed; 1.0, 0 and 1.0 came"),
        (lambda: recurrence.gate_size(0, 3), "sizes are 1 or more; 0 and 3 came"),
        (lambda: recurrence.gated_jacobian([0.5], [1.0, 2.0], [1.0], [[1.0]]), "vectors of one width, one or more, are needed; widths [1, 2, 1, 1] came where 1 is due"),
        (lambda: recurrence.gated_gain(1.5, 1.0, 1.0, 1), "a gate from 0 to 1, R, norm and steps of 0 or more are needed; 1.5, 1.0, 1.0 and 1 came"),
        (lambda: recurrence.gated_growth(1.0, 1.0, -1), "finite numbers and 0 steps or more are needed; 1.0, 1.0 and -1 came"),
        (lambda: recurrence.attention_size(0), "a window is 1 past state or more; 0 came"),
        (lambda: recurrence.attention_loss_gradient([[1.0]], [[]]), "Jacobians of every step but the first are needed; 1 came for 1 steps"),
    ],
)
def test_networks_refuse_what_does_not_fit(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value) == said
