"""The laws of losses against torch's own losses, and parts that break them."""

import math

import pytest
import torch
from torch.nn import functional as F

from laws.holding import AT_LEAST, DOUBLE, breaks, holds
from torchstone.core.errors import InvariantError
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws import loss


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("classes", [1, 2, 10, 8000])
def test_constant_logits_lose_ln_k_whatever_the_targets(classes, generator):
    targets = torch.randint(0, classes, (64,), generator=generator)
    logits = normal(generator, 64, 1).expand(64, classes)
    holds("loss.uniform_cross_entropy", {"classes": classes}, F.cross_entropy(logits, targets).item(), DOUBLE)


@pytest.mark.parametrize("classes", [2, 10, 8000])
def test_spread_logits_break_the_uniform_start(classes, generator):
    targets = torch.randint(0, classes, (64,), generator=generator)
    measured = F.cross_entropy(5 * normal(generator, 64, classes), targets).item()
    breaks("loss.uniform_cross_entropy", {"classes": classes}, measured, DOUBLE)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_logits_of_zero_lose_ln_2_whatever_the_share_of_positives(share, generator):
    targets = (torch.rand(200, generator=generator) < share).double()
    measured = F.binary_cross_entropy_with_logits(torch.zeros(200, dtype=torch.float64), targets).item()
    holds("loss.uniform_binary_cross_entropy", {}, measured, DOUBLE)
    assert measured == pytest.approx(F.binary_cross_entropy(torch.full((200,), 0.5).double(), targets).item())
    spread = F.binary_cross_entropy_with_logits(5 * normal(generator, 200), targets).item()
    breaks("loss.uniform_binary_cross_entropy", {}, spread, DOUBLE)


def test_a_positive_weight_breaks_the_binary_start():
    ones = torch.ones(8, dtype=torch.float64)
    measured = F.binary_cross_entropy_with_logits(0 * ones, ones, pos_weight=torch.tensor(3.0)).item()
    breaks("loss.uniform_binary_cross_entropy", {}, measured, DOUBLE)


@pytest.mark.parametrize("prediction", [-3.0, 0.0, 1.5])
def test_a_constant_prediction_has_the_squared_error_of_the_variance_and_its_bias(prediction, generator):
    targets = 2 * normal(generator, 500) + 1
    arguments = {"variance": targets.var(correction=0).item(), "mean": targets.mean().item(), "prediction": prediction}
    constant = torch.full_like(targets, prediction)
    holds("loss.constant_squared_error", arguments, F.mse_loss(constant, targets).item(), DOUBLE)
    breaks("loss.constant_squared_error", arguments, F.mse_loss(constant + normal(generator, 500), targets).item(), DOUBLE)
    breaks("loss.constant_squared_error", arguments, F.mse_loss(constant, targets, reduction="sum").item(), DOUBLE)


def test_no_constant_does_better_than_the_variance(generator):
    targets = 2 * normal(generator, 500) + 1
    for constant in torch.linspace(-5, 7, 40, dtype=torch.float64):
        measured = F.mse_loss(constant.expand(500), targets).item()
        holds("loss.constant_squared_error", {"variance": targets.var(correction=0).item()}, measured, DOUBLE, AT_LEAST)


@pytest.mark.parametrize("deviation", [0.1, 1.0, 30.0])
def test_the_fitted_gaussian_has_the_entropy_of_its_variance(deviation, generator):
    targets = deviation * normal(generator, 500) + 2
    mean, variance = targets.mean(), targets.var(correction=0)
    likelihood = torch.nn.GaussianNLLLoss(full=True, eps=1e-12)
    measured = likelihood(mean.expand(500), targets, variance.expand(500)).item()
    holds("loss.gaussian_negative_log_likelihood", {"variance": variance.item()}, measured, DOUBLE)
    short = torch.nn.GaussianNLLLoss(full=False)(mean.expand(500), targets, variance.expand(500)).item()
    breaks("loss.gaussian_negative_log_likelihood", {"variance": variance.item()}, short, DOUBLE)


