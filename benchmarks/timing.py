"""Honest timing for every benchmark: CPU time of one thread, interleaved in an order drawn anew, ratios round by round."""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

Act = Callable[[], object]
_WARMING = 2


def timed(act: Act) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    act()
    return time.process_time() - began


def interleaved(acts: Mapping[str, Act], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, in rounds that run all of them in an order drawn anew: no one follows another every time."""
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    names, shuffle = list(acts), random.Random(0).shuffle  # noqa: S311 - an order of runs is no secret
    for number in range(rounds + _WARMING):
        shuffle(names)
        for name in names:
            took = timed(acts[name])
            if number >= _WARMING:
                seconds[name].append(took)
    return seconds


def ratio(above: Sequence[float], below: Sequence[float]) -> str:
    """One list over the other, round by round: median and quartiles."""
    found = [one / two for one, two in zip(above, below, strict=True)]
    low, middle, high = statistics.quantiles(found, n=4)
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"
