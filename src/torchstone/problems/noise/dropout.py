"""A5: dropout that does not rescale, in front of a dense layer, by sampling its masks."""

from collections.abc import Iterator

import sympy
import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Claim, Posted
from torchstone.core.quantity import Amount, Tolerance
from torchstone.parts import unscaled_dropout, weight_scaling_inference
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import claimed, compared, found, generator, value, worst

LAW = "noise.dropped_expectation"
MASKS, INPUTS, ERRORS = 20_000, 6, 4.0
CHANCES = (0.2, 0.5, 0.8)


def _unit() -> tuple[nn.Linear, Tensor]:
    """A real dense unit in float64 and one input."""
    linear, source = nn.Linear(INPUTS, 1).double(), generator(5)
    for parameter in linear.parameters():
        nn.init.normal_(parameter, generator=source)
    return linear.requires_grad_(requires_grad=False), torch.randn(INPUTS, generator=source, dtype=torch.float64)


def _mean(linear: nn.Linear, inputs: Tensor, p: float) -> tuple[float, Tolerance]:
    """The mean output over masks, and the tolerance that their number leaves."""
    outputs = linear(unscaled_dropout(inputs.expand(MASKS, INPUTS), p, generator=generator(6)))
    error = outputs.std().item() / MASKS**0.5
    return outputs.mean().item(), Tolerance(sampling=Amount(ERRORS * error, f"{ERRORS:g} standard errors of {MASKS} masks"))


@answers("A5")
def dropout_weights(posted: Posted) -> Answer:
    """The weights that keep the expected output."""
    w, v, x, p = sympy.symbols("W V x p")
    expected = p * (w * 0) + (1 - p) * (w * x)
    (solution,) = sympy.solve(sympy.Eq(v * x, expected), v)
    output, solution = sympy.collect(sympy.expand(expected), w * x), sympy.collect(sympy.expand(solution), w)
    return Answer(
        says=(f"W' = {solution}, with the bias as it is: {_example()}",),
        derivation=(
            f"an input x is 0 with probability p and x with 1 - p, so W x is expected to be {output}",
            f"W' x = {output} for every x gives W' = {solution}; the bias is not dropped",
            "the other way round: nn.Dropout multiplies the survivors by 1/(1-p) while training, and W stays as it is",
        ),
        evidence=(*proved(LAW, "noise.inference_weight"), worst(_converted())),
        claims=tuple(_weight_claims(posted)),
    )


def _example() -> str:
    """The factor between the layer that `weight_scaling_inference` makes and the one that it was given."""
    linear, _ = _unit()
    factors = [(weight_scaling_inference(linear, p).weight / linear.weight).mean().item() for p in CHANCES]
    return ", ".join(f"{factor:g} W at p = {p:g}" for factor, p in zip(factors, CHANCES, strict=True))


def _converted() -> Iterator[Evidence]:
    """The converted layer without dropout against the mean over masks of the layer behind dropout."""
    linear, inputs = _unit()
    for p in CHANCES:
        mean, tolerance = _mean(linear, inputs, p)
        output = weight_scaling_inference(linear, p)(inputs).item()
        yield compared(LAW, output, mean, tolerance, f"weight_scaling_inference, p = {p:g}")


def _weight_claims(posted: Posted) -> Iterator[Claim]:
    if "weight" in posted.claims:
        expression = str(posted.claims["weight"])
        yield claimed("weight", _claimed_outputs(expression), _said)


def _said(held: Evidence) -> str:
    return f"{held.how} give {held.predicted.value:.4g} without dropout; with it the mean over {MASKS} masks is {found(held):.4g}"


def _claimed_outputs(expression: str) -> Iterator[Evidence]:
    """The output without dropout with each weight replaced by the claimed expression in W and p."""
    linear, inputs = _unit()
    for p in CHANCES:
        mean, tolerance = _mean(linear, inputs, p)
        weights = torch.tensor([value(expression, W=one, p=p) for one in linear.weight[0].tolist()], dtype=torch.float64)
        output = (weights @ inputs + linear.bias).item()
        yield compared(LAW, output, mean, tolerance, f"at p = {p:g} the weights {expression}")
