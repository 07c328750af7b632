"""C3.2 to C3.5: attention in time linear in the sequence, by two soft-maxes apart and by random features of the kernel."""

import math
import statistics
from collections.abc import Callable

import sympy
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from torchstone import parts
from torchstone.core.evidence import Evidence, Relation
from torchstone.core.problem import Answer, Posted
from torchstone.core.quantity import Amount, Tolerance, Unit
from torchstone.laws.attention.features import features_needed
from torchstone.laws.attention.separable import identity_distance, separable_flops, separable_saving
from torchstone.problems.answering import answers, proved
from torchstone.problems.curves import curves
from torchstone.problems.measuring import compared, generator, rounding

LONG, WIDTH = 16384, 64
_LAWS_OF_ERROR = (
    *(f"attention.{kind}_feature_variance" for kind in ("positive", "hyperbolic", "trigonometric", "orthogonal")),
    "attention.feature_output_error", "attention.features_needed", "attention.feature_error_slope",
)  # fmt: skip
NUMBERS = (64, 256, 1024, 4096)


def _normal(seed: int, *shape: int, spread: float = 1.0) -> Tensor:
    return spread * torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def _weights(attention: Callable[..., Tensor], query: Tensor, key: Tensor, **more: float) -> Tensor:
    """The weights of an attention, read off with V = I."""
    identity = torch.eye(len(key), dtype=key.dtype)
    found: Tensor = attention(query[None, None], key[None, None], identity[None, None], **more)[0, 0]
    return found


