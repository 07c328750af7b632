"""An initial loss above uniform, on recordings written by hand."""

import math

import pytest

from checks.recordings import LINE, findings, only_evidence, only_finding, recording, verdicts
from torchstone.checks.initialization import initial_loss_above_uniform as check
from torchstone.core.events import CopiedToken, LossComputed, ParameterSeen
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Severity
from torchstone.core.place import Place
from torchstone.core.steps import GroupSeen, OptimizerSeen, ParametersExamined

MADE = Place("train.py", 5)
HOLDS, BROKEN, UNDECIDED = Verdict.HOLDS, Verdict.BROKEN, Verdict.UNDECIDED


def head(number=0, names=("head.weight",), shape=(8000, 256), deviation=1.0, **more):
    return ParameterSeen(number, names, 0, shape, initialized=MADE, deviation=deviation, **more)


def call(nats=59.2, function="cross_entropy", classes=8000, spread=16.0, head=0, place=LINE, **more):
    return LossComputed(
        function, place=place, rows=512, rows_measured=512, classes=classes, nats=nats, nats_deviation=2.0, spread=spread, head=head, **more
    )


def copied(logit, nats_without, embedding=0):
    return CopiedToken(logit, nats_without, 512, embedding)


@pytest.mark.parametrize(("nats", "verdict"), [
    (8.99, HOLDS), (3.0, HOLDS), (9.8, HOLDS), (10.1, UNDECIDED), (10.9, UNDECIDED), (11.1, BROKEN), (163.8, BROKEN),
])
def test_the_start_is_held_against_guessing(nats, verdict):
    assert verdicts(check, recording(call(nats), head())) == [verdict]


@pytest.mark.parametrize(("nats", "verdict"), [(10.4, UNDECIDED), (17.9, UNDECIDED), (18.1, BROKEN)])
def test_a_head_that_is_not_too_wide_itself_is_given_until_freezing(nats, verdict):
    assert verdicts(check, recording(call(nats), head(deviation=0.05))) == [verdict]


