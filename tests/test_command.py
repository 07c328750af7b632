"""The verbs around check: report, explain, options, pipes; and what a trial must not do."""

import json
import os
import subprocess
import sys

import pytest

from conftest import COMMAND, ENVIRONMENT, run_bare, run_check
from golden import stable

FORGETFUL = """
import os, torch
from torch import nn
torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
if os.path.exists("out/last.pt"):
    model.load_state_dict(torch.load("out/last.pt", weights_only=True)); print("resumed")
os.makedirs("out", exist_ok=True)
with open("log.txt", "a") as log:
    for i in range(12):
        x = torch.randn(8, 4)
        loss = nn.functional.cross_entropy(model(x), x[:, :3].argmax(1))
        loss.backward(); optimizer.step()
        log.write(f"{loss.item()}\\n")
torch.save(model.state_dict(), "out/last.pt")
os.rename("out/last.pt", "out/final.pt"); torch.save(model.state_dict(), "out/last.pt")
"""


def torchstone(*words, cwd, **options):
    return subprocess.run([COMMAND, *map(str, words)], cwd=cwd, capture_output=True, text=True, env=ENVIRONMENT, check=False, **options)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_trials_write_nothing_of_the_users_and_do_not_resume(tmp_path):
    alone, watched = tmp_path / "alone", tmp_path / "watched"
    for folder in (alone, watched):
        folder.mkdir()
        (folder / "train.py").write_text(FORGETFUL)
    run_bare("train.py", cwd=alone)
    ran = run_check("train.py", cwd=watched)
    assert contents(watched) == contents(alone)
    assert [remedy["works"] for remedy in ran.report["findings"][0]["remedies"]] == [True]
    assert any("diverted" in note and "log.txt" in note for note in ran.report["notes"]), ran.report["notes"]


def test_a_stored_recording_reports_the_same_again_without_torch(tmp_path):
    (tmp_path / "train.py").write_text(FORGETFUL)
    first = torchstone("check", "--record", "kept", "train.py", cwd=tmp_path)
    again = torchstone("report", "kept", "--json", "again.json", cwd=tmp_path)
    assert stable(again.stdout) in stable(first.stdout)
    assert again.returncode == first.returncode == 1
    assert json.loads((tmp_path / "again.json").read_text())["tally"]["broken"] > 0
    program = "import sys, torchstone.cli as c; sys.argv = ['torchstone', 'report', 'kept']\ntry: c.main()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("False\n"), done.stderr


def test_options_choose_what_is_held_and_what_fails(tmp_path):
    (tmp_path / "train.py").write_text(FORGETFUL)
    assert torchstone("check", "--no-trial", "--ignore", "TS103", "train.py", cwd=tmp_path).returncode == 0
    only = torchstone("check", "--no-trial", "--select", "non-finite-value", "--record", "r", "train.py", cwd=tmp_path)
    assert (only.returncode, "1 held" in only.stdout) == (0, True)
    assert torchstone("report", "r", "--fail-on", "error", cwd=tmp_path).returncode == 1


def test_report_of_what_is_no_recording(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "events.jsonl").write_text('{"event":"StepTaken"}\n')
    for folder, message in (("nowhere", "no recording can be read from nowhere"), ("other", "does not begin like")):
        done = torchstone("report", folder, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n"), message in done.stderr) == (2, 1, True), done.stderr


@pytest.mark.parametrize("name", ["initial-loss-above-uniform", "TS104", "loss.uniform_cross_entropy"])
def test_explain_prints_a_page(name, tmp_path):
    done = torchstone("explain", name, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("# ")
    assert "## Sources" in done.stdout


def test_explain_lists_and_refuses(tmp_path):
    assert "parameter-never-updated" in torchstone("explain", cwd=tmp_path).stdout
    done = torchstone("explain", "nonsense", cwd=tmp_path)
    assert (done.returncode, "nothing is named 'nonsense'" in done.stderr) == (2, True)


def test_help_and_version(tmp_path):
    assert torchstone("--version", cwd=tmp_path).stdout.startswith("torchstone ")
    for words in (["--help"], ["check", "--help"], ["report", "-h"]):
        done = torchstone(*words, cwd=tmp_path)
        assert done.returncode == 0
        assert "Example" in done.stdout


def test_a_pipe_gets_plain_text_and_may_close_early(tmp_path):
    (tmp_path / "train.py").write_text(FORGETFUL)
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    done = subprocess.run([COMMAND, "check", "--no-trial", "train.py"], cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert "\x1b" not in done.stdout + done.stderr
    closed = subprocess.run(f"{COMMAND} explain | head -1", shell=True, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert closed.stderr == ""


def test_python_m_torchstone_is_the_same_command(tmp_path):
    done = subprocess.run([sys.executable, "-m", "torchstone", "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("torchstone ")


def test_phases_and_losses_are_found(tmp_path):
    from torchstone.core.events import LossComputed, PhaseSeen
    from torchstone.core.recording import read_recording

    (tmp_path / "train.py").write_text(
        FORGETFUL + "model.eval()\nwith torch.no_grad(): nn.CrossEntropyLoss()(model(x), x[:, :3].argmax(1))\n"
    )
    torchstone("check", "--no-trial", "--record", "kept", "train.py", cwd=tmp_path)
    recording = read_recording(tmp_path / "kept")
    assert {(phase.training, phase.gradients) for phase in recording.of(PhaseSeen)} == {(True, True), (False, False)}
    assert {loss.phase for loss in recording.of(LossComputed)} == {"train"}
