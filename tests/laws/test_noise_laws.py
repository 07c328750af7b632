"""Dropout without rescaling by exact enumeration of its masks, and arguments that no layer has."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laws.holding import DOUBLE, breaks, holds
from torchstone.core.errors import InvariantError
from torchstone.laws import noise

INPUTS, WEIGHTS, BIAS = [1.0, -2.0, 3.0], [0.5, 4.0, -1.0], 0.25


def expected(p, factor=1.0, inputs=INPUTS, weights=WEIGHTS, bias=BIAS):
    """The mean over all masks, each with its chance."""
    total = 0.0
    for mask in itertools.product([0, 1], repeat=len(inputs)):
        chance = math.prod(1 - p if kept else p for kept in mask)
        total += chance * (bias + sum(factor * kept * w * x for kept, w, x in zip(mask, weights, inputs, strict=True)))
    return total


@given(st.floats(0, 1))
def test_the_expectation_over_all_masks(p):
    arguments = {"inputs": INPUTS, "weights": WEIGHTS, "bias": BIAS, "p": p}
    holds("noise.dropped_expectation", arguments, expected(p), DOUBLE)


def test_rescaled_survivors_break_it():
    breaks("noise.dropped_expectation", {"inputs": INPUTS, "weights": WEIGHTS, "bias": BIAS, "p": 0.5}, expected(0.5, factor=2.0), DOUBLE)


@given(st.floats(0, 1))
def test_the_scaled_weights_give_the_expectation_and_the_divided_ones_do_not(p):
    without = BIAS + sum(noise.inference_weight(w, p) * x for w, x in zip(WEIGHTS, INPUTS, strict=True))
    assert math.isclose(without, expected(p), rel_tol=1e-9, abs_tol=1e-9)
    if 0.01 < p < 1:
        divided = BIAS + sum(w / (1 - p) * x for w, x in zip(WEIGHTS, INPUTS, strict=True))
        assert abs(divided - expected(p)) > 1e-3


def test_the_ends():
    assert noise.inference_weight(3.0, 0.0) == 3.0 and noise.inference_weight(3.0, 1.0) == 0.0
    assert noise.dropped_expectation([], [], bias=2.0, p=0.5) == 2.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: noise.inference_weight(1.0, 1.5), "a probability lies in [0, 1]; 1.5 came"),
        (lambda: noise.inference_weight(1.0, math.nan), "a probability lies in [0, 1]; nan came"),
        (lambda: noise.inference_weight(math.inf, 0.5), "finite inputs, weights and bias are needed; [inf] came"),
        (lambda: noise.dropped_expectation([1.0], [1.0, 2.0], 0.0, 0.5), "a dense unit has one weight an input; 2 weights and 1 inputs came"),
    ],
)
def test_what_no_layer_has_is_refused_with_its_value(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value) == said
