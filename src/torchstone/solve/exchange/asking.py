"""The library's twin of `torchstone solve exchange`."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from torchstone.core.errors import UsageError
from torchstone.laws.exchange import cost, counts
from torchstone.laws.exchange.network import Network
from torchstone.laws.exchange.scheme import Scheme, scheme_named
from torchstone.solve.exchange.simulating import Simulated, simulate

Number = float | str
COMPETING = (Scheme.RING, Scheme.HALVING_DOUBLING, Scheme.TREE, Scheme.PARAMETER_SERVER, Scheme.ALL_TO_ALL)
Units = Mapping[str, int | Fraction]
_MICRO = Fraction(1, 10**6)
_SECONDS: Units = {"": 1, "s": 1, "ms": 1000 * _MICRO, "us": _MICRO, "µs": _MICRO, "ns": _MICRO / 1000}
_COUNTS: Units = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}
_BYTES: Units = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30,
          "mbit": Fraction(10**6, 8), "gbit": Fraction(10**9, 8), "tbit": Fraction(10**12, 8)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One scheme. Sizes in bytes; `seconds` with all workers alike, `straggling` with those that are late or slow."""

    scheme: Scheme
    messages: int
    smallest_message: int
    largest_message: int
    total_bytes: int
    busiest_bytes: int
    steps: int
    seconds: float
    straggling: Simulated


@dataclass(frozen=True, slots=True)
class Crossover:
    """The scheme that is fastest for buffers from so many bytes on, up to the next one's."""

    first_bytes: float
    scheme: Scheme


@dataclass(frozen=True, slots=True)
class AllReduces:
    """What was asked, the schemes from the fastest on, the crossovers, and the least that any busiest worker sends."""

    workers: int
    parameters: int
    bytes_each: int
    network: Network
    rows: tuple[Row, ...]
    crossovers: tuple[Crossover, ...]
    least_bytes: float

    @property
    def straggling(self) -> bool:
        """Whether any worker is late or slow."""
        return bool(self.network.late or self.network.slow)


def all_reduce(
    workers: int,
    parameters: Number,
    *,
    latency: Number = "10us",
    bandwidth: Number = "10GB/s",
    bytes_each: int = 4,
    late: Mapping[int, Number] | None = None,
    slow: Mapping[int, float] | None = None,
    schemes: Iterable[str] = COMPETING,
) -> AllReduces:
    """What each all-reduce of so many parameters between n workers sends and how long it takes, and which is fastest for what size.

    `latency` is seconds or "10us", `bandwidth` that of a worker's port, each way, in bytes a second, or "10GB/s" or "100Gbit/s";
    `parameters` a number, "1e9" or "7B", of `bytes_each` bytes. `late` are seconds by which ranks begin late, `slow` factors on all
    that a rank sends and receives. Raises UsageError for what cannot be.

    The model: laws.exchange.cost, every pair of workers joined by links of its own. Hockney 1994; Thakur et al. 2005.

    >>> found = all_reduce(64, "1e9")
    >>> found.rows[0].scheme.words, round(found.rows[0].seconds, 3), [one.scheme.value for one in found.crossovers]
    ('recursive halving and doubling', 0.788, ['all_to_all', 'halving_doubling'])
    """
    asked = amount(parameters, "parameters", _COUNTS, least=1)
    numbers = round(asked)
    if numbers != asked:
        message = f"parameters: a whole number of them is needed; {parameters!r} came"
        raise UsageError(message)
    port = amount(_per_second(bandwidth), "bandwidth", _BYTES)
    if not 0 < port < math.inf:
        message = f"a bandwidth is above 0; {bandwidth!r} came: write it as 10GB/s or 100Gbit/s"
        raise UsageError(message)
    _whole(workers, "workers")
    _whole(bytes_each, "bytes of each parameter")
    network = Network(
        amount(latency, "latency", _SECONDS), bytes_each / port,
        {rank: amount(by, "lateness", _SECONDS) for rank, by in (late or {}).items()}, dict(slow or {}),
    )  # fmt: skip
    chosen = _chosen(schemes)
    rows = sorted((_row(one, workers, numbers, bytes_each, network) for one in chosen), key=lambda row: row.straggling.seconds)
    least = counts.least_volume(workers, numbers) * bytes_each
    return AllReduces(workers, numbers, bytes_each, network, tuple(rows), _envelope(chosen, workers, bytes_each, network), least)


