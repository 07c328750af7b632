"""C3.1: time and space of dot-product attention, counted, and its exponents measured on this machine."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from torchstone.core.evidence import Evidence, Relation
from torchstone.core.problem import Answer, Posted
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit
from torchstone.laws.attention import cost
from torchstone.parts import local_attention
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import SITE, compared, found

_FLOPS, _SPACE = "attention.dot_product_flops", "attention.dot_product_space"
FEATURES, HEADS, WINDOW = 64, 2, 32
# What one power of n is worth here: below the middle between two powers.
_NEAR = Amount(0.4, "terms of other powers, caches and calls; the next power is 1 away")
_NOISY, _TRIES, _ROUNDS = 0.5, 4, 5

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], object]


def _flops(positions: int, heads: int) -> int:
    """FLOP that torch counts of heads computed one after the other."""
    rows = torch.zeros(positions, FEATURES)
    with FlopCounterMode(display=False) as counter:
        for _ in range(heads):
            (rows @ rows.T).softmax(-1) @ rows
    return int(counter.get_total_flops())


def _counted() -> Iterator[Evidence]:
    for positions, heads in ((256, 1), (512, 1), (256, HEADS)):
        how = f"torch's counter, n = {positions}, d = {FEATURES}, {heads} head{'s' * (heads > 1)}"
        yield compared(_FLOPS, cost.dot_product_flops(positions, FEATURES, heads), _flops(positions, heads), how=how)
    exponent = math.log2(_flops(512, 1) / _flops(256, 1))
    yield compared(_FLOPS, 2.0, exponent, how="exponent of n in the FLOP counted", unit=Unit.RATIO)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds(attend: Attend, lengths: tuple[int, ...]) -> dict[int, list[float]]:
    """Processor time of one thread at each length, in rounds that take all lengths."""
    taken: dict[int, list[float]] = {length: [] for length in lengths}
    rows = {length: torch.randn(1, 1, length, FEATURES) for length in lengths}
    for number in range(_ROUNDS + 1):
        for length in lengths:
            began = time.thread_time()
            attend(rows[length], rows[length], rows[length])
            if number:  # the first round warms up
                taken[length].append(time.thread_time() - began)
    return taken


def _exponent(law: str, what: str, power: float, attend: Attend, lengths: tuple[int, ...]) -> Evidence:
    """The slope of log time over log n by the least times; measured anew while it is noisy, and undecided where it stays so."""
    with _one_thread(), torch.no_grad():
        for _ in range(_TRIES):
            taken = _seconds(attend, lengths)
            spread = max(statistics.median(times) / min(times) - 1 for times in taken.values())
            if spread < _NOISY:
                break
    slope, _ = statistics.linear_regression([math.log(n) for n in taken], [math.log(min(times)) for times in taken.values()])
    doubt = Amount(spread / math.log(lengths[-1] / lengths[0]), f"times spread by {spread:.0%}")
    reason = f"the times spread by {spread:.0%}" if spread >= _NOISY else ""
    how = f"{what}, slope over n = {lengths[0]}..{lengths[-1]}, one thread's processor time"
    allowed = Tolerance(model=_NEAR, sampling=doubt)
    return Evidence(law, SITE, Quantity(power, Unit.RATIO), Quantity(slope, Unit.RATIO), allowed, Relation.EQUAL, how, reason)


def _local(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return local_attention(query, key, value, WINDOW)


@answers("C3.1")
def complexity(_: Posted) -> Answer:
    """Two products of n x d with d x n a head, and the n x n scores between them."""
    dense = _exponent(_FLOPS, "all with all", 2.0, functional.scaled_dot_product_attention, (1024, 2048, 4096))
    near = _exponent("attention.local_flops", f"local, k = {WINDOW}", 1.0, _local, (4096, 8192, 16384))
    long, word = 16384, 4
    scores, inputs = word * long**2 / 2**20, word * 3 * long * FEATURES / 2**20
    return Answer(
        says=(
            "one head: time O(n² d), 4 n² d FLOP; space O(n² + n d): 3 n d for q, k, v, n² for scores, n² for weights",
            "h heads in sequence: time O(h n² d); space O(n² + h n d), since one head's scores go before the next come",
            f"the bottleneck is n²: at n = {long}, d = {FEATURES} scores in float32 are {scores:g} MB and q, k, v {inputs:g} MB",
            f"measured: time grows as n^{found(dense):.2f} where all attend to all, as n^{found(near):.2f} in a window",
        ),
        derivation=(
            "scores q kᵀ: n² dot products of length d, 2 n² d FLOP; soft-max: n² exponentials; weights times v: 2 n² d FLOP",
            "for n > d the scores outgrow q, k, v: n² against 3 n d",
            "never writing all scores at once (blocks and a running soft-max) leaves O(n d) space, and the time as it is",
        ),
        evidence=(*proved(_FLOPS, _SPACE), *_counted(), dense, near),
        remarks=("the projections of a layer of width h d cost 8 n (h d)² FLOP more: the larger part for n < 2 h d",),
    )
