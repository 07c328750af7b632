"""The house rules, told by name to whoever adds a check, a law or a file."""

import ast
import importlib
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import torchstone
from torchstone import laws
from torchstone.checks.check import HEADINGS, all_checks
from torchstone.core.law import all_laws

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
CHECKS = pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.NAME)
LAWS = pytest.mark.parametrize("law", all_laws(), ids=lambda law: law.name)
FILES = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))


def lines(path):
    return path.read_text(encoding="utf-8").count("\n")


def test_there_is_something_to_hold():
    assert len(all_checks()) >= 5
    assert len(all_laws()) >= 16
    assert len(SOURCES) > 40


@pytest.mark.parametrize("what", ["NAME", "CODE"])
def test_no_two_checks_share_a_name_or_a_code(what):
    taken = [getattr(check, what) for check in all_checks()]
    twice = {one for one in taken if taken.count(one) > 1}
    assert not twice, f"{what} {twice} is taken twice; every finding needs its own, forever (people suppress by it)"


@CHECKS
def test_a_check_is_named_for_the_pattern_it_sees(check):
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)+", check.NAME), f"{check.NAME}: two or more lower-case words joined by hyphens"
    assert re.fullmatch(r"TS\d{3}", check.CODE), f"{check.NAME} has code {check.CODE}; a code is TS and three digits"
    stem = Path(check.__file__).stem
    assert stem == check.NAME.replace("-", "_"), f"{check.__file__} must have the finding's name: {check.NAME.replace('-', '_')}.py"
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", check.SINCE), f"{check.NAME}: SINCE is the version that brought it, not {check.SINCE!r}"


@CHECKS
def test_a_check_holds_laws_that_exist(check):
    known = {law.name for law in all_laws()}
    assert check.LAWS, f"{check.NAME} names no law: LAWS = ('topic.quantity',), written in src/torchstone/laws/"
    unknown = set(check.LAWS) - known
    assert not unknown, f"{check.NAME} holds {unknown}, which src/torchstone/laws/ does not have"
    topics = {name.partition(".")[0] for name in check.LAWS}
    folder = Path(check.__file__).parent.name
    assert folder in topics, f"{check.NAME} lies in checks/{folder}/ and holds laws of {topics} only: move it, or hold a law of {folder}"


@CHECKS
def test_a_page_has_every_heading_in_order(check):
    found = tuple(re.findall(r"^## (.*)$", check.__doc__, re.MULTILINE))
    assert found == HEADINGS, f"the docstring of {check.__file__} must have exactly the headings {HEADINGS}; it has {found}"
    sections = re.split(r"^## .*$", check.__doc__, flags=re.MULTILINE)
    empty = [heading for heading, text in zip(HEADINGS, sections[1:], strict=True) if not text.strip()]
    assert not empty, f"{check.NAME} says nothing under {empty}"
    first = sections[0].strip()
    assert first.endswith(".") and "\n" not in first, f"the page of {check.NAME} begins with one sentence on one line"


@CHECKS
def test_the_laws_of_a_page_are_named_on_it(check):
    held = check.__doc__.partition("## What it holds")[2].partition("## ")[0]
    missing = [name for name in check.LAWS if f"`{name}`" not in held]
    assert not missing, f"'What it holds' of {check.NAME} does not name {missing}"


def example_of(check):
    found = re.findall(r"## Example\n```python\n(.*?)```", check.__doc__, re.DOTALL)
    assert len(found) == 1, f"{check.NAME} needs one ```python example right below '## Example'"
    return found[0]


@CHECKS
def test_the_example_of_a_page_is_a_short_script(check):
    example = example_of(check)
    ast.parse(example)
    count = len(example.strip().splitlines())
    assert count <= 20, f"the example of {check.NAME} has {count} lines; 20 are enough to show one bug"
    assert "import torchstone" not in example, f"the example of {check.NAME} is a user's script: it does not know torchstone"


@CHECKS
def test_the_report_of_a_page_is_filled_in(check):
    report = check.__doc__.partition("## Report\n")[2].partition("## ")[0]
    assert check.NAME in report, f"run `pytest tests/test_findings.py --update`: it writes the report into the page of {check.NAME}"


@CHECKS
@pytest.mark.parametrize("which", ["bad.py", "good.py"])
def test_a_finding_has_a_bad_script_and_its_good_twin(check, which):
    path = ROOT / "tests" / "scripts" / check.NAME / which
    assert path.exists(), f"write {path.relative_to(ROOT)}: bad.py draws the finding, good.py is the same script put right"
    ast.parse(path.read_text())


def test_every_folder_of_scripts_belongs_to_a_finding():
    folders = {path.name for path in (ROOT / "tests" / "scripts").iterdir() if path.is_dir() and not path.name.startswith("__")}
    strays = folders - {check.NAME for check in all_checks()}
    assert not strays, f"tests/scripts holds {strays}, which no check is named for"


