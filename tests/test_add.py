"""The scaffolds: code that imports, and fails only for what must be filled in."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
QUESTIONS = '["B5"]\ntopic = "noise"\nstatement = "?"\n'


@pytest.fixture
def add(tmp_path):
    """The script in a tree of its own: a topic that is a file, one that is a folder, one question."""
    source = tmp_path / "src/torchstone"
    for folder in ("laws/waves", "proofs/waves", "problems/waves"):
        (source / folder).mkdir(parents=True)
        (source / folder / "__init__.py").touch()
    (source / "problems/questions.toml").write_text(QUESTIONS)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/add.py", tmp_path / "scripts")

    def run(*words):
        script = tmp_path / "scripts" / "add.py"
        return subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)

    return run


def test_a_law_comes_with_an_experiment_that_waits_for_its_part(add, tmp_path):
    done = add("law", "tides.height")
    assert done.returncode == 0, done.stderr
    assert "import tides in src/torchstone/laws/__init__.py" in done.stdout
    again = add("law", "tides.period")
    assert "extended src/torchstone/laws/tides.py\nextended src/torchstone/proofs/tides.py\n" in again.stdout
    program = (
        "import runpy, torchstone.laws; from torchstone.proofs.proving import _prove; from torchstone.proofs.experiment import _EXPERIMENTS\n"
        "for layer in ('laws', 'proofs'): runpy.run_path(f'src/torchstone/{layer}/tides.py')\n"
        "for name in ('tides.height', 'tides.period'): print(_prove(_EXPERIMENTS[name], 0, mutants=True).fault)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "".join(
        f"NotImplementedError: the torch code that tides.{name} is held against\n" for name in ("height", "period")
    ), done.stderr


def test_a_law_is_not_written_twice(add):
    add("law", "tides.height")
    done = add("law", "tides.height")
    assert (done.returncode, done.stderr) == (1, 'add.py: src/torchstone/laws/tides.py has "tides.height" already\n')


def test_a_topic_that_is_a_folder_needs_a_file(add, tmp_path):
    done = add("law", "waves.speed")
    assert (done.returncode, "src/torchstone/laws/waves is a folder; say in which file" in done.stderr) == (1, True)
    done = add("law", "waves.speed", "--file", "water")
    assert "import water in src/torchstone/laws/waves/__init__.py" in done.stdout
    assert (tmp_path / "src/torchstone/proofs/waves/water.py").exists()


@pytest.mark.parametrize(("words", "path"), [
    (["problem", "B5"], "noise.py"), (["problem", "B5", "--topic", "waves", "--file", "water"], "waves/water.py"),
])
def test_a_solver_is_written_where_its_topic_is(add, tmp_path, words, path):
    assert add(*words).returncode == 0
    text = (tmp_path / "src/torchstone/problems" / path).read_text()
    compile(text, path, "exec")
    assert '@answers("B5")\ndef answer_b5(posted: Posted) -> Answer:' in text
    assert 'has @answers("B5") already' in add(*words).stderr


@pytest.mark.parametrize(("words", "said"), [
    (["problem", "Z1"], "no question is named Z1; write it in src/torchstone/problems/questions.toml first"),
    (["law", "Tides"], "a law is named topic.quantity in lower case; 'Tides' came"),
    (["part", "two words"], "a topic is one word in lower case; 'two words' came"),
    (["finding", "dead", "--topic", "activation", "--code", "TS110"], "a finding has a kebab-case name; 'dead' came"),
])
def test_what_cannot_be_named_so_is_refused(add, words, said):
    done = add(*words)
    assert done.returncode != 0
    assert said in done.stderr
