"""How long an exchange takes: a latency for each step, and time for each number.

The model (alpha-beta, full duplex): a message starts when both ends are ready and takes alpha + beta x (numbers of its step through
the busier of its two ports); messages of one step share a port evenly; a step ends with its last message. Adding costs nothing.
Letters: n workers, p numbers, alpha the latency in seconds, beta the seconds that a number takes through a port.
"""

import math

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.exchange.counts import steps
from torchstone.laws.exchange.scheme import Scheme, checked, folded, levels, start


@law(
    "exchange.seconds",
    Kind.COST,
    Unit.SECONDS,
    assumes=("the alpha-beta model, full duplex", "all workers are ready at once and equally fast", "adding takes no time"),
    sources=("Hockney 1994: alpha + beta x size", "Thakur, Rabenseifner and Gropp 2005, section 3; Patarasuk and Yuan 2009, 4"),
)
def seconds(scheme: str, workers: int, parameters: int, latency: float, per_number: float) -> float:
    """An exchange takes alpha x steps + beta x the numbers that one port carries: 2(n-1)(alpha + ceil(p/n) beta) in a ring.

    All-to-all: alpha + (n-1)p beta. Server: 2 alpha + 2(n-1)p beta (apart: n for n-1). Tree: 2 ceil(log2 n)(alpha + p beta).
    Halving and doubling: 2 log2 m alpha + 2(m-1)/m p beta, and 2(alpha + p beta) more where workers are beyond m.

    >>> seconds("ring", 4, 1000, 1.0, 0.01), seconds("all_to_all", 4, 1000, 1.0, 0.01), seconds("tree", 4, 1000, 1.0, 0.01)
    (21.0, 31.0, 44.0)
    """
    if not (0 <= latency < math.inf and 0 <= per_number < math.inf):
        message = f"a latency and a time for each number are 0 or more; {latency} and {per_number} came"
        raise InvariantError(message)
    return steps(scheme, workers) * latency + _carried(checked(scheme, workers, parameters), workers, parameters) * per_number


def _carried(kind: Scheme, workers: int, parameters: int) -> int:
    """Numbers on the longest path, step by step the most that a port carries."""
    if kind in {Scheme.RING, Scheme.REDUCE_SCATTER, Scheme.ALL_GATHER}:
        return steps(kind, workers) * -(-parameters // workers)
    if kind is Scheme.HALVING_DOUBLING:
        power, extra = folded(workers)
        return 2 * sum(start(1 << bit, 1 << power, parameters) for bit in range(power)) + 2 * parameters * (extra > 0)
    times = {
        Scheme.ALL_TO_ALL: workers - 1, Scheme.PARAMETER_SERVER: 2 * (workers - 1), Scheme.SEPARATE_SERVER: 2 * workers,
        Scheme.TREE: 2 * levels(workers),
    }[kind]  # fmt: skip
    return times * parameters
