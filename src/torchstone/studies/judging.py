"""A law held against intervals over seeds: what the seeds leave open is undecided, never broken."""

import math

from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.law import find_law
from torchstone.core.quantity import NOTHING, Amount, Quantity, Tolerance, Unit
from torchstone.core.study import Interval, counted

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
    verb = "does" if measured.count == 1 else "do"
    reason = "" if told else f"{counted(measured.count, 'seed')} {verb} not tell it from a claim that is {rival:g} away"
    return _evidence(law, predicted, measured, Relation.EQUAL, tolerance, how, reason, unit)


def above(
    law: str, predicted: float, measured: Interval, how: str, unit: Unit | None = None, *, grain: float = 0.0, reason: str = ""
) -> Evidence:
    """Whether a figure, or a difference, is at least what a law predicts: decided only if all of its interval lies on one side.

    grain: the least step that the figure can take, where it counts something: seeds that agree by that chance alone have an
    interval of no width, and it is taken to be no narrower than a step. reason: why nothing is decided, whatever was measured.
    """
    return _sided(law, predicted, _grained(measured, grain), how, Relation.AT_LEAST, unit, reason)


def below(
    law: str, predicted: float, measured: Interval, how: str, unit: Unit | None = None, *, grain: float = 0.0, reason: str = ""
) -> Evidence:
    """The same for at most."""
    return _sided(law, predicted, _grained(measured, grain), how, Relation.AT_MOST, unit, reason)


def _grained(measured: Interval, grain: float) -> Interval:
    return Interval(measured.mean, max(measured.half_width, grain), measured.count)


def _sided(
    law: str, predicted: float, measured: Interval, how: str, relation: Relation, unit: Unit | None, reason: str
) -> Evidence:
    # Asked this way round, NaN, one seed's infinite interval, and seeds that all give the very bound come out as undecided.
    clear = measured.low > predicted or measured.high < predicted
    open_to = f"the interval over {counted(measured.count, 'seed')} ({measured.low:.3g} to {measured.high:.3g}) does not decide"
    if measured.count == 1:
        open_to = "1 seed has no interval"
    return _evidence(law, predicted, measured, relation, Tolerance(), how, reason or ("" if clear else open_to), unit)


def _evidence(
    law: str, predicted: float, measured: Interval, relation: Relation, allowed: Tolerance, how: str, reason: str,
    given: Unit | None,
) -> Evidence:
    unit = given or find_law(law).unit
    return Evidence(law, SITE, Quantity(predicted, unit), Quantity(measured.mean, unit), allowed, relation, how, reason)
