"""However a script ends, its own output and exit code come through, and what was recorded is reported."""

import json
import os
import signal
import subprocess
import time

import pytest

from conftest import COMMAND, ENVIRONMENT

LOOP = """
import sys, time, torch
from torch import nn
torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def step():
    x = torch.randn(8, 4)
    loss = nn.functional.cross_entropy(model(x), x[:, :3].argmax(1))
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    return loss.item()
"""

ENDINGS = {
    "raises": "step(); step()\ndef deep():\n    raise ValueError('told you')\ndeep()",
    "raises from": "step()\ntry:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise RuntimeError('caused') from e",
    "raises in backward": "step()\n(model(torch.randn(2, 4)).detach().sum()).backward()",
    "exits 3": "step(); sys.exit(3)",
    "exits with a message": "step(); sys.exit('no data')",
    "exits 0": "step(); sys.exit()",
    "runs out of memory": "step()\ntorch.empty(10**15)",
    "leaves by os._exit": "import os\nstep(); sys.stdout.flush(); os._exit(7)",
    "has an excepthook": "sys.excepthook = lambda *a: print('mine', a[1])\nstep(); raise KeyError('k')",
    "prints at exit": "import atexit\natexit.register(print, 'bye')\nstep()",
}


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_ends_as_it_would_alone(ending, script, bare, check):
    path = script(LOOP + "print(step())\n" + ENDINGS[ending] + "\n")
    alone, watched = bare(path), check("--no-trial", path)
    assert watched.code == alone.code
    assert watched.out.startswith(alone.out)
    assert watched.err == alone.err
    assert watched.report["steps"] >= 1
    assert watched.report["script_exit_code"] == alone.code


def test_standard_input_and_arguments_are_the_scripts(script, bare, check):
    path = script(LOOP + "for line in sys.stdin: print(line.strip(), step())\nprint(sys.argv)\n")
    words = ("--steps", "7", "-m", "--json")
    alone, watched = bare(path, *words, stdin="a\nb\n"), check(path, *words, stdin="a\nb\n")
    assert watched.out.startswith(alone.out)
    assert watched.report["steps"] == 2


def test_a_module_runs_as_with_python_m(tmp_path, bare, check):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text(LOOP)
    (package / "train.py").write_text("from .parts import step\nimport sys\nprint(__name__, __package__, sys.argv, step())\n")
    alone, watched = bare("-m", "package.train", "--x"), check("-m", "package.train", "--x")
    assert alone.code == 0, alone.err
    assert watched.out.startswith(alone.out)
    assert watched.report["steps"] == 1


def test_a_file_beside_the_script_may_shadow_the_standard_library(tmp_path, script, bare, check):
    (tmp_path / "runpy.py").write_text("mine = 1\n")
    (tmp_path / "plan.py").write_text("mine = 2\n")
    path = script("import runpy, plan\nprint(runpy.mine, plan.mine)\n" + LOOP + "step()\n")
    assert check(path).out.startswith(bare(path).out)