def amount(given: Number, what: str, units: Units, least: float = 0.0) -> float:
    """A number with a unit, as a number. Raises UsageError.

    >>> amount("10us", "latency", _SECONDS), amount("7B", "parameters", _COUNTS)
    (1e-05, 7000000000.0)
    """
    words = re.fullmatch(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([a-zA-Zµ]*)\s*", str(given))
    try:
        found = float(Fraction(words[1]) * units[words[2].lower()]) if words and not isinstance(given, bool) else math.nan
    except (KeyError, ValueError, OverflowError):
        found = math.nan
    if not least <= found < math.inf:
        known = ", ".join(unit for unit in units if unit and unit.isascii())
        message = f"{what}: a number of {least:g} or more, with or without a unit ({known}), is needed; {given!r} came"
        raise UsageError(message)
    return found


def _per_second(bandwidth: Number) -> Number:
    return re.sub(r"(/s|ps)\s*$", "", bandwidth) if isinstance(bandwidth, str) else bandwidth


def _whole(number: object, what: str) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        message = f"{what}: a whole number of 1 or more is needed; {number!r} came"
        raise UsageError(message)


def _chosen(schemes: Iterable[str]) -> list[Scheme]:
    chosen = list(dict.fromkeys(scheme_named(name) for name in schemes))
    partial = [one.words for one in chosen if not one.whole]
    if partial or not chosen:
        message = f"all-reduce schemes compete; {', '.join(partial) or 'none'} came: give some of {', '.join(COMPETING)}"
        raise UsageError(message)
    return chosen


def _row(scheme: Scheme, workers: int, parameters: int, size: int, network: Network) -> Row:
    sizes = counts.message_sizes(scheme, workers, parameters)
    return Row(
        scheme, counts.messages(scheme, workers, parameters), sizes[0] * size, sizes[1] * size,
        counts.volume(scheme, workers, parameters) * size, counts.busiest_volume(scheme, workers, parameters) * size,
        counts.steps(scheme, workers), cost.seconds(scheme, workers, parameters, network.latency, network.per_number),
        simulate(scheme, workers, parameters, network),
    )  # fmt: skip


def _envelope(schemes: list[Scheme], workers: int, size: int, network: Network) -> tuple[Crossover, ...]:
    """The fastest scheme by buffer size: times are straight lines in it, for sizes that the schemes divide evenly."""
    even = workers << workers.bit_length()
    lines = {
        one: (counts.steps(one, workers) * network.latency, cost.seconds(one, workers, even, 0.0, network.per_number) / even / size)
        for one in schemes
    }
    at, found = 0.0, [Crossover(0.0, min(schemes, key=lambda one: lines[one]))]
    while True:
        fixed, slope = lines[found[-1].scheme]
        flatter = [(*lines[one], one) for one in schemes if lines[one][1] < slope]
        later = [((start - fixed) / (slope - rise), rise, one) for start, rise, one in flatter]
        later = [one for one in later if one[0] >= at]
        if not later:
            return _reached(found, size)
        at, _, scheme = min(later)
        found.append(Crossover(at, scheme))


def _reached(crossovers: list[Crossover], size: int) -> tuple[Crossover, ...]:
    """Without the schemes that are fastest only for less than one parameter of so many bytes."""
    ends = [*(one.first_bytes for one in crossovers[1:]), math.inf]
    first, *others = (one for one, end in zip(crossovers, ends, strict=True) if end > size)
    return Crossover(0.0, first.scheme), *others
