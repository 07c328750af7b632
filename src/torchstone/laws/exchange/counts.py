"""How many messages an exchange has, how large they are, and what the busiest worker sends.

Letters: n workers, p numbers in each worker's buffer (parameters), m = 2^k the largest power of two <= n, e = n - m workers beyond.
Messages without numbers are not sent, so with p < n some schemes have fewer.
"""

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.exchange.scheme import Scheme, checked, folded, levels, start

_SOURCES = (
    "the schedule of each scheme, summed over steps and workers",
    "Patarasuk and Yuan 2009, section 4 (ring); Thakur, Rabenseifner and Gropp 2005, sections 4.2-4.5 (halving, doubling, tree)",
)
_AROUND = {Scheme.REDUCE_SCATTER: 1, Scheme.ALL_GATHER: 1, Scheme.RING: 2}
_ASSUMES = ("messages between two workers only", "no multicast and no sums inside the network")


@law("exchange.messages", Kind.COUNT, Unit.COUNT, assumes=_ASSUMES, sources=_SOURCES)
def messages(scheme: str, workers: int, parameters: int) -> int:
    """All-to-all needs n(n-1) messages, a parameter server or tree 2(n-1) (a server apart: 2n), a ring all-reduce 2n(n-1).

    A ring reduce-scatter or all-gather is half a ring: n(n-1). Recursive halving and doubling: 2 m log2 m + 2e. For p < n empty
    messages fall away: a ring then has 2p(n-1).

    >>> [messages(scheme, 4, 1000) for scheme in ("all_to_all", "parameter_server", "separate_server", "ring", "halving_doubling")]
    [12, 6, 8, 24, 16]
    >>> messages("ring", 4, 3)
    18
    """
    kind = checked(scheme, workers, parameters)
    if kind in _AROUND:
        return _AROUND[kind] * min(workers, parameters) * (workers - 1)
    if kind is Scheme.HALVING_DOUBLING:
        power, extra = folded(workers)
        # A range of 2^bit parts is sent by 2^bit workers, where it has numbers at all.
        ranges = ((1 << bit, min(1 << (power - bit), -(-parameters // (1 << bit)))) for bit in range(power))
        return 2 * sum(senders * filled for senders, filled in ranges) + 2 * extra
    return {
        Scheme.ALL_TO_ALL: workers * (workers - 1), Scheme.PARAMETER_SERVER: 2 * (workers - 1),
        Scheme.SEPARATE_SERVER: 2 * workers, Scheme.TREE: 2 * (workers - 1),
    }[kind]  # fmt: skip


@law("exchange.volume", Kind.COUNT, Unit.ELEMENTS, assumes=_ASSUMES, sources=_SOURCES)
def volume(scheme: str, workers: int, parameters: int) -> int:
    """All messages together carry n(n-1)p numbers in all-to-all, and 2(n-1)p in every other all-reduce (a server apart: 2np).

    So a ring saves nothing in total over a parameter server: it spreads the load. Half a ring: (n-1)p.

    >>> volume("all_to_all", 4, 10), volume("ring", 4, 10), volume("parameter_server", 4, 10), volume("all_gather", 4, 10)
    (120, 60, 60, 30)
    """
    kind = checked(scheme, workers, parameters)
    if kind is Scheme.SEPARATE_SERVER:
        return 2 * workers * parameters
    times = {Scheme.ALL_TO_ALL: workers, Scheme.REDUCE_SCATTER: 1, Scheme.ALL_GATHER: 1}.get(kind, 2)
    return times * (workers - 1) * parameters


@law("exchange.message_sizes", Kind.COUNT, Unit.ELEMENTS, assumes=_ASSUMES, sources=_SOURCES)
def message_sizes(scheme: str, workers: int, parameters: int) -> tuple[int, int]:
    """A message has p numbers in all-to-all, of a server and in a tree, and p/n in a ring; halves swapped have p/2 down to p/m.

    The least and the most of all messages. Where n does not divide p, a ring's have ceil(p/n) or one less. One worker alone sends
    none: (0, 0). What workers beyond m give and get is whole.

    >>> message_sizes("ring", 4, 10), message_sizes("all_to_all", 4, 10), message_sizes("halving_doubling", 4, 10)
    ((2, 3), (10, 10), (2, 6))
    """
    kind = checked(scheme, workers, parameters)
    if workers == 1 and kind is not Scheme.SEPARATE_SERVER:
        return 0, 0
    if kind in _AROUND:
        return max(1, parameters // workers), -(-parameters // workers)
    if kind is Scheme.HALVING_DOUBLING:
        power, extra = folded(workers)
        return max(1, parameters >> power), parameters if extra else start(1 << (power - 1), 1 << power, parameters)
    return parameters, parameters


@law("exchange.busiest_volume", Kind.COUNT, Unit.ELEMENTS, assumes=_ASSUMES, sources=_SOURCES)
def busiest_volume(scheme: str, workers: int, parameters: int) -> int:
    """The busiest worker sends (n-1)p in all-to-all and as a server, p ceil(log2 n) as a tree's root, 2(n-1)/n p in a ring.

    It also receives as much. Exactly, a ring's sends 2p without two neighbouring parts, the smallest such pair. A server apart:
    np. In halving and doubling it sends 2(m-1)/m p, and p more where workers are beyond m.

    >>> busiest_volume("ring", 4, 1000), busiest_volume("parameter_server", 4, 1000), busiest_volume("tree", 5, 1000)
    (1500, 3000, 3000)
    """
    kind = checked(scheme, workers, parameters)
    if kind in _AROUND:
        if workers == 1:
            return 0
        least, longer = divmod(parameters, workers)
        spared = least if kind is not Scheme.RING else 2 * least + (longer == workers - 1)
        return _AROUND[kind] * parameters - spared
    if kind is Scheme.HALVING_DOUBLING:
        power, extra = folded(workers)
        back = sum(start(1 << bit, 1 << power, parameters) for bit in range(1, power))
        return (parameters + back if power else 0) + (parameters if extra else 0)
    times = {Scheme.TREE: levels(workers), Scheme.SEPARATE_SERVER: workers}.get(kind, workers - 1)
    return times * parameters


@law("exchange.steps", Kind.COUNT, Unit.COUNT, assumes=_ASSUMES, sources=_SOURCES)
def steps(scheme: str, workers: int) -> int:
    """Messages that wait for one another: 1 in all-to-all, 2 with a server, 2 ceil(log2 n) in a tree, 2(n-1) in a ring.

    Half a ring: n - 1. Halving and doubling: 2 log2 m, and 2 more where workers are beyond m.

    >>> [steps(scheme, 64) for scheme in ("all_to_all", "parameter_server", "tree", "ring", "halving_doubling")]
    [1, 2, 12, 126, 12]
    """
    kind = checked(scheme, workers)
    if kind is Scheme.SEPARATE_SERVER:
        return 2
    if workers == 1:
        return 0
    if kind in _AROUND:
        return _AROUND[kind] * (workers - 1)
    power, extra = folded(workers)
    return {
        Scheme.ALL_TO_ALL: 1, Scheme.PARAMETER_SERVER: 2, Scheme.TREE: 2 * levels(workers),
        Scheme.HALVING_DOUBLING: 2 * power + 2 * (extra > 0),
    }[kind]  # fmt: skip


@law(
    "exchange.least_volume",
    Kind.BOUND,
    Unit.ELEMENTS,
    assumes=(*_ASSUMES, "every worker ends with the sum of all", "numbers are added, copied or sent, not coded"),
    sources=("Patarasuk and Yuan 2009, theorem 1: 2(n-1)p numbers at least in all, so 2(n-1)p/n for the busiest",),
)
def least_volume(workers: int, parameters: int) -> float:
    """Whatever the scheme of an all-reduce, its busiest worker sends 2(n-1)/n p numbers or more.

    Each number must be joined n - 1 times, by a message each, and the sum must reach n - 1 workers, by a message each. A ring does
    no worse where n divides p.

    >>> least_volume(4, 1000) == busiest_volume("ring", 4, 1000)
    True
    """
    if workers < 1 or parameters < 1:
        message = f"an exchange has 1 worker and 1 parameter or more; {workers} and {parameters} came"
        raise InvariantError(message)
    return 2 * (workers - 1) * parameters / workers