def start(path, *words, cwd):
    report = cwd / "report.json"
    process = subprocess.Popen(
        [COMMAND, "check", "--json", str(report), "--record", str(cwd / "rec"), *words, str(path)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )
    return process, report


SLOW = LOOP + "import os\nprint(os.getpid(), flush=True)\nwhile True:\n    step(); time.sleep(0.02)\n"


def wait_for_steps(cwd, count):
    events = cwd / "rec" / "events.jsonl"
    for _ in range(600):
        if events.exists() and events.read_text().count("StepTaken") >= count:
            return
        time.sleep(0.05)
    pytest.fail("no steps were recorded")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_sent_to_us_reaches_the_script(number, code, script, tmp_path):
    process, report = start(script(SLOW), "--steps", "all", cwd=tmp_path)
    process.stdout.readline()
    wait_for_steps(tmp_path, 5)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert json.loads(report.read_text())["steps"] >= 5
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in err
        assert "torchstone" not in err
        assert "interrupted" in out


def test_a_killed_script_is_reported(script, tmp_path):
    process, report = start(script(SLOW), "--steps", "all", cwd=tmp_path)
    child = int(process.stdout.readline())
    wait_for_steps(tmp_path, 5)
    os.kill(child, signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 137
    held = json.loads(report.read_text())
    assert held["steps"] >= 5
    assert held["ended"] == "killed"
    assert "killed" in out


def test_steps_stop_the_script_cleanly_and_say_so(script, check):
    path = script(LOOP + "try:\n    while True:\n        try:\n            step()\n        except Exception:\n            pass\nfinally:\n    print('tidied')\n")
    ran = check("--steps", "5", path)
    assert (ran.code, ran.report["steps"], ran.report["ended"]) == (0, 5, "steps")
    assert ran.out.startswith("tidied\n")
    assert "stopped after 5 optimizer steps" in ran.out


def test_time_stops_the_script(script, check):
    ran = check("--time", "1", "--steps", "all", script(LOOP + "while True: step()\n"))
    assert ran.code == 0
    assert ran.report["ended"] == "time"


def test_a_script_that_never_trains(script, check):
    ran = check(script("import torch\nprint(torch.ones(2).sum())\n"))
    assert ran.code == 0
    assert "nothing to hold: no backward pass seen in" in ran.out
    ran = check(script("print('no torch at all')\n"))
    assert ran.code == 0
    assert "nothing to hold" in ran.out


BAD_INPUT = {
    "no such file": (["nowhere.py"], "nowhere.py does not exist"),
    "a folder": (["."], "is a folder"),
    "a notebook": (["book.ipynb"], "is a notebook"),
    "a syntax error": (["broken.py"], "does not parse"),
    "null bytes": (["null.py"], "null.py"),
    "steps -1": (["--steps", "-1", "fine.py"], "--steps needs a whole number of at least 1"),
    "steps x": (["--steps", "x", "fine.py"], "--steps needs"),
    "time 0": (["--time", "0", "fine.py"], "--time needs"),
    "unwritable record": (["--record", "/proc/nowhere", "fine.py"], "cannot be written to"),
    "record of others": (["--record", ".", "fine.py"], "holds other files"),
    "unwritable json": (["--json", "/proc/x.json", "fine.py"], "cannot be written"),
    "unknown finding": (["--select", "no-such-thing", "fine.py"], "no finding is named 'no-such-thing'"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_gets_one_line_and_exit_code_2(case, tmp_path):
    words, message = BAD_INPUT[case]
    (tmp_path / "book.ipynb").write_text("{}")
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "null.py").write_bytes(b"a\0b")
    (tmp_path / "fine.py").write_text("print('ran')\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    done = subprocess.run(
        [COMMAND, "check", *words], cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


FAULTS = {
    "a hook": ("torchstone.record.watcher", "import torchstone.record.watcher as w\nw.Watcher._look = None\n"),
    "the writer": ("torchstone.record.writer", "import torchstone.record.writer as w\nw.encode = None\n"),
    "a measurement": ("describe", "import torchstone.record.describe.loss as d\nd._MEASURES['cross_entropy'] = lambda call: 1 / 0\n"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_ours_never_reaches_the_script(fault, script, bare, check, monkeypatch):
    body = LOOP + "for _ in range(6): print(step())\n"
    alone = bare(script(body))
    watched = check("--no-trial", script("import torch\n" + FAULTS[fault][1] + body))
    assert watched.out.startswith(alone.out)
    assert watched.report["script_exit_code"] == 0
    assert watched.report["faults"] or fault == "the writer"


def test_a_trial_that_is_interrupted_is_not_shown_as_tried(script, tmp_path):
    forgetful = LOOP.replace("optimizer.zero_grad(); ", "") + "for _ in range(60): step(); time.sleep(0.03)\n"
    process, report = start(script(forgetful), cwd=tmp_path)
    events = tmp_path / "rec" / "trial-00" / "events.jsonl"
    for _ in range(600):
        if events.exists() and events.read_text().count("StepTaken") >= 5:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    held = json.loads(report.read_text())
    assert process.returncode == 130
    assert held["findings"][0]["remedies"] == []
    assert "interrupted" in out
    assert "Traceback" not in err
