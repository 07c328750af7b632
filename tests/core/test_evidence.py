"""The verdict is derived from two numbers, a relation and a tolerance; it is never stored."""

import dataclasses
import math

import pytest

from torchstone.core.errors import InvariantError
from torchstone.core.evidence import Evidence, Relation, Site, Verdict
from torchstone.core.quantity import EXACT, Amount, Quantity, Tolerance, Unit

HALF = Tolerance(model=Amount(0.5, "a half"))
HOLDS, BROKEN = Verdict.HOLDS, Verdict.BROKEN


def evidence(measured, relation=Relation.EQUAL, tolerance=EXACT, predicted=10.0, **more):
    quantity = None if measured is None else Quantity(measured, Unit.NATS)
    return Evidence("topic.law", Site(), Quantity(predicted, Unit.NATS), quantity, tolerance, relation, **more)


@pytest.mark.parametrize(
    ("measured", "equal", "at_most", "at_least"),
    [
        (10.0, HOLDS, HOLDS, HOLDS),
        (10.5, HOLDS, HOLDS, HOLDS),
        (9.5, HOLDS, HOLDS, HOLDS),
        (10.5 + 1e-9, BROKEN, BROKEN, HOLDS),
        (9.5 - 1e-9, BROKEN, HOLDS, BROKEN),
        (math.inf, BROKEN, BROKEN, HOLDS),
        (-math.inf, BROKEN, HOLDS, BROKEN),
        (math.nan, BROKEN, BROKEN, BROKEN),
    ],
)
def test_every_relation_gives_its_verdict_within_the_tolerance(measured, equal, at_most, at_least):
    verdicts = [evidence(measured, relation, HALF).verdict for relation in (Relation.EQUAL, Relation.AT_MOST, Relation.AT_LEAST)]
    assert verdicts == [equal, at_most, at_least]


@pytest.mark.parametrize("relation", Relation)
def test_an_exact_law_holds_at_equality_only(relation):
    assert evidence(10.0, relation).verdict is HOLDS
    off = {math.nextafter(10.0, 0), math.nextafter(10.0, 20)}
    broken = sum(evidence(measured, relation).verdict is BROKEN for measured in off)
    assert broken == (2 if relation is Relation.EQUAL else 1)


@pytest.mark.parametrize("relation", Relation)
def test_nothing_measured_is_undecided_whatever_the_relation(relation):
    assert evidence(None, relation, reason="no step was seen").verdict is Verdict.UNDECIDED


def test_nothing_measured_needs_a_reason():
    with pytest.raises(InvariantError, match=r"^evidence for topic\.law measures nothing and gives no reason$"):
        evidence(None)


@pytest.mark.parametrize("predicted", [math.nan, math.inf, -math.inf])
def test_a_prediction_is_finite(predicted):
    with pytest.raises(InvariantError) as refused:
        evidence(1.0, predicted=predicted)
    assert str(refused.value) == f"law topic.law predicted {predicted} nats: a prediction is a finite number"


def test_predicted_and_measured_share_a_unit():
    with pytest.raises(InvariantError, match=r"^law topic\.law predicts nats and logits was measured$"):
        Evidence("topic.law", Site(), Quantity(1.0, Unit.NATS), Quantity(1.0, Unit.LOGITS))


def test_the_verdict_is_no_field_and_evidence_is_frozen():
    held = evidence(10.0)
    assert "verdict" not in {field.name for field in dataclasses.fields(held)}
    with pytest.raises(dataclasses.FrozenInstanceError):
        held.measured = None


@pytest.mark.parametrize(
    ("site", "text"),
    [
        (Site("head", "train.py", 7), "train.py:7  head"),
        (Site("", "train.py", 7), "train.py:7"),
        (Site("head"), "head"),
        (Site(), "(unknown place)"),
    ],
)
def test_a_site_says_what_it_knows(site, text):
    assert str(site) == text


@pytest.mark.parametrize("measured", [10.0, 99.0, math.nan])
def test_a_reason_leaves_undecided_what_was_measured(measured):
    held = evidence(measured, reason="the weights were loaded")
    assert held.verdict is Verdict.UNDECIDED
    assert held.measured == Quantity(measured, Unit.NATS) or math.isnan(measured)
