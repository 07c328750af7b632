"""Random features against their laws: means, variances and what an output's error comes to, over many draws of directions."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from torchstone import parts
from torchstone.core.evidence import Evidence, Relation
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws.attention.features import feature_output_error as predicted_error
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding, sampling

# (query (d), key (d), rows, directions, draws) -> one estimate of exp(q·k) for every row
Estimates = Callable[[Tensor, Tensor, int, int, Draws], Tensor]
Features = Callable[[Tensor, Tensor, str], Tensor]
KINDS = ("positive", "hyperbolic", "trigonometric")


def _pair(draws: Draws, width: int, spread: float) -> tuple[Tensor, Tensor]:
    """A query and a key with |q + k|² about twice `spread`: small enough for a mean of squares to settle."""
    scale = math.sqrt(spread / width)
    return scale * draws.normal(width), scale * draws.normal(width)


def estimates(kind: Any = "positive", *, orthogonal: bool = False, features: Any = parts.random_features) -> Estimates:
    """Estimates by the running features, with directions drawn anew for every row."""

    def part(query: Tensor, key: Tensor, rows: int, count: int, draws: Draws) -> Tensor:
        width = len(query)
        blocked = orthogonal and count <= width
        drawn = parts.feature_directions(
            rows * (width if blocked else count), width, orthogonal=blocked, generator=draws.generator, dtype=torch.float64
        )
        directions = drawn.view(rows, -1, width)[:, :count]
        found: Tensor = torch.func.vmap(lambda w: (features(query[None], w, kind) * features(key[None], w, kind)).sum())(directions)
        return found

    return part


def _wrong(exponent: float = -0.5, stretch: float = 1.0) -> Features:
    """Features with another factor of |u|² in the exponent, or other directions."""

    def features(inputs: Tensor, directions: Tensor, _: str) -> Tensor:
        along = stretch * inputs @ directions.mT
        return (along + exponent * inputs.square().sum(-1, keepdim=True)).exp() / math.sqrt(len(directions))

    return features


def _rooted(query: Tensor, key: Tensor, rows: int, count: int, draws: Draws) -> Tensor:
    """Directions of length sqrt(d), as some libraries have them: less noise, another mean."""
    drawn = draws.normal(rows, count, len(query))
    fixed = drawn / drawn.norm(dim=-1, keepdim=True) * math.sqrt(len(query))
    return torch.func.vmap(lambda w: (_wrong()(query[None], w, "") * _wrong()(key[None], w, "")).sum())(fixed)


def _every_kind(*parts_of: Estimates) -> Callable[..., list[Tensor]]:
    return lambda *arguments: [part(*arguments) for part in parts_of]


@experiment(
    "attention.exponential_kernel",
    part=_every_kind(*(estimates(kind, orthogonal=orthogonal) for kind in KINDS for orthogonal in (False, True))),
    mutants={
        "exp(+|u|²/2)": _every_kind(estimates(features=_wrong(0.5))),
        "no norm in the exponent": _every_kind(estimates(features=_wrong(0.0))),
        "|u|² for |u|²/2": _every_kind(estimates(features=_wrong(-1.0))),
        "directions twice as long": _every_kind(estimates(features=_wrong(stretch=2.0))),
        "directions of length sqrt(d)": _every_kind(_rooted),
    },
)
def exponential_kernel(part: Callable[..., list[Tensor]], draws: Draws) -> Iterator[Evidence]:
    """The mean of 3000 estimates of two directions each, all kinds, independent and at right angles."""
    for width, spread in ((2, 0.8), (4, 0.6), (3, 0.3)):
        query, key = _pair(draws, width, spread)
        query = query * (query @ key).sign()  # q near k: what is wrong with the norms shows
        for rows in part(query, key, 3000, 2, draws):
            measured, tolerance = sampling(rows, 5.0)
            yield held("attention.exponential_kernel", {"query": query.tolist(), "key": key.tolist()}, measured, tolerance)


@experiment(
    "attention.random_features",
    part=parts.random_features,
    mutants={
        "exp(+|u|²/2)": lambda u, w, kind: parts.random_features(u, w, kind) * u.square().sum(-1, keepdim=True).exp(),
        "not divided by sqrt(m)": lambda u, w, kind: parts.random_features(u, w, kind) * math.sqrt(len(w) + 1),
        "norm left out": _wrong(0.0),
        "one feature twice": lambda u, w, kind: parts.random_features(u, torch.cat([w[:1], w[:-1]]) * 1.01, kind),
    },
)
def random_features(part: Features, draws: Draws) -> Iterator[Evidence]:
    """One vector, 1 to 6 directions, every kind."""
    for number in range(24):
        width, kind = draws.integer(1, 5), KINDS[number % 3]
        inputs, directions = draws.normal(width), draws.normal(draws.integer(1, 6), width)
        arguments = {"inputs": inputs.tolist(), "directions": directions.tolist(), "kind": kind}
        found = part(inputs[None], directions, kind)[0]
        yield held("attention.random_features", arguments, found, rounding(40, 1 + found.abs().max().item()))


def _squared_errors(part: Estimates, draws: Draws, name: str, rows: int = 20_000) -> Iterator[Evidence]:
    """The mean squared error over many rows, at |q + k|² so small that it settles."""
    for width, spread, count in ((2, 0.15, 1), (4, 0.25, 2), (3, 0.1, 3), (6, 0.3, 2)):
        query, key = _pair(draws, width, spread)
        squares = (part(query, key, rows // count, count, draws) - (query @ key).exp()).square()
        measured, tolerance = sampling(squares, 5.0)
        yield held(name, {"query": query.tolist(), "key": key.tolist(), "directions": count}, measured, tolerance)


def _fewer(kind: str) -> Estimates:
    return lambda query, key, rows, _, draws: estimates(kind)(query, key, rows, 1, draws)


def _repeated(query: Tensor, key: Tensor, rows: int, count: int, draws: Draws) -> Tensor:
    return _fewer("positive")(query, key, rows, count, draws)


@experiment(
    "attention.positive_feature_variance",
    part=estimates("positive"),
    mutants={
        "one direction for all": _repeated,
        "hyperbolic": estimates("hyperbolic"),
        "directions twice as long": estimates(features=_wrong(stretch=2.0)),
    },
    how="confidence interval, small |q + k|",
)
def positive_feature_variance(part: Estimates, draws: Draws) -> Iterator[Evidence]:
    """Small norms: at large ones the mean hangs on draws too rare to see."""
    yield from _squared_errors(part, draws, "attention.positive_feature_variance")


@experiment(
    "attention.hyperbolic_feature_variance",
    part=estimates("hyperbolic"),
    mutants={
        "one direction for all": _fewer("hyperbolic"),
        "positive": estimates("positive"),
        "trigonometric": estimates("trigonometric"),
    },
    how="confidence interval, small |q + k|",
)
def hyperbolic_feature_variance(part: Estimates, draws: Draws) -> Iterator[Evidence]:
    """Small norms."""
    yield from _squared_errors(part, draws, "attention.hyperbolic_feature_variance")


@experiment(
    "attention.trigonometric_feature_variance",
    part=estimates("trigonometric"),
    mutants={
        "one direction for all": _fewer("trigonometric"),
        "positive": estimates("positive"),
        "hyperbolic": estimates("hyperbolic"),
    },
    how="confidence interval, small |q - k|",
)
def trigonometric_feature_variance(part: Estimates, draws: Draws) -> Iterator[Evidence]:
    """Small norms."""
    yield from _squared_errors(part, draws, "attention.trigonometric_feature_variance")


@experiment(
    "attention.orthogonal_feature_variance",
    part=estimates("positive", orthogonal=True),
    mutants={
        "one direction for all": _repeated,
        "directions twice as long": estimates(features=_wrong(stretch=2.0)),
        "no norm in the exponent": estimates(features=_wrong(0.0)),
    },
    how="confidence interval, small |q + k|",
)
def orthogonal_feature_variance(part: Estimates, draws: Draws) -> Iterator[Evidence]:
    """As many directions as the width, and fewer."""
    for width, count in ((2, 2), (4, 4), (4, 3)):
        query, key = _pair(draws, width, 0.4)
        squares = (part(query, key, 8000, count, draws) - (query @ key).exp()).square()
        measured, tolerance = sampling(squares, 5.0)
        arguments = {"query": query.tolist(), "key": key.tolist(), "directions": count}
        yield held("attention.orthogonal_feature_variance", arguments, measured, tolerance, Relation.AT_MOST)


# (query (1, d), keys (s, d), values (s, e), features, draws) -> the output (e)
Outputs = Callable[[Tensor, Tensor, Tensor, int, Draws], Tensor]


def output(query: Tensor, keys: Tensor, values: Tensor, features: int, draws: Draws) -> Tensor:
    """One query's output by the running part, scale 1, independent directions drawn anew."""
    return parts.random_feature_attention(
        query[None, None], keys[None, None], values[None, None],
        features=features, scale=1.0, orthogonal=False, generator=draws.generator,
    )[0, 0, 0]  # fmt: skip


