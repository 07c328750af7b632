"""torchstone.parts' separable layer against the ordinary kernel that it is, and the kernels that it can come near to."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import jacrev

from torchstone import parts
from torchstone.core.evidence import Evidence, Relation
from torchstone.proofs.draws import Draws, adversarial
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Part = Callable[..., Any]
Layer = parts.DepthwiseSeparableConv2d


def _filled(layer: nn.Module, draws: Draws) -> None:
    """Weights from the draws, not from torch's global generator."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(draws.normal(*parameter.shape))


def _running(layer: Layer, x: Tensor) -> Tensor:
    output: Tensor = layer(x)
    return output


def _strided(layer: Layer, x: Tensor) -> Tensor:
    """Mixtures that take filter j of channel c to be number j channels + c."""
    inner = layer.depthwise(x)
    order = torch.arange(inner.shape[0]).view(layer.depthwise.in_channels, -1).t().flatten()
    output: Tensor = layer.pointwise(inner[order])
    return output


@experiment(
    "convolution.separable_kernel",
    part=_running,
    mutants={
        "filters of a channel taken apart": _strided,
        "an activation between the halves": lambda layer, x: layer.pointwise(layer.depthwise(x).relu()),
        "pointwise before depthwise": lambda layer, x: (
            layer.depthwise(x).sum(0, keepdim=True).expand(layer.pointwise.out_channels, 1, 1)
        ),
    },
    how="float64, of jacrev",
)
def separable_kernel(part: Part, draws: Draws) -> Iterator[Evidence]:
    """The Jacobian of the running layer on an input as large as its kernel is the kernel."""
    for _ in range(12):
        channels, filters, rank, high, wide = (*draws.integers(1, 3, 3), *draws.integers(1, 3, 2))
        layer = Layer(channels + 1, filters, (high, wide), depth_multiplier=rank + 1, dtype=torch.float64)
        _filled(layer, draws)
        x = draws.normal(channels + 1, high, wide)
        found: Tensor = jacrev(lambda x, layer=layer: part(layer, x))(x)
        arguments = {
            "depthwise": layer.depthwise.weight.flatten(1).tolist(),
            "pointwise": layer.pointwise.weight.flatten(1).tolist(),
            "rank": rank + 1,
        }
        for kernel in (found.reshape(filters, channels + 1, -1), layer.kernel()):
            yield held("convolution.separable_kernel", arguments, kernel, rounding(20, 10))


def _fitted(conv: nn.Conv2d, rank: int) -> Tensor:
    return Layer.from_conv2d(conv, rank).kernel()


def _by_filter(conv: nn.Conv2d, rank: int) -> Tensor:
    """Truncates the matrix (c x taps) of every filter instead of the matrix (o x taps) of every channel."""
    left, values, right = torch.linalg.svd(conv.weight.flatten(2), full_matrices=False)
    kernel: Tensor = (left[..., :rank] * values[:, None, :rank]) @ right[:, :rank]
    return kernel.view_as(conv.weight)


@experiment(
    "convolution.separable_error",
    part=_fitted,
    mutants={
        "truncated by filter, not by channel": _by_filter,
        "singular values left out": lambda conv, rank: nn.functional.normalize(_fitted(conv, rank).flatten(2), dim=2).view_as(
            conv.weight
        ),
        "the mean filter": lambda conv, _: conv.weight.mean(0, keepdim=True).expand_as(conv.weight),
        "one rank fewer": lambda conv, rank: _fitted(conv, rank - 1) if rank > 1 else torch.zeros_like(conv.weight),
    },
    how="float64; competitors random + adversarial",
)
def separable_error(part: Part, draws: Draws) -> Iterator[Evidence]:
    """The fit attains the error; no random kernel of its rank, and none led by the gradient, comes closer."""
    for _ in range(5):
        channels, filters, rank = draws.integer(1, 3), draws.integer(3, 6), draws.integer(1, 2)
        conv = nn.Conv2d(channels, filters, 3, dtype=torch.float64)
        _filled(conv, draws)
        weight = conv.weight.detach()
        values = torch.linalg.svdvals(weight.flatten(2).transpose(0, 1))
        arguments = {"singular_values": values.tolist(), "rank": rank}
        yield held("convolution.separable_error", arguments, (part(conv, rank) - weight).norm(), rounding(200, 10))

        def nearness(factors: Tensor, weight: Tensor = weight) -> Tensor:
            depthwise, pointwise = factors[:, :9], factors[:, 9:]  # (c, 9, r) and (c, o, r)
            distance: Tensor = (torch.einsum("ckr,cor->ock", depthwise, pointwise) - weight.flatten(2)).norm()
            return -distance

        start = 0.5 * draws.normal(channels, 9 + filters, rank)
        for factors in (start, adversarial(nearness, start, steps=60, rate=0.3)):
            yield held("convolution.separable_error", arguments, -nearness(factors), rounding(200, 10), Relation.AT_LEAST)
