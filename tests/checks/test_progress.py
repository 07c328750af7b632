"""Whether a loss falls, on losses written by hand."""

import pytest

from torchstone.checks.progress import progress
from torchstone.core.events import LossComputed, RunStarted
from torchstone.core.recording import Recording
from torchstone.core.steps import StepTaken


def run(losses, *events):
    return Recording((RunStarted("train.py"), *events, *[StepTaken(n, loss=loss) for n, loss in enumerate(losses)]))


def noisy(level, count=60, share=0.02):
    return [level * (1 + share * (-1) ** n) for n in range(count)]


def classes(count, loss):
    return LossComputed("cross_entropy", 0, classes=count, loss=loss, nats=loss)


def regression(variance, loss):
    return LossComputed("mse_loss", 0, loss=loss, target_variance=variance)


@pytest.mark.parametrize("losses", [[], [1.0] * 23, [1.0] * 30 + [float("inf")]])
def test_few_or_infinite_losses_say_nothing(losses):
    assert progress(run(losses)) is None


@pytest.mark.parametrize(("losses", "events", "stands"), [
    (noisy(0.69), (), True),
    ([0.7 - 0.001 * n for n in range(60)], (), False),
    ([2.4 - 0.1 * min(n, 1) for n in range(60)], (classes(10, 2.4),), True),
    ([2.4 - 0.2 * min(n, 1) for n in range(60)], (classes(10, 2.4),), False),
    ([1.17, 0.6, 0.3, *noisy(0.167, 57)], (regression(0.167, 1.17),), True),
    ([1.17, 0.6, 0.3, *noisy(0.05, 57)], (regression(0.167, 1.17),), False),
    ([1.17, 0.6, 0.3, *noisy(0.167, 57)], (), True),
    ([10 * 0.9**n for n in range(60)], (), False),
    (noisy(-0.5), (), False),
])
def test_it_stands_where_guessing_does_or_where_it_began(losses, events, stands):
    assert progress(run(losses, *events)).stands is stands


def test_a_loss_that_is_reduced_otherwise_tells_nothing_of_guessing():
    assert progress(run([69.0] * 30, LossComputed("cross_entropy", 0, classes=2, loss=69.0, nats=0.69))).guess is None
    assert progress(run([0.69] * 30, classes(2, 0.69))).guess == pytest.approx(0.6931, abs=1e-4)
