"""The report as text, line by line, and as JSON, key by key."""

import json
import math

import pytest
from rich.console import Console

from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.finding import Change, Finding, Remedy, Severity
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit
from torchstone.core.report import Report, RunSummary
from torchstone.report.json import to_json
from torchstone.report.text import format_seconds, print_report, report_lines

HEAD = Site("head", "train.py", 7, 0, "train")
MODEL = Tolerance(model=Amount(1.0, "spread 1"))


def nats(measured, reason="", site=HEAD):
    quantity = None if measured is None else Quantity(measured, Unit.NATS)
    return Evidence(
        "loss.uniform_cross_entropy", site, Quantity(8.99, Unit.NATS), quantity, MODEL, Relation.AT_MOST, "loss hook", reason
    )


def share(measured):
    return Evidence("optimization.carried_gradient", Site("optimizer 0"), Quantity(0.0, Unit.RATIO), Quantity(measured, Unit.RATIO))


def count(measured):
    return Evidence("optimization.updates_received", Site(), Quantity(40, Unit.COUNT), Quantity(measured, Unit.COUNT))


INITIAL = Finding(
    "initial-loss-above-uniform", "TS101", Severity.ERROR, "the loss starts far above that of guessing", (nats(163.7961),),
    "logits have a spread of 16", "8.99 nats = ln 8000", "163.8 nats at step 0",
    (
        Remedy(Change("a", "initialise head with std 0.02", "nn.init.normal_(head, std=0.02)"), nats(163.7961), nats(9.04), 1.0, "loss at step 9: 5"),
        Remedy(Change("a", "initialise head with std 0.5", "nn.init.normal_(head, std=0.5)"), nats(163.7961), nats(41.5), 1.256),
        Remedy(Change("a", "normalise the input", ""), nats(163.7961), nats(None, "the run ended before step 1"), None),
        Remedy(Change("a", "take a larger rate", "lr = 1"), nats(163.7961), nats(math.nan), None),
    ),
    "",
)
CARRIED = Finding(
    "gradients-accumulated-across-steps", "TS103", Severity.WARNING, "gradients are still in the buffers", (share(0.75), share(1.0)),
    "nothing cleared them", "0 % is left", "75 % is left", why_no_remedy="not tried: clear them",
)
RUN = RunSummary("train.py", ("--lr", "1"), 40, 41, 12.3, "finished", 0, 163.8, 5.0)
FULL = Report(
    RUN, (nats(9.0), nats(163.7961), share(0.75), share(1.0), nats(None, "weights were loaded"), nats(None, "weights were loaded")),
    (INITIAL, CARRIED), ("hook of relu: ValueError: x",), ("trials wrote nothing of yours",),
)

GOLDEN = """\
2 findings: 3 laws broken, 1 held, 2 undecided          train.py · 40 steps · 12 s · loss 163.8 → 5
✗ initial-loss-above-uniform   train.py:7  head
  the loss starts far above that of guessing
  predicted  8.99 nats = ln 8000
  measured   163.8 nats at step 0
  why        logits have a spread of 16
  remedy tried initialise head with std 0.02   163.8 nats → 9.04 nats   law holds   1.00× time
               nn.init.normal_(head, std=0.02)   loss at step 9: 5
  remedy tried initialise head with std 0.5   163.8 nats → 41.5 nats   law still broken   1.26× time
               nn.init.normal_(head, std=0.5)
  remedy tried normalise the input   163.8 nats → ?   law not restored: the run ended before step 1
               \n\
  remedy tried take a larger rate   163.8 nats → nan nats   law still broken
               lr = 1
  explain: torchstone explain initial-loss-above-uniform
! gradients-accumulated-across-steps   optimizer 0
  gradients are still in the buffers
  predicted  0 % is left
  measured   75 % is left
  why        nothing cleared them
  remedy     not tried: clear them
  explain: torchstone explain gradients-accumulated-across-steps
? undecided: weights were loaded   train.py:7  head and 1 more
· trials wrote nothing of yours
torchstone fault: hook of relu: ValueError: x (the script was not disturbed)
"""


def plain(report):
    return "".join(f"{line.plain}\n" for line in report_lines(report))


def trimmed(text):
    return [line.rstrip() for line in text.splitlines()]


def test_a_full_report_reads_as_written_here():
    assert trimmed(plain(FULL)) == trimmed(GOLDEN)


def test_a_clean_report_is_one_line():
    clean = Report(RunSummary("train.py", steps=2, seconds=0.44), (nats(9.0),))
    assert plain(clean) == "no finding: 0 laws broken, 1 held, 0 undecided          train.py · 2 steps · 0.4 s\n"


def test_one_finding_and_one_law_are_singular():
    one = Report(RunSummary("train.py"), (nats(20.0),), (INITIAL,))
    assert plain(one).startswith("1 finding: 1 law broken, 0 held, 0 undecided ")


def test_reasons_beyond_five_are_counted():
    many = Report(RunSummary("t.py"), tuple(nats(None, f"reason {n}") for n in range(7)))
    lines = plain(many).splitlines()
    assert len([line for line in lines if line.startswith("? undecided")]) == 5
    assert lines[-1] == "? and 2 more undecided (--json holds them all)"


