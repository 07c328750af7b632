"""Linear regression whose features are multiplied by independent noise: a penalty in expectation, and its closed solution.

Rows of `features` are examples; the noise has one draw for each entry, all with the same mean and variance. One draw for each
column, shared by all rows, gives the same expectation.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

Rows = Sequence[Sequence[float]]
_NOISE = "noise of this mean and variance, independent over the features of a row, independent of features and targets"


def _checked(features: Rows, targets: Sequence[float], mean: float, variance: float) -> None:
    widths = {len(row) for row in features}
    if len(widths) != 1 or len(features) != len(targets):
        message = f"rows of one length and a target for each are needed; rows of {sorted(widths)} and {len(targets)} targets came"
        raise InvariantError(message)
    if variance < 0 or not all(math.isfinite(one) for one in (mean, variance, *targets, *(x for row in features for x in row))):
        message = f"finite numbers and a variance of 0 or more are needed; mean {mean}, variance {variance} came"
        raise InvariantError(message)


@law(
    "noise.noisy_loss",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=(_NOISE,),
    sources=(
        "derivation: E(y - sum n_j x_j w_j)² = (y - mu x·w)² + sigma² sum x_j² w_j², summed over rows",
        "Srivastava et al. 2014, section 9.1 (dropout)", "Wager, Wang and Liang 2013",
    ),
)  # fmt: skip
def noisy_loss(features: Rows, targets: Sequence[float], weights: Sequence[float], mean: float, variance: float) -> float:
    """Features multiplied by noise give the expected loss ‖y - mu X w‖² + sigma² ‖Gamma w‖², Gamma² the diagonal of XᵀX.

    Dropout is the noise of `mask_moments`.

    >>> noisy_loss([[1.0], [2.0]], [1.0, 1.0], [1.0], mean=0.5, variance=0.25)
    1.5
    """
    _checked(features, targets, mean, variance)
    if len(weights) != len(features[0]):
        message = f"a regression has one weight a feature; {len(weights)} weights and {len(features[0])} features came"
        raise InvariantError(message)
    fitted = [mean * math.fsum(x * w for x, w in zip(row, weights, strict=True)) for row in features]
    misfit = math.fsum((y - one) ** 2 for y, one in zip(targets, fitted, strict=True))
    return misfit + variance * math.fsum(x**2 * w**2 for row in features for x, w in zip(row, weights, strict=True))


@law(
    "noise.noisy_solution",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=(_NOISE, "features that are not linearly dependent, or a variance above 0 and no feature that is 0 throughout"),
    sources=("the normal equations of noise.noisy_loss", "Srivastava et al. 2014, section 9.1: ridge regression"),
)
def noisy_solution(features: Rows, targets: Sequence[float], mean: float, variance: float) -> tuple[float, ...]:
    """The weights of least expected loss solve (mu² XᵀX + sigma² Gamma²) w = mu Xᵀy: a ridge scaled by each feature's size.

    >>> noisy_solution([[1.0], [2.0]], [1.0, 1.0], mean=1.0, variance=0.2)
    (0.5,)
    """
    _checked(features, targets, mean, variance)
    columns = list(zip(*features, strict=True))
    rows = []
    for j, one in enumerate(columns):
        products = [mean**2 * math.fsum(a * b for a, b in zip(one, other, strict=True)) for other in columns]
        products[j] += variance * math.fsum(a**2 for a in one)
        rows.append([*products, mean * math.fsum(a * y for a, y in zip(one, targets, strict=True))])
    return _solved(rows)


def _solved(rows: list[list[float]]) -> tuple[float, ...]:
    """A symmetric positive definite system, its right side in the last column, by elimination: such matrices need no pivoting."""
    size = len(rows)
    for j in range(size):
        if rows[j][j] == 0:
            message = f"feature {j} adds nothing to the others: the expected loss has no single minimum; leave it out, or add noise"
            raise InvariantError(message)
        for i in range(j + 1, size):
            factor = rows[i][j] / rows[j][j]
            rows[i] = [below - factor * above for below, above in zip(rows[i], rows[j], strict=True)]
    found: list[float] = [0.0] * size
    for j in reversed(range(size)):
        known = sum(rows[j][k] * found[k] for k in range(j + 1, size))
        found[j] = (rows[j][size] - known) / rows[j][j]
    return tuple(found)
