"""The recording of a study: one line a finished run, appended as it ends, so that a study goes on where it was killed."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torchstone.core.errors import UsageError
from torchstone.core.files import whole
from torchstone.core.study import Outcome, Value

FILE = "runs.jsonl"
SCHEMA = 1


class Store:
    """A folder that holds one study's runs. `conditions`: what must be equal for its runs to count."""

    def __init__(self, folder: Path, study: str, conditions: Mapping[str, Value]) -> None:
        self.folder, self.path = folder, folder / FILE
        self.header = {"study": study, "schema": SCHEMA, **conditions}
        self.runs: list[Outcome] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._open(bool(next(folder.iterdir(), None)))
        except OSError as error:
            message = f"--out {folder} cannot be used: {error.strerror or error}; name another folder"
            raise UsageError(message) from error

    def _open(self, inhabited: bool) -> None:  # noqa: FBT001 - one caller
        if not self.path.exists():
            if inhabited:
                message = f"--out {self.folder} holds other files; name a new or empty folder, or one of this study"
                raise UsageError(message)
            self._append(self.header)
            return
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        header = _line(lines[0]) if lines else None
        if header != self.header:
            had = ", ".join(f"{key} {value}" for key, value in (header or {}).items() if self.header.get(key) != value)
            message = f"--out {self.folder} holds runs of another kind ({had or 'no study'}); name another folder"
            raise UsageError(message)
        kept = [lines[0]]
        for line in lines[1:]:
            raw = _line(line)
            if raw is not None:  # a line cut by a kill is left out, and its run repeated
                self.runs.append(_outcome(raw))
                kept.append(line)
        if len(kept) < len(lines):
            self._rewrite(kept)

    def _rewrite(self, lines: list[str]) -> None:
        with whole(self.path) as part:
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def _append(self, raw: Mapping[str, object]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(raw, separators=(",", ":"), allow_nan=True) + "\n")
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
    lines = [raw for raw in map(_line, text.splitlines()) if raw is not None]
    return (lines[0] if lines else {}), [_outcome(raw) for raw in lines[1:]]


def _line(text: str) -> dict[str, object] | None:
    try:
        raw = json.loads(text)
    except ValueError:
        return None
    return raw if isinstance(raw, dict) else None


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