def test_no_other_gaussian_does_better_than_the_fitted_one(generator):
    targets = normal(generator, 500)
    variance = targets.var(correction=0).item()
    likelihood = torch.nn.GaussianNLLLoss(full=True)
    for scale in (0.25, 0.5, 0.9, 1.1, 2.0, 8.0):
        for shift in (-0.5, 0.0, 0.5):
            measured = likelihood(targets.mean().expand(500) + shift, targets, torch.full((500,), scale * variance).double()).item()
            holds("loss.gaussian_negative_log_likelihood", {"variance": variance}, measured, DOUBLE, AT_LEAST)


def descend(lose, inputs, low, high, *, project=True):
    """The lowest loss that projected gradient descent finds for inputs in [low, high]."""
    inputs = inputs.clone().requires_grad_()
    optimizer = torch.optim.SGD([inputs], lr=500.0)
    for _ in range(80):
        optimizer.zero_grad()
        lose(inputs).backward()
        optimizer.step()
        if project:
            with torch.no_grad():
                inputs.clamp_(low, high)
    return lose(inputs).item()


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize(("low", "interval"), [(0.0, 1.0), (-2.0, 4.0), (0.0, 0.0)])
def test_descent_inside_an_interval_ends_at_the_reachable_cross_entropy(classes, low, interval, generator):
    targets = torch.randint(0, classes, (16,), generator=generator)
    start = low + interval * torch.rand(16, classes, generator=generator, dtype=torch.float64)
    floor = {"classes": classes, "interval": interval}
    found = descend(lambda x: F.cross_entropy(x, targets), start, low, low + interval)
    holds("loss.reachable_cross_entropy", floor, found, DOUBLE)
    free = descend(lambda x: F.cross_entropy(x, targets), start, low, low + interval, project=False)
    breaks("loss.reachable_cross_entropy", floor, free, DOUBLE, AT_LEAST)


@pytest.mark.parametrize("classes", [1, 2, 10, 100])
@pytest.mark.parametrize("interval", [0.5, 1.0, 20.0])
def test_no_inputs_of_an_interval_fall_below_the_reachable_cross_entropy(classes, interval, generator):
    targets = torch.arange(64) % classes
    best = F.one_hot(targets, classes).double()
    random = [torch.rand(64, classes, generator=generator, dtype=torch.float64) ** power for power in (0.1, 1.0, 10.0)]
    for inputs in (*random, best, 1 - best, random[1].round()):
        measured = F.cross_entropy(interval * inputs - 3, targets).item()
        holds("loss.reachable_cross_entropy", {"classes": classes, "interval": interval}, measured, DOUBLE, AT_LEAST)


def test_probabilities_of_a_certain_softmax_stay_at_the_floor_and_its_logits_do_not():
    targets = torch.arange(10)
    logits = 60 * F.one_hot(targets, 10).double()
    floor = {"classes": 10, "interval": 1.0}
    holds("loss.reachable_cross_entropy", floor, F.cross_entropy(logits.softmax(1), targets).item(), DOUBLE)
    breaks("loss.reachable_cross_entropy", floor, F.cross_entropy(logits, targets).item(), DOUBLE, AT_LEAST)


@pytest.mark.parametrize("positives", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.0, 2.0), (0.5, 0.5)])
def test_descent_inside_an_interval_ends_at_the_reachable_binary_cross_entropy(positives, low, high, generator):
    targets = (torch.arange(64) < 64 * positives).double()
    floor = {"positives": positives, "low": low, "high": high}
    start = low + (high - low) * torch.rand(64, generator=generator, dtype=torch.float64)
    found = descend(lambda x: F.binary_cross_entropy_with_logits(x, targets), start, low, high)
    holds("loss.reachable_binary_cross_entropy", floor, found, DOUBLE)
    free = descend(lambda x: F.binary_cross_entropy_with_logits(x, targets), start, low, high, project=False)
    breaks("loss.reachable_binary_cross_entropy", floor, free, DOUBLE, AT_LEAST)
    for inputs in (start, low + high - start, torch.full_like(start, low), torch.full_like(start, high)):
        measured = F.binary_cross_entropy_with_logits(inputs, targets).item()
        holds("loss.reachable_binary_cross_entropy", floor, measured, DOUBLE, AT_LEAST)


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
