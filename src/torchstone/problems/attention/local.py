"""A7: local self-attention, how many comparisons it makes, and the max pooling that it approximates."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torchstone.core.evidence import Evidence, Relation
from torchstone.core.problem import Answer, Drawing, Posted
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws.attention import local
from torchstone.parts import local_attention
from torchstone.problems.answering import answers, proved
from torchstone.problems.curves import curves
from torchstone.problems.measuring import claimed, compared, found, generator, rounding, value

_WEIGHTS, _SCORES, _MAXIMUM = "attention.local_weights", "attention.local_scores", "attention.max_pooling_error"
LENGTH, WIDTH, WINDOW = 12, 3, 2


def _draws() -> tuple[Tensor, Tensor]:
    """Queries and keys, (t, d)."""
    source = generator(71)
    return tuple(torch.randn(LENGTH, WIDTH, generator=source, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


def _weights(query: Tensor, key: Tensor, window: int) -> Tensor:
    """The weights of the running part: what it gives for the identity as values."""
    identity = torch.eye(len(query), dtype=query.dtype)
    return local_attention(query[None, None], key[None, None], identity[None, None], window)[0, 0]


def _scores(said: Mapping[str, Any], query: Tensor, key: Tensor) -> Tensor:
    """The scores a_ij that a claim speaks of: product = [one index, other index] over a divisor in d."""
    rows = {"q": query, "k": key}
    (first, at), (second, _) = (one.split("_") for one in said["product"])
    products = rows[first] @ rows[second].T
    return (products if at == "i" else products.T) / value(said["divided_by"], d=WIDTH)


def _posted_weights(said: Mapping[str, Any], scores: Tensor) -> Tensor:
    """e^{a_ij} over the posted sum of e^a at the posted pair of indices, in the band; 0 elsewhere."""
    one, other = re.fullmatch(r"a_(\w)(\w)", said["term"]).groups()  # type: ignore[union-attr]
    weights = torch.zeros_like(scores)
    for i, j in torch.ones_like(scores).triu(-WINDOW).tril(WINDOW).nonzero().tolist():
        ends = (round(value(said[end], i=i, j=j, k=WINDOW)) for end in ("first", "last"))
        first, last = ends
        places = [{"i": i, "j": j, said["over"]: at} for at in range(max(0, first), min(LENGTH - 1, last) + 1)]
        total = math.fsum(math.exp(scores[place[one], place[other]].item()) for place in places)
        weights[i, j] = math.exp(scores[i, j].item()) / total if total else math.nan
    return weights


def _worst_weight(said: Tensor, run: Tensor, what: str) -> Evidence:
    """The weight that agrees least, with its place and what its row adds up to."""
    at = int((said - run).abs().nan_to_num(nan=math.inf).argmax())
    row, column = divmod(at, LENGTH)
    how = f"{what} of key {column + 1} for query {row + 1}; its row adds up to {said[row].sum().item():.4g}"
    return compared(_WEIGHTS, said.flatten()[at].item(), run.flatten()[at].item(), rounding(100), how)


def _other_weight(evidence: Evidence) -> str:
    return f"{evidence.how}: posted {evidence.predicted.value:.4g}, a soft-max over the window's keys {found(evidence):.4g}"


@answers("A7.1")
def definition(posted: Posted) -> Answer:
    """The soft-max of a band, its sum over keys."""
    query, key = _draws()
    run = _weights(query, key, WINDOW)
    ours = torch.tensor(local.local_weights(query.tolist(), key.tolist(), WINDOW, WINDOW), dtype=torch.float64)
    claims = []
    if "score" in posted.claims:
        scores = _scores(posted.claims["score"], query, key)  # type: ignore[arg-type]
        band = torch.ones_like(scores).triu(-WINDOW).tril(WINDOW).log()
        held = _worst_weight((scores + band).softmax(-1), run, "the weight by the posted score")
        claims.append(claimed("score", [held], _other_weight))
    if "weight" in posted.claims:
        scores = query @ key.T / math.sqrt(WIDTH)
        held = _worst_weight(_posted_weights(posted.claims["weight"], scores), run, "the posted weight")  # type: ignore[arg-type]
        claims.append(claimed("weight", [held], _other_weight))
    return Answer(
        says=(
            "a_il = q_i·k_l / sqrt(d)",
            "weight_il = exp(a_il) / sum of exp(a_im) over the keys m = i-k..i+k that exist, for abs(i - l) <= k; else 0",
        ),
        derivation=(
            "a row of weights mixes the values for one query: it must add up to 1 over the keys that the query sees",
            "so the sum's index is the second one of a; with i and its keys exchanged only a symmetric a gives the same",
        ),
        evidence=(*proved(_WEIGHTS), _worst_weight(ours, run, "the weight")),
        claims=tuple(claims),
        remarks=(f"rows of the running part add up to 1 within {(run.sum(-1) - 1).abs().max().item():.1g}",),
    )


def _called(length: int, window: int) -> Tensor:
    """How many keys each query is compared with and given a weight for, by the running part."""
    rows = torch.zeros(length, 1, dtype=torch.float64)
    return (_weights(rows, rows, window) > 0).sum(-1)


def _counts(length: int, window: int, ignoring: str) -> dict[str, float]:
    """Comparisons made; without the ends, as many for every query as for one in the middle."""
    local_calls = _called(length, window)
    calls = length * local_calls[length // 2].item() if ignoring else local_calls.sum().item()
    every = _called(length, length).sum().item()
    lost = length * local_calls[length // 2].item() - local_calls.sum().item()
    return {"standard": every, "local": calls, "speed-up": every / calls, "at the ends": lost}


SIZES = ((100, 3), (41, 20), (64, 1))


def _count_evidence(about: str, said: Mapping[str, Any]) -> Iterator[Evidence]:
    for length, window in SIZES:
        ignoring = str(said.get("ignoring", ""))
        measured = _counts(length, window, ignoring)[about]
        law = "attention.local_speedup" if about == "speed-up" else _SCORES
        how = f"{about}, T = {length}, k = {window}" + (f", ignoring {ignoring}" if ignoring else ", counted")
        yield compared(law, value(said["value"], T=length, k=window), measured, rounding(4, 100), how)


def _miscounted(evidence: Evidence) -> str:
    return f"{evidence.how}: {found(evidence):.6g}, not {evidence.predicted.value:.6g}"


@answers("A7.2")
def comparisons(posted: Posted) -> Answer:
    """Pairs of a query and a key that get a weight."""
    claims = [
        claimed(about, _count_evidence(about, said), _miscounted)  # type: ignore[arg-type]
        for about, said in posted.claims.items()
    ]
    length, window = SIZES[0]
    exact, ignoring = _counts(length, window, ""), _counts(length, window, "the ends")
    return Answer(
        says=(
            "standard: T²",
            "local: T(2k+1) - k(k+1), for k < T",
            "speed-up: T² / (T(2k+1) - k(k+1)), which tends to T/(2k+1) as T grows",
            f"T = {length}, k = {window}: {exact['standard']:g}, {exact['local']:g}, {exact['speed-up']:.4g}",
            f"with the ends ignored: {ignoring['local']:g}, {ignoring['speed-up']:.4g}",
        ),
        derivation=(
            "each query meets 2k+1 keys, less those off the ends: query i misses k + 1 - i at the left, as many at the right",
            "1 + 2 + ... + k at either end is k(k+1)/2, together k(k+1)",
        ),
        evidence=(
            *proved(_SCORES, "attention.local_speedup", "attention.block_overhang"),
            *(
                compared(_SCORES, local.local_scores(t, k, k), _counts(t, k, "")["local"], how=f"weights above 0, T = {t}, k = {k}")
                for t, k in SIZES
            ),
        ),
        claims=tuple(claims),
        remarks=(
            f"T(2k+1) overstates by k(k+1): {100 * (ignoring['local'] / exact['local'] - 1):.2g} % at T = {length}, k = {window}",
            f"blocks of b queries compute (b+2k)/(2k+1) times as many, {local.block_overhang(128, 128, 32):.3g} at b = 32, k = 128",
        ),
    )


def _rows(said: Mapping[str, Any], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (1, 1, t, d) in the posted words: identity, x (one number a row), all of x in every row, ones."""
    length = len(x)
    words = {
        "identity": torch.eye(length, dtype=x.dtype), "x": x[:, None], "ones": torch.ones(length, 1, dtype=x.dtype),
        "all of x": x.expand(length, length),
    }  # fmt: skip
    return tuple(words[said[name]][None, None] for name in ("queries", "keys", "values"))  # type: ignore[return-value]


