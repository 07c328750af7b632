import json
import signal
import subprocess
import time

import pytest

from conftest import COMMAND, ENVIRONMENT


def torchstone(*words, cwd):
    return subprocess.run([COMMAND, *words], cwd=cwd, capture_output=True, text=True, env=ENVIRONMENT, check=False)


def test_the_list_names_every_study_and_an_unknown_one_is_refused(tmp_path):
    listed = torchstone("study", cwd=tmp_path)
    assert (listed.returncode, "attention-scaling" in listed.stdout) == (0, True)
    wrong = torchstone("study", "atention", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "there are attention-scaling" in wrong.stderr
    assert not list(tmp_path.iterdir())


def test_a_quick_study_leaves_a_page_and_says_what_it_cannot_show(tmp_path):
    done = torchstone("study", "attention-scaling", "--quick", "--out", "here", "--json", "r.json", cwd=tmp_path)
    assert done.returncode in {0, 1}, done.stderr
    assert "quick: lengths to 4,096 only" in done.stdout
    assert {path.name for path in (tmp_path / "here").iterdir()} >= {"index.html", "table.csv", "runs.jsonl", "time.svg", "time.png"}
    raw = json.loads((tmp_path / "r.json").read_text())
    assert raw["verdict"] in done.stdout
    assert len(raw["evidence"]) == 10


@pytest.mark.slow  # two whole processes
def test_an_interrupt_ends_quietly_and_the_same_command_goes_on(tmp_path):
    words = [COMMAND, "study", "attention-scaling", "--quick", "--out", "here"]
    running = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    recording = tmp_path / "here" / "runs.jsonl"
    while running.poll() is None and not (recording.exists() and recording.read_text().count("\n") > 2):
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    said = running.communicate()
    assert (running.returncode, *said) == (130, "", "")
    lines = recording.read_text().splitlines()
    done = torchstone("study", "attention-scaling", "--quick", "--out", "here", cwd=tmp_path)
    assert done.returncode in {0, 1}, done.stderr
    assert recording.read_text().splitlines()[: len(lines)] == lines  # what was measured is not measured again


def test_bad_input_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("mine")
    wrong = torchstone("study", "decay", "--quick", "--out", "file/x", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert "--out file/x cannot be used: Not a directory" in wrong.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
