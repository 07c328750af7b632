"""`torchstone solve memory` as people type it."""

import json

import pytest
from typer.testing import CliRunner

from torchstone.cli import application

MODEL = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return x + self.narrow(torch.relu(self.wide(x)))

def make():
    return nn.Sequential(*(Block(16) for _ in range(12)))

class Words(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Embedding(9, 16), *(Block(16) for _ in range(6)))

ready = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))
number = 3

def fails():
    raise ValueError("no weights")

def counts():
    return {"a": 1}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "planned_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)

    def command(model, *words, budget="60kB", shape="32x16"):
        done = CliRunner().invoke(application(), ["solve", "memory", model, "--budget", budget, "--input", shape, *words])
        assert "Traceback" not in done.output
        return done

    return command


def test_a_plan_is_printed_and_written(run, tmp_path):
    done = run("planned_model.py:make", "--json", "plan.json", "--svg", "plan.svg")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "one level of checkpointed segments"
    assert "  chain         12 layers: " in done.stdout
    assert "within the budget of 60 kB" in done.stdout
    assert "no other runs less again among schedules of one level of checkpointed segments" in done.stdout
    assert "\x1b" not in done.stdout and "optimal" not in done.stdout
    plain = json.loads((tmp_path / "plan.json").read_text())
    assert plain["predicted_peak_bytes"] <= plain["budget_bytes"] == 60_000
    assert plain["extra_forwards"] == sum(one["stop"] - one["first"] for one in plain["segments"] if one["again"])
    assert len(plain["layers"]) == 12 and plain["gap"] == 0
    assert (tmp_path / "plan.svg").read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox=')


def test_models_of_every_kind(run):
    assert "everything fits: nothing is run again" in run("planned_model.py:make", budget="1GB").stdout
    assert run("planned_model:Words", shape="4x8:int64").exit_code == 0
    assert run("planned_model.py:ready", budget="1MB").exit_code == 0
    done = run("planned_model.py:make", "--strategy", "nested", budget="45kB")
    assert "segments inside segments" in done.stdout and "not proven least: any schedule at all runs" in done.stdout


@pytest.mark.parametrize(("model", "words", "text"), [
    ("planned_model.py:mak", {}, "planned_model.py has no mak; did you mean 'make'?; it has Block, make, Words, fails, counts"),
    ("planned_model.py:number", {}, "planned_model.py:number gives no nn.Module but int"),
    ("planned_model.py:counts", {}, "planned_model.py:counts gives no nn.Module but dict"),
    ("planned_model.py:fails", {}, "planned_model.py:fails cannot be called without arguments or fails: ValueError: no weights"),
    ("planned_model.py:Block", {}, "planned_model.py:Block cannot be called without arguments or fails: TypeError"),
    ("none.py:make", {}, "there is no file none.py"),
    ("none.at.all:make", {}, "none.at.all cannot be imported"),
    ("make", {}, "MODEL is file.py:name or package.module:name; 'make' came"),
    ("planned_model.py:make", {"budget": "1kB"}, "1 kB is too little: nested segments need about "),
    ("planned_model.py:make", {"budget": "much"}, "memory is a number of bytes or a text such as 2GB"),
    ("planned_model.py:make", {"shape": "32y16"}, "--input is a shape, and a type if it is not float32"),
    ("planned_model.py:make", {"shape": "32x16:float99"}, "--input is a shape, and a type"),
    ("planned_model.py:make", {"shape": "32x17"}, "the model cannot be run on these inputs: RuntimeError"),
])  # fmt: skip
def test_errors_are_one_line_and_exit_code_2(run, model, words, text):
    done = run(model, **words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"torchstone: {text}"), done.stderr


def test_the_help_has_examples(run):
    done = CliRunner().invoke(application(), ["solve", "memory", "--help"])
    assert "--budget 2GB" in done.output
