"""The laws of activations at their edges: ties, poles, overflow, and arguments that no network has."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from laws.holding import AT_MOST, DOUBLE, breaks, holds
from torchstone.core.errors import InvariantError
from torchstone.core.law import find_law
from torchstone.laws.activation import logarithm, softmax, step, twin

LOGITS = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8)


def test_a_logit_belongs_to_its_class():
    share = torch.softmax(torch.tensor([2.0, -1.0], dtype=torch.float64), 0)
    holds("activation.two_class_logit", {"z0": 2.0, "z1": -1.0}, torch.logit(share[0]).item(), DOUBLE)
    breaks("activation.two_class_logit", {"z0": 2.0, "z1": -1.0}, torch.logit(share[1]).item(), DOUBLE)


@pytest.mark.parametrize("height", [0.0, 1e4, -1e300, 1e308])
def test_differences_beyond_float64_give_shares_of_zero_and_one(height):
    assert softmax.softmax_of_differences([0.0, height])[1] == (0.5 if height == 0 else float(height > 0))
    assert softmax.translated_softmax([0.0, height], shift=1e308)[1] == (0.5 if height == 0 else float(height > 0))


@settings(deadline=None)  # the first example loads torch
@given(LOGITS)
def test_shares_are_torch_s_and_add_up_to_one(logits):
    shares = softmax.softmax_of_differences(logits)
    assert math.isclose(sum(shares), 1, rel_tol=1e-12)
    torch.testing.assert_close(torch.tensor(logits, dtype=torch.float64).softmax(0).tolist(), shares, rtol=1e-9, atol=1e-300)


@settings(deadline=None)
@given(LOGITS, st.floats(1e-3, 1e3))
def test_no_share_is_further_from_its_limit_than_the_bound(logits, scale):
    limit = softmax.softmax_scale_limit(logits, math.inf)
    shares = (scale * torch.tensor(logits, dtype=torch.float64)).softmax(0).tolist()
    error = max(abs(one - other) for one, other in zip(shares, limit, strict=True))
    holds("activation.softmax_limit_error", {"logits": logits, "scale": scale}, error, DOUBLE, AT_MOST)


def test_the_bound_is_reached_in_the_limit_by_ties_of_both_kinds():
    for logits in ([0.0, -1.0], [0.0, -1.0, -1.0, -1.0], [0.0, 0.0, -1.0]):
        limit = softmax.softmax_scale_limit(logits, math.inf)
        shares = softmax.softmax_of_differences([15 * one for one in logits])
        error = max(abs(one - other) for one, other in zip(shares, limit, strict=True))
        assert 0.999 < error / softmax.softmax_limit_error(logits, 15.0) <= 1 + 1e-9


@pytest.mark.parametrize(
    ("scale", "limit"), [(math.inf, [0.0, 0.5, 0.0, 0.5]), (-math.inf, [1.0, 0.0, 0.0, 0.0]), (0.0, [0.25] * 4), (-0.0, [0.25] * 4)]
)
def test_limits_at_ties(scale, limit):
    assert softmax.softmax_scale_limit([-3.0, 2.0, 1.0, 2.0], scale) == limit


def test_the_step_at_both_zeros_and_relu_beside_it():
    assert step.heaviside(0.0) == step.heaviside(-0.0) == 0.5
    assert step.relu_by_heaviside(0.0) == (0.0, 0.0)
    assert step.relu_derivative(5e-324) == 1 and step.relu_derivative(-5e-324) == 0


def test_a_sigmoid_approaches_the_step_at_a_point_and_not_uniformly():
    assert step.steep_sigmoid_error(0.5, 1e4) == 0.0
    assert step.steep_sigmoid_error(1e-9, 1e4) > 0.499
    assert step.steep_sigmoid_error(-2.0, 1.0) == step.steep_sigmoid_error(2.0, 1.0)


def test_rows_without_poles_and_rows_of_one_sign_are_numbers_behind_log_lu():
    assert logarithm.not_numbers_behind_log_relu([1.0, 2.0], [[1.0, -1.0], [0.0, 0.0]]) == 0
    assert logarithm.not_numbers_behind_log_relu([-1.0, 0.0], [[1.0, 2.0], [-1.0, -2.0], [1.0, -2.0], [0.0, 1.0]]) == 2
    assert logarithm.not_numbers_behind_log_relu([-1.0, 3.0], []) == 0
    assert logarithm.log_relu_poles([]) == (0, 0)


def test_a_network_of_one_layer_and_the_sigmoid_at_its_ends():
    assert twin.sigmoid_network([800.0], [([[1.0]], [0.0])], ends_in_sigmoid=True) == [1.0]
    assert twin.sigmoid_network([-800.0], [([[1.0]], [0.0])], ends_in_sigmoid=True) == [0.0]
    assert twin.sigmoid_network_jacobian([3.0, 4.0], [([[1.0, 2.0]], [0.0])]) == [[1.0, 2.0]]


@given(st.lists(st.lists(st.floats(-10, 10), min_size=3, max_size=3), min_size=2, max_size=2), st.booleans(), st.booleans())
def test_the_map_and_its_gradient_are_adjoint(weight, after, before):
    """<map(W, b) - map(0), (G, g)> = <(W, b), gradients(G, g)>: the one is the other's transpose."""
    bias, gradient, by_bias = [1.0, -2.0], [[0.5, -1.0, 2.0], [3.0, 0.25, -0.5]], [0.7, -0.3]
    flags = {"after_sigmoid": after, "before_sigmoid": before}
    dot = lambda left, right: sum(a * b for u, v in zip(left[0], right[0], strict=True) for a, b in zip(u, v, strict=True)) + sum(
        a * b for a, b in zip(left[1], right[1], strict=True)
    )
    mapped, pulled = twin.tanh_twin_layer(weight, bias, **flags), twin.gradients_from_tanh_twin(gradient, by_bias, **flags)
    assert math.isclose(dot(mapped, (gradient, by_bias)), dot((weight, bias), pulled), rel_tol=1e-9, abs_tol=1e-9)


