"""A report's tallies sum to all evidence, and its exit code follows the script first, the findings second."""

import pytest

from torchstone.core.evidence import Evidence, Site
from torchstone.core.finding import Finding, Severity
from torchstone.core.quantity import Quantity, Unit
from torchstone.core.report import Report, RunSummary, Tally


def evidence(measured):
    quantity = None if measured is None else Quantity(measured, Unit.RATIO)
    return Evidence("topic.law", Site(), Quantity(0.0, Unit.RATIO), quantity, reason="" if quantity else "not seen")


def finding(severity):
    return Finding("loss-too-high", "TS999", severity, "t", (evidence(1.0),), "m")


def report(*severities, script_exit=0, **more):
    run = RunSummary("train.py", exit_code=script_exit)
    return Report(run, findings=tuple(finding(severity) for severity in severities), **more)


@pytest.mark.parametrize(("held", "broken", "undecided"), [(0, 0, 0), (3, 2, 1), (0, 0, 4), (1, 0, 0), (0, 7, 0)])
def test_the_tallies_sum_to_all_evidence(held, broken, undecided):
    everything = (evidence(0.0),) * held + (evidence(1.0),) * broken + (evidence(None),) * undecided
    tally = Report(RunSummary("train.py"), everything).tally
    assert tally == Tally(held, broken, undecided)
    assert tally.held + tally.broken + tally.undecided == len(everything)


@pytest.mark.parametrize(
    ("severities", "fail_on", "code"),
    [
        ((), Severity.WARNING, 0),
        ((), Severity.ERROR, 0),
        ((Severity.WARNING,), Severity.WARNING, 1),
        ((Severity.WARNING,), Severity.ERROR, 0),
        ((Severity.ERROR,), Severity.WARNING, 1),
        ((Severity.WARNING, Severity.ERROR), Severity.ERROR, 1),
        ((Severity.ERROR, Severity.ERROR), Severity.WARNING, 1),
    ],
)
def test_the_exit_code_counts_findings_from_a_severity_on(severities, fail_on, code):
    assert report(*severities, fail_on=fail_on).exit_code == code


@pytest.mark.parametrize("script_exit", [1, 3, 130])
def test_a_script_that_failed_keeps_its_own_exit_code(script_exit):
    assert report(script_exit=script_exit).exit_code == script_exit
    assert report(Severity.ERROR, script_exit=script_exit).exit_code == script_exit


def test_a_fault_changes_the_exit_code_only_where_nothing_could_be_held():
    assert report(notes=("cut short",)).exit_code == 0
    assert report(faults=("a hook failed",), notes=("cut short",)).exit_code == 2
