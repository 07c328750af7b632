"""Dropout that does not rescale, and the dense layer that takes its place when it is off."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchstone.core.errors import UsageError


def _check(p: float) -> None:
    if not 0 <= p <= 1:
        message = f"dropout zeroes with a probability in [0, 1]; p={p} came"
        raise UsageError(message)


def unscaled_dropout(
    input: Float[Tensor, "*shape"],  # noqa: A002 - torch.nn's name
    p: float = 0.5,
    training: bool = True,  # noqa: FBT001, FBT002 - torch.nn.functional's arguments
    inplace: bool = False,  # noqa: FBT001, FBT002
    *,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*shape"]:
    """Zero each element with probability p and leave the others as they are; while not training, leave all.

    Unlike `torch.nn.functional.dropout`, the survivors are not multiplied by 1/(1-p): the expected output is (1-p) input.
    Input and output have one shape, any. `generator` is where the mask is drawn from; torch's own by default.

    Raises UsageError if p is no probability. Source: Srivastava et al. 2014, section 4.
    """
    _check(p)
    if not training or p == 0:
        return input
    kept = torch.empty_like(input).bernoulli_(1 - p, generator=generator)
    return input.mul_(kept) if inplace else input * kept


class UnscaledDropout(nn.Module):
    """Dropout without rescaling, with `nn.Dropout`'s arguments: training zeroes with probability p, evaluation changes nothing.

    A dense layer behind it must be converted before evaluation: see `weight_scaling_inference`.
    Input and output have one shape, any. Raises UsageError if p is no probability.

    >>> UnscaledDropout(p=0.25)
    UnscaledDropout(p=0.25, inplace=False)
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:  # noqa: FBT001, FBT002 - torch.nn's arguments
        super().__init__()
        _check(p)
        self.p, self.inplace = p, inplace

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:  # noqa: A002 - torch.nn's name
        """Elementwise: zero with probability p in training, input in evaluation."""
        return unscaled_dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        """The arguments, for printing the network."""
        return f"p={self.p}, inplace={self.inplace}"


@torch.no_grad()
def weight_scaling_inference(linear: nn.Linear, p: float) -> nn.Linear:
    """The dense layer to use without the unscaled dropout that it was trained behind: weights (1-p) W, the same bias.

    With dropout switched off its output is the expected output of `linear` behind `UnscaledDropout(p)`, for every input.
    A copy comes back: dtype, device, `requires_grad` and mode are kept, `linear` stays as it is.

    Raises UsageError if p is no probability or `linear` is no `nn.Linear`.
    Source: Goodfellow et al. 2016, section 7.12, the weight scaling inference rule; final exam, question A5.

    >>> weight_scaling_inference(nn.Linear(3, 2), p=0.25)
    Linear(in_features=3, out_features=2, bias=True)
    """
    _check(p)
    if type(linear) is not nn.Linear:
        message = f"an nn.Linear is scaled for inference; {type(linear).__name__} came: convert its linear layers one by one"
        raise UsageError(message)
    scaled = nn.Linear(linear.in_features, linear.out_features, bias=False, device="meta")  # no storage, no draw of random numbers
    scaled.weight = nn.Parameter((1 - p) * linear.weight, linear.weight.requires_grad)
    if linear.bias is not None:
        scaled.bias = nn.Parameter(linear.bias.clone(), linear.bias.requires_grad)
    return scaled.train(linear.training)
