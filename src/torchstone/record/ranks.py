"""Ranks of one run that are checked side by side, as `torchrun -m torchstone check` starts them: they meet in a folder afterwards.

Nothing is sent between the watched processes. Each rank's parent process leaves its recording of the replicas in a folder of the
temporary directory; that of rank 0 takes them all and is the only one that reports.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torchstone.core.events import ReplicaState, RunStarted
from torchstone.core.files import whole
from torchstone.core.recording import FILE, Recording

_PATIENCE = 60.0  # seconds that one rank may take longer than another to end
_GRACE = 2.0  # for a rank that failed: whatever started the ranks must hear of it soon
_MOMENT = 0.05
_SAME = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE")


@dataclass(frozen=True, slots=True)
class Ranks:
    """One process among the ranks of one run. Where the folder cannot be used, the other ranks are missing, and nothing else."""

    rank: int
    folder: Path

    @classmethod
    def around(cls, environment: Mapping[str, str]) -> "Ranks | None":
        """The ranks that this process was started with, if it is one of several."""
        size, rank = environment.get("WORLD_SIZE", ""), environment.get("RANK", "")
        if not (size.isdigit() and rank.isdigit() and int(size) > 1):
            return None
        named = "|".join([*(environment.get(name, "") for name in _SAME), str(os.getppid()), str(os.getuid())])
        key = hashlib.sha256(named.encode()).hexdigest()[:24]
        return cls(int(rank), Path(tempfile.gettempdir()) / f"torchstone-ranks-{key}")

    def announce(self) -> None:
        """Before the script starts: whoever is not announced when it has ended is not waited for."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._put(f"{self.rank}.here", str(os.getpid()))

    def _put(self, name: str, text: str) -> None:
        if self.folder.lstat().st_uid != os.getuid():
            return
        with whole(self.folder / name) as part:
            part.write_text(text, encoding="utf-8")

    def hand_in(self, recording: Recording, *, failed: bool) -> None:
        """What this rank holds, for rank 0; returns when it has been taken, or when that is not to be expected any more."""
        kept = tuple(event for event in recording.events if isinstance(event, RunStarted | ReplicaState))
        with contextlib.suppress(OSError):
            self._put(f"{self.rank}.jsonl", "\n".join(Recording(kept).lines()) + "\n")
        began = time.monotonic()
        while self._alive(0) and time.monotonic() - began < _PATIENCE:
            late = time.monotonic() - began > _GRACE
            if failed and late and not (self.folder / "0.ended").exists():
                return  # rank 0 still runs, and may wait for us in a collective: let it be ended
            time.sleep(_MOMENT)

    def _alive(self, rank: int) -> bool:
        try:
            os.kill(int((self.folder / f"{rank}.here").read_text(encoding="utf-8")), 0)
        except (OSError, ValueError):
            return False
        return True

    def take(self, into: Path) -> None:
        """Wait for the ranks that were announced, and keep what they recorded beside the recording of rank 0."""
        began = time.monotonic()
        with contextlib.suppress(OSError):
            self._put("0.ended", "")
            others = [int(path.stem) for path in self.folder.glob("*.here") if path.stem != "0"]
            for rank in sorted(others):
                lies = self.folder / f"{rank}.jsonl"
                while not lies.exists() and self._alive(rank) and time.monotonic() - began < _PATIENCE:
                    time.sleep(_MOMENT)
                if lies.exists():
                    target = into / f"rank-{rank}"
                    target.mkdir(exist_ok=True)
                    shutil.copyfile(lies, target / FILE)
        self.leave()

    def leave(self) -> None:
        """Take the folder away: the others see by that that they may end."""
        shutil.rmtree(self.folder, ignore_errors=True)
