"""One sample held: the law's own formula predicts first, then what the part did is compared with it."""

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.law import Law, find_law
from torchstone.core.quantity import EXACT, Amount, Quantity, Tolerance

SITE = Site("torchstone.parts")
_EPSILON = {torch.float64: sys.float_info.epsilon, torch.float32: 2.0**-23}


def rounding(operations: float, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tolerance:
    """What `operations` roundings of numbers as large as `scale` may add up to."""
    name = str(dtype).removeprefix("torch.")
    return Tolerance(rounding=Amount(operations * scale * _EPSILON[dtype], f"{operations:g} roundings in {name} at {scale:.3g}"))


def sampling(rows: Tensor, errors: float = 4.0) -> tuple[float, Tolerance]:
    """The mean of independent rows, and the tolerance that their number leaves."""
    error = rows.std().item() / math.sqrt(len(rows))
    return rows.mean().item(), Tolerance(sampling=Amount(errors * error, f"{errors:g} standard errors of {len(rows)} rows"))


def held(
    name: str, arguments: Mapping[str, Any], measured: Any, tolerance: Tolerance = EXACT, relation: Relation = Relation.EQUAL
) -> Evidence:
    """Evidence for one sample. Where law and part speak of many numbers, the pair that agrees least is the evidence.

    `measured` is a number, a tensor or nested lists of them; what the law predicts has the same nesting.
    """
    law = find_law(name)
    predicted = list(_numbers(law.formula(**arguments)))
    found = list(_numbers(measured))
    if len(predicted) != len(found):
        return _evidence(law, len(predicted), len(found), EXACT, Relation.EQUAL, f"{len(found)} numbers for {len(predicted)}")
    pairs = zip(predicted, found, strict=True)
    worst = max(pairs, key=lambda pair: _excess(pair[0], pair[1], relation), default=(0.0, 0.0))
    return _evidence(law, *worst, tolerance, relation, ", ".join(f"{key}={_short(value)}" for key, value in arguments.items()))


def _evidence(law: Law, predicted: float, found: float, tolerance: Tolerance, relation: Relation, how: str) -> Evidence:
    return Evidence(law.name, SITE, Quantity(predicted, law.unit), Quantity(found, law.unit), tolerance, relation, how)


def _excess(predicted: float, found: float, relation: Relation) -> float:
    """How far a pair goes against its relation; what is not a number goes furthest."""
    difference = found - predicted
    if math.isnan(difference):
        return math.inf
    return {Relation.EQUAL: abs(difference), Relation.AT_MOST: difference, Relation.AT_LEAST: -difference}[relation]


def strain(evidence: Evidence) -> tuple[float, float]:
    """The share of its tolerance that evidence uses, beyond 1 where it is broken; by it the worst of many is chosen.

    The difference itself decides between shares alike. An exact law's share is 0 or infinite, so that where it holds beside
    float64 (sympy and torch) the rounding is what is shown. What cannot be decided comes last.
    """
    if evidence.measured is None or evidence.reason:
        return -math.inf, -math.inf
    beyond, allowed = _excess(evidence.predicted.value, evidence.measured.value, evidence.relation), evidence.tolerance.total
    share = beyond / allowed if allowed else math.copysign(math.inf, beyond) if beyond else 0.0
    return share, beyond


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Tensor):
        yield from value.detach().reshape(-1).double().tolist()
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    else:
        yield float(value)


def _short(value: Any, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
