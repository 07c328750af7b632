"""A law held against intervals over seeds: what the seeds leave open is undecided, never broken."""

import math

from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.law import find_law
from torchstone.core.quantity import NOTHING, Amount, Quantity, Tolerance, Unit
from torchstone.core.study import Interval

SITE = Site("torchstone.studies")


def near(
    law: str, predicted: float, measured: Interval, how: str, *, rival: float, model: Amount = NOTHING, unit: Unit | None = None
) -> Evidence:
    """Whether a number lies where the seeds say.

    rival: how far away the next claim is that somebody might make; seeds that cannot tell the two apart decide nothing.
    model: what the law itself leaves out. unit: the law's own unless given.
    """
    spread = measured.half_width if math.isfinite(measured.half_width) else 0.0
    tolerance = Tolerance(model=model, sampling=Amount(spread, f"95 % interval over {measured.count} seeds"))
    told = math.isfinite(measured.half_width) and tolerance.total < rival
    reason = "" if told else f"{measured.count} seeds do not tell it from a claim that is {rival:g} away"
    return _evidence(law, predicted, measured, Relation.EQUAL, tolerance, how, reason, unit)


def above(law: str, predicted: float, measured: Interval, how: str, unit: Unit | None = None) -> Evidence:
    """Whether a figure, or a difference, is at least what a law predicts: decided only if all of its interval lies on one side."""
    return _sided(law, predicted, measured, how, Relation.AT_LEAST, unit)


def below(law: str, predicted: float, measured: Interval, how: str, unit: Unit | None = None) -> Evidence:
    """The same for at most."""
    return _sided(law, predicted, measured, how, Relation.AT_MOST, unit)


def _sided(law: str, predicted: float, measured: Interval, how: str, relation: Relation, unit: Unit | None) -> Evidence:
    # Asked this way round, NaN and one seed's infinite interval both come out as undecided.
    clear = measured.low > predicted or measured.high < predicted or (measured.half_width == 0 and measured.mean == predicted)
    open_to = f"the interval over {measured.count} seeds ({measured.low:.3g} to {measured.high:.3g}) does not decide"
    return _evidence(law, predicted, measured, relation, Tolerance(), how, "" if clear else open_to, unit)


def _evidence(
    law: str, predicted: float, measured: Interval, relation: Relation, allowed: Tolerance, how: str, reason: str,
    given: Unit | None,
) -> Evidence:
    unit = given or find_law(law).unit
    return Evidence(law, SITE, Quantity(predicted, unit), Quantity(measured.mean, unit), allowed, relation, how, reason)
