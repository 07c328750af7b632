"""What the experiments of proofs/loss.py do not hold: half precision, far intervals, and arguments that no loss has."""

import math

import pytest
import torch
from torch.nn import functional as F

from laws.holding import AT_LEAST, DOUBLE, breaks, holds
from torchstone.core.errors import InvariantError
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws import loss


@pytest.mark.parametrize("classes", [2, 10, 8000])
def test_spread_logits_break_the_uniform_start(classes):
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, classes, (64,), generator=generator)
    measured = F.cross_entropy(5 * torch.randn(64, classes, generator=generator), targets).item()
    breaks("loss.uniform_cross_entropy", {"classes": classes}, measured, DOUBLE)


def test_probabilities_of_a_certain_softmax_stay_at_the_floor_and_its_logits_do_not():
    targets = torch.arange(10)
    logits = 60 * F.one_hot(targets, 10).double()
    floor = {"classes": 10, "interval": 1.0}
    holds("loss.reachable_cross_entropy", floor, F.cross_entropy(logits.softmax(1), targets).item(), DOUBLE)
    breaks("loss.reachable_cross_entropy", floor, F.cross_entropy(logits, targets).item(), DOUBLE, AT_LEAST)


def test_half_precision_probabilities_stay_above_the_floor_within_their_rounding():
    targets = torch.arange(10)
    inputs = (60.0 * F.one_hot(targets, 10)).softmax(1).bfloat16()
    half = Tolerance(rounding=Amount(2**-6, "bfloat16 has 8 bits, and is rounded to twice"))
    holds("loss.reachable_cross_entropy", {"classes": 10, "interval": 1.0}, F.cross_entropy(inputs, targets).item(), half)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: loss.uniform_cross_entropy(0), "a classification loss needs one class or more; 0 came"),
        (lambda: loss.reachable_cross_entropy(-2, 1.0), "a classification loss needs one class or more; -2 came"),
        (lambda: loss.constant_squared_error(-0.5), "a variance is zero or more; -0.5 came"),
        (lambda: loss.gaussian_negative_log_likelihood(0.0), "the fitted variance must be positive; 0.0 came"),
        (lambda: loss.gaussian_negative_log_likelihood(-1.5), "the fitted variance must be positive; -1.5 came"),
        (
            lambda: loss.reachable_binary_cross_entropy(1.5, 0.0, 1.0),
            "a share of positives in [0, 1] and low <= high are needed; 1.5, 0.0, 1.0 came",
        ),
        (
            lambda: loss.reachable_binary_cross_entropy(0.5, 2.0, 1.0),
            "a share of positives in [0, 1] and low <= high are needed; 0.5, 2.0, 1.0 came",
        ),
        (
            lambda: loss.reachable_binary_cross_entropy(math.nan, 0.0, 1.0),
            "a share of positives in [0, 1] and low <= high are needed; nan, 0.0, 1.0 came",
        ),
    ],
)
def test_an_impossible_loss_is_refused_with_its_value(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value) == said


@pytest.mark.parametrize(
    "call",
    [
        lambda: loss.reachable_cross_entropy(10, -1.0),
        lambda: loss.reachable_cross_entropy(10, math.nan),
        lambda: loss.reachable_binary_cross_entropy(0.5, math.nan, 1.0),
        lambda: loss.constant_squared_error(math.nan),
        lambda: loss.gaussian_negative_log_likelihood(math.nan),
    ],
)
def test_what_is_no_number_in_range_is_refused_too(call):
    with pytest.raises(InvariantError):
        call()


@pytest.mark.parametrize(("low", "high", "floor"), [(-2000.0, -1000.0, 500.0), (1000.0, 2000.0, 500.0)])
def test_far_intervals_have_a_floor_too(low, high, floor):
    assert loss.reachable_binary_cross_entropy(0.5, low, high) == pytest.approx(floor)
