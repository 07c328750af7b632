"""A finding rests on broken evidence; a remedy cannot exist without its trial."""

import math

import pytest

from torchstone.core.errors import InvariantError
from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.finding import Change, Finding, Remedy, Severity
from torchstone.core.quantity import Quantity, Unit

CHANGE = Change("clear-gradients", "clear them", "optimizer.zero_grad()")


def evidence(measured, law="topic.law", relation=Relation.EQUAL):
    quantity = None if measured is None else Quantity(measured, Unit.RATIO)
    return Evidence(law, Site(), Quantity(0.0, Unit.RATIO), quantity, relation=relation, reason="" if quantity else "not seen")


def finding(**changed):
    given = {
        "name": "loss-too-high", "code": "TS999", "severity": Severity.ERROR, "title": "t", "evidence": (evidence(1.0),),
        "message": "0 predicted, 1 measured",
    }
    return Finding(**given | changed)


def remedy(after, **more):
    return Remedy(CHANGE, evidence(1.0), evidence(after), 1.0, **more)


@pytest.mark.parametrize("name", ["loss", "Loss-too-high", "loss_too_high", "-loss-high", "loss-", "loss--high", "", "1oss-high"])
def test_a_name_is_kebab_case_of_two_words_or_more(name):
    with pytest.raises(InvariantError) as refused:
        finding(name=name)
    assert str(refused.value) == f"a finding has a kebab-case name and a TS000 code; {name!r}, 'TS999' came"


@pytest.mark.parametrize("code", ["TS1", "TS1000", "ts100", "XX100", "", "TS10a"])
def test_a_code_is_ts_and_three_digits(code):
    with pytest.raises(InvariantError, match="a finding has a kebab-case name and a TS000 code"):
        finding(code=code)


@pytest.mark.parametrize("rests_on", [(), (evidence(0.0),), (evidence(None),), (evidence(1.0), evidence(0.0))])
def test_it_rests_on_broken_evidence_and_nothing_else(rests_on):
    with pytest.raises(InvariantError, match=r"^finding loss-too-high must rest on broken evidence, and on nothing else$"):
        finding(evidence=rests_on)


def test_it_has_a_message():
    with pytest.raises(InvariantError, match=r"^finding loss-too-high has no message$"):
        finding(message="")


@pytest.mark.parametrize("both_or_neither", [{"remedies": (remedy(0.0),)}, {"why_no_remedy": ""}])
def test_it_has_remedies_or_a_reason_why_none(both_or_neither):
    with pytest.raises(InvariantError, match=r"either remedies or a reason why none, not both or neither$"):
        finding(**both_or_neither)


def test_it_leads_with_its_first_evidence():
    first, second = evidence(2.0), evidence(1.0)
    assert finding(evidence=(first, second)).main is first


@pytest.mark.parametrize(("after", "works"), [(0.0, True), (0.5, False), (None, False), (math.nan, False)])
def test_a_remedy_works_where_the_law_holds_after_it(after, works):
    assert remedy(after).works is works


@pytest.mark.parametrize(
    "after", [evidence(0.0, law="topic.other"), evidence(0.0, relation=Relation.AT_MOST)], ids=["another law", "another relation"]
)
def test_a_trial_holds_the_same_law_again(after):
    with pytest.raises(InvariantError) as refused:
        Remedy(CHANGE, evidence(1.0), after, None)
    assert str(refused.value) == f"a trial holds the same law again: topic.law before, {after.law} after"


def test_a_remedy_cannot_be_built_without_a_trial():
    with pytest.raises(TypeError, match="after"):
        Remedy(CHANGE, evidence(1.0))


def test_remedies_that_work_come_first_then_the_nearest_and_nan_last():
    tried = tuple(remedy(after, note=str(after)) for after in (math.nan, 5.0, None, 0.5, 0.0))
    ranked = finding().with_remedies(tried, "unused").remedies
    assert [one.note for one in ranked] == ["0.0", "0.5", "5.0", "nan", "None"]


def test_with_remedies_keeps_the_reason_only_where_there_is_none():
    assert finding().with_remedies((remedy(0.0),), "switched off").why_no_remedy == ""
    none = finding().with_remedies((), "switched off")
    assert (none.remedies, none.why_no_remedy) == ((), "switched off")
    with pytest.raises(InvariantError, match="either remedies or a reason why none"):
        finding().with_remedies((), "")


def test_changes_do_not_share_their_arguments():
    assert Change("a", "b", "c").arguments is not Change("a", "b", "c").arguments
