"""Separable attention against its laws: weights read off by giving the identity as values."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from torchstone import parts
from torchstone.core.evidence import Evidence, Relation
from torchstone.proofs.draws import Draws, adversarial
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Weights = Callable[[Tensor, Tensor], Tensor]
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
SIZES = ((1, 1, 1), (3, 5, 2), (6, 4, 3), (8, 8, 3), (5, 9, 6))


def weights(query: Tensor, key: Tensor) -> Tensor:
    """(t, d), (s, d) to (t, s): what the running part gives for V = I."""
    identity = torch.eye(len(key), dtype=key.dtype)
    return parts.separable_attention(query[None, None], key[None, None], identity[None, None])[0, 0]


def _dense(query: Tensor, key: Tensor) -> Tensor:
    identity = torch.eye(len(key), dtype=key.dtype)
    return functional.scaled_dot_product_attention(query[None, None], key[None, None], identity[None, None])[0, 0]


def _both(query: Tensor, key: Tensor, query_axis: int, key_axis: int) -> Tensor:
    return query.softmax(query_axis) @ key.softmax(key_axis).mT


@experiment(
    "attention.separable_weights",
    part=weights,
    mutants={
        "soft-max of K along its rows": lambda q, k: _both(q, k, 1, 1),
        "soft-max of Q along its columns": lambda q, k: _both(q, k, 0, 0),
        "scaled by the root of the width": lambda q, k: weights(q / math.sqrt(q.shape[1]), k),
        "soft-max over pairs": _dense,
    },
)
def separable_weights(part: Weights, draws: Draws) -> Iterator[Evidence]:
    """Random queries and keys, small and of spread 5."""
    for number, (t, s, d) in enumerate(SIZES * 6):
        query, key = ((1 + 4 * (number % 2)) * draws.normal(count, d) for count in (t, s))
        arguments = {"query": query.tolist(), "key": key.tolist()}
        yield held("attention.separable_weights", arguments, part(query, key), rounding(8 * d, 5))


@experiment(
    "attention.separable_row_sums",
    part=weights,
    mutants={
        "soft-max of K along its rows": lambda q, k: _both(q, k, 1, 1),
        "soft-max of Q along its columns": lambda q, k: _both(q, k, 0, 0),
        "no soft-max of K": lambda q, k: q.softmax(1) @ k.mT,
    },
)
def separable_row_sums(part: Weights, draws: Draws) -> Iterator[Evidence]:
    """Random queries and keys of spread 3."""
    for t, s, d in SIZES * 6:
        found = part(3 * draws.normal(t, d), 3 * draws.normal(s, d))
        yield held("attention.separable_row_sums", {"queries": t}, found.sum(1), rounding(4 * (s + d)))


@experiment(
    "attention.separable_least_weights",
    part=weights,
    mutants={
        "no soft-max of Q": lambda q, k: q @ k.softmax(0).mT,
        "no soft-max of K": lambda q, k: q.softmax(1) @ k.mT,
        "shares not summed to 1": lambda q, k: q.softmax(1) @ k.softmax(0).mT / len(q[0]) / 2,
    },
)
def separable_least_weights(part: Weights, draws: Draws) -> Iterator[Evidence]:
    """The least weight on every key, for random queries and for queries driven against the bound."""
    for t, s, d in SIZES[1:]:
        key, start = 2 * draws.normal(s, d), draws.normal(t, d)

        def lightness(query: Tensor, key: Tensor = key) -> Tensor:
            return -part(query, key).amin()

        for query in (start, 30 * start, adversarial(lightness, start, steps=15, rate=1.0)):
            found, arguments = part(query, key).amin(0), {"key": key.tolist()}
            yield held("attention.separable_least_weights", arguments, found, rounding(8 * d), Relation.AT_LEAST)


@experiment(
    "attention.separable_rank",
    part=weights,
    mutants={
        "soft-max over pairs": _dense,
        "soft-max of the product": lambda q, k: (q @ k.mT).softmax(1),
        "a floor under each weight": lambda q, k: weights(q, k) + torch.eye(len(q), len(k), dtype=q.dtype) / 10,
    },
    how="random and spread, numerical rank",
)
def separable_rank(part: Weights, draws: Draws) -> Iterator[Evidence]:
    """The numerical rank of the weights, more positions than width among them."""
    for t, s, d in ((4, 6, 8), (9, 9, 2), (20, 20, 3), (40, 30, 5), (12, 40, 12)):
        for spread in (0.5, 2.0, 10.0):
            found = int(torch.linalg.matrix_rank(part(spread * draws.normal(t, d), spread * draws.normal(s, d))))
            arguments = {"queries": t, "keys": s, "width": d}
            yield held("attention.separable_rank", arguments, found, relation=Relation.AT_MOST)


def _distance(matrix: Tensor) -> Tensor:
    distance: Tensor = (matrix - torch.eye(len(matrix), dtype=matrix.dtype)).norm()
    return distance


def _circle(positions: int, turned: float = 0.0) -> Tensor:
    """Points on a circle at equal steps: (n, 2)."""
    angles = 2 * math.pi * torch.arange(positions, dtype=torch.float64) / positions + turned
    return torch.stack([angles.cos(), angles.sin()], 1)


@experiment(
    "attention.identity_distance",
    part=weights,
    mutants={
        "soft-max over pairs": _dense,
        "its own position kept": lambda q, k: (weights(q, k) + torch.eye(len(q), dtype=q.dtype)) / 2,
        "soft-max over pairs of the rows": lambda q, k: (10 * (q @ k.mT)).softmax(1),
    },
)
def identity_distance(part: Weights, draws: Draws) -> Iterator[Evidence]:
    """Random, adversarially near the identity, the circle that serves soft-max over pairs, and d positions served."""
    for n, d in ((6, 2), (10, 3), (12, 6), (5, 5)):
        arguments = {"positions": n, "rank": d}

        def nearness(both: Tensor, d: int = d) -> Tensor:
            return -_distance(part(both[:, :d], both[:, d:]))

        start = 2 * draws.normal(n, 2 * d)
        circle = 30 * functional.pad(_circle(n), (0, d - 2))
        for both in (start, adversarial(nearness, start, steps=60, rate=2.0), torch.cat([circle, circle], 1)):
            found = _distance(part(both[:, :d], both[:, d:])).item()
            yield held("attention.identity_distance", arguments, found, rounding(100, n), Relation.AT_LEAST)
        served = 50 * torch.eye(n, d, dtype=torch.float64)  # columns of softmax_col(K) on one key each
        query = served + 50 * torch.cat([torch.zeros(d, d), torch.eye(1, d).expand(n - d, d)]).double()
        found = _distance(part(query, served)).item()
        yield held("attention.identity_distance", arguments, found, rounding(100, n), Relation.AT_LEAST)


def _sharp(query: Tensor, key: Tensor, scale: float) -> Tensor:
    identity = torch.eye(len(key), dtype=key.dtype)
    return functional.scaled_dot_product_attention(query[None, None], key[None, None], identity[None, None], scale=scale)[0, 0]


@experiment(
    "attention.sharp_identity_distance",
    part=_sharp,
    mutants={
        "separable": lambda q, k, _: weights(50 * q, 50 * k),
        "scale left out": lambda q, k, _: _sharp(q, k, 0.01),
        "transposed signs": lambda q, k, scale: _sharp(-q, k, scale),
    },
    how="the whole family, 3 to 16 positions",
)
def sharp_identity_distance(part: Callable[[Tensor, Tensor, float], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Torch's attention of width 2 on a circle turned at random."""
    for n in range(3, 17):
        for sharpness in (1.0, 10.0, 100.0, 3000.0):
            circle = _circle(n, draws.uniform(0, 6, 1).item())
            found = _distance(part(circle, circle, sharpness)).item()
            arguments = {"positions": n, "sharpness": sharpness}
            yield held("attention.sharp_identity_distance", arguments, found, rounding(100 * sharpness, n), Relation.AT_MOST)


