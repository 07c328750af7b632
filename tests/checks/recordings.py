"""Recordings written by hand: a header, what happened, and an end."""

from torchstone.core.events import RunEnded, RunStarted
from torchstone.core.evidence import Verdict
from torchstone.core.place import Place
from torchstone.core.recording import Recording
from torchstone.core.steps import StepTaken

LINE = Place("train.py", 12)


def recording(*events, steps=8, loss=1.5, passes=None):
    taken = [StepTaken(n, loss=loss) for n in range(steps)]
    end = RunEnded("finished", steps=steps, backward_passes=steps if passes is None else passes)
    return Recording((RunStarted("train.py"), *events, *taken, end))


def verdicts(check, of):
    return [item.verdict for item in check.hold(of)]


def findings(check, of):
    return list(check.explain([item for item in check.hold(of) if item.verdict is Verdict.BROKEN], of))


def only_finding(check, of):
    found = findings(check, of)
    assert len(found) == 1, found
    return found[0]


def only_evidence(check, of):
    held = list(check.hold(of))
    assert len(held) == 1, held
    return held[0]
