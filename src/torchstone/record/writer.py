"""The append-only file of a recording: every line reaches the system at once, and the whole is bounded."""

import contextlib
import math
import os
import threading
from pathlib import Path

from torchstone.core.events import Event
from torchstone.core.recording import FILE, encode
from torchstone.core.steps import StepTaken

# A run of 1,000 steps stays under 1 MB: its steps take 90 kB, all detail together this much. Steps go on when it is full.
DETAIL_BYTES = 800_000
MOMENT = 0.1  # seconds


class Writer:
    """Appends events. A write that fails (disk full) ends recording and never reaches the user's script."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        self._lock = threading.Lock()
        self._detail = 0
        self._waiting: list[str] = []
        self._written = 0.0
        self.dropped = 0

    def add(self, event: Event, *, always: bool = False) -> None:
        """Append one event; detail beyond the bound is counted instead of written, unless it must be there."""
        try:
            line = encode(event)
        except Exception:  # noqa: BLE001 - a fault is noted through here, so this is where the last of them must end
            self.dropped += 1
            return
        if not always:
            self._detail += len(line) + 1
            if self._detail > DETAIL_BYTES:
                self.dropped += 1
                return
        self.add_line(line)

    def add_step(self, step: StepTaken) -> None:
        """Append the cheap numbers of a step. They may wait a moment for each other: a kill loses that moment at most."""
        loss = "null" if step.loss is None else f"{step.loss:.7g}" if math.isfinite(step.loss) else f'"{step.loss}"'
        self._waiting.append(
            f'{{"event":"StepTaken","step":{step.step},"optimizer":{step.optimizer},"loss":{loss},"seconds":{step.seconds:.6f}}}'
        )
        if step.seconds - self._written >= MOMENT or step.seconds < self._written:
            self._written = step.seconds
            self.flush()

    def flush(self) -> None:
        """Write the steps that wait."""
        if self._waiting:
            lines, self._waiting = "\n".join(self._waiting), []
            self._write(lines)

    def add_line(self, line: str) -> None:
        """Append a line that is already encoded."""
        self.flush()
        self._write(line)

    def _write(self, text: str) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            os.write(self._descriptor, text.encode() + b"\n")

    def close(self) -> None:
        """Write what waits and close the file."""
        self.flush()
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


class Collector(Writer):
    """The same, kept in memory: for watching inside a running process."""

    def __init__(self) -> None:
        self._detail = 0
        self._waiting: list[str] = []
        self._written = 0.0
        self.dropped = 0
        self.lines: list[str] = []

    def _write(self, text: str) -> None:
        self.lines.extend(text.split("\n"))

    def close(self) -> None:
        """Keep what waits; nothing is open."""
        self.flush()
