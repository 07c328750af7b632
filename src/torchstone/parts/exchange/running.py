"""A schedule run on real tensors: one worker's side of it, and all workers' sides within one process.

Letters: n workers, p numbers in each worker's buffer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from torchstone.core.errors import UsageError
from torchstone.laws.exchange import network as clock
from torchstone.laws.exchange.network import Network
from torchstone.laws.exchange.schedule import Receive, Send, Step
from torchstone.laws.exchange.schedule import schedule as schedule_of
from torchstone.laws.exchange.scheme import Scheme, scheme_named

REDUCTIONS = ("mean", "sum")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one worker put on the wire and took from it: messages, and bytes of numbers (without headers). Add them up with +.

    >>> Traffic(1, 8, 1, 8) + Traffic(2, 16, 1, 8)
    Traffic(messages_sent=3, bytes_sent=24, messages_received=2, bytes_received=16)
    """

    messages_sent: int = 0
    bytes_sent: int = 0
    messages_received: int = 0
    bytes_received: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.messages_sent + other.messages_sent, self.bytes_sent + other.bytes_sent,
            self.messages_received + other.messages_received, self.bytes_received + other.bytes_received,
        )  # fmt: skip


class Side:
    """One worker's side of an exchange: its flat buffer, changed in place, and what arrives to be added to it."""

    def __init__(self, rank: int, flat: Shaped[Tensor, "p"]) -> None:
        self.rank, self.flat, self.traffic = rank, flat, Traffic()
        self._scratch: list[Tensor] = []
        self._arriving: dict[Receive, Tensor] = {}

    def steps(self, steps: Iterator[Step]) -> Iterator[Step]:
        """The same steps; what is to be added is added when the next step is asked for, in the order of workers."""
        for step in steps:
            adding = sorted(one for one in step.receives if one.adds)
            self._arriving = {one: self._room(place, one.stop - one.start) for place, one in enumerate(adding)}
            yield step
            for window in sorted({one[1:3] for one in adding}):
                self._add(window, [one for one in adding if one[1:3] == window])
            self._count(step)

    def outgoing(self, send: Send) -> Tensor:
        """The numbers to be sent."""
        return self.flat[send.start : send.stop]

    def incoming(self, receive: Receive) -> Tensor:
        """Where a message's numbers go: into the buffer, or beside it if they are to be added."""
        return self._arriving[receive] if receive.adds else self.flat[receive.start : receive.stop]

    def _room(self, place: int, numbers: int) -> Tensor:
        """Scratch memory, kept from step to step."""
        if place == len(self._scratch):
            self._scratch.append(self.flat.new_empty(0))
        if self._scratch[place].numel() < numbers:
            self._scratch[place] = self.flat.new_empty(numbers)
        return self._scratch[place][:numbers]

    def _add(self, window: tuple[int, int], came: list[Receive]) -> None:
        """Sum in the order of workers, so that everyone who sums the same numbers gets the same bits."""
        own = self.flat[window[0] : window[1]]
        if len(came) == 1 or self.rank < came[0].peer:
            for one in came:
                own.add_(self._arriving[one])
            return
        terms = sorted([*((one.peer, self._arriving[one]) for one in came), (self.rank, own)], key=lambda term: term[0])
        total = terms[0][1]
        for _, term in terms[1:]:
            total.add_(term)
        own.copy_(total)

    def _count(self, step: Step) -> None:
        size = self.flat.element_size()
        sent, received = (sum(one.stop - one.start for one in ends) for ends in (step.sends, step.receives))
        self.traffic += Traffic(len(step.sends), sent * size, len(step.receives), received * size)


@dataclass(frozen=True)
class Exchanged:
    """An exchange within one process: each worker's buffer after it, traffic, and the seconds on the network's clock."""

    rows: Shaped[Tensor, "n p"]
    traffic: tuple[Traffic, ...]
    seconds: tuple[float, ...]

    @property
    def messages(self) -> int:
        """All messages together."""
        return sum(one.messages_sent for one in self.traffic)

    @property
    def numbers(self) -> int:
        """All numbers sent together."""
        return sum(one.bytes_sent for one in self.traffic) // self.rows.element_size()

    @property
    def busiest(self) -> int:
        """Numbers that the worker sends which sends most."""
        return max(one.bytes_sent for one in self.traffic) // self.rows.element_size()


def in_process(
    scheme: str,
    rows: Shaped[Tensor, "n p"],
    reduction: str = "mean",
    network: Network | None = None,
    schedule: Callable[[Scheme, int, int, int], Iterator[Step]] = schedule_of,
) -> Exchanged:
    """Exchange the rows of a matrix as n workers' buffers, by the code that runs between processes, on a network that is a clock.

    `rows` is left alone. `schedule` may be one of your own. With a separate server, row 0 is its own, whose numbers do not count.
    Raises UsageError for an unknown scheme or reduction, and InvariantError for a schedule whose messages do not meet.

    >>> in_process("ring", torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])).rows
    tensor([[2., 3., 4.],
            [2., 3., 4.]])
    """
    kind = scheme_named(scheme)
    count, numbers = rows.shape
    buffers = [averaged(row.clone(), kind, count, reduction) for row in rows]
    sides = [Side(rank, flat) for rank, flat in enumerate(buffers)]

    def deliver(sender: int, send: Send, receiver: int, receive: Receive) -> None:
        sides[receiver].incoming(receive).copy_(sides[sender].outgoing(send))

    programs = [side.steps(schedule(kind, side.rank, count, numbers)) for side in sides]
    seconds = clock.run(network or Network(), programs, deliver)
    return Exchanged(torch.stack(buffers), tuple(side.traffic for side in sides), tuple(seconds))


def averaged(flat: Tensor, scheme: Scheme, ranks: int, reduction: str) -> Tensor:
    """A buffer ready to be summed: for a mean, divided in place before, as DDP does, so that half precision does not overflow.

    Raises UsageError for another reduction, for the mean of whole numbers, and for a server without workers.
    """
    if reduction not in REDUCTIONS:
        message = f"the reduction is 'mean' or 'sum'; {reduction!r} came"
        raise UsageError(message)
    workers = ranks - 1 if scheme is Scheme.SEPARATE_SERVER else ranks
    if workers < 1:
        message = "a separate server needs a worker beside it, so 2 processes or more; 1 came: leave separate out"
        raise UsageError(message)
    if reduction == "mean" and scheme is not Scheme.ALL_GATHER:
        if not (flat.is_floating_point() or flat.is_complex()):
            message = f"whole numbers have no mean of their type: {flat.dtype} came; give reduction='sum', or a float tensor"
            raise UsageError(message)
        flat.div_(workers)
    return flat
