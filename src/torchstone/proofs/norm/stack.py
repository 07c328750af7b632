"""Stacks of real encoder layers against the laws of normalisation before and after.

A layer whose sub-layers are identities is a `TransformerEncoderLayer` like any other: attention over one position with identity
values, and a feed-forward network with the weights (1, -1), for which relu(x) - relu(-x) = x.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone import parts
from torchstone.core.evidence import Evidence, Relation
from torchstone.proofs.draws import Draws, adversarial
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding, sampling

# (x (d), norm_first) -> the stream behind one more layer (d)
Layer = Callable[..., Tensor]
WIDTHS, DEPTHS = (3, 4, 8), (1, 2, 6)


@cache
def identity_layer(width: int, *, norm_first: bool) -> parts.TransformerEncoderLayer:
    """A real layer, in float64, whose attention and feed-forward network return what they read."""
    layer = parts.TransformerEncoderLayer(
        width, 1, 2 * width, 0.0, layer_norm_eps=0.0, norm_first=norm_first, bias=False, dtype=torch.float64
    )
    one = torch.eye(width, dtype=torch.float64)
    with torch.no_grad():
        layer.self_attn.in_proj_weight.copy_(one.repeat(3, 1))
        layer.self_attn.out_proj.weight.copy_(one)
        layer.linear1.weight.copy_(torch.cat([one, -one]))
        layer.linear2.weight.copy_(torch.cat([one, -one], 1))
    return layer.requires_grad_(requires_grad=False)


def through(x: Tensor, *, norm_first: bool) -> Tensor:
    """One identity layer at one position."""
    output: Tensor = identity_layer(len(x), norm_first=norm_first)(x.unsqueeze(0))
    return output.squeeze(0)


def _sums(x: Tensor, count: int, *, norm_first: bool) -> Tensor:
    """Residual sums over identities, spelt out."""
    for _ in range(count):
        x = parts.residual(x, lambda y: 1.0 * y, lambda y: parts.normalize(parts.demean(y)), norm_first=norm_first)
    return x


WRONG: dict[str, Layer] = {
    "pre and post exchanged": lambda x, *, norm_first: through(x, norm_first=not norm_first),
    "one sum a layer": lambda x, *, norm_first: _sums(x, 1, norm_first=norm_first),
    "three sums a layer": lambda x, *, norm_first: _sums(x, 3, norm_first=norm_first),
    "no normalisation": lambda x, *, norm_first: 4 * x + 0 * norm_first,
    "no residual": lambda x, *, norm_first: parts.normalize(parts.demean(x)) * (3 if norm_first else 1),
    "gradient of the deviation stopped": lambda x, *, norm_first: (
        x + 2 * x / x.square().mean().sqrt().detach() if norm_first else x / x.square().mean().sqrt().detach()
    ),
}
# With that gradient stopped the stream is right, and so is the bound: what it lets pass grows no more than the rest.
WRONG_VALUES = {name: broken for name, broken in WRONG.items() if "stopped" not in name}


def starts(draws: Draws, copies: int) -> Iterator[tuple[Tensor, int, bool]]:
    """Normalised vectors, depths, and either kind of normalisation."""
    for width in WIDTHS * copies:
        for layers in DEPTHS:
            for norm_first in (True, False):
                yield parts.normalize(parts.demean(draws.normal(width))), layers, norm_first


@experiment("norm.identity_stream", part=through, mutants=WRONG_VALUES)
def identity_stream(part: Layer, draws: Draws) -> Iterator[Evidence]:
    """Component along x0, and length, after 1 to 6 layers: both are the factor only where the stream is that multiple of x0."""
    for start, layers, norm_first in starts(draws, 3):
        stream = start
        for _ in range(layers):
            stream = part(stream, norm_first=norm_first)
        arguments = {"layer": layers, "norm_first": norm_first}
        for found in (stream @ start / len(start), stream.norm() / math.sqrt(len(start))):
            yield held("norm.identity_stream", arguments, found, rounding(40 * layers, 2 * layers + 1))


def climb(part: Layer, start: Tensor, layers: int, layer: int, *, norm_first: bool = True) -> Callable[[Tensor], Tensor]:
    """From the gradient by the stream after the last layer to that after layer `layer`, by the Jacobian that autograd gives."""
    stream = start
    for _ in range(layer):
        stream = part(stream, norm_first=norm_first)
    lower = stream.detach().requires_grad_()
    upper = 1.0 * lower
    for _ in range(layers - layer):
        upper = part(upper, norm_first=norm_first)
    jacobian = torch.stack([torch.autograd.grad(one, lower, retain_graph=True)[0] for one in upper])

    def descend(gradient: Tensor) -> Tensor:
        lower_gradient: Tensor = gradient @ jacobian
        return lower_gradient

    return descend


@experiment("norm.identity_gradient", part=through, mutants=WRONG, how="autograd, float64")
def identity_gradient(part: Layer, draws: Draws) -> Iterator[Evidence]:
    """Random gradients, below every layer of stacks of 1 to 6."""
    for start, layers, norm_first in starts(draws, 1):
        gradient = draws.normal(len(start))
        for layer in range(layers + 1):
            found = climb(part, start, layers, layer, norm_first=norm_first)(gradient)
            arguments = {"start": start.tolist(), "gradient": gradient.tolist(), "layers": layers, "layer": layer}
            tolerance = rounding(60 * (layers + 1), (2 * layers + 1) * gradient.abs().max().item())
            yield held("norm.identity_gradient", {**arguments, "norm_first": norm_first}, found, tolerance)


def of_length(gradient: Tensor) -> Tensor:
    """A gradient of norm sqrt(d)."""
    scaled: Tensor = gradient * (math.sqrt(len(gradient)) / gradient.norm())
    return scaled


def orthogonal(gradient: Tensor, start: Tensor) -> Tensor:
    """What is left of a gradient off 1 and x0."""
    centred = gradient - gradient.mean()
    return centred - start * (centred @ start / len(start))


@experiment("norm.identity_gradient_bound", part=through, mutants=WRONG_VALUES)
def identity_gradient_bound(part: Layer, draws: Draws) -> Iterator[Evidence]:
    """Gradients at random, gradients that ascent has chosen, and one orthogonal to 1 and x0, which attains the bound."""
    name = "norm.identity_gradient_bound"
    for width in WIDTHS:
        start = parts.normalize(parts.demean(draws.normal(width)))
        for layers, layer in ((6, 0), (6, 3), (6, 6), (3, 1)):
            descend = climb(part, start, layers, layer)
            arguments = {"width": width, "layers": layers, "layer": layer}
            tolerance = rounding(60 * (layers + 1), (2 * layers + 1) * math.sqrt(width))
            drawn = draws.normal(width)
            chosen = adversarial(lambda g, descend=descend: descend(of_length(g)).norm(), drawn, 20, 0.3)  # type: ignore[misc]
            for gradient in (drawn, chosen):
                yield held(name, arguments, descend(of_length(gradient)).norm(), tolerance, Relation.AT_MOST)
            yield held(name, arguments, descend(of_length(orthogonal(drawn, start))).norm(), tolerance)


def _xavier(layer: nn.Module) -> None:
    """Every d x d matrix of a layer from N(0, 1/d), which is Xavier's choice for it."""
    for weight in layer.parameters():
        if weight.dim() == 2:  # noqa: PLR2004 - a matrix
            nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[1]))