def test_two_layers_are_two_applications_of_the_map_of_one():
    one, two = ([[2.0, 4.0], [6.0, 8.0]], [1.0, 3.0]), ([[1.0, 5.0]], [7.0])
    whole = twin.tanh_twin(*one, *two)
    first = twin.tanh_twin_layer(*one, after_sigmoid=False, before_sigmoid=True)
    assert whole == (first, twin.tanh_twin_layer(*two, after_sigmoid=True, before_sigmoid=False))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: softmax.two_class_logit(math.inf, 0.0), "softmax needs one finite logit or more; [inf, 0.0] came"),
        (lambda: softmax.softmax_of_differences([]), "softmax needs one finite logit or more; [] came"),
        (lambda: softmax.translated_softmax([1.0], math.nan), "softmax needs one finite logit or more; [1.0, nan] came"),
        (lambda: softmax.translated_softmax([], 1.0), "softmax needs one finite logit or more; [] came"),
        (lambda: softmax.scaled_log_odds(1.0, 0.0, math.inf), "softmax needs one finite logit or more; [1.0, 0.0, inf] came"),
        (lambda: softmax.softmax_scale_limit([1.0], 2.0), "a limit is taken at scale 0, inf or -inf; 2.0 came"),
        (lambda: softmax.softmax_scale_limit([1.0], math.nan), "a limit is taken at scale 0, inf or -inf; nan came"),
        (lambda: softmax.softmax_limit_error([1.0], 0.0), "the error is bounded for a finite scale above 0; 0.0 came"),
        (lambda: softmax.softmax_limit_error([1.0], math.nan), "the error is bounded for a finite scale above 0; nan came"),
        (lambda: step.heaviside(math.nan), "an activation is held at a finite number; nan came"),
        (lambda: step.relu_by_heaviside(-math.inf), "an activation is held at a finite number; -inf came"),
        (lambda: step.relu_derivative(0.0), "relu has no derivative at 0: its slope is 0 from the left and 1 from the right"),
        (lambda: step.steep_sigmoid_error(1.0, 0.0), "a finite steepness above 0 is needed; 0.0 came"),
        (lambda: step.steep_sigmoid_error(1.0, math.nan), "a finite steepness above 0 is needed; nan came"),
        (lambda: logarithm.log_relu_poles([math.nan]), "the poles of log(relu(x)) are counted among finite inputs; [nan] came"),
        (lambda: logarithm.not_numbers_behind_log_relu([1.0], [[math.inf]]), "the poles of log(relu(x)) are counted among finite inputs; [inf] came"),
        (lambda: logarithm.not_numbers_behind_log_relu([1.0], [[1.0, 2.0]]), "a row of the weight has one number an input, 1; 2 came"),
        (
            lambda: twin.tanh_twin([[1.0]], [1.0], [[1.0, 2.0]], [1.0]),
            "a dense layer has one bias an output and rows of 1 inputs; rows of [2] and 1 biases came",
        ),
        (
            lambda: twin.tanh_twin_layer([[1.0], [1.0, 2.0]], [1.0, 1.0], after_sigmoid=True, before_sigmoid=True),
            "a dense layer has one bias an output and rows of one number of inputs; rows of [1, 2] and 2 biases came",
        ),
        (
            lambda: twin.sigmoid_network([1.0, 2.0], [([[1.0]], [0.0])]),
            "a dense layer has one bias an output and rows of 2 inputs; rows of [1] and 1 biases came",
        ),
        (lambda: twin.sigmoid_by_tanh(math.nan), "sigmoid is held at a number; nan came"),
    ],
)
def test_what_no_network_has_is_refused_with_its_value(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value) == said


def test_every_law_of_the_topic_is_found_by_its_name():
    assert find_law("activation.two_class_logit").formula is softmax.two_class_logit
