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
