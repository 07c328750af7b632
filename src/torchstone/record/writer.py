"""The append-only file of a recording: every line reaches the system at once, and the whole is bounded."""

import contextlib
import os
import threading
from pathlib import Path

from torchstone.core.events import Event
from torchstone.core.recording import FILE, encode

# Cheap step lines go on when the detail is full: 1 MB for each 1,000 steps, of which detail may take most at first.
DETAIL_BYTES = 700_000
STEP_BYTES = 300


class Writer:
    """Appends events. A write that fails (disk full) ends recording and never reaches the user's script."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        self._lock = threading.Lock()
        self._detail = 0
        self.dropped = 0

    def add(self, event: Event, *, always: bool = False) -> None:
        """Append one event; detail beyond the bound is counted instead of written, unless it must be there."""
        line = encode(event)
        if not always:
            self._detail += len(line) + 1
            if self._detail > DETAIL_BYTES:
                self.dropped += 1
                return
        self.add_line(line)

    def add_line(self, line: str) -> None:
        """Append a line that is already encoded: the path of the cheap numbers of every step."""
        with self._lock, contextlib.suppress(OSError):
            os.write(self._descriptor, line.encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


class Collector(Writer):
    """The same, kept in memory: for watching inside a running process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._detail = 0
        self._descriptor = -1
        self.dropped = 0
        self.lines: list[str] = []

    def add_line(self, line: str) -> None:
        """Keep the line."""
        self.lines.append(line)

    def close(self) -> None:
        """Nothing is open."""
