"""What the tests share: running scripts bare and under check, in processes of their own."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

# Users' scripts: run in processes of their own, never imported.
collect_ignore_glob = ["programs/*", "scripts/*"]
# A shell that starts us in the background has interrupts ignored, and processes inherit that: the tests send some.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parent
# One thread each: two tests side by side on two cores, and threads that wait by spinning, would starve each other.
COMMAND = str(Path(sys.executable).with_name("torchstone"))
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Ran:
    """A finished process, and the JSON report if there is one."""

    code: int
    out: str
    err: str
    report: dict

    @property
    def findings(self):
        return [finding["name"] for finding in self.report["findings"]]


def ranks_of(text):
    """How many ranks a script asks for in its first line: `# run: torchrun 2`; 0 for one that runs by itself."""
    asked = re.match(r"# run: torchrun (\d+)\n", text)
    return int(asked[1]) if asked else 0


def torchrun(words, cwd):
    """What starts the script among these words on its ranks; nothing for one that runs by itself."""
    scripts = [path for word in words if str(word).endswith(".py") and (path := Path(cwd) / word).exists()]
    count = ranks_of(scripts[0].read_text()) if scripts else 0
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count else []


def finished(command, **options):
    """A finished process. Several ranks start again where torch aborted: gloo does so now and then at exit, in a bare run as well."""
    for _ in range(4):
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False, **options)
        if "terminate called without an active exception" not in done.stderr or "torch.distributed.run" not in command:
            break
    return done


def run_bare(*words, cwd, stdin=None):
    done = finished([*(torchrun(words, cwd) or [sys.executable]), *map(str, words)], cwd=cwd, input=stdin)
    return Ran(done.returncode, done.stdout, done.stderr, {})


def run_check(*words, cwd, stdin=None, timeout=300):
    report = Path(cwd) / "report-of-the-test.json"
    report.unlink(missing_ok=True)
    ranks = torchrun(words, cwd)
    command = [*([*ranks, "-m", "torchstone"] if ranks else [COMMAND]), "check", "--json", str(report), *map(str, words)]
    done = finished(command, cwd=cwd, input=stdin, timeout=timeout)
    held = json.loads(report.read_text()) if report.exists() else {}
    report.unlink(missing_ok=True)
    return Ran(done.returncode, done.stdout, done.stderr, held)


@pytest.fixture
def bare(tmp_path):
    return lambda *words, stdin=None: run_bare(*words, cwd=tmp_path, stdin=stdin)


@pytest.fixture
def check(tmp_path):
    return lambda *words, stdin=None: run_check(*words, cwd=tmp_path, stdin=stdin)


@pytest.fixture
def script(tmp_path):
    """Write a script into the test's own folder."""

    def write(text, name="train.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def pytest_addoption(parser):
    parser.addoption("--update", action="store_true", help="rewrite golden reports and the Report sections of the findings' pages")


def pytest_make_parametrize_id(val):
    """A function by its name, another object by its class: an address differs from process to process."""
    if callable(val) and hasattr(val, "__name__"):
        return val.__name__
    return type(val).__name__ if " at 0x" in repr(val) else None