def _attended(said: Mapping[str, Any], x: Tensor, window: int, factor: float) -> Tensor:
    """The posted choice run, its factor in front of A7.1's score. NaN where queries and keys do not go together."""
    query, key, values = _rows(said, x)
    if query.shape != key.shape:
        return torch.full_like(x, math.nan)
    return local_attention(factor * query, key, values, window)[0, 0].mean(-1)


def _pooled(x: Tensor, window: int) -> Tensor:
    return functional.max_pool1d(x[None, None], 2 * window + 1, stride=1, padding=window)[0, 0]


def _factors(said: Mapping[str, Any]) -> tuple[float, ...]:
    """Where the factor goes, step by step."""
    return {"infinity": (1.0, 10.0, 100.0, 1e4, 1e6), "0": (1.0, 0.1, 0.01)}[said["factor to"]]


def _choice_evidence(said: Mapping[str, Any]) -> Iterator[Evidence]:
    """The shortfall from the maximum: within its law at each factor, nothing any more at the last one."""
    for window in (1, 3):
        x = torch.randn(40, generator=generator(73), dtype=torch.float64)
        for factor in (factors := _factors(said)):
            alpha = factor * value(said.get("score factor", "1 / sqrt(d)"), d=len(x))
            shortfall = (_pooled(x, window) - _attended(said, x, window, factor)).abs().max().item()
            bound = local.max_pooling_error(2 * window + 1, alpha)
            how = f"the most below max pooling of {2 * window + 1} at the factor {factor:g}"
            yield compared(_MAXIMUM, bound, shortfall, rounding(100, 10), how, relation=Relation.AT_MOST)
        left = Tolerance(model=Amount(1e-3, "a thousandth of the spread of x"))
        yield compared(_MAXIMUM, 0.0, shortfall, left, f"what is left of max pooling's error at the factor {factors[-1]:g}")


