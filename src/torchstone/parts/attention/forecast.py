"""What error random-feature attention will have, before it is run: from the queries, keys and values themselves.

The estimate is a ratio of two means over features, so for many features its squared error at query i, with weights p and output o,
is

    E |estimate - o|² = 1/m sum over j, l of p_j p_l exp((q + k_j)·(q + k_l)) (v_j - o)·(v_l - o)

(law attention.feature_output_error). Axis letters: b batch, h heads, t queries, s keys, d width, e width of values, n rows sampled.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchstone.core.errors import UsageError
from torchstone.laws.attention.features import features_needed


@dataclass(frozen=True)
class FeatureForecast:
    """What positive random features will do to given queries, keys and values.

    variance: m times the expected squared error of the output, over the squared norm of the exact output; iid directions.
    uniform_error: relative error of replying the mean of the values to every query, whatever it asks.
    sum_of_squares: median |q + k|² sqrt-scaled, over sampled pairs: one pair's estimate has relative variance (exp of it - 1) / m.
    """

    variance: float
    uniform_error: float
    sum_of_squares: float

    def error(self, features: int) -> float:
        """Relative error of the output with so many features, sqrt(variance / m). Meant for errors below 1; larger saturate."""
        return math.sqrt(self.variance / features)

    def features_needed(self, error: float) -> float:
        """Features for a wanted relative error, variance / error², as a whole number; inf where it is beyond float64.

        Raises UsageError for an error that is not positive.
        """
        if not error > 0:
            message = f"the wanted relative error is positive, such as 0.1; {error} came"
            raise UsageError(message)
        return float(features_needed(self.variance, error)) if math.isfinite(self.variance) else math.inf

    @property
    def features_worth(self) -> float:
        """Features below which the mean of the values is the better reply; inf where that reply is exact."""
        return self.features_needed(self.uniform_error) if self.uniform_error > 0 else math.inf

    def __str__(self) -> str:
        return (
            f"relative error sqrt({self.variance:.3g} / m): {self.features_needed(0.1):.3g} features for 0.1; "
            f"the mean of the values has {self.uniform_error:.3g}, fewer than {self.features_worth:.3g} are worse than none"
        )


def forecast_features(
    query: Float[Tensor, "b h t d"],
    key: Float[Tensor, "b h s d"],
    value: Float[Tensor, "b h s e"],
    *,
    scale: float | None = None,
    key_padding_mask: Bool[Tensor, "b s"] | None = None,
    queries: int = 32,
    keys: int = 512,
    generator: torch.Generator | None = None,
) -> FeatureForecast:
    """Forecast the error of random_feature_attention(query, key, value) with positive features, without causal mask.

    Computed in float64 on `queries` rows drawn from all heads, each against at most `keys` keys of its head, without gradients;
    `generator` (of the CPU) draws both. Orthogonal directions have somewhat less error than forecast. Heavy tails: where the
    forecast exceeds 1, a single run usually shows less than it, as the mean is carried by rare draws. Keys that are padding (True
    in the mask) are not drawn. Raises UsageError where there is no query or no key, and for a scale that is not positive.
    """
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    batch, heads, length = query.shape[:3]
    if not scale > 0 or 0 in (*query.shape, *key.shape):
        came = f"scale {scale}, {tuple(query.shape)}, {tuple(key.shape)}"
        message = f"a forecast needs a positive scale, a query and a key; {came} came"
        raise UsageError(message)
    rows = torch.randperm(batch * heads * length, generator=generator)[:queries]
    variances, outputs, means, sums = [], [], [], []
    for row in rows.tolist():
        head, position = divmod(row, length)
        b, h = divmod(head, heads)
        drawn = _drawn(key.shape[2], keys, None if key_padding_mask is None else key_padding_mask[b], generator).to(key.device)
        one = query[b, h, position].detach().double() * math.sqrt(scale)
        others, contents = key[b, h, drawn].detach().double() * math.sqrt(scale), value[b, h, drawn].detach().double()
        variance, output = _at_one_query(one, others, contents)
        variances.append(variance)
        outputs.append(output.square().sum())
        means.append((contents.mean(0) - output).square().sum())
        sums.append((one + others).square().sum(-1))
    whole = torch.stack(outputs).sum()
    return FeatureForecast(
        variance=(torch.stack(variances).sum() / whole).item(),
        uniform_error=(torch.stack(means).sum() / whole).sqrt().item(),
        sum_of_squares=torch.cat(sums).median().item(),
    )


def _drawn(length: int, count: int, padding: Tensor | None, generator: torch.Generator | None) -> Tensor:
    """Indices of keys, at most `count`, drawn without replacement."""
    allowed = torch.arange(length) if padding is None else (~padding.cpu()).nonzero().flatten()
    if not len(allowed):
        message = "a forecast needs a key in every sequence; key_padding_mask hides all of one"
        raise UsageError(message)
    return allowed[torch.randperm(len(allowed), generator=generator)[:count]]


def _at_one_query(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """M times the expected squared error at one query, and its exact output."""
    weights = (keys @ query).softmax(0)
    output = weights @ values
    parts = weights.unsqueeze(-1) * (values - output)
    shifted = query + keys
    exponents = shifted @ shifted.mT
    return ((parts @ parts.mT) * exponents.exp()).sum(), output
