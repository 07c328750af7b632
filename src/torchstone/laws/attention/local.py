"""Local attention: its definition, its scores and what they save, and the maximum that it approximates.

Axis letters: i queries, l keys, both over T positions; k positions seen at either side, or left and right of them.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

Vector = Sequence[float]
Matrix = Sequence[Vector]
_BELTAGY = "Beltagy, Peters and Cohan 2020, section 3.1: sliding window attention"


def _check(length: int, left: int, right: int) -> None:
    if length < 1 or left < 0 or right < 0:
        message = f"a length of 1 or more and windows of 0 or more are needed; {length} and {(left, right)} came"
        raise InvariantError(message)


@law(
    "attention.local_weights",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("as many queries as keys", "the scale is 1/sqrt(d) unless another is given"),
    sources=(_BELTAGY, "Vaswani et al. 2017, section 3.2.1: scaled dot-product attention"),
)
def local_weights(
    queries: Matrix, keys: Matrix, left: int, right: int, scale: float | None = None, ignored: Sequence[int] = ()
) -> list[list[float]]:
    """Row i of local attention is the soft-max of a_il = q_i·k_l / sqrt(d) over the keys l = i - left .. i + right that exist.

    Every other weight is 0. The sum in the denominator runs over keys, the second index. `ignored` keys do not exist; a row without
    a key is 0 throughout.

    >>> local_weights([[1.0], [1.0], [1.0]], [[0.0], [0.0], [5.0]], left=1, right=0)[1]
    [0.5, 0.5, 0.0]
    """
    length = len(queries)
    _check(length, left, right)
    if len(keys) != length:
        message = f"as many queries as keys are needed; {length} and {len(keys)} came"
        raise InvariantError(message)
    by = 1 / math.sqrt(len(queries[0])) if scale is None else scale
    lost = set(ignored)
    rows = []
    for i, query in enumerate(queries):
        seen = (at for at in range(max(0, i - left), min(length, i + right + 1)) if at not in lost)
        scores = {at: by * math.fsum(x * y for x, y in zip(query, keys[at], strict=True)) for at in seen}
        top = max(scores.values(), default=0.0)
        powers = {at: math.exp(score - top) for at, score in scores.items()}
        total = math.fsum(powers.values())
        rows.append([powers[at] / total if at in powers else 0.0 for at in range(length)])
    return rows


@law(
    "attention.local_scores",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("as many queries as keys",),
    sources=("T positions with left + 1 + right keys each, less those off the ends: 1 + 2 + ... + left and 1 + 2 + ... + right",),
)
def local_scores(length: int, left: int, right: int) -> int:
    """Local attention compares T (left + 1 + right) - left (left + 1)/2 - right (right + 1)/2 pairs; T (2k + 1) - k (k + 1) for k.

    For windows that reach beyond everything, T - 1 counts in place of them: T² pairs at most.

    >>> local_scores(5, 1, 1), local_scores(5, 9, 9), local_scores(5, 9, 0)
    (13, 25, 15)
    """
    _check(length, left, right)
    left, right = min(left, length - 1), min(right, length - 1)
    return length * (left + 1 + right) - left * (left + 1) // 2 - right * (right + 1) // 2


@law(
    "attention.local_speedup",
    Kind.COUNT,
    Unit.RATIO,
    assumes=("only pairs are counted", "as many queries as keys"),
    sources=("attention.local_scores",),
)
def local_speedup(length: int, left: int, right: int) -> float:
    """Local attention compares T² / (T (2k + 1) - k (k + 1)) times fewer pairs than all with all: T / (2k + 1) where T >> k.

    >>> round(local_speedup(4096, 32, 32), 2), round(local_speedup(4096, 128, 128), 2)
    (63.27, 16.19)
    """
    return length**2 / local_scores(length, left, right)


@law(
    "attention.local_flops",
    Kind.COST,
    Unit.FLOP,
    assumes=("blocks of b queries, their windows as one", "values as wide as keys"),
    sources=("two products of 2 d FLOP a computed pair", "the cut of the band in torchstone.parts.attention.band"),
)
def local_flops(length: int, left: int, right: int, block: int, features: int, heads: int = 1) -> int:
    """Local attention in blocks of b costs 4 d h FLOP a computed pair: n b (b + left + right), and the two ends apart.

    Before the first whole window lie a = ceil(left/b) b queries, which see a + right keys; n = floor((T - right - a)/b) blocks
    follow, then z = T - a - n b queries, which see z + left. One block of T x T where n would be 0. `features` is d.

    >>> local_flops(128, 32, 32, 32, features=1) == 4 * (2 * 32 * 96 + 32 * 64 + 32 * 64)
    True
    """
    _check(length, left, right)
    left, right = min(left, length), min(right, length)
    ahead = -(-left // block) * block
    blocks = (length - right - ahead) // block
    rest = length - ahead - blocks * block
    whole = blocks * block * (left + block + right)
    pairs = ahead * (ahead + right) + whole + rest * (rest + left) if blocks > 0 else length**2
    return 4 * features * heads * pairs


@law(
    "attention.block_overhang",
    Kind.COST,
    Unit.RATIO,
    assumes=("blocks of b queries, each with the window of its first to its last", "away from the ends"),
    sources=("b queries share a window of left + b + right keys and want left + 1 + right each",),
)
def block_overhang(left: int, right: int, block: int) -> float:
    """Blocks of b queries compute (b + left + right)/(left + 1 + right) pairs for one that is asked for; (b + 2k)/(2k + 1) for k.

    >>> round(block_overhang(32, 32, 32), 2), round(block_overhang(128, 128, 32), 2)
    (1.48, 1.12)
    """
    _check(block, left, right)
    return (block + left + right) / (left + 1 + right)


@law(
    "attention.local_memory",
    Kind.COST,
    Unit.ELEMENTS,
    assumes=("the backward pass computes the weights again",),
    sources=("Dao et al. 2022, section 3.1: recomputation; the gradient needs query, key and value only",),
)
def local_memory(length: int, features: int, heads: int = 1) -> int:
    """Local attention keeps 3 h T d numbers for its backward pass, query, key and value: none for a window, none for T².

    >>> local_memory(16384, 64, heads=8) * 4 / 2**20  # MB in float32; the weights of all with all would be 8192
    96.0
    """
    return 3 * heads * length * features


@law(
    "attention.smooth_maximum",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("every query = (x_1..x_T), keys = the identity, values = x", "alpha stands before q·k in the soft-max"),
    sources=("q_i·k_l = x_l, so that the weights are the soft-max of alpha x over the window",),
)
def smooth_maximum(values: Vector, window: int, alpha: float) -> list[float]:
    """Local attention to identity keys by queries x gives the mean of x in each window weighted by e^{alpha x}, a soft maximum.

    `window` is k at either side, cut at the ends. Where the soft-max is given q·k / sqrt(d), d = T here, and a factor f, alpha is
    f / sqrt(T). As alpha grows it tends to max pooling with stride 1 and 2k + 1 positions.

    >>> [round(y, 3) for y in smooth_maximum([1.0, 3.0, 2.0], window=1, alpha=100.0)]
    [3.0, 3.0, 3.0]
    """
    _check(len(values), window, window)
    found = []
    for at in range(len(values)):
        seen = values[max(0, at - window) : at + window + 1]
        top = max(alpha * x for x in seen)
        powers = [math.exp(alpha * x - top) for x in seen]
        found.append(math.fsum(x * power for x, power in zip(seen, powers, strict=True)) / math.fsum(powers))
    return found


@law(
    "attention.max_pooling_error",
    Kind.BOUND,
    Unit.VALUE,
    assumes=("alpha > 0", "the window holds n positions"),
    sources=(
        "max - y = the sum of gap w; dE/dgap_l = w_l (1 - alpha gap_l + alpha E), so at the most all gaps are E + 1/alpha",
        "Corless et al. 1996: Lambert's W",
    ),
)
def max_pooling_error(positions: int, alpha: float) -> float:
    """A soft maximum of n numbers falls short of the maximum by W((n - 1)/e)/alpha at most, which is below (n - 1)/(e alpha).

    W is Lambert's: W e^W = (n - 1)/e. Attained where all n - 1 others lie (1 + W)/alpha below the maximum. The maximum is never
    exceeded.

    >>> max_pooling_error(65, alpha=10.0) < 64 / (math.e * 10), round(max_pooling_error(65, alpha=10.0), 4)
    (True, 0.2318)
    """
    if positions < 1 or alpha <= 0:
        message = f"a window of 1 or more and alpha above 0 are needed; {positions} and {alpha} came"
        raise InvariantError(message)
    return _lambert((positions - 1) / math.e) / alpha


def _lambert(x: float) -> float:
    """W with W e^W = x for x >= 0, by Newton's method: from above it falls steadily."""
    found = math.log1p(x)
    for _ in range(100):
        step = (found - x * math.exp(-found)) / (1 + found)
        found -= step
        if abs(step) <= 1e-16 * found:
            break
    return found
