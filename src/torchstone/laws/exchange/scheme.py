"""The schemes by name, and how a buffer is cut into parts.

Letters: n workers, p numbers in each worker's buffer, m = 2^floor(log2 n).
"""

from enum import StrEnum

from torchstone.core.errors import InvariantError, UsageError, meant


class Scheme(StrEnum):
    """A way to exchange buffers. All but the last two leave the whole sum on every worker.

    In `parameter_server` worker 0 is the server as well; in `separate_server` the server is a node of its own beside n workers.
    """

    ALL_TO_ALL = "all_to_all"
    PARAMETER_SERVER = "parameter_server"
    SEPARATE_SERVER = "separate_server"
    TREE = "tree"
    RING = "ring"
    HALVING_DOUBLING = "halving_doubling"
    REDUCE_SCATTER = "reduce_scatter"
    ALL_GATHER = "all_gather"

    @property
    def words(self) -> str:
        """The name as people write it: ring all-reduce, all-to-all."""
        return _WORDS.get(self, self.value.replace("_", " "))

    @property
    def whole(self) -> bool:
        """Whether every worker ends with all of the sum."""
        return self not in {Scheme.REDUCE_SCATTER, Scheme.ALL_GATHER}


_WORDS = {
    Scheme.ALL_TO_ALL: "all-to-all",
    Scheme.SEPARATE_SERVER: "parameter server, a node of its own",
    Scheme.TREE: "binomial tree",
    Scheme.RING: "ring all-reduce",
    Scheme.HALVING_DOUBLING: "recursive halving and doubling",
    Scheme.REDUCE_SCATTER: "reduce-scatter (ring)",
    Scheme.ALL_GATHER: "all-gather (ring)",
}


def scheme_named(name: str) -> Scheme:
    """The scheme of that name; raises UsageError if there is none.

    >>> scheme_named("ring").words
    'ring all-reduce'
    """
    try:
        return Scheme(name)
    except ValueError:
        known = [scheme.value for scheme in Scheme]
        message = f"no exchange scheme is named {name!r}; there are {', '.join(known)}{meant(str(name), known)}"
        raise UsageError(message) from None


def checked(scheme: str, workers: int, parameters: int = 1) -> Scheme:
    """The scheme of that name, after a look at the sizes. Raises InvariantError."""
    if scheme not in set(Scheme):
        message = f"no exchange scheme is named {scheme!r}; there are {', '.join(Scheme)}"
        raise InvariantError(message)
    if workers < 1 or parameters < 1:
        message = f"an exchange has 1 worker and 1 parameter or more; {workers} and {parameters} came"
        raise InvariantError(message)
    return Scheme(scheme)


def part(index: int, parts: int, parameters: int) -> tuple[int, int]:
    """Where part `index` of `parts` begins and ends: the first p mod parts of them are one longer, so no two differ by more than 1.

    >>> [part(index, 4, 10) for index in range(4)]
    [(0, 3), (3, 6), (6, 8), (8, 10)]
    """
    return (start(index, parts, parameters), start(index + 1, parts, parameters))


def start(index: int, parts: int, parameters: int) -> int:
    """Where part `index` begins: also how many numbers the parts before it have together."""
    least, longer = divmod(parameters, parts)
    return index * least + min(index, longer)


def levels(workers: int) -> int:
    """Rounds in which what one worker knows reaches n: the least k with 2^k >= n.

    >>> levels(1), levels(4), levels(5)
    (0, 2, 3)
    """
    return (workers - 1).bit_length()


def folded(workers: int) -> tuple[int, int]:
    """The k of the largest 2^k <= n, and how many workers are beyond it: halving and doubling folds these into others first.

    >>> folded(8), folded(6)
    ((3, 0), (2, 2))
    """
    power = workers.bit_length() - 1
    return power, workers - (1 << power)