def _no_maximum(evidence: Evidence) -> str:
    if math.isnan(found(evidence)) or not math.isfinite(found(evidence)):
        return "queries and keys are of different widths: there is no score"
    return f"{evidence.how}: {found(evidence):.4g}, allowed {evidence.predicted.value + evidence.tolerance.total:.4g}"


_OURS = {"queries": "ones", "keys": "x", "values": "x", "factor to": "infinity", "score factor": "1"}


def _drawn() -> Drawing:
    x = torch.randn(40, generator=generator(73), dtype=torch.float64)
    points = {
        "x": x,
        "alpha = 3": _attended(_OURS, x, 2, 3.0),
        "alpha = 30": _attended(_OURS, x, 2, 30.0),
        "max pooling": _pooled(x, 2),
    }
    series = {name: list(enumerate(values.tolist())) for name, values in points.items()}
    return curves("local attention becomes max pooling, k = 2", series, "position")


@answers("A7.3")
def max_pooling(posted: Posted) -> Answer:
    """A soft maximum that hardens."""
    claims = []
    if "choice" in posted.claims:
        claims.append(claimed("choice", _choice_evidence(posted.claims["choice"]), _no_maximum))  # type: ignore[arg-type]
    length, positions = 40, 2 * WINDOW + 1
    return Answer(
        says=(
            "one feature is enough: every query = alpha, keys = x, values = x, alpha to infinity (d = 1, so that 1/sqrt(d) is 1)",
            "in T features: every query = alpha (x_1..x_T), keys = the identity matrix, values = x, with alpha/sqrt(T) inside",
            "error at most W((n-1)/e)/alpha < (n-1)/(e alpha), n = 2k+1, W Lambert's",
            f"n = {positions}, alpha = 10: at most {local.max_pooling_error(positions, 10):.4g}",
        ),
        derivation=(
            "q_i·k_l = alpha x_l, so y_i is the mean of x over the window weighted by e^{alpha x}",
            "max - y = sum of gap e^{-alpha gap} / sum of e^{-alpha gap}; each g e^{-alpha g} is 1/(e alpha) at most",
            "all stationary gaps are equal, g = error + 1/alpha: so alpha error e^{alpha error} = (n-1)/e, attained",
        ),
        evidence=(*proved(_MAXIMUM, "attention.smooth_maximum"), *_choice_evidence(_OURS)),
        claims=tuple(claims),
        drawings=(_drawn(),),
        remarks=(
            f"by 1/sqrt(d) a factor f before d = T features is alpha = f/sqrt(T): {1 / math.sqrt(length):.3g} f at T = {length}",
            "tied maxima share the weight and give the same value; the window is cut at the ends, as max pooling's is",
        ),
    )
