"""Does the loss fall? What laws about gradients that fade ask first: where training goes on, nothing was lost by them."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from torchstone.core.events import LossComputed
from torchstone.core.quantity import format_number
from torchstone.core.recording import Recording
from torchstone.core.steps import StepTaken

FEWEST = 24  # losses: a quarter of them must still have a median
# A fall of less than this share of the loss of guessing has taught nothing that is worth the name.
MATERIAL = 0.02
_GAUSSIAN = 1.4826  # a standard deviation in median absolute deviations
_MEDIAN = 1.2533  # a standard error of a median in those of a mean: sqrt(pi/2)
_BINARY = {"binary_cross_entropy", "binary_cross_entropy_with_logits"}
_CERTAIN = 3.0  # standard errors
_OTHERWISE_REDUCED = 0.2  # a mean over rows that far from what was returned: summed, weighted or smoothed


@dataclass(frozen=True, slots=True)
class Progress:
    """Levels of the loss: `first` of the first few steps, `middle` of the second quarter, `last` of the last quarter.

    error: the standard error of a quarter's median, from the differences of neighbouring steps. guess: what answering without
    looking at the input costs, where the loss is one that tells.
    """

    first: float
    middle: float
    last: float
    error: float
    steps: int
    guess: float | None = None

    @property
    def stands(self) -> bool:
        """Whether nothing was learned: it does not fall any more, and lies where guessing does (or where it began)."""
        if self.error > self.last:  # a loss about 0, or one that jumps: no floor to stand on
            return False
        slack = _CERTAIN * self.error
        falling = self.middle - self.last > max(slack * math.sqrt(2), MATERIAL * self.last)
        level = self.first if self.guess is None else self.guess
        return not falling and self.last + slack >= (1 - MATERIAL) * level

    def __str__(self) -> str:
        at = f", guessing costs {format_number(self.guess)}" if self.guess is not None else ""
        return f"the loss is {format_number(self.first)} at first and {format_number(self.last)} at last{at}"


def progress(recording: Recording) -> Progress | None:
    """The levels of a run's loss; None where they say nothing: few steps, several optimizers, no or no finite loss."""
    taken = recording.of(StepTaken)
    losses = [step.loss for step in taken if step.loss is not None]
    if len({step.optimizer for step in taken}) != 1 or len(losses) < FEWEST or not all(map(math.isfinite, losses)):
        return None
    quarter = len(losses) // 4
    few = losses[: max(3, quarter // 2)]
    jumps = statistics.median(abs(b - a) for a, b in zip(losses[quarter:], losses[quarter + 1 :], strict=False))
    error = _MEDIAN * _GAUSSIAN * jumps / math.sqrt(2) / math.sqrt(quarter)
    middle, last = statistics.median(losses[quarter : 2 * quarter]), statistics.median(losses[-quarter:])
    return Progress(statistics.median(few), middle, last, error, len(losses), _guess(recording, losses))


def _guess(recording: Recording, losses: Sequence[float]) -> float | None:
    """What guessing costs, if the loss that was trained on is the one function that was seen."""
    calls = [call for call in recording.of(LossComputed) if call.phase == "train" and call.loss is not None]
    first = [call for call in calls if call.step == 0]
    if len({call.function for call in calls}) != 1 or len(first) != 1 or not _same(first[0].loss, losses[0]):
        return None
    if first[0].nats is not None and abs(first[0].nats - losses[0]) > _OTHERWISE_REDUCED * abs(losses[0]):
        return None
    costs = [cost for call in calls if (cost := _cost(call)) is not None]
    return statistics.median(costs) if costs else None


def _same(one: float | None, other: float) -> bool:
    return one is not None and abs(one - other) <= 1e-3 * abs(other)  # printed to seven digits, summed in another order


def _cost(call: LossComputed) -> float | None:
    if call.function == "mse_loss":
        return call.target_variance
    if call.function in _BINARY:
        share = call.positives
        return None if share is None or not 0 < share < 1 else -share * math.log(share) - (1 - share) * math.log(1 - share)
    return math.log(call.classes) if call.classes > 1 else None
