"""Fresh adapters, on recordings written by hand."""

import dataclasses

import pytest

from checks.recordings import findings, only_evidence, only_finding, recording, verdicts
from torchstone.checks.adaptation import adapter_never_trains as check
from torchstone.checks.optimization import parameter_never_updated
from torchstone.core.events import CheckpointWithoutGradient, ParameterSeen, RunEnded
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Severity
from torchstone.core.place import Place
from torchstone.core.steps import GroupSeen, OptimizerSeen, ParametersExamined

MADE = Place("train.py", 4)
PLACES = {"base": "model.q.base.weight", "down": "model.q.lora_A", "up": "model.q.lora_B"}


def seen(number, name, shape, deviation=0.5, **more):
    return ParameterSeen(number, (name,), 0, shape, deviation=deviation, constructed=MADE, **more)


def adapter(**names):
    names = {**PLACES, **names}
    return (seen(0, names["base"], (8, 6), trainable=False), seen(1, names["down"], (2, 6)), seen(2, names["up"], (8, 2), 0.0))


def optimizer(*numbers, rate=0.1):
    return OptimizerSeen(0, "Adam", (GroupSeen(rate, 0.0, numbers),))


def look(step=0, *, down=1.0, up=1.0, moved=False, ran=2, trains=(True, True), final=False, down_moved=False):
    return ParametersExamined(
        step, (0, 1, 2), (None, down, up), (False, down_moved, moved), (2, ran, ran), (False, *trains), (False,) * 3, final=final
    )


def looks(**more):
    return [look(step, **more, final=step == 8) for step in (0, 1, 2, 4, 8)]


def ended(of, reason):
    return dataclasses.replace(of, events=(*of.events[:-1], RunEnded(reason, steps=8, backward_passes=8)))


def test_a_zero_factor_that_moved_holds_whatever_the_other_did_at_the_first_step():
    evidence = only_evidence(check, recording(*adapter(), optimizer(1, 2), look(0, down=0.0), look(1, moved=True)))
    assert evidence.verdict is Verdict.HOLDS
    assert (evidence.predicted.value, evidence.measured.value) == (8, 8)


@pytest.mark.parametrize("names", [
    {}, {"down": "model.q.down.weight", "up": "model.q.up.weight"}, {"down": "model.q.a", "up": "model.q.b"},
    {"down": "model.q.lora_A.default.weight", "up": "model.q.lora_B.default.weight", "base": "model.q.base_layer.weight"},
])
def test_pairs_are_found_by_name_and_by_shape_beside_a_frozen_weight(names):
    finding = only_finding(check, recording(*adapter(**names), optimizer(1), *looks()))
    assert finding.title == "the adapters get gradients, but no optimizer holds them"
    assert finding.severity is Severity.ERROR
    assert (finding.main.site.file, finding.main.site.line) == ("train.py", 4)


def test_without_names_and_without_a_frozen_weight_there_is_no_adapter():
    three = adapter(down="model.q.a", up="model.q.b")
    events = [look(step, trains=(True, True)) for step in (0, 1, 2)]
    free = [dataclasses.replace(event, trainable=(True, True, True)) for event in events]
    assert verdicts(check, recording(*three, optimizer(1), *free)) == []


def test_shapes_without_a_lower_rank_are_no_adapter():
    square = (seen(0, "m.w", (4, 4), trainable=False), seen(1, "m.lora_A", (4, 4)), seen(2, "m.lora_B", (4, 4), 0.0))
    assert verdicts(check, recording(*square, optimizer(1, 2), *looks())) == []


@pytest.mark.parametrize(("events", "title"), [
    ([optimizer(0, 1), *looks()], "the adapters get gradients, but no optimizer holds them"),
    ([optimizer(1, 2), *looks(up=None, trains=(True, False))], "the adapters' zero factor does not require a gradient"),
    ([optimizer(1, 2), *looks(up=0.0, down=0.0)], "the adapters' gradients are exactly zero"),
    ([optimizer(1, 2), *looks(up=None, down=None, ran=1)], "the adapters run without gradients only"),
    ([optimizer(1, 2), *looks(up=None, down=None, ran=0)], "the adapters are in the optimizer, but never called"),
    ([optimizer(1, 2), *looks(up=None, down=None)], "the adapters run in the forward pass, but no gradient comes back"),
    (
        [optimizer(1, 2), CheckpointWithoutGradient(0, Place("train.py", 9)), *looks(up=None, down=None, ran=1)],
        "no gradient reaches the adapters inside a checkpoint",
    ),
])
def test_each_cause_has_its_title(events, title):
    finding = only_finding(check, recording(*adapter(), *events))
    assert finding.title == title
    assert finding.measured_as == "1 of 1 adapters are still exactly zero"
    assert finding.predicted_as == "8 updates of each zero factor in 8 steps"


