"""What workers tell each other beside the exchange, through the store of the process group: whether they agree, and who is gone.

Nothing here is a message of the exchange. Where a torch version has no such store to give, the exchange goes on without.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch.distributed as dist

from torchstone.core.errors import TorchstoneError, UsageError

_GRACE = 2.0  # seconds in which workers that fail together say so
_REFUSED = "refused: "


class ExchangeError(TorchstoneError, RuntimeError):
    """An exchange between workers could not be finished: one died, hung or never came. The group is of no use afterwards."""


class Talk:
    """One process group's notes in its store."""

    # Exchanges so far of each group: the same number on every worker.
    _counts: ClassVar[WeakKeyDictionary[dist.ProcessGroup, int]] = WeakKeyDictionary()

    def __init__(self, group: dist.ProcessGroup, timeout: float) -> None:
        self.group, self.timeout = group, timeout
        self.rank, self.size = group.rank(), group.size()
        self._store = _store(f"torchstone/exchange/{group.group_name}/")

    def agree(self, said: str) -> None:
        """Wait until every worker has come, and see that all say the same. Raises on all of them where they do not.

        `said` describes this worker's exchange, or is what `refusal` made of an error.
        """
        if self._store is None or self.size == 1:
            return
        number = self._counts[self.group] = self._counts.get(self.group, 0) + 1
        keys = [f"{number}/{rank}" for rank in range(self.size)]
        self._store.set(keys[self.rank], said)
        try:
            self._store.wait(keys, timedelta(seconds=self.timeout))
            told = [one.decode() for one in self._store.multi_get(keys)]
            self._store.delete_key(f"{number - 1}/{self.rank}")  # all have come here: nobody reads the last one any more
        except dist.DistStoreError as error:
            raise ExchangeError(self._missing(keys)) from error
        except RuntimeError as error:
            message = (
                f"rank {self.rank} of {self.size} lost the process group's store, which rank 0 or torchrun keeps: it has ended; "
                f"see its log, and start all workers anew; torch says: {_short(error)}"
            )
            raise ExchangeError(message) from error
        if not said.startswith(_REFUSED):
            self._compare(said, told)

    def _missing(self, keys: list[str]) -> str:
        missing = []
        with suppress(RuntimeError):
            missing = [rank for rank, key in enumerate(keys) if not self._store.check([key])]
        who = _ranks(missing) if missing else "another worker"
        return (
            f"{who} did not come to the exchange within {self.timeout:g} s (this is rank {self.rank} of {self.size}): "
            "see that worker's log; if it is only slow, give a longer timeout"
        )

    def _compare(self, said: str, told: list[str]) -> None:
        for rank, other in enumerate(told):
            if other.startswith(_REFUSED):
                message = f"rank {rank} could not begin the exchange: {other.removeprefix(_REFUSED)}"
                raise UsageError(message)
            if other != said:
                message = (
                    f"workers exchange different things: {said} on rank {self.rank}, {other} on rank {rank}; "
                    "give the same scheme, size, dtype and reduction everywhere"
                )
                raise UsageError(message)

    @contextmanager
    def failing(self, peers: list[int]) -> Iterator[None]:
        """What torch raises while these peers are waited for, said clearly."""
        try:
            yield
        except RuntimeError as error:
            raise self._failed(sorted(set(peers)), error) from error

    def _failed(self, waited_for: list[int], error: Exception) -> ExchangeError:
        """The error to raise after a wait failed: it names who is gone, found by who does not report the same failure."""
        silent = self._silent()
        gone = [rank for rank in silent if rank in waited_for] or silent
        said = f"{_ranks(gone)} died or hung" if gone else f"no answer from {_ranks(waited_for)}"
        message = (
            f"the exchange stopped: {said} (rank {self.rank} of {self.size} waited {self.timeout:g} s at most for "
            f"{_ranks(waited_for)}): see that worker's log, and start all workers anew; torch says: {_short(error)}"
        )
        return ExchangeError(message)

    def _silent(self) -> list[int]:
        """Workers that do not say, within a moment, that their exchange failed too."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        if self._store is None:
            return []
        with suppress(RuntimeError):
            self._store.set(f"failed/{self.rank}", "1")
            until = time.monotonic() + min(_GRACE, self.timeout)
            while others and time.monotonic() < until:
                others = [rank for rank in others if not self._store.check([f"failed/{rank}"])]
                time.sleep(0.02)
            return others
        return []


def refusal(error: UsageError) -> str:
    """What a worker says to the others that cannot begin."""
    return f"{_REFUSED}{error}"


def _short(error: Exception) -> str:
    """What torch says without the place in its own source, and without advice."""
    return re.sub(r"^\[[^\]]*\] ", "", " ".join(str(error).split())).partition(". ")[0]


def _ranks(ranks: list[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"


def _store(prefix: str) -> Any:
    """The default group's store; None where this torch does not give it."""
    find = getattr(dist.distributed_c10d, "_get_default_store", None)  # torch has no public name for it
    return None if find is None else dist.distributed_c10d.PrefixStore(prefix, find())