def _counted(attention: Callable[..., Tensor], *shapes: tuple[int, int]) -> int:
    """FLOP of the matrix products of one head, on tensors without numbers."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        attention(*(torch.ones(1, 1, *shape, device="meta") for shape in shapes))
    return int(counter.get_total_flops())


def _pairs(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.mT).softmax(-1) @ value


def _towards_identity(positions: int, width: int, steps: int = 300) -> float:
    """The least distance to the identity that training Q and K of separable attention finds."""
    query, key = (_normal(seed, positions, width).requires_grad_() for seed in (3, 4))
    optimizer = torch.optim.Adam([query, key], lr=0.3)
    best = math.inf
    for _ in range(steps):
        distance = (_weights(parts.separable_attention, query, key) - torch.eye(positions, dtype=torch.float64)).norm()
        best = min(best, distance.item())
        optimizer.zero_grad()
        distance.backward()
        optimizer.step()
    return best


def _on_a_circle(positions: int, sharpness: float) -> float:
    """How near soft-max attention of width 2 comes to the identity with positions on a circle."""
    angles = 2 * math.pi * torch.arange(positions, dtype=torch.float64) / positions
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    found = _weights(functional.scaled_dot_product_attention, circle, circle, scale=sharpness)
    return float((found - torch.eye(positions, dtype=torch.float64)).norm())


@answers("C3.2")
def separable(_: Posted) -> Answer:
    """Rows, cost and what it cannot express."""
    found = _weights(parts.separable_attention, _normal(1, 200, 8), _normal(2, 200, 8))
    off, least = (found.sum(1) - 1).abs().max().item(), found.min().item()
    rank = int(torch.linalg.matrix_rank(found))
    shapes = ((LONG, WIDTH),) * 3
    cheap, dear = _counted(parts.separable_attention, *shapes), _counted(_pairs, *shapes)
    positions, width = 24, 4
    bound, reached, served = identity_distance(positions, width), _towards_identity(positions, width), _on_a_circle(positions, 1e3)
    return Answer(
        says=(
            f"distributions: yes; of 200 running rows each sums to 1 within {off:.1e}, the least weight is {least:.2g}",
            f"cost: O(n d²), not O(n² d): {cheap:,} FLOP a head at n = {LONG}, d = {WIDTH}, {dear / cheap:g} times fewer",
            f"expressive: no; rank at most d ({rank} for 200 positions and d = 8)",
            f"    the identity pattern of n = {positions} at d = {width} stays {bound:.3g} away or more (trained: {reached:.3g})",
            f"    soft-max over pairs of width 2 comes within {served:.1e} of it",
        ),
        derivation=(
            "row i is sum over c of p_ic s_c: p_i, a row of softmax_row(Q), is a distribution over d, each s_c one over the n keys",
            "its sum is sum_c p_ic = 1, no term is negative: a mixture of distributions is one",
            "softmax_col(K)ᵀ V is d x d and costs 2 n d² FLOP, softmax_row(Q) times that the same: 4 n d² against 4 n² d",
            "an n x n product of n x d and d x n has rank <= d; by Eckart and Young it is sqrt(n - d) or more from I",
            "all queries share d distributions; soft-max over pairs gives each query its own, of rank up to n",
        ),
        evidence=(
            *proved(
                "attention.separable_weights", "attention.separable_row_sums", "attention.separable_least_weights",
                "attention.separable_rank", "attention.identity_distance", "attention.sharp_identity_distance",
                "attention.separable_flops", "attention.separable_saving",
            ),
            compared("attention.separable_flops", separable_flops(LONG, LONG, WIDTH, WIDTH), cheap, how=f"counted, n = {LONG}"),
            compared("attention.separable_saving", separable_saving(LONG, WIDTH), dear / cheap, rounding(2, 256), "counted FLOP"),
            compared(
                "attention.identity_distance", bound, reached, rounding(1000, positions),
                f"Q and K trained towards the identity, n = {positions}, d = {width}", relation=Relation.AT_LEAST,
            ),
        ),
        remarks=("there is no causal form: each column's soft-max is over all keys, later ones included",),
    )  # fmt: skip


def _quadratic(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = query @ key.mT
    return weights @ value / weights.sum(-1, keepdim=True)


@answers("C3.3")
def kernel(_: Posted) -> Answer:
    """The right order of three matrices."""
    m, n = 128, 1000
    query, key, value = (_normal(seed, 1, 1, n, size).abs() for seed, size in ((1, m), (2, m), (3, WIDTH)))
    cheap, dear = parts.linear_attention(query, key, value), _quadratic(query, key, value)
    apart = (cheap - dear).abs().max().item()

    def exponent(attention: Callable[..., Tensor], names: str) -> float:
        sizes = {"n": LONG, "m": m, "d": WIDTH}
        twice = sizes | {name: 2 * sizes[name] for name in names}
        counts = [_counted(attention, (one["n"], one["m"]), (one["n"], one["m"]), (one["n"], one["d"])) for one in (sizes, twice)]
        return math.log2(counts[1] / counts[0])

    linear, square = exponent(parts.linear_attention, "n"), exponent(_quadratic, "n")
    return Answer(
        says=(
            "standard: a_ij = exp(q_i·k_j / sqrt(d)), D the diagonal of A's row sums: each row of A V is divided by its sum",
            "efficient: D⁻¹ A V = f(Q) (f(K)ᵀ V) divided row by row by f(Q) (f(K)ᵀ 1): the brackets change, A is never made",
            f"time O(n m d), space O(n m + m d + n d): twice n costs 2^{linear:g} times the FLOP, by A 2^{square:g}",
        ),
        derivation=(
            "A = f(Q) f(K)ᵀ, so A V = (f(Q) f(K)ᵀ) V = f(Q) (f(K)ᵀ V): m x d numbers between, 2 n m d FLOP each way",
            "D 1 = A 1 = f(Q) (f(K)ᵀ 1): a column of ones beside V; f into R^m_+ keeps every sum above 0",
            "f(Q) and f(K) are n x m, f(K)ᵀ V is m x d; nothing is n x n. With a causal mask the sums over keys are prefix sums",
            "in chunks of c positions, as the running part makes them, only c m features exist at a time: O(n d + c m + m d)",
        ),
        evidence=(
            *proved(
                "attention.kernel_attention", "attention.kernel_attention_flops",
                "attention.kernel_attention_largest", "attention.random_feature_flops",
            ),
            compared("attention.kernel_attention", 0.0, apart, rounding(4 * n, 3), f"both orders, n = {n}, m = {m}"),
            compared("attention.kernel_attention_flops", 1.0, linear, how="log2 of counted FLOP, n doubled", unit=Unit.RATIO),
            compared("attention.kernel_attention_flops", 2.0, square, rounding(4), "the same with A made", unit=Unit.RATIO),
        ),
    )  # fmt: skip


def _moment() -> sympy.Expr:
    """E[exp(x q) exp(x k)] exp(-q²/2 - k²/2) over one coordinate, by integration."""
    x, q, k = sympy.symbols("x q k", real=True)
    density = sympy.exp(-(x**2) / 2) / sympy.sqrt(2 * sympy.pi)
    mean = sympy.integrate(sympy.exp(x * (q + k)) * density, (x, -sympy.oo, sympy.oo))
    return sympy.simplify(mean * sympy.exp(-(q**2) / 2 - k**2 / 2))


@answers("C3.4")
def positive_features(_: Posted) -> Answer:
    """The mean by integration, the features, and an estimate of it."""
    moment = _moment()
    q, k = sympy.symbols("q k", real=True)
    left_over = float(sympy.simplify(moment - sympy.exp(q * k)))
    query, key, rows = _normal(1, 4, spread=0.4), _normal(2, 4, spread=0.4), 100_000
    directions = parts.feature_directions(rows, 4, orthogonal=False, generator=generator(5), dtype=torch.float64)
    samples = rows * parts.random_features(query[None], directions)[0] * parts.random_features(key[None], directions)[0]
    error = samples.std().item() / math.sqrt(rows)
    tolerance = Tolerance(sampling=Amount(4 * error, f"4 standard errors of {rows} rows"))
    exact = math.exp(query @ key)
    return Answer(
        says=(
            f"a_ij = {sympy.sstr(moment)} in each coordinate, so exp(q_i·k_j): as stated, signs and all, it is soft-max's kernel",
            "    with q and k both divided by d^(1/4) it is that of scaled attention",
            "f(u)_r = exp(w_r·u - |u|²/2) / sqrt(m), w_1 to w_m drawn from N(0, I): f into R^m_+, and E[f(q)·f(k)] = exp(q·k)",
            f"measured: {samples.mean().item():.4f} from {rows:,} draws where exp(q·k) = {exact:.4f}",
        ),
        derivation=(
            "E exp(x·z) = exp(|z|²/2) for x ~ N(0, I): complete the square; here z = q + k",
            "exp(|q + k|²/2 - |q|²/2 - |k|²/2) = exp(q·k)",
            "the mean over x replaced by that over m draws: 1/m sum_r exp(w_r·q - |q|²/2) exp(w_r·k - |k|²/2) = f(q)·f(k)",
            "every term is positive, so no row sum of A vanishes; cos and sin features estimate the same and can be negative",
        ),
        evidence=(
            *proved("attention.exponential_kernel", "attention.random_features"),
            compared("attention.exponential_kernel", 0.0, left_over, how="sympy, one coordinate integrated"),
            compared("attention.exponential_kernel", exact, samples.mean().item(), tolerance, f"{rows:,} draws"),
        ),
        remarks=("draws at right angles keep the mean and lower the variance: attention.orthogonal_feature_variance",),
    )


def _errors(spread: float, seeds: int, length: int = 256) -> tuple[list[list[float]], float, float]:
    """Relative errors of the output (seeds, numbers of features), that of the mean of V, and the variance forecast."""
    query, key, value = (_normal(seed, 1, 1, length, WIDTH, spread=size) for seed, size in ((1, spread), (2, spread), (3, 1.0)))
    exact = functional.scaled_dot_product_attention(query, key, value)

    def apart(found: Tensor) -> float:
        return float((found - exact).norm() / exact.norm())

    drawn = [
        [apart(parts.random_feature_attention(query, key, value, features=m, generator=generator(100 * seed + m))) for m in NUMBERS]
        for seed in range(seeds)
    ]
    forecast = parts.forecast_features(query, key, value, generator=generator())
    return drawn, apart(value.mean(-2, keepdim=True)), forecast.variance


def _slope_evidence(drawn: list[list[float]]) -> tuple[float, Evidence]:
    slopes = [math.log(row[-1] / row[0]) / math.log(NUMBERS[-1] / NUMBERS[0]) for row in drawn]
    slope, error = statistics.mean(slopes), statistics.stdev(slopes) / math.sqrt(len(slopes))
    tolerance = Tolerance(sampling=Amount(4 * error, f"4 standard errors of {len(slopes)} runs"))
    how = f"output error, spread 0.25, m = {NUMBERS[0]} to {NUMBERS[-1]}"
    return slope, compared("attention.feature_error_slope", -0.5, slope, tolerance, how)


@answers("C3.5")
def number_of_features(_: Posted) -> Answer:
    """Cost against error, measured; and where no m that one can pay is enough."""
    spreads = {0.25: _errors(0.25, 6), 0.5: _errors(0.5, 3), 1.0: _errors(1.0, 3)}
    middle = {spread: [statistics.median(column) for column in zip(*drawn, strict=True)] for spread, (drawn, *_) in spreads.items()}
    slope, slope_evidence = _slope_evidence(spreads[0.25][0])
    least, uniform = min(min(row) for row in spreads[1.0][0]), spreads[1.0][1]
    pair = math.expm1(2 * math.sqrt(WIDTH))
    needed = {spread: features_needed(variance, 0.1) for spread, (*_, variance) in spreads.items()}
    series = {f"q, k of spread {spread:g}": _curve(row) for spread, row in middle.items()}
    series["the mean of V, spread 1"] = _curve([uniform] * len(NUMBERS))
    return Answer(
        says=(
            "more features: the variance falls as 1/m, the error as 1/sqrt(m)",
            "cost: time and memory grow as m; FLOP are saved only while m < n / 2",
            *(f"spread {spread:g}: relative error {_listed(row)} at m = {_listed(NUMBERS)}" for spread, row in middle.items()),
            f"slope: {slope:.2f} (spread 0.25); it is -1/2 only while m is well above exp(|q + k|²/sqrt(d))",
            f"at unit variance and d = {WIDTH} no m to {NUMBERS[-1]} helps: {least:.2f} or more, the mean of V has {uniform:.2f}",
            f"    one pair's kernel within 0.1 there needs m = {features_needed(pair, 0.1):.1e}",
        ),
        derivation=(
            "one pair: variance / exp(q·k)² = (exp(|z|²) - 1) / m with z = (q + k) / d^(1/4)",
            f"at unit variance |z|² = 2 sqrt(d) = {2 * math.sqrt(WIDTH):g}: exp of it is {math.exp(2 * math.sqrt(WIDTH)):.1e}",
            "the output: 1/m sum over j, l of p_j p_l exp((q + k_j)·(q + k_l)) (v_j - o)·(v_l - o), first order in 1/m",
            f"m forecast for a relative error of 0.1: {', '.join(f'{count:.2g} at spread {s:g}' for s, count in needed.items())}",
            "2 n m (d + e) FLOP a side against 2 n² (d + e) in all: equal at n = 2 m",
        ),
        evidence=(
            *proved(*_LAWS_OF_ERROR),
            slope_evidence,
            compared(
                "attention.features_needed", uniform, least, how="error at unit variance, m <= 4096, against the mean of V",
                relation=Relation.AT_LEAST, unit=Unit.RATIO,
            ),
        ),
        drawings=(curves("log10 of the relative error of attention's output", series, "log2 of the number of features m"),),
        remarks=(
            "an epsilon in the sums hides this: it pulls every row to the mean of V; torchstone.parts adds none",
            "torchstone.parts.forecast_features(query, key, value) says the m that given tensors need",
        ),
    )  # fmt: skip


def _curve(errors: list[float]) -> list[tuple[float, float]]:
    return [(math.log2(m), math.log10(error)) for m, error in zip(NUMBERS, errors, strict=True)]


def _listed(numbers: list[float] | tuple[int, ...]) -> str:
    return " / ".join(f"{number:.3g}" if isinstance(number, float) else str(number) for number in numbers)