def untrained(layers: int, width: int, positions: int, seed: int, *, norm_first: bool) -> tuple[nn.ModuleList, Tensor]:
    """A stack of real layers as drawn, in float32, and the stream behind it: inputs of mean square 1, (8, t, d)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings: dict[str, Any] = {"batch_first": True, "norm_first": norm_first, "bias": False}
        made = nn.ModuleList(parts.TransformerEncoderLayer(width, 4, width, 0.0, **settings) for _ in range(layers))
        for layer in made:
            _xavier(layer)
        stream = torch.randn(8, positions, width)
        stream = functional.layer_norm(stream, (width,))
        for layer in made:
            stream = layer(stream)
    return made, stream


@experiment(
    "norm.stream_variance",
    part=untrained,
    mutants={
        "post-normalisation": lambda *sizes, norm_first: untrained(*sizes, norm_first=not norm_first),
        "half the layers": lambda layers, *sizes, norm_first: untrained(layers // 2, *sizes, norm_first=norm_first),
        "twice the layers": lambda layers, *sizes, norm_first: untrained(2 * layers, *sizes, norm_first=norm_first),
    },
)
def stream_variance(part: Callable[..., tuple[nn.ModuleList, Tensor]], draws: Draws) -> Iterator[Evidence]:
    """Stacks of 2 and 6 layers: equal with one position, and between the ends with sixteen."""
    name = "norm.stream_variance"
    with torch.no_grad():
        for layers in (2, 6):
            for positions in (1, 16):
                seeds = draws.integers(0, 2**31, 16)
                streams = [part(layers, 64, positions, seed, norm_first=True)[1].square().mean() for seed in seeds]
                mean, tolerance = sampling(torch.stack(streams).double())
                ends = [(1.0, Relation.EQUAL)] if positions == 1 else [(0.0, Relation.AT_LEAST), (1.0, Relation.AT_MOST)]
                for attended, relation in ends:
                    yield held(name, {"layers": layers, "attended": attended}, mean, tolerance, relation)


def last_gradient(layers: int, width: int, positions: int, seed: int, *, norm_first: bool) -> float:
    """The norm of the gradient of the last feed-forward weight, for a random gradient by the normalised output."""
    made, stream = untrained(layers, width, positions, seed, norm_first=norm_first)
    output = functional.layer_norm(stream, (width,)) if norm_first else stream
    return _reaching(made, output, seed)


def _reaching(made: nn.ModuleList, output: Tensor, seed: int) -> float:
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed))
    weight = made[-1].get_parameter("linear2.weight")
    return float(torch.autograd.grad(output, weight, upstream)[0].norm())


def _without_last_norm(layers: int, width: int, positions: int, seed: int, *, norm_first: bool) -> float:
    return _reaching(*untrained(layers, width, positions, seed, norm_first=norm_first), seed)


@experiment(
    "norm.depth_gradient",
    part=last_gradient,
    mutants={
        "pre and post exchanged": lambda *sizes, norm_first: last_gradient(*sizes, norm_first=not norm_first),
        "no normalisation at the end": _without_last_norm,
        "over the number of layers": lambda layers, *sizes, norm_first: (
            last_gradient(layers, *sizes, norm_first=norm_first) / layers
        ),
        "one layer whatever the depth": lambda _, *sizes, norm_first: last_gradient(1, *sizes, norm_first=norm_first),
    },
    how="16 networks a depth, float32",
)
def depth_gradient(part: Callable[..., float], draws: Draws) -> Iterator[Evidence]:
    """Depths 2, 6 and 12 with one position, where attention reads exactly what the law assumes; width 64."""
    for norm_first in (True, False):
        seeds = draws.integers(0, 2**31, 16)
        shallow = torch.tensor([part(2, 64, 1, seed, norm_first=norm_first) for seed in seeds])
        for deep in (6, 12):
            norms = torch.tensor([part(deep, 64, 1, seed + 1, norm_first=norm_first) for seed in seeds])
            found, tolerance = sampling(norms / shallow)
            yield held("norm.depth_gradient", {"shallow": 2, "deep": deep, "norm_first": norm_first}, found, tolerance)
