"""Every finding on real scripts: its page's example, bad scripts with golden reports, and the repaired ones."""

import re
from pathlib import Path

import pytest

from conftest import ranks_of, run_check
from golden import differences, finding_lines
from torchstone.checks.check import all_checks

SCRIPTS = Path(__file__).parent / "scripts"
BAD = sorted(SCRIPTS.glob("*/bad*.py"))
GOOD = sorted(SCRIPTS.glob("*/good*.py"))


def named(scripts, in_ci):
    """CI runs each finding's page example and its first sound twin; every other style is for `make extended`: an hour of two cores."""
    names = [(path, f"{path.parent.name}-{path.stem}") for path in scripts]
    return [pytest.param(path, id=name, marks=[pytest.mark.extended] * (path.stem != in_ci)) for path, name in names]


_REPORT = re.compile(r"(## Report\n```text\n)(.*?)(```)", re.DOTALL)


def hold_against(golden_text, came, update, write):
    if update:
        write(came)
        return
    assert differences(golden_text, came) == ""


@pytest.mark.slow
@pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.NAME)
def test_the_example_of_a_page_fires_and_prints_what_the_page_shows(check, tmp_path, request):
    example = re.search(r"## Example\n```python\n(.*?)```", check.__doc__, re.DOTALL).group(1)
    (tmp_path / "example.py").write_text(example)
    ran = run_check("example.py", cwd=tmp_path)
    assert ran.findings == [check.NAME], ran.out
    assert ran.code == 1
    finding = ran.report["findings"][0]
    tried = any(remedy["works"] for remedy in finding["remedies"])
    assert tried or (ranks_of(example) and finding["why_no_remedy"]), ran.out
    shown = _REPORT.search(check.__doc__).group(2).strip()

    def write(came):
        path = Path(check.__file__)
        path.write_text(_REPORT.sub(lambda match: f"{match[1]}{came}\n{match[3]}", path.read_text()))

    hold_against(shown, finding_lines(ran.out), request.config.getoption("--update"), write)


@pytest.mark.slow
@pytest.mark.parametrize("script", named(BAD, in_ci=None))
def test_a_bad_script_draws_its_finding_and_no_other(script, tmp_path, request):
    before = script.read_bytes()
    ran = run_check(script, cwd=tmp_path)
    assert ran.findings == [script.parent.name], ran.out
    finding = ran.report["findings"][0]
    assert finding["where"]["file"].endswith(script.name)
    assert finding["where"]["line"] > 0
    assert any(remedy["works"] for remedy in finding["remedies"]) or finding["why_no_remedy"], ran.out
    assert ran.report["faults"] == []
    assert ran.code == 1
    assert list(tmp_path.iterdir()) == []
    assert script.read_bytes() == before
    golden = script.with_suffix(".txt")
    text = golden.read_text().strip() if golden.exists() else ""
    hold_against(text, finding_lines(ran.out), request.config.getoption("--update"), lambda came: golden.write_text(came + "\n"))


@pytest.mark.slow
@pytest.mark.parametrize("script", named(GOOD, in_ci="good"))
def test_a_repaired_script_draws_none(script, tmp_path):
    ran = run_check(script, cwd=tmp_path)
    assert ran.findings == [], ran.out
    assert ran.code == 0


def test_every_bad_script_has_a_repaired_twin_and_three_styles():
    for check in all_checks():
        assert len([path for path in BAD if path.parent.name == check.NAME]) >= 3
        assert len([path for path in GOOD if path.parent.name == check.NAME]) >= 2