@pytest.mark.parametrize("function", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize(("nats", "verdict"), [(0.69, HOLDS), (1.5, HOLDS), (2.3, UNDECIDED), (6.0, BROKEN)])
def test_a_binary_start_is_held_against_ln_2(function, nats, verdict):
    evidence = only_evidence(check, recording(call(nats, function, 0), head()))
    assert evidence.law == "loss.uniform_binary_cross_entropy"
    assert evidence.predicted.value == pytest.approx(math.log(2))
    assert evidence.verdict is verdict


def test_a_spread_that_has_not_frozen_is_undecided_and_says_so():
    evidence = only_evidence(check, recording(call(12.0, spread=2.5), head(deviation=0.05)))
    assert evidence.reason == "starts 3.013 nats above uniform: logits spread by 2.5, less than a frozen softmax would (ln K)"


def test_loaded_weights_are_undecided():
    evidence = only_evidence(check, recording(call(), head(loaded=True)))
    assert evidence.verdict is UNDECIDED
    assert evidence.reason == "starts 50.21 nats above uniform, but the weights were loaded before training: no untrained head to predict"


def test_a_copied_token_within_its_bound_is_undecided_when_it_explains_the_start():
    uniform, logit = call(15.5, copied=copied(15.0, 9.5)), head()
    first, second = check.hold(recording(uniform, logit))
    assert first.verdict is UNDECIDED
    assert first.reason == "the copied token's logit stays (15): it alone adds 6.513 nats"
    assert (second.law, second.verdict) == ("initialization.copied_logit_bound", HOLDS)
    assert second.predicted.value == 16.0


@pytest.mark.parametrize(("logit", "verdict"), [(15.0, HOLDS), (17.5, HOLDS), (17.7, BROKEN), (163.8, BROKEN)])
def test_the_copied_logit_is_held_where_the_head_is_the_embedding(logit, verdict):
    assert verdicts(check, recording(call(copied=copied(logit, 9.0)), head()))[1:] == [verdict]
    assert len(verdicts(check, recording(call(copied=copied(logit, 9.0, embedding=7)), head()))) == 1
    assert verdicts(check, recording(call(copied=copied(logit, 9.0)), head(loaded=True)))[1:] == [UNDECIDED]


@pytest.mark.parametrize("event", [
    call(None), call(step=3), call(step=3, head=None), call(step=3, head=99),
], ids=["not measured", "after a step that trained the head", "later, no head", "later, head unknown"])
def test_what_no_untrained_head_computed_is_not_held(event):
    look = ParametersExamined(1, (0,), (1.0,), (True,), (2,), (True,))
    assert verdicts(check, recording(head(), look, event)) == []


def test_a_copied_token_beyond_its_bound_excuses_nothing():
    assert verdicts(check, recording(call(30.0, copied=copied(30.0, 9.0)), head())) == [BROKEN, BROKEN]


def test_a_head_that_first_trains_later_is_held_at_its_own_start():
    untouched = ParametersExamined(1, (0,), (None,), (False,), (2,), (True,))
    assert verdicts(check, recording(head(), untouched, call(step=3))) == [BROKEN]


def test_only_the_first_call_of_a_line_counts():
    assert verdicts(check, recording(head(), call(9.0), call(160.0))) == [HOLDS]
    assert verdicts(check, recording(head(), call(9.0), call(160.0, place=Place("train.py", 30)))) == [HOLDS, BROKEN]


def test_the_finding_holds_both_numbers_and_names_the_line_that_drew_the_weights():
    finding = only_finding(check, recording(call(), head()))
    assert (finding.name, finding.code, finding.severity) == ("initial-loss-above-uniform", "TS101", Severity.ERROR)
    assert finding.predicted_as == "8.987 nats = ln 8000, plus s^2/2 for logits of spread s"
    assert finding.measured_as == "59.2 nats at step 0"
    assert finding.message == "logits have a spread of 16 = std 1 of head.weight x sqrt(256); that alone starts at 61.09 nats"
    assert str(finding.main.site) == "train.py:5  head"


def test_the_copied_token_is_named_where_it_dominates():
    finding = only_finding(check, recording(call(163.8, copied=copied(163.8, 59.3)), head(names=("embed.weight", "head.weight"))))
    assert finding.message.endswith("the input token's own logit is 163.8; without it the loss would be 59.3")
    assert [item.law for item in finding.evidence] == ["loss.uniform_cross_entropy", "initialization.copied_logit_bound"]
    assert finding.main.site.module == "head (tied to embed)"


def test_a_large_input_is_told_from_large_weights():
    assert ", 5 times std 0.02 of head.weight x sqrt(256): what the head reads is that much larger" in only_finding(
        check, recording(call(spread=1.6), head(deviation=0.02))
    ).message


def test_a_copied_logit_alone_makes_no_finding():
    assert findings(check, recording(call(9.0, copied=copied(20.0, 9.0)), head())) == []


def test_smaller_weights_are_tried_in_two_sizes():
    of = recording(call(), head())
    first, second = check.changes(only_finding(check, of), of)
    assert (first.kind, first.title, first.patch) == ("scale-parameters", "initialise head with std 0.02", "nn.init.normal_(head.weight, std=0.02)")
    assert first.arguments == {"numbers": [0], "factors": [0.02], "places": []}
    assert second.title == "initialise head with std 1/sqrt(256) = 0.0625"
    assert second.arguments["factors"] == [0.0625]


def test_only_sizes_below_the_present_one_are_tried():
    of = recording(call(), head(deviation=0.05))
    assert [change.arguments["factors"] for change in check.changes(only_finding(check, of), of)] == [[pytest.approx(0.4)]]
    small = recording(call(), head(deviation=0.01))
    assert list(check.changes(only_finding(check, small), small)) == []


@pytest.mark.parametrize("event", [call(head=None), call(head=99)])
def test_logits_without_a_known_matrix_are_undecided(event):
    evidence = only_evidence(check, recording(event, head()))
    assert evidence.verdict is UNDECIDED
    assert evidence.reason == (
        "starts 50.21 nats above uniform, but no matrix of weights was found that makes these logits: a temperature may be meant"
    )
    assert str(evidence.site) == "train.py:12"


@pytest.mark.parametrize("deviation", [0.0, 0.01])
def test_a_matrix_that_is_small_already_has_no_change(deviation):
    of = recording(call(), head(deviation=deviation))
    finding = only_finding(check, of)
    assert list(check.changes(finding, of)) == []
    assert check.why_no_remedy(finding, of) == (
        "no single matrix makes these logits large: normalise the inputs, or what the head reads (LayerNorm)"
    )


def test_tables_drawn_like_a_tied_head_are_scaled_with_it():
    others = (
        head(1, ("positions.weight",), (64, 256), 1.05), head(2, ("linear.weight",), (256, 256), 0.06), head(3, ("bias",), (256,), 1.0),
    )
    of = recording(call(163.8, copied=copied(163.8, 59.3)), head(), *others)
    change = check.changes(only_finding(check, of), of)[0]
    assert change.title == "initialise head and positions with std 0.02"
    assert change.arguments["numbers"] == [0, 1]
    assert change.arguments["factors"] == [0.02, 0.02 / 1.05]
    untied = recording(call(), head(), *others)
    assert check.changes(only_finding(check, untied), untied)[0].arguments["numbers"] == [0]


def test_weights_of_no_module_are_found_by_their_place_in_the_only_optimizer():
    free = ParameterSeen(4, ("w",), -1, (8000, 256), deviation=1.0, initialized=MADE, origin="free")
    optimizer = OptimizerSeen(0, "SGD", (GroupSeen(0.1, 0.0, (2, 3)), GroupSeen(0.1, 0.0, (4,))))
    of = recording(free, optimizer, call(head=4))
    assert check.changes(only_finding(check, of), of)[0].arguments["places"] == [2]
    two = recording(free, optimizer, OptimizerSeen(1, "SGD"), call(head=4))
    assert check.changes(only_finding(check, two), two)[0].arguments["places"] == []


@pytest.mark.parametrize("nats", [math.nan, math.inf])
def test_a_first_loss_that_is_not_finite_does_not_cost_the_check(nats):
    verdicts(check, recording(call(nats), head()))
