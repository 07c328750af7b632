"""The document's network: 10 layers, every 5th activation kept."""

import pytest

from torchstone.core.evidence import Verdict
from torchstone.problems.answering import answer
from torchstone.problems.rematerialization import counted


@pytest.mark.parametrize(("name", "said"), [
    ("D6a", ["20 layer forwards, if nothing else is ever kept", "8, if a segment", "10 under torch.utils.checkpoint"]),
    ("D6b", ["10 loads, if nothing else is ever kept", "2, if a segment"]),
    ("D6c", ["50 ns a disk load, if nothing else is ever kept", "18 ns, if a segment"]),
])  # fmt: skip
def test_what_is_said_is_what_was_counted(name, said):
    (solved,) = answer(name)
    assert solved.verdict is Verdict.HOLDS and not solved.fault
    assert len(solved.answer.says) == len(said)
    assert all(line.startswith(begin) for line, begin in zip(solved.answer.says, said, strict=True))


def test_counts_come_from_runs():
    assert [counted(reuse) for reuse in ("nothing", "segment", "graph")] == [(20, 10), (8, 2), (10, 2)]
    assert counted("segment", spacing=1) == (0, 10)
