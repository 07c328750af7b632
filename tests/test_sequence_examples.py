"""The examples about sequences: what they print, and what check says of them."""

import csv
import re
from pathlib import Path

import pytest

from conftest import run_bare, run_check

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
ORDER, LANGUAGE = EXAMPLES / "temporal_order.py", EXAMPLES / "causal_language_model.py"


def highest(out):
    return float(re.search(r"highest  loss (\S+)", out)[1])


@pytest.mark.slow
def test_the_order_is_learned_and_both_curves_are_written(tmp_path):
    ran = run_bare(ORDER, "--steps", "250", "--out", "curves", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert float(re.search(r"end      loss (\S+)", ran.out)[1]) < 0.1
    assert highest(ran.out) < 2
    assert sorted(path.name for path in (tmp_path / "curves").iterdir()) == ["accuracy.svg", "curves.csv", "loss.svg"]
    rows = list(csv.DictReader((tmp_path / "curves" / "curves.csv").read_text().splitlines()))
    assert len(rows) == 250 and 1.2 < float(rows[0]["loss"]) < 1.6


@pytest.mark.slow
def test_large_steps_spike_and_either_remedy_ends_it(tmp_path):
    large = ("--rate", "1.5", "--steps", "150")
    assert highest(run_bare(ORDER, *large, "--clip", "0", cwd=tmp_path).out) > 2.8
    assert highest(run_bare(ORDER, *large, cwd=tmp_path).out) < 2
    assert highest(run_bare(ORDER, "--rate", "0.2", "--clip", "0", "--steps", "150", cwd=tmp_path).out) < 2


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "rnn", "attention"])
def test_every_cell_runs(cell, tmp_path):
    ran = run_bare(ORDER, "--cell", cell, "--steps", "3", cwd=tmp_path)
    assert ran.code == 0, ran.err


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "said"), [
    (("--steps", "0"), "must be 1 or more"), (("--length", "9"), "--length must be 10 or more; 9 came"), (("--clip", "-1"), "--clip"),
])
def test_what_cannot_be_meant_is_refused(arguments, said, tmp_path):
    ran = run_bare(ORDER, *arguments, cwd=tmp_path)
    assert ran.code == 2 and said in ran.err


@pytest.mark.slow
def test_a_window_gives_the_losses_of_its_mask(tmp_path):
    ran = run_bare(LANGUAGE, "--attention", "both", "--steps", "4", "--length", "400", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert float(re.search(r"losses at most (\S+) apart", ran.out)[1]) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("script", "arguments", "findings"), [
    (ORDER, (), []),
    (LANGUAGE, ("--attention", "local", "--steps", "10"), []),
    (LANGUAGE, ("--attention", "dense", "--steps", "10"), ["band-mask-on-dense-attention"]),
])
def test_check_finds_the_mask_and_nothing_else(script, arguments, findings, tmp_path):
    ran = run_check(script, *arguments, cwd=tmp_path)
    assert ran.findings == findings, ran.out
