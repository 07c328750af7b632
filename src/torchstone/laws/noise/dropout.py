"""Dropout: its mask's mean and variance, and what takes the place of dropout that does not rescale when it is switched off."""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


def _check(p: float, *numbers: float) -> None:
    if not 0 <= p <= 1:
        message = f"a probability lies in [0, 1]; {p} came"
        raise InvariantError(message)
    if not all(math.isfinite(one) for one in numbers):
        message = f"finite inputs, weights and bias are needed; {list(numbers)} came"
        raise InvariantError(message)


@law(
    "noise.dropped_expectation",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=("every input is zeroed with probability p, the others pass unchanged", "the layer behind is linear in its inputs"),
    sources=("linearity of the expectation with E[mask] = 1 - p", "Srivastava et al. 2014, section 4"),
)
def dropped_expectation(inputs: Sequence[float], weights: Sequence[float], bias: float, p: float) -> float:
    """A dense unit whose inputs are zeroed with probability p, not rescaled, is expected to give (1-p) w·x + b.

    Breaks when: the survivors are multiplied by 1/(1-p), as `nn.Dropout` does; the expectation is then w·x + b.

    >>> dropped_expectation([1.0, 2.0], [3.0, 4.0], bias=5.0, p=0.5)
    10.5
    """
    if len(inputs) != len(weights):
        message = f"a dense unit has one weight an input; {len(weights)} weights and {len(inputs)} inputs came"
        raise InvariantError(message)
    _check(p, *inputs, *weights, bias)
    return (1 - p) * math.fsum(w * x for w, x in zip(weights, inputs, strict=True)) + bias


@law(
    "noise.inference_weight",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("every input is zeroed with probability p, the others pass unchanged", "the bias stays as it is"),
    sources=("Srivastava et al. 2014, section 4", "Goodfellow et al. 2016, section 7.12: the weight scaling inference rule"),
)
def inference_weight(weight: float, p: float) -> float:
    """With dropout that does not rescale switched off, weights of (1-p) W keep a dense layer's expected output; the bias stays.

    It is the only choice that does so for every input: (W' - (1-p) W) x = 0 for all x.

    >>> inference_weight(4.0, p=0.25)
    3.0
    """
    _check(p, weight)
    return (1 - p) * weight


@law(
    "noise.mask_moments",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=("every entry of the mask is drawn on its own",),
    sources=("a Bernoulli variable's mean and variance, times the factor 1/(1-p) and its square where survivors are rescaled",),
)
def mask_moments(p: float, *, rescaled: bool = False) -> tuple[float, float]:
    """Dropout multiplies by a mask of mean 1-p and variance p(1-p); rescaled, as `nn.Dropout`, of mean 1 and variance p/(1-p).

    >>> mask_moments(0.25), mask_moments(0.5, rescaled=True)
    ((0.75, 0.1875), (1.0, 1.0))
    """
    _check(p)
    if not rescaled:
        return 1 - p, p * (1 - p)
    if p == 1:
        message = "survivors are rescaled by 1/(1-p): with p = 1 there are none; give p below 1"
        raise InvariantError(message)
    return 1.0, p / (1 - p)
