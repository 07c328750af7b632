"""latent-collapsed: broken only where codes tell nothing, the decoder asks for nothing, and both were otherwise before."""

import math
from dataclasses import replace

import pytest

from checks.recordings import LINE, only_evidence, only_finding, recording
from torchstone.checks.bottleneck import kl_scale_differs_from_likelihood as scale
from torchstone.checks.bottleneck import latent_collapsed as check
from torchstone.core.events import BackwardCalled, ChangeApplied, OperationCount
from torchstone.core.evidence import Verdict
from torchstone.core.looks import CodesHeld, LatentsSeen
from torchstone.core.place import Place

STEPS = 101
MARKS = (1, 25, 50, 75, 100)
FALLING, ASKED = (0.3, 0.02, 0.002, 0.001, 0.0005), (0.2, 0.1, 0.03, 0.02, 0.02)


def codes(nats=FALLING, slopes=ASKED, *, last=None, place=LINE, **given):
    """Codes at the steps that are looked at; `last` changes those of the last of them."""
    base = CodesHeld(1, place, 32, 8, weight=1.0, told=0.1, rest=20.0, resolution=2.0**-23, **given)
    found = [
        replace(base, step=step, nats=one, divergence=one, slope=slope)
        for step, one, slope in zip(MARKS, nats, slopes, strict=True)
    ]
    return [*found[:-1], replace(found[-1], **(last or {}))]


def run(*events):
    return recording(*events, steps=STEPS)


def test_codes_that_fell_silent_before_a_decoder_that_asks_for_none_are_broken():
    found = only_finding(check, run(*codes()))
    assert "the 8 latents drawn at train.py:12" in found.message
    assert "0.3 at step 1" in found.message
    tried = check.changes(found, run(*codes()))
    assert [sorted(change.arguments) for change in tried] == [["rest", "warmup"], ["free", "rest"], ["factor", "rest"]]
    assert tried[2].arguments["factor"] == float(f"{math.sqrt(0.2**2 / 2 / math.log(2)):.1g}")
    assert check.why_no_remedy(found, run(*codes()))


def test_no_smaller_weight_is_tried_where_the_decoder_once_asked_for_a_bit():
    of = run(*codes(slopes=(1.5, 0.1, 0.03, 0.02, 0.02)))
    assert len(check.changes(only_finding(check, of), of)) == 2


@pytest.mark.parametrize("nats", [0.006, 0.7, 20.0])
def test_codes_that_tell_something_hold(nats):
    assert only_evidence(check, run(*codes(last={"nats": nats}))).verdict is Verdict.HOLDS


@pytest.mark.parametrize(("reason", "events"), [
    ("still asks", codes(slopes=(0.2, 0.1, 0.03, 0.02, 0.2))),
    ("less than half", codes(nats=(0.3, 0.02, 0.02, 0.001, 0.0005))),
    ("less than half", codes(slopes=(0.2, 0.1, 0.03, 0.2, 0.02))),
    ("begun to grow", codes(nats=(0.6, 0.02, 0.0005, 0.001, 0.0045))),
    ("little more at first", codes(nats=(0.08, 0.008, 0.004, 0.004, 0.004))),
    ("from the first step on", codes(nats=(0.004, 0.003, 0.001, 0.0001, 0.00004), slopes=(0.01,) * 5)),
    ("often enough", codes()[3:]),
    ("weight of the divergence changes", codes(last={"weight": 0.5})),
    ("samples a batch", codes(last={"samples": 4})),
    ("nothing pulls", codes(last={"weight": 0.0})),
    ("nothing pulls", codes(last={"weight": -0.1})),
    ("not towards N(0, 1)", codes(last={"residual": 0.5})),
    ("has nothing of it", codes(last={"nats": 1.0, "told": -0.1})),
    ("not finite", codes(last={"nats": math.nan})),
])  # fmt: skip
def test_all_else_is_undecided(reason, events):
    evidence = only_evidence(check, run(*events))
    assert evidence.verdict is Verdict.UNDECIDED
    assert reason in evidence.reason


def test_a_smaller_last_batch_has_the_same_weight():
    assert only_finding(check, run(*codes(last={"samples": 16, "weight": 2.0})))


def test_a_level_that_says_something_speaks_for_the_others():
    other = codes(nats=(1.0, 1.0, 1.0, 1.0, 1.0), place=Place("train.py", 20))
    assert [one.verdict for one in check.hold(run(*codes(), *other))] == [Verdict.UNDECIDED, Verdict.HOLDS]


def test_a_divergence_that_counts_too_much_by_mistake_is_another_finding():
    wrong = LatentsSeen(1, LINE, 32, 8, 784, 1.0, 0.0, 1 / 784, "mse_loss", True, LINE, "mean", (), LINE, 2.0**-23)
    assert only_finding(scale, run(wrong))
    assert scale.NAME in next(check.hold(run(wrong, *codes()))).reason


@pytest.mark.parametrize(("rest", "verdict"), [(19.0, Verdict.HOLDS), (19.99, Verdict.UNDECIDED), (25.0, Verdict.UNDECIDED)])
def test_a_trial_whose_rest_of_the_loss_is_no_better_restores_nothing(rest, verdict):
    applied = ChangeApplied("weigh-divergence", "20")
    assert only_evidence(check, run(applied, *codes(last={"nats": 1.0, "rest": rest}))).verdict is verdict


def test_a_look_is_asked_for_where_codes_may_be_drawn_over_many_steps():
    counts = tuple(OperationCount(name, 1) for name in ("exp", "mul", "add", "nllloss"))
    passed = BackwardCalled(1, LINE, 1.0, counts, drawn=True)
    assert check.look(run(passed)).step == STEPS - 1
    assert check.look(run(passed, *codes())) == check.look(run(passed))
    assert check.look(recording(passed)) is None
    assert check.look(run(replace(passed, drawn=False))) is None
    assert check.look(run(replace(passed, operations=counts[1:]))) is None