@experiment(
    "attention.feature_output_error",
    part=output,
    mutants={
        "half the features": lambda q, k, v, m, draws: output(q, k, v, m // 2, draws),
        "the mean of the values": lambda q, k, v, m, draws: v.mean(0),  # noqa: ARG005
        "queries scaled": lambda q, k, v, m, draws: output(q / 2, k, v, m, draws),
    },
    how="confidence interval, first order in 1/m",
)
def feature_output_error(part: Outputs, draws: Draws) -> Iterator[Evidence]:
    """300 runs with new directions each, for three sets of keys; what the first order leaves out is allowed for."""
    for width, count, features in ((2, 5, 64), (4, 8, 96), (3, 4, 128)):
        query, keys, values = 0.5 * draws.normal(1, width), 0.5 * draws.normal(count, width), draws.normal(count, 2)
        exact = (keys @ query[0]).softmax(0) @ values
        errors = torch.stack([(part(query, keys, values, features, draws) - exact).square().sum() for _ in range(300)])
        measured, tolerance = sampling(errors, 5.0)
        arguments: dict[str, Any] = {
            "query": query[0].tolist(), "keys": keys.tolist(), "values": values.tolist(), "features": features,
        }  # fmt: skip
        worst = torch.expm1((query + keys).square().sum(1)).max().item()
        beyond = Amount(3 * worst / features * predicted_error(**arguments), "the next order of the ratio, 3 exp(|q + k|²) / m")
        yield held("attention.feature_output_error", arguments, measured, Tolerance(beyond, tolerance.sampling))


@experiment(
    "attention.features_needed",
    part=estimates("positive"),
    mutants={
        "one direction for all": _repeated,
        "hyperbolic": estimates("hyperbolic"),
        "directions twice as long": estimates(features=_wrong(stretch=2.0)),
    },
    how="confidence interval, small |q + k|",
)
def features_needed(part: Estimates, draws: Draws) -> Iterator[Evidence]:
    """The squared error that 4 features leave, and so the number that brings it down to what is wanted."""
    for width, spread, error in ((2, 0.15, 0.1), (4, 0.25, 0.05), (6, 0.2, 0.2)):
        query, key = _pair(draws, width, spread)
        relative = part(query, key, 6000, 4, draws) / (query @ key).exp() - 1
        needed, tolerance = sampling(4 * relative.square() / error**2, 5.0)
        variance = torch.expm1((query + key).square().sum()).item()
        rounded = Amount(1.0, "a whole number")
        arguments = {"variance": variance, "error": error}
        yield held("attention.features_needed", arguments, needed, Tolerance(rounded, tolerance.sampling))


def _slope(numbers: list[int], errors: list[float]) -> float:
    """Least squares through the logarithms."""
    x, y = (torch.tensor(one, dtype=torch.float64).log() for one in (numbers, errors))
    return (((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()).item()


@experiment(
    "attention.feature_error_slope",
    part=output,
    mutants={
        "never more than 32 features": lambda q, k, v, m, draws: output(q, k, v, min(m, 32), draws),
        "an offset that stays": lambda q, k, v, m, draws: output(q, k, v, m, draws) + 0.05,
        "the mean of the values": lambda q, k, v, m, draws: v.mean(0),  # noqa: ARG005
    },
    how="60 runs a point, |q + k| small",
)
def feature_error_slope(part: Outputs, draws: Draws) -> Iterator[Evidence]:
    """Root mean squares of 60 runs at five numbers of features, q and k of spread 0.3."""
    numbers, runs = [16, 64, 256, 1024, 4096], 60
    query, keys, values = 0.3 * draws.normal(1, 4), 0.3 * draws.normal(6, 4), draws.normal(6, 2)
    exact = (keys @ query[0]).softmax(0) @ values

    def error(features: int) -> float:
        squares = [(part(query, keys, values, features, draws) - exact).square().sum().item() for _ in range(runs)]
        return math.sqrt(sum(squares) / runs)

    # The log of a root of a mean of `runs` squares spreads by about 1 / sqrt(2 runs); the slope by that over the spread of log m.
    spread = 5 / math.sqrt(2 * runs) / math.sqrt(sum((math.log(m) - math.log(256)) ** 2 for m in numbers))
    tolerance = Tolerance(sampling=Amount(spread, f"5 standard errors of a slope through 5 points of {runs} runs"))
    yield held(
        "attention.feature_error_slope", {"first": 16, "last": 4096}, _slope(numbers, [error(m) for m in numbers]), tolerance
    )