def counted(attention: Attention, t: int, s: int, d: int, e: int) -> int:
    """FLOP of the matrix products of one head, by torch's counter."""
    with FlopCounterMode(display=False) as counter:
        attention(*(torch.zeros(1, 1, *shape) for shape in ((t, d), (s, d), (s, e))))
    return int(counter.get_total_flops())


def _wrong_order(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query.softmax(-1) @ key.softmax(-2).mT) @ value


@experiment(
    "attention.separable_flops",
    part=parts.separable_attention,
    mutants={
        "the weights first": _wrong_order,
        "soft-max over pairs": lambda q, k, v: (q @ k.mT).softmax(-1) @ v,
        "values counted twice": lambda q, k, v: parts.separable_attention(q, k, torch.cat([v, v], -1)),
    },
    how="exact, by torch's counter",
)
def separable_flops(part: Attention, draws: Draws) -> Iterator[Evidence]:
    """Random sizes."""
    for _ in range(12):
        t, s, d, e = draws.integers(2, 90, 4)
        arguments = {"queries": t, "keys": s, "width": d, "value_width": e}
        yield held("attention.separable_flops", arguments, counted(part, t, s, d, e))


def _pairs(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.mT).softmax(-1) @ value


def _saving(n: int, d: int, cheap: Attention = parts.separable_attention) -> float:
    return counted(_pairs, n, n, d, d) / counted(cheap, n, n, d, d)


@experiment(
    "attention.separable_saving",
    part=_saving,
    mutants={
        "the weights first": lambda n, d: _saving(n, d, _wrong_order),
        "one product only": lambda n, d: _saving(n, d, lambda q, k, v: q.softmax(-1) @ (q.new_zeros(d, d) + k.sum() + v.sum())),
        "heads' widths mixed": lambda n, d: _saving(n, 2 * d),
    },
    how="counted, one division",
)
def separable_saving(part: Callable[[int, int], float], draws: Draws) -> Iterator[Evidence]:
    """Counted FLOP of both."""
    for _ in range(12):
        n, d = draws.integers(1, 200, 2)
        yield held("attention.separable_saving", {"positions": n, "width": d}, part(n, d), rounding(2, n))
