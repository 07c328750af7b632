"""`torchstone solve memory` as people type it."""

import json

import pytest
from typer.testing import CliRunner

from torchstone.cli import application
from torchstone.cli.solve_memory import complete_strategy

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

class Around(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block(16) for _ in range(6))

    def forward(self, x, y):
        for block in self.blocks:
            x, y = block(x) + y, x
        return x + y

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


def test_a_model_that_is_no_chain_is_planned_by_its_modules(run, tmp_path):
    two = ("--input", "32x16")
    done = run("planned_model.py:Around", *two, "--json", "plan.json", "--svg", "plan.svg", budget="80kB")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "modules run again in the backward pass"
    assert "within the budget of 80 kB" in done.stdout and "best found, at most " in done.stdout and "above the bound" in done.stdout
    assert "optimal" not in done.stdout and "keeps otherwise" in done.stdout
    plain = json.loads((tmp_path / "plan.json").read_text())
    assert plain["strategy"] == "graph" and plain["predicted_peak_bytes"] <= 80_000 < plain["stored_peak_bytes"]
    assert 0 <= plain["any_schedule_bound"] <= plain["lower_bound"] <= plain["extra_work"] and plain["gap"] >= 0
    names = {one["name"] for one in plain["modules"]}
    assert names and names < {f"blocks.{place}" for place in range(6)}
    assert any(one["again"] for one in plain["calls"]) and not all(one["again"] for one in plain["calls"])
    assert (tmp_path / "plan.svg").read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox=')
    assert "everything fits: nothing is run again" in run("planned_model.py:Around", *two, budget="1MB").stdout
    done = run("planned_model.py:make", "--strategy", "graph", budget="120kB")
    assert done.exit_code == 0 and "modules run again" in done.stdout
    done = run("planned_model.py:Around", *two, budget="1kB")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("torchstone: 1 kB is too little: the least that was found, running modules again, is ")


def test_strategies_are_completed():
    assert complete_strategy("") == ["best", "level", "nested", "uniform", "graph"] and complete_strategy("g") == ["graph"]


@pytest.mark.parametrize(("model", "words", "text"), [
    ("planned_model.py:mak", {}, "planned_model.py has no mak; did you mean 'make'?; it has Block, make, Words, Around, fails, counts"),
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
