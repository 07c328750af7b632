"""D8: counted on real processes and said in numbers; undecided, not wrong, where no process can be started."""

import subprocess
import sys
from pathlib import Path

import pytest

from torchstone.core.evidence import Verdict
from torchstone.core.problem import Posted, Solved
from torchstone.parts.exchange import ExchangeError
from torchstone.problems import exchange
from torchstone.problems.answering import all_questions

EXAMPLE = Path(__file__).parents[2] / "examples" / "exchange_gradients.py"


def solved():
    return Solved(all_questions()["D8"], None, exchange.exchange(Posted()))


def test_the_documents_counts_are_counted():
    one = solved()
    assert one.verdict is Verdict.HOLDS
    text = "\n".join(one.answer.says)
    assert "2, 6, 12 counted" in text and "(4, 6, 8)" in text and "(4, 12, 24)" in text and "7.875 GB in a ring" in text
    assert sum("real processes" in item.how for item in one.answer.evidence) == 24


def test_without_processes_it_is_undecided(monkeypatch):
    def refuse(jobs):
        message = "no more processes"
        raise ExchangeError(message)

    monkeypatch.setattr(exchange, "count", refuse)
    exchange.counted.cache_clear()
    one = solved()
    exchange.counted.cache_clear()
    assert one.verdict is Verdict.UNDECIDED
    assert "not counted" in one.answer.says[0]
    assert {item.reason for item in one.answer.evidence} == {"", "no more processes"}


@pytest.mark.slow
def test_the_example_counts_exactly_under_torchrun():
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4", str(EXAMPLE)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if "0.0e+00" in line]
    assert len(rows) == 6 and all(row[-5] == row[-4] and row[-3] == row[-2] for row in rows)