@pytest.mark.parametrize(("evidence", "after", "shown"), [
    (share(0.75), share(0.0), "75 % → 0 %"), (count(0), count(40), "0 → 40"), (nats(163.8), nats(9.04), "163.8 nats → 9.04 nats"),
    (nats(math.inf), nats(9.0), "inf nats → 9 nats"),
])
def test_shares_are_shown_in_percent_and_counts_bare(evidence, after, shown):
    remedy = Remedy(Change("a", "t", "p"), evidence, after, None)
    finding = Finding("loss-too-high", "TS999", Severity.ERROR, "t", (evidence,), "m", remedies=(remedy,), why_no_remedy="")
    assert shown in plain(Report(RunSummary("t.py"), (evidence,), (finding,)))


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0.0 s"), (9.94, "9.9 s"), (10.0, "10 s"), (75.6, "76 s")])
def test_seconds_are_whole_from_ten_on(seconds, text):
    assert format_seconds(seconds) == text


def test_a_pipe_gets_whole_lines_without_colour(capsys):
    print_report(FULL, Console(width=20))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert trimmed(out) == trimmed(GOLDEN)


def test_square_brackets_of_a_script_are_text_and_no_markup(capsys):
    print_report(Report(RunSummary("[bold]train[/bold].py"), notes=("values in [0, 1]",)), Console(width=200))
    out = capsys.readouterr().out
    assert "[bold]train[/bold].py" in out
    assert "values in [0, 1]" in out


def refuse(constant):
    pytest.fail(f"{constant} is no JSON")


@pytest.fixture
def full():
    return json.loads(to_json(FULL), parse_constant=refuse)


def test_the_json_has_the_documented_keys(full):
    assert list(full) == [
        "schema", "script", "arguments", "steps", "seconds", "ended", "script_exit_code", "exit_code", "loss", "tally", "findings",
        "evidence", "notes", "faults",
    ]
    assert full["schema"] == 1
    assert (full["script"], full["arguments"], full["steps"], full["ended"], full["exit_code"]) == ("train.py", ["--lr", "1"], 40, "finished", 1)
    assert full["loss"] == {"first": 163.8, "last": 5.0}
    assert full["tally"] == {"held": 1, "broken": 3, "undecided": 2}
    assert full["notes"] == ["trials wrote nothing of yours"]
    assert full["faults"] == ["hook of relu: ValueError: x"]


def test_a_finding_of_the_json_has_the_documented_keys(full):
    initial, carried = full["findings"]
    assert list(initial) == [
        "name", "code", "severity", "title", "where", "law", "predicted", "measured", "unit", "predicted_as", "measured_as", "why",
        "remedies", "why_no_remedy", "sites",
    ]
    assert initial["where"] == {"module": "head", "file": "train.py", "line": 7, "step": 0}
    assert (initial["name"], initial["code"], initial["severity"]) == ("initial-loss-above-uniform", "TS101", "error")
    assert (initial["law"], initial["unit"]) == ("loss.uniform_cross_entropy", "nats")
    assert (initial["predicted"], initial["measured"]) == (8.99, 163.7961)
    assert (initial["title"], initial["why"]) == ("the loss starts far above that of guessing", "logits have a spread of 16")
    assert initial["why_no_remedy"] is None
    assert (carried["remedies"], carried["why_no_remedy"]) == ([], "not tried: clear them")
    assert len(carried["sites"]) == 2


def test_the_remedies_of_the_json_say_before_after_and_whether_they_work(full):
    remedies = full["findings"][0]["remedies"]
    keys = {"title", "patch", "before", "after", "works", "cost"}
    assert all(keys <= set(remedy) for remedy in remedies)
    assert remedies[0] == {
        "title": "initialise head with std 0.02", "patch": "nn.init.normal_(head, std=0.02)", "before": 163.7961, "after": 9.04,
        "works": True, "verdict": "holds", "reason": None, "cost": 1.0, "note": "loss at step 9: 5",
    }
    assert [remedy["works"] for remedy in remedies] == [True, False, False, False]
    assert [remedy["verdict"] for remedy in remedies] == ["holds", "broken", "undecided", "broken"]
    assert [remedy["after"] for remedy in remedies] == [9.04, 41.5, None, "nan"]
    assert remedies[2]["reason"] == "the run ended before step 1"
    assert remedies[2]["cost"] is None


def test_the_evidence_of_the_json_says_what_was_held(full):
    assert full["evidence"][0] == {
        "law": "loss.uniform_cross_entropy", "where": {"module": "head", "file": "train.py", "line": 7, "step": 0},
        "predicted": 8.99, "measured": 9.0, "unit": "nats", "relation": "at most", "tolerance": "model 1 (spread 1)",
        "how": "loss hook", "verdict": "holds", "reason": None,
    }
    assert (full["evidence"][-1]["measured"], full["evidence"][-1]["reason"]) == (None, "weights were loaded")


@pytest.mark.parametrize(("value", "text"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_what_json_has_no_number_for_is_a_string(value, text):
    run = RunSummary("t.py", seconds=value, first_loss=value, last_loss=value)
    evidence = nats(value)
    came = json.loads(to_json(Report(run, (evidence,))), parse_constant=refuse)
    assert came["evidence"][0]["measured"] == text
    assert (came["seconds"], came["loss"]) == (text, {"first": text, "last": text})


def test_the_json_of_an_unfinished_run_is_whole():
    empty = json.loads(to_json(Report(RunSummary("t.py", reason="killed", exit_code=137))))
    assert (empty["ended"], empty["script_exit_code"], empty["exit_code"]) == ("killed", 137, 137)
    assert (empty["findings"], empty["evidence"], empty["loss"]) == ([], [], {"first": None, "last": None})


def test_names_that_are_not_utf8_do_not_stop_the_json():
    name = b"tr\xe4in.py".decode(errors="surrogateescape")
    assert json.loads(to_json(Report(RunSummary(name))).encode())["script"] == name
