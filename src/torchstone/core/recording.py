"""A recording: what a run did, as plain events in order. It survives JSON and repeats every check anywhere.

On disk it is one JSON object a line, appended as things happen, so a run that is killed still leaves a
recording. Numbers that JSON does not know (NaN and the infinities) are written as strings.
"""

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from torchstone.core.errors import RecordingError
from torchstone.core.events import EVENTS, Event, RunEnded, RunStarted
from torchstone.core.steps import StepTaken

SCHEMA = 1
FILE = "events.jsonl"
E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Recording:
    """The events of one run in order. `complete` is False where the run was cut short (killed)."""

    events: tuple[Event, ...]
    schema: int = SCHEMA

    def of(self, kind: type[E]) -> tuple[E, ...]:
        """Every event of one kind, in order."""
        return tuple(event for event in self.events if isinstance(event, kind))

    def first(self, kind: type[E]) -> E | None:
        """The first event of a kind, or None."""
        return next((event for event in self.events if isinstance(event, kind)), None)

    @property
    def started(self) -> RunStarted:
        """The header."""
        return self.first(RunStarted) or RunStarted(script="(unknown)")

    @property
    def ended(self) -> RunEnded | None:
        """How the run ended, or None if it was killed before it could say so."""
        return self.first(RunEnded)

    @property
    def complete(self) -> bool:
        """Whether the run lived to say how it ended."""
        return self.ended is not None

    @property
    def steps(self) -> int:
        """Optimizer steps that were seen."""
        return len(self.of(StepTaken))

    def lines(self) -> list[str]:
        """The recording as it lies on disk."""
        return [encode(event) for event in self.events]


def encode(event: Event) -> str:
    """One event as one line of JSON."""
    return _ENCODER({"event": type(event).__name__, **_plain_fields(event)})


_ENCODER = json.JSONEncoder(separators=(",", ":")).encode


@cache
def _fields(kind: type) -> tuple[tuple[str, object], ...]:
    return tuple((field.name, field.default) for field in dataclasses.fields(kind))


def _plain_fields(value: object) -> dict[str, object]:
    # A field at its default says nothing: leaving it out keeps recordings small.
    given = ((name, getattr(value, name), default) for name, default in _fields(type(value)))  # type: ignore[arg-type] # types hash
    return {name: _plain(item) for name, item, default in given if item != default}


def _plain(value: object) -> object:
    kind = type(value)
    if kind is float:
        return _short(value)  # type: ignore[arg-type] # the line above is the check, made the fast way
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is tuple or kind is list:
        return [_short(item) if type(item) is float else _plain(item) for item in value]  # type: ignore[attr-defined]
    return _plain_fields(value)


def _short(value: float) -> float | str:
    return float(f"{value:.7g}") if math.isfinite(value) else str(value)


def decode(line: str) -> Event | None:
    """One line back into its event; None for an event that this version does not know."""
    raw = json.loads(line)
    kind = EVENTS.get(raw.pop("event"))
    return None if kind is None else typing.cast("Event", _build(kind, raw))


@cache
def _hints(kind: type) -> dict[str, object]:
    return typing.get_type_hints(kind)


def _build(kind: type, raw: dict[str, object]) -> object:
    hints = _hints(kind)
    return kind(**{name: _value(hints[name], value) for name, value in raw.items() if name in hints})


def _value(hint: object, value: object) -> object:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        inner = next(a for a in arguments if a is not type(None))
        return None if value is None else _value(inner, value)
    if origin is tuple:
        return tuple(_value(arguments[0], item) for item in typing.cast("list[object]", value))
    if hint is float:
        return float(typing.cast("float", value))
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast("type", hint), typing.cast("dict[str, object]", value))
    return value


def read_recording(folder: Path) -> Recording:
    """The recording stored in a folder. A last line cut by a kill is left out; anything worse is an error."""
    path = folder / FILE
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        message = f"no recording can be read from {folder}: {error.strerror or error}; name a folder made with --record"
        raise RecordingError(message) from error
    while lines and not lines[-1]:
        lines.pop()
    _refuse_newer(path, lines)
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        try:
            event = decode(line)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(lines):
                break
            message = f"{path}, line {number}, is not an event of a torchstone recording ({error}); record again"
            raise RecordingError(message) from error
        if event is not None:
            events.append(event)
    if not events or not isinstance(events[0], RunStarted):
        message = f"{path} does not begin like a torchstone recording; name a folder made with --record"
        raise RecordingError(message)
    return Recording(tuple(events))


def _refuse_newer(path: Path, lines: list[str]) -> None:
    """Before anything else is read: a newer schema may have changed every event."""
    try:
        schema = json.loads(lines[0]).get("schema", 1) if lines else 1
    except (ValueError, AttributeError):
        return
    if isinstance(schema, int) and schema > SCHEMA:
        message = f"{path} has schema {schema}, this torchstone reads up to {SCHEMA}; upgrade torchstone"
        raise RecordingError(message)
