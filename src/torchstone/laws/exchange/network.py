"""Schedules run beside each other on a network that is nothing but a clock: the model of `exchange.seconds`, event by event.

It carries whatever the caller hands over: real tensors, or nothing.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from torchstone.core.errors import InvariantError
from torchstone.laws.exchange.schedule import Receive, Send, Step

Deliver = Callable[[int, Send, int, Receive], None]


@dataclass(frozen=True)
class Network:
    """Latency in seconds, seconds a number; workers that begin late (by seconds), and slow ones (a factor on all their messages).

    A message between a slow worker and another is as slow as the slower end.
    """

    latency: float = 0.0
    per_number: float = 0.0
    late: Mapping[int, float] = field(default_factory=dict)
    slow: Mapping[int, float] = field(default_factory=dict)

    def seconds(self, sender: int, receiver: int, numbers: int) -> float:
        """What one message takes once both ends are ready."""
        return max(self.slow.get(sender, 1.0), self.slow.get(receiver, 1.0)) * (self.latency + self.per_number * numbers)


def run(network: Network, programs: list[Iterator[Step]], deliver: Deliver | None = None) -> list[float]:
    """Run one rank's steps each to the end; the seconds at which each rank is done.

    `deliver(sender, send, receiver, receive)` is called for every message before the clocks move on. Raises InvariantError where a
    rank waits for what nobody sends, or for another number of numbers than is sent.
    """
    return _Run(network, programs, deliver).finish()


@dataclass(slots=True)
class _Posted:
    """A message's one end: what it is, when it was ready, and how much its port carries in that step."""

    message: Send | Receive
    ready: float
    carried: int


class _Run:
    """All ranks between two steps: what is posted and not yet met by its other end."""

    def __init__(self, network: Network, programs: list[Iterator[Step]], deliver: Deliver | None) -> None:
        self.network, self.programs, self.deliver = network, programs, deliver
        self.clocks = [network.late.get(rank, 0.0) for rank in range(len(programs))]
        self.open = [0] * len(programs)
        self.running = [True] * len(programs)
        self.sent: dict[tuple[int, int], deque[_Posted]] = {}
        self.awaited: dict[tuple[int, int], deque[_Posted]] = {}
        self.ready = deque(range(len(programs)))

    def finish(self) -> list[float]:
        while self.ready:
            self._advance(self.ready.popleft())
        if any(self.running):
            pairs = sorted(pair for ends in (self.sent, self.awaited) for pair, posted in ends.items() if posted)
            message = f"the schedule stops: of the messages {pairs[:4]} (from, to) only one end takes part"
            raise InvariantError(message)
        return self.clocks

    def _advance(self, rank: int) -> None:
        """Post the next step of a rank; what meets its other end is delivered."""
        step = next(self.programs[rank], None)
        if step is None:
            self.running[rank] = False
            return
        self.open[rank] = len(step.sends) + len(step.receives)
        now = self.clocks[rank]
        out, into = (sum(one.stop - one.start for one in ends) for ends in (step.sends, step.receives))
        for send in step.sends:
            self._meet(rank, send.peer, self.sent, self.awaited, _Posted(send, now, out))
        for receive in step.receives:
            self._meet(receive.peer, rank, self.awaited, self.sent, _Posted(receive, now, into))

    def _meet(
        self, sender: int, receiver: int, own: dict[tuple[int, int], deque[_Posted]],
        other: dict[tuple[int, int], deque[_Posted]], posted: _Posted,
    ) -> None:  # fmt: skip
        waiting = other.get((sender, receiver))
        if not waiting:
            own.setdefault((sender, receiver), deque()).append(posted)
            return
        met = waiting.popleft()
        self._deliver(sender, receiver, *((posted, met) if isinstance(posted.message, Send) else (met, posted)))

    def _deliver(self, sender: int, receiver: int, one: _Posted, other: _Posted) -> None:
        send, receive = one.message, other.message
        if send.stop - send.start != receive.stop - receive.start:
            message = f"rank {sender} sends {send.stop - send.start} numbers and {receiver} expects {receive.stop - receive.start}"
            raise InvariantError(message)
        if self.deliver is not None and isinstance(send, Send) and isinstance(receive, Receive):
            self.deliver(sender, send, receiver, receive)
        done = max(one.ready, other.ready) + self.network.seconds(sender, receiver, max(one.carried, other.carried))
        for rank in (sender, receiver):
            self.clocks[rank] = max(self.clocks[rank], done)
            self.open[rank] -= 1
            if not self.open[rank]:
                self.ready.append(rank)