def test_two_zero_factors_are_told_as_such():
    both = (*adapter()[:1], seen(1, PLACES["down"], (2, 6), 0.0), adapter()[2])
    finding = only_finding(check, recording(*both, optimizer(1, 2), *looks(up=0.0, down=0.0)))
    assert finding.title == "both factors of the adapters are zero: neither ever gets a gradient"
    (change,) = check.changes(finding, recording(*both, optimizer(1, 2), *looks(up=0.0, down=0.0)))
    assert (change.kind, change.arguments) == ("draw-parameters", {"numbers": [1]})


@pytest.mark.parametrize(("events", "reason"), [
    ([optimizer(1, 2, rate=0.0), *looks()], "the learning rate of its group is 0: taken as meant"),
    ([optimizer(0), *looks(up=None, down=None, trains=(False, False))], "its zero factor is frozen, and the other one too: taken as meant"),
    ([optimizer(0), *looks(up=None, down=None)], "no gradient reaches it and no optimizer holds it"),
    ([optimizer(1, 2), *looks()], "it has gradients and an optimizer, and has not moved yet"),
])
def test_what_may_be_meant_is_undecided(events, reason):
    evidence = only_evidence(check, recording(*adapter(), *events))
    assert (evidence.verdict, evidence.reason) == (Verdict.UNDECIDED, reason)


def test_a_stopped_run_and_a_short_one_are_undecided():
    of = recording(*adapter(), optimizer(1, 2), *looks(up=None, down=None, ran=1))
    assert verdicts(check, ended(of, "steps")) == [Verdict.UNDECIDED]
    assert verdicts(check, recording(*adapter(), optimizer(1), look(0), steps=2)) == [Verdict.UNDECIDED]
    checkpointed = recording(*adapter(), optimizer(1, 2), CheckpointWithoutGradient(0), *looks(up=None, down=None, ran=1))
    assert verdicts(check, ended(checkpointed, "steps")) == [Verdict.BROKEN]


def test_an_expert_that_no_row_chose_is_undecided_where_others_train():
    one = adapter(base="m.experts.0.w", down="m.experts.0.lora_A", up="m.experts.0.lora_B")
    two = (seen(3, "m.experts.1.w", (8, 6)), seen(4, "m.experts.1.lora_A", (2, 6)), seen(5, "m.experts.1.lora_B", (8, 2), 0.0))
    rows = ParametersExamined(
        8, tuple(range(6)), (None, 1.0, 1.0, None, None, None), (False, True, True, False, False, False), (2, 2, 2, 0, 0, 0),
        (False, True, True) * 2, (False,) * 6, final=True,
    )
    assert verdicts(check, recording(*one, *two, optimizer(1, 2, 4, 5), rows)) == [Verdict.HOLDS, Verdict.UNDECIDED]


def test_parameter_never_updated_leaves_the_factors_to_this_finding():
    of = recording(*adapter(), optimizer(0), *looks())
    assert len(findings(check, of)) == 1
    assert findings(parameter_never_updated, of) == []
    reasons = {item.reason for item in parameter_never_updated.hold(of)}
    assert reasons == {"a factor of a fresh adapter: adapter-never-trains says what becomes of it"}


@pytest.mark.parametrize(("events", "kinds"), [
    ([optimizer(0), *looks()], ["add-parameters"]),
    ([optimizer(1, 2), *looks(up=None, trains=(True, False))], ["train-parameters"]),
    (
        [optimizer(1, 2), CheckpointWithoutGradient(0), *looks(up=None, down=None, ran=1)],
        ["input-requires-gradient", "checkpoint-without-reentrance"],
    ),
    ([optimizer(1, 2), *looks(up=0.0, down=0.0)], []),
    ([optimizer(1, 2), *looks(up=None, down=None, ran=1)], []),
    ([optimizer(1, 2), *looks(up=None, down=None)], []),
])
def test_each_cause_has_its_changes_or_says_why_none(events, kinds):
    of = recording(*adapter(), *events)
    finding = only_finding(check, of)
    assert [change.kind for change in check.changes(finding, of)] == kinds
    assert check.why_no_remedy(finding, of)