@CHECKS
def test_a_finding_has_its_tests_on_written_recordings(check):
    path = ROOT / "tests" / "checks" / f"test_{Path(check.__file__).name}"
    assert path.exists(), f"write {path.relative_to(ROOT)}: broken, holding and undecided, on recordings made by hand"


@LAWS
def test_a_law_lies_in_the_file_of_its_topic(law):
    module = law.formula.__module__
    home = f"torchstone.laws.{law.topic}"
    assert module == home or module.startswith(f"{home}."), f"{law.name} must lie in laws/{law.topic}.py or the folder laws/{law.topic}/, not in {module}"
    assert law.formula.__name__ == law.name.partition(".")[2], f"the formula of {law.name} must be called {law.name.partition('.')[2]}"


@LAWS
def test_a_law_states_itself_and_shows_an_example_and_a_source(law):
    assert law.statement.endswith("."), f"the first line of {law.name}'s docstring is its statement, a sentence: {law.statement!r}"
    assert ">>> " in law.formula.__doc__, f"{law.name} has no executed example (>>>) in its docstring"
    assert law.formula.__name__ in law.formula.__doc__.partition(">>> ")[2], f"the example of {law.name} does not call it"
    assert law.sources and all(source.strip() for source in law.sources), f"{law.name} names no source"


def test_every_file_of_laws_is_imported_by_the_package():
    laid = (ROOT / "src/torchstone/laws").iterdir()
    files = {path.stem for path in laid if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__"}
    assert set(laws.__all__) == files, "laws/__init__.py imports and lists every topic"
    assert list(laws.__all__) == sorted(laws.__all__)


def test_the_face_is_sorted_small_and_importable():
    assert torchstone.__all__ == sorted(torchstone.__all__)
    assert len(torchstone.__all__) <= 40
    for name in torchstone.__all__:
        assert getattr(torchstone, name) is not None
    assert set(torchstone.__all__) <= set(dir(torchstone))
    with pytest.raises(AttributeError, match=r"^module 'torchstone' has no attribute 'chekc'; it has "):
        torchstone.chekc


def alone(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("code", [
    "import torchstone", "import torchstone.laws", "import torchstone.report.text", "import torchstone.report.json",
    "import torchstone.core.recording", "import torchstone.cli",
    "import torchstone.solve", "import torchstone.traces", "import torchstone.core.proof", "import torchstone.core.problem",
    "import torchstone.problems.answering",
    "from torchstone.checks.check import all_checks; all_checks()", "import torchstone; torchstone.explain('TS101')",
])
def test_what_judges_does_not_import_torch(code):
    came = alone(f"{code}\nimport sys; print([name for name in ('torch', 'numpy') if name in sys.modules])")
    assert came == "[]", f"`{code}` imports {came}: only record, remedy and watching may"


def test_the_laws_load_in_a_tenth_of_a_second():
    code = "import time; began = time.process_time(); import torchstone.laws; print(time.process_time() - began)"
    seconds = min(float(alone(code)) for _ in range(3))
    assert seconds < 0.1, f"import torchstone.laws takes {seconds:.2f} s of processor time: what does it import?"


@FILES
def test_a_file_stays_readable_in_one_sitting(path):
    limit = 80 if path.name == "__init__.py" else 400
    assert lines(path) < limit, f"{path.name} has {lines(path)} lines, the limit is {limit}: split it by topic"


def test_examples_stay_short():
    for path in (ROOT / "examples").rglob("*.py"):
        assert lines(path) < 400, f"{path.name} has {lines(path)} lines, the limit is 400"


def length(function):
    """Lines from def to the end, the docstring left out."""
    first = function.body[0]
    stated = ast.get_docstring(function) is not None
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if stated else 0)


@FILES
def test_a_function_does_one_thing(path):
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {function.name: length(function) for function in functions if length(function) > 40}
    assert not long, f"{path.name} has functions of more than 40 lines: {long}"


@FILES
def test_a_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path.name} has no docstring"


def test_words_that_say_nothing_name_no_file():
    vague = {"utils", "util", "helpers", "helper", "base", "manager", "common", "misc"}
    named = [path for path in SOURCES if vague & {*path.parts[len(ROOT.parts):-1], path.stem}]
    assert not named, f"{named}: name a file for what it holds"


def test_the_recorder_and_the_checks_name_events_of_one_vocabulary():
    events, looks, steps = (importlib.import_module(f"torchstone.core.{name}") for name in ("events", "looks", "steps"))
    classes = {name for module in (events, looks, steps) for name, kind in vars(module).items() if isinstance(kind, type) and kind.__module__ == module.__name__}
    # What an event is made of, such as a group of an optimizer, is no event itself.
    hints = " ".join(str(hint) for kind in events.EVENTS.values() for hint in typing.get_type_hints(kind).values())
    parts = {name for name in classes if re.search(rf"\b{name}\b", hints)}
    assert classes - parts == set(events.EVENTS), "an event class must be in the union Event, or it cannot be read back"
