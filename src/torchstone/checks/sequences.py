"""What the findings about sequences share: the one second look that they all need, and when it is worth a run."""

import re
from collections.abc import Iterator, Sequence

from torchstone.core.events import BackwardCalled, ParameterSeen
from torchstone.core.evidence import Evidence, Site
from torchstone.core.finding import Probe
from torchstone.core.looks import DependenceRead
from torchstone.core.quantity import Quantity, Unit
from torchstone.core.recording import Recording

_RECURRENT = re.compile(r"rnn|lstm|gru")
_COMPILED = "compiledfunction"
_SEQUENCE_WEIGHTS = re.compile(r"attn|attention|in_proj|weight_ih|query|qkv|c_attn")


def look_at_dependence(recording: Recording) -> Probe | None:
    """Once, where attention or a recurrent layer is at work: at step 1, when layers that begin at zero have moved."""
    operations = {one.operation for event in recording.of(BackwardCalled) for one in event.operations}
    if not _on_sequences(operations, recording):
        return None
    return Probe("dependence", 1 if recording.steps > 1 else 0)


def _on_sequences(operations: set[str], recording: Recording) -> bool:
    if any("scaleddotproduct" in name or _RECURRENT.search(name) for name in operations):
        return True
    if any(name.endswith("softmax") and name != "logsoftmax" for name in operations) and operations & {"bmm", "mm", "baddbmm"}:
        return True
    if "stack" in operations and operations & {"unbind", "unsafesplit", "split"} and operations & {"tanh", "relu"}:
        return True  # recurrent layers that torch unrolls
    compiled = any(_COMPILED in name for name in operations)
    names = (name for seen in recording.of(ParameterSeen) for name in seen.names)
    return compiled and any(_SEQUENCE_WEIGHTS.search(name) for name in names)


def dependence_evidence(
    recording: Recording, what: str, law: str, predicted: int, unexplained: str = "no operation was seen that lets it through by itself"
) -> Iterator[Evidence]:
    """Evidence for every loss that was looked at; broken ones at what lets it through."""
    for event in recording.of(DependenceRead):
        if event.what != what:
            continue
        reason = event.reason
        if event.read and not reason and not event.readers:
            reason = unexplained
        yield Evidence(
            law, site_of(event), Quantity(predicted, Unit.COUNT), Quantity(event.read, Unit.COUNT), how="gradient of single rows",
            reason=reason,
        )


def site_of(event: DependenceRead) -> Site:
    """What lets it through, or else the loss."""
    if event.readers:
        reader = event.readers[0]
        return Site(reader.module, reader.place.file, reader.place.line, event.step, "train")
    return Site("", event.place.file, event.place.line, event.step, "train")


def event_of(evidence: Evidence, recording: Recording, what: str) -> DependenceRead | None:
    """The event that evidence was made of."""
    found = (event for event in recording.of(DependenceRead) if event.what == what and site_of(event) == evidence.site)
    return next((event for event in found if evidence.measured is not None and event.read == evidence.measured.value), None)


def by_reader(
    broken: Sequence[Evidence], recording: Recording, what: str
) -> Iterator[tuple[tuple[Evidence, ...], DependenceRead]]:
    """Broken laws of one operation together, with the event that the first was made of."""
    for site in dict.fromkeys(evidence.site for evidence in broken):
        mine = tuple(evidence for evidence in broken if evidence.site == site)
        event = event_of(mine[0], recording, what)
        if event is not None:
            yield mine, event


def plural(count: int, one: str, more: str = "") -> str:
    """A count with its noun."""
    return f"{count} {one if count == 1 else more or one + 's'}"
