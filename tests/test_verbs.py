"""The commands `prove` and `problems` as people type them: exit codes, files, pipes, interrupts, errors of one line."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import threading
import time

import pytest
from typer.testing import CliRunner

from conftest import COMMAND, ENVIRONMENT
from report.answered import ALL, OPEN, RIGHT
from torchstone.cli import application
from torchstone.problems import answering

LAW = "loss.uniform_cross_entropy"


def run(*words):
    """In this process: quick, torch is imported once."""
    done = CliRunner().invoke(application(), [str(word) for word in words])
    assert "Traceback" not in done.output
    return done


def refused(*words):
    done = run(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("torchstone: ") and done.stderr.count("\n") == 1
    return done.stderr


def test_prove_writes_what_it_prints(tmp_path):
    done = run("prove", "loss", "--mutants", "--json", tmp_path / "p.json", "--latex", tmp_path / "p.tex")
    assert done.exit_code == 0
    assert re.search(r"(\d+) laws: \1 held, 0 broken, 0 undecided · \d+ samples · (\d+) of \2 mutants caught, 0 toothless", done.stdout)
    read = json.loads((tmp_path / "p.json").read_text())
    assert [proof["law"] for proof in read["proofs"]] == [line.split()[0] for line in done.stdout.splitlines() if line.startswith("loss.")]
    assert (tmp_path / "p.tex").read_text().startswith(r"\documentclass")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.json", "p.tex"]


def test_a_law_alone_says_its_statement_and_its_worst_sample():
    done = run("prove", LAW, "--seed", 7)
    assert done.exit_code == 0
    assert "The cross-entropy of a prediction that knows nothing is ln k, whatever the targets are.\nheld: float64" in done.stdout


@pytest.mark.parametrize(("name", "meant"), [("los", "loss"), ("Loss", "loss"), ("loss.uniform_crossentropy", LAW)])
def test_a_name_that_is_none_is_answered_with_the_nearest(name, meant):
    assert refused("prove", name).endswith(f"did you mean '{meant}'?\n")


@pytest.mark.parametrize("words", [["--seed", "-1"], ["--seed", str(2**32)], ["--seed", "x"], ["a", "b"], ["--nothing"]])
def test_what_prove_cannot_take_ends_with_2(words):
    assert run("prove", *words).exit_code == 2


@pytest.mark.parametrize("words", [
    ["prove", LAW, "--json"], ["prove", LAW, "--latex"], ["problems", "B5", "--json"], ["problems", "B5", "--html"],
])
def test_a_file_that_cannot_be_written_is_known_before_the_work(words, tmp_path, monkeypatch):
    monkeypatch.setattr("torchstone.proofs.proving._chosen", None)
    monkeypatch.setattr(answering, "choose", None)
    said = refused(*words, tmp_path / "nowhere" / "f")
    assert f"{words[-1]} {tmp_path / 'nowhere' / 'f'} cannot be written: No such file or directory; name another file" in said
    assert "Is a directory" in refused(*words, tmp_path)


@pytest.mark.parametrize("words", [["prove", LAW, "--json", "f", "--latex", "./f"], ["problems", "--json", "f", "--html", "f"]])
def test_two_outputs_into_one_file_are_refused(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "two outputs go to" in refused(*words)
    assert not list(tmp_path.iterdir())


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert run("prove", LAW, "--json", tmp_path / "link.json").exit_code == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["schema"] == 1


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    assert run("prove", LAW, "--json", tmp_path / "pipe").exit_code == 0
    reader.join(timeout=30)
    assert json.loads(read[0])["schema"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.fixture
def answered(monkeypatch):
    """Answers made by hand in the place of computed ones."""

    def give(*solved):
        monkeypatch.setattr(answering, "answer", lambda *ids, document, progress: solved)

    return give


def test_problems_writes_what_it_prints(answered, tmp_path):
    answered(*ALL)
    done = run("problems", "--json", tmp_path / "p.json", "--html", tmp_path / "p.html")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1].startswith("8 questions: 6 answered, 1 not yet · fault in C1")
    assert "because" not in done.stdout
    assert json.loads((tmp_path / "p.json").read_text())["exit_code"] == 1
    assert (tmp_path / "p.html").read_text().endswith("</html>\n")


def test_named_problems_are_told_in_whole_unless_asked_otherwise(answered):
    answered(RIGHT, OPEN)
    assert "because   step one" in run("problems", "A1").stdout
    assert "because" not in run("problems", "A1", "--brief").stdout
    assert "because   step one" in run("problems", "--whole").stdout
    assert run("problems").exit_code == 0


def test_questions_are_listed_without_answering(monkeypatch):
    monkeypatch.setattr(answering, "answer", None)
    done = run("problems", "b7", "--list")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["B7.1", "B7.2", "B7.3"]


@pytest.mark.parametrize(("words", "said"), [
    (["X"], "no question is named 'X'"), (["--document", "X"], "no document is named 'X'"), (["B5", "--document", "A"], "does not ask B5"),
    (["B"], "--document B"),
])
def test_a_question_that_nobody_asks_is_refused(words, said):
    assert said in refused("problems", *words)


def test_a_reader_that_goes_away_costs_no_file_and_no_traceback(tmp_path):
    script = f"{COMMAND} problems --document C --whole --json p.json | head -1"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert len(json.loads((tmp_path / "p.json").read_text())["problems"]) > 5


def test_an_interrupt_ends_with_130_and_leaves_nothing(tmp_path):
    terminal, end = pty.openpty()
    words = [COMMAND, "prove", "--mutants", "--json", "p.json", "--latex", "p.tex"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=end, env={**ENVIRONMENT, "TERM": "xterm"})
    os.close(end)
    try:
        said = b""
        while b"laws" not in said:  # the progress line: the proofs are under way
            said += os.read(terminal, 4096)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        with contextlib.suppress(OSError):  # the terminal is closed at the other end
            while more := os.read(terminal, 4096):
                said += more
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_full_device_and_a_closed_reader_have_their_own_exit_codes(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run([COMMAND, "problems", "--list"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "there is no room for the output" in done.stderr
    script = f"{COMMAND} problems --document C --whole | true; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, env=ENVIRONMENT, check=False).returncode == 141
