"""Schedules broken on purpose. Their messages still meet: what is wrong shows in what is sent and in what it leaves."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice

from torchstone.laws.exchange import schedule as right
from torchstone.laws.exchange.schedule import Step
from torchstone.laws.exchange.scheme import Scheme
from torchstone.parts.exchange.running import Exchanged, in_process

Change = Callable[[list[Step], int], list[Step]]


def broken(change: Change, *schemes: Scheme) -> Callable[..., Exchanged]:
    """The running part with a change in the steps of these schemes (none named: of all). It is told the number of ranks too."""

    def schedule(scheme: Scheme, rank: int, ranks: int, parameters: int) -> Iterator[Step]:
        steps = list(right.schedule(scheme, rank, ranks, parameters))
        return iter(change(steps, ranks) if not schemes or scheme in schemes else steps)

    return partial(in_process, schedule=schedule)


def numbers_lost(scheme: Scheme, rank: int, ranks: int, parameters: int) -> Iterator[Step]:
    """Parts of floor(p/n) numbers: what is left over never goes round."""
    return right.schedule(scheme, rank, ranks, parameters // ranks * ranks)


def server_for_all(_: Scheme, rank: int, ranks: int, parameters: int) -> Iterator[Step]:
    """Every scheme replaced by the parameter server."""
    return right.without_empty(right.parameter_server(rank, ranks, parameters))


def no_last_step(steps: list[Step], _: int) -> list[Step]:
    """The last step forgotten."""
    return steps[:-1]


def no_gathering(steps: list[Step], _: int) -> list[Step]:
    """Sums stay where they were made."""
    return list(islice(steps, len(steps) // 2))


def sent_twice(steps: list[Step], _: int) -> list[Step]:
    """Every message on the wire twice; what is copied is the same, what is added counts double."""
    return [step for step in steps for _ in range(2)]


def copied_first(steps: list[Step], _: int) -> list[Step]:
    """What should be added replaces."""
    return [replace(step, receives=tuple(one._replace(adds=False) for one in step.receives)) for step in steps]


def added_last(steps: list[Step], _: int) -> list[Step]:
    """What should replace is added."""
    return [replace(step, receives=tuple(one._replace(adds=True) for one in step.receives)) for step in steps]
