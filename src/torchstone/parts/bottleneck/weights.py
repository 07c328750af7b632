"""How much the regulariser counts, step by step."""

import math
from dataclasses import dataclass
from numbers import Real

from torchstone.core.errors import UsageError
from torchstone.laws import bottleneck


def check_beta(beta: object) -> None:
    """Raise UsageError unless a weight is 0 or more and finite."""
    if not isinstance(beta, Real) or not math.isfinite(beta):
        message = f"the regulariser's weight beta is a finite number; {beta!r} came"
        raise UsageError(message)
    if beta < 0:
        message = f"the regulariser's weight beta is 0 or more; {beta} came: below 0 it would reward codes far from the prior"
        raise UsageError(message)


@dataclass(frozen=True)
class BetaSchedule:
    """The regulariser's weight at a step: beta, climbing from 0 over `warmup` steps, anew every `cycle` steps if that is not 0.

    Raises UsageError for beta < 0 and whole numbers that do not fit. Sources: Bowman et al. 2016; Fu et al. 2019.

    >>> [BetaSchedule(1.0, warmup=4)(step) for step in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """

    beta: float
    warmup: int = 0
    cycle: int = 0

    def __post_init__(self) -> None:
        check_beta(self.beta)
        if self.warmup < 0 or self.cycle < 0 or (self.cycle and self.warmup > self.cycle):
            message = f"warmup and cycle are 0 or more, warmup at most a cycle; warmup={self.warmup} and cycle={self.cycle} came"
            raise UsageError(message)

    def __call__(self, step: int) -> float:
        """The weight at a step, counted from 0."""
        if step < 0:
            message = f"steps are counted from 0; {step} came"
            raise UsageError(message)
        return bottleneck.weight(step, self.beta, self.warmup, self.cycle)
