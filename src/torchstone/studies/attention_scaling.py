"""How time and memory of every attention grow with the length of the sequence.

Each kind runs alone, one thread, one head of 64 features, at lengths that double. The exponents are, of time and of the most
numbers ever alive at once, the median over doublings of the length of how many times it doubles: where scores outgrow a cache or
what the allocator keeps, time jumps once, and a jump is no power. Dense attention that writes its scores down takes T² of both; the
fused kernel takes T² time and no more memory than its output; local, separable and random-feature attention take T of both.
Caches bend these lines as well: the law's model amount says by how much they may.

What came out (`torchstone study attention-scaling`, 5 seeds, 40 CPU s on a core of an idle machine, 32 MB of level-3 cache,
torch 2.13; recorded/attention-scaling.jsonl), exponents of time and of memory:

- dense with its scores written down: 2.27 ±0.17 and 1.97. The time is above 2: from 2,048 to 8,192 the scores grow from 16 to 256
  MB, and every page of them is new to the process at each call. Two runs on a busy machine gave 2.18 ±0.08 and 2.47 ±0.20; one line
  through all lengths, which was tried first, gave 2.56 and broke the law by that one jump.
- dense and fused: 2.01 ±0.01 and 1. Local, separable, random features: 0.93 ±0.09, 1.05 ±0.04, 0.94 ±0.05 and 1, 1.00, 0.88.
"""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from torchstone.core.evidence import Evidence
from torchstone.core.quantity import Amount, Unit
from torchstone.core.study import Outcome, Outcomes, Plot, Setting
from torchstone.parts import local_attention, random_feature_attention, separable_attention
from torchstone.proofs.attention.cost import LiveNumbers
from torchstone.studies.judging import near
from torchstone.studies.study import Tools, measured

NAME = "attention-scaling"
QUESTION = "With which power of the length do time and memory of each attention grow?"
SETTLES = ("A7.2", "C3.1", "C3.2", "C3.3")
FIGURES = {"time": "exponent of time", "memory": "exponent of memory", "longest": "ms at the longest"}
QUICK = "lengths to 4,096 only: there the constant parts of the linear kinds still weigh, and the laws may stay undecided"
OWN_DATA = "random numbers"
SEEDS, QUICK_SEEDS = 5, 3

FEATURES, WINDOW, RANDOM_FEATURES, ROUNDS = 64, 32, 64, 5
LINEAR, SQUARE = (1024, 2048, 4096, 8192, 16384), (1024, 2048, 4096, 8192)
QUICK_LINEAR, QUICK_SQUARE = (1024, 2048, 4096), (512, 1024, 2048)
_CACHES = Amount(0.35, "caches, and terms of other powers; the next power is 1 away")

_GENERATOR = torch.Generator()

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def _dense(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.mT / math.sqrt(FEATURES)).softmax(-1) @ value


def _local(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return local_attention(query, key, value, WINDOW)


def _random(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return random_feature_attention(query, key, value, features=RANDOM_FEATURES, generator=_GENERATOR)


KINDS: dict[str, tuple[Attend, str, float, float]] = {
    "dense, scores written down": (_dense, "attention.dot_product_flops", 2, 2),
    "dense, fused": (functional.scaled_dot_product_attention, "attention.dot_product_flops", 2, 1),
    f"local, {WINDOW} each side": (_local, "attention.local_flops", 1, 1),
    "separable": (separable_attention, "attention.separable_flops", 1, 1),
    f"{RANDOM_FEATURES} random features": (_random, "attention.random_feature_flops", 1, 1),
}


def settings(*, quick: bool) -> Sequence[Setting]:
    """One setting a kind of attention."""
    return [Setting(name, {"longest": _lengths(name, quick=quick)[-1]}) for name in KINDS]


def _lengths(name: str, *, quick: bool) -> tuple[int, ...]:
    if KINDS[name][2] > 1:
        return QUICK_SQUARE if quick else SQUARE
    return QUICK_LINEAR if quick else LINEAR


def run(setting: Setting, seed: int, tools: Tools) -> Outcome:
    """Processor time and the peak of live numbers at every length, and their slopes."""
    attend, lengths = KINDS[setting.name][0], _lengths(setting.name, quick=tools.quick)
    generator = torch.Generator().manual_seed(seed)
    seconds, size = [], []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for place, length in enumerate(lengths):
            rows = [torch.randn(1, 1, length, FEATURES, generator=generator) for _ in range(3)]
            seconds.append(_least_time(attend, rows))
            with torch.no_grad(), LiveNumbers(*rows) as live:
                attend(*rows)
            size.append(float(live.peak))
            tools.tell(place + 1, len(lengths))
    finally:
        torch.set_num_threads(threads)
    figures = {"time": exponent(lengths, seconds), "memory": exponent(lengths, size), "longest": 1e3 * seconds[-1]}
    return measured(figures, {"seconds": tuple(zip(map(float, lengths), seconds, strict=True))})


def _least_time(attend: Attend, rows: list[Tensor]) -> float:
    """The least of several: others on the machine only ever add to a time."""
    taken = []
    with torch.no_grad():
        for _ in range(ROUNDS + 1):
            began = time.thread_time()
            attend(*rows)
            taken.append(time.thread_time() - began)
    return min(taken[1:])


def exponent(lengths: Sequence[int], values: Sequence[float]) -> float:
    """The median over neighbouring lengths of the power between them: one jump among them does not move it.

    >>> exponent([1, 2, 4, 8], [1.0, 4.0, 100.0, 400.0])
    2.0
    """
    places = itertools.pairwise(zip(lengths, values, strict=True))
    return statistics.median(math.log(value / before) / math.log(n / m) for (m, before), (n, value) in places)


def judge(outcomes: Outcomes, *, quick: bool) -> Iterator[Evidence]:
    """Every kind's two exponents against the powers in its laws."""
    del quick
    for name, (_, law, time_power, memory_power) in KINDS.items():
        for figure, power in (("time", time_power), ("memory", memory_power)):
            how = f"{name}: {FIGURES[figure]}"
            yield near(law, power, outcomes.interval(name, figure), how, rival=1, model=_CACHES, unit=Unit.RATIO)


def plots(outcomes: Outcomes) -> Iterator[Plot]:
    """Time over length."""
    series = {name: tuple((x, 1e3 * y) for x, y in outcomes.mean_curve(name, "seconds")) for name in outcomes.settings}
    yield Plot("time", "Time of one head of 64 features", "length", "ms, one thread", series, log_x=True, log_y=True)
