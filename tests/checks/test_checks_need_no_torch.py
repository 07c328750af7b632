"""A check sees a recording and nothing else: no torch, no numpy."""

import subprocess
import sys
from pathlib import Path

import pytest

from checks.recordings import recording
from torchstone.checks.check import all_checks, chosen, find_check, probe_of
from torchstone.checks.engine import examine
from torchstone.core.errors import UsageError
from torchstone.core.events import NonFiniteSeen
from torchstone.core.steps import GradientCarried

TESTS = Path(__file__).parents[1]
ALONE = """
import sys
sys.path.insert(0, {tests!r})
from checks.recordings import only_finding, recording
from torchstone.checks.optimization import gradients_accumulated_across_steps as check
from torchstone.core.steps import GradientCarried
of = recording(GradientCarried(1, 0, 2.0, 2.0))
print(only_finding(check, of).code, check.changes(only_finding(check, of), of)[0].kind)
print([name for name in ("torch", "numpy") if name in sys.modules])
"""


def test_a_check_runs_without_torch():
    done = subprocess.run([sys.executable, "-c", ALONE.format(tests=str(TESTS))], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["TS103 clear-gradients", "[]"]


def test_no_test_of_a_check_imports_torch():
    for path in Path(__file__).parent.glob("*.py"):
        assert "\nimport torch\n" not in path.read_text(), path
        assert "\nfrom torch " not in path.read_text(), path


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.NAME)
def test_an_empty_run_draws_nothing(check):
    assert [item for item in check.hold(recording(steps=0)) if item.verdict != "holds"] == []
    assert list(check.explain([], recording(steps=0))) == []


def test_the_fault_of_one_check_costs_no_other_its_findings(monkeypatch):
    def fail(recording):
        message = "deep inside"
        raise ValueError(message)

    of = recording(NonFiniteSeen(1, "loss"), GradientCarried(1, 0, 2.0, 2.0))
    assert [finding.code for _, finding in examine(of, all_checks()).findings] == ["TS103", "TS104"]
    monkeypatch.setattr(find_check("TS103"), "hold", fail)
    examination = examine(of, all_checks())
    assert [finding.code for _, finding in examination.findings] == ["TS104"]
    assert examination.faults == ("check gradients-accumulated-across-steps failed: ValueError: deep inside",)


def test_select_and_ignore_take_names_and_codes():
    assert [check.CODE for check in chosen(("TS104", "parameter-never-updated"), ())] == ["TS104", "TS105"]
    assert "TS104" not in [check.CODE for check in chosen((), ("non-finite-value",))]
    with pytest.raises(UsageError, match=r"^no finding is named 'TS999'; known: initial-loss-above-uniform, "):
        chosen(("TS999",), ())


def test_only_checks_that_ask_for_one_get_a_probe():
    of = recording(GradientCarried(1, 0, 2.0, 2.0))
    ((check, finding),) = examine(of, all_checks()).findings
    assert probe_of(check, finding, of) is None
