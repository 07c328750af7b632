"""The recording of a study: one line a finished run, appended as it ends, so that a study goes on where it was killed."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from torchstone.core.errors import UsageError
from torchstone.core.files import PART, whole
from torchstone.core.study import Outcome, Value

FILE = "runs.jsonl"
SCHEMA = 1


class Store:
    """A folder of one study's runs, held by one process at a time. `conditions`: what must be equal for its runs to count."""

    def __init__(self, folder: Path, study: str, conditions: Mapping[str, Value]) -> None:
        self.folder, self.path = folder, folder / FILE
        self.header = {"study": study, "schema": SCHEMA, **conditions}
        self.runs: list[Outcome] = []
        self._held, self._ours, self._made = -1, False, not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._held = _hold(folder)
            self._open()
            self._ours = True
            for left in folder.glob(f"*{PART}"):
                left.unlink()  # of a process that was killed while it wrote: none other is at work here
        except (OSError, UsageError) as error:
            self.close()
            if isinstance(error, UsageError):
                raise
            message = f"--out {folder} cannot be used: {error.strerror or error}; name another folder"
            raise UsageError(message) from error

    def close(self) -> None:
        """Let another process have the folder; one in which nothing was done is left as it was found."""
        with suppress(OSError):
            if self._ours and not self.runs and {place.name for place in self.folder.iterdir()} <= {FILE}:
                self.path.unlink(missing_ok=True)
            if self._made and not self.runs:
                self.folder.rmdir()  # which refuses where anything lies in it
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def _open(self) -> None:
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        begun = _text(self.header)
        if begun.startswith(text) and text != begun:  # nothing yet, or a first line that a kill has cut
            others = [place.name for place in self.folder.iterdir() if place != self.path and place.suffix != PART]
            if others:
                message = f"--out {self.folder} holds other files; name a new or empty folder, or one of this study"
                raise UsageError(message)
            self._write([begun])
            return
        lines = text.splitlines()
        header = _line(lines[0])
        if header != self.header:
            had = ", ".join(f"{key} {value}" for key, value in (header or {}).items() if self.header.get(key) != value)
            message = f"--out {self.folder} holds runs of another kind ({had or 'no study'}); name another folder"
            raise UsageError(message)
        found = [(line, _run(line)) for line in lines[1:]]
        self.runs = [run for _, run in found if run is not None]  # a line cut by a kill is left out, and its run repeated
        if len(self.runs) < len(found) or not text.endswith("\n"):
            self._write([begun, *(f"{line}\n" for line, run in found if run is not None)])

    def _write(self, lines: list[str]) -> None:
        with whole(self.path) as part:
            part.write_text("".join(lines), encoding="utf-8")

    def _append(self, raw: Mapping[str, object]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_text(raw))
            file.flush()
            os.fsync(file.fileno())

    def find(self, setting: str, seed: int) -> Outcome | None:
        """A run that is finished already."""
        return next((run for run in self.runs if (run.setting, run.seed) == (setting, seed)), None)

    def add(self, outcome: Outcome) -> None:
        """Write a finished run down."""
        try:
            self._append(dataclasses.asdict(outcome))
        except OSError as error:
            message = f"{self.path} cannot be written: {error.strerror or error}; make room and run the same command again"
            raise UsageError(message) from error
        self.runs.append(outcome)


def parsed(text: str) -> tuple[dict[str, Any], list[Outcome]]:
    """A recording's first line and its runs; a line that was cut is left out."""
    first, *lines = text.splitlines() or [""]
    return _line(first) or {}, [run for run in map(_run, lines) if run is not None]


def _hold(folder: Path) -> int:
    """Keep other processes out until the number that comes back is closed, or this process ends in whatever way."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock
    except ImportError:  # no such system: two processes then both do all of the work
        return -1
    held = os.open(folder, os.O_RDONLY)
    try:
        flock(held, LOCK_EX | LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        message = f"--out {folder} is in use by another process; wait until it ends, or name another folder"
        raise UsageError(message) from error
    except OSError:  # a file system that knows no locks
        os.close(held)
        return -1
    return held


def _text(raw: Mapping[str, object]) -> str:
    return json.dumps(raw, separators=(",", ":"), allow_nan=True) + "\n"


def _line(text: str) -> dict[str, object] | None:
    try:
        raw = json.loads(text)
    except ValueError:
        return None
    return raw if isinstance(raw, dict) else None


def _run(text: str) -> Outcome | None:
    raw = _line(text)
    try:
        return None if raw is None else _outcome(raw)
    except (AttributeError, KeyError, TypeError, ValueError):  # a line of something else
        return None


def _outcome(raw: Mapping[str, object]) -> Outcome:
    curves = cast("Mapping[str, list[list[float]]]", raw["curves"])
    pictures = cast("Mapping[str, list[list[float]]]", raw["pictures"])
    figures = cast("Mapping[str, float | None]", raw["figures"])
    return Outcome(
        str(raw["setting"]),
        cast("int", raw["seed"]),
        {name: math.nan if value is None else float(value) for name, value in figures.items()},
        {name: tuple((x, y) for x, y in curve) for name, curve in curves.items()},
        {name: tuple(tuple(row) for row in picture) for name, picture in pictures.items()},
        cast("float", raw["seconds"]),
    )
