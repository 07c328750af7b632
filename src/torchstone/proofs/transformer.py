"""The transformer's layers counted: parameters, FLOP by torch's counter, and which positions change which."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from torchstone import parts
from torchstone.core.evidence import Evidence
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held

Build = Callable[..., nn.Module]


def encoder(width: int, feedforward: int, **settings: Any) -> nn.Module:
    """An encoder layer of two heads without dropout."""
    return parts.TransformerEncoderLayer(width, 2, feedforward, 0.0, batch_first=True, **settings)


def decoder(width: int, feedforward: int, **settings: Any) -> nn.Module:
    """A decoder layer of two heads without dropout."""
    return parts.TransformerDecoderLayer(width, 2, feedforward, 0.0, batch_first=True, **settings)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _sizes(draws: Draws, count: int) -> Iterator[tuple[int, int]]:
    for _ in range(count):
        yield 2 * draws.integer(1, 12), draws.integer(1, 40)


def _torchs(kind: str) -> Build:
    layer = {"encoder": nn.TransformerEncoderLayer, "decoder": nn.TransformerDecoderLayer}[kind]
    return lambda width, feedforward, **settings: layer(width, 2, feedforward, 0.0, **settings)


def _counts(name: str, part: Build, theirs: Build, draws: Draws) -> Iterator[Evidence]:
    for width, feedforward in _sizes(draws, 10):
        for bias in (True, False):
            for build in (part, theirs):
                found = _count(build(width, feedforward, bias=bias, device="meta"))
                yield held(name, {"width": width, "feedforward": feedforward, "bias": bias}, found)


@experiment(
    "transformer.encoder_layer_parameters",
    part=encoder,
    mutants={
        "a second attention": decoder,
        "twice as wide a network": lambda width, feedforward, **a: encoder(width, 2 * feedforward, **a),
        "biases always": lambda width, feedforward, bias, **a: encoder(width, feedforward, bias=bias or True, **a),
    },
    how="exact, torch's layer too",
)
def encoder_layer_parameters(part: Build, draws: Draws) -> Iterator[Evidence]:
    """Widths 2 to 24, with and without biases; nn.TransformerEncoderLayer beside ours."""
    yield from _counts("transformer.encoder_layer_parameters", part, _torchs("encoder"), draws)


@experiment(
    "transformer.decoder_layer_parameters",
    part=decoder,
    mutants={
        "one attention": encoder,
        "twice as wide a network": lambda width, feedforward, **a: decoder(width, 2 * feedforward, **a),
        "biases never": lambda width, feedforward, bias, **a: decoder(width, feedforward, bias=bias and False, **a),
    },
    how="exact, torch's layer too",
)
def decoder_layer_parameters(part: Build, draws: Draws) -> Iterator[Evidence]:
    """Widths 2 to 24, with and without biases; nn.TransformerDecoderLayer beside ours."""
    yield from _counts("transformer.decoder_layer_parameters", part, _torchs("decoder"), draws)


def _flops(layer: nn.Module, *inputs: Tensor) -> int:
    # Torch's counter does not know the CPU's attention kernel: the same attention in plain matrix products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(*inputs)
    return int(counter.get_total_flops())


def _feed_forward(width: int, feedforward: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, feedforward), nn.Linear(feedforward, width))


@experiment(
    "transformer.encoder_layer_flops",
    part=encoder,
    mutants={
        "twice as wide a network": lambda width, feedforward: encoder(width, 2 * feedforward),
        "a layer twice": lambda width, feedforward: nn.Sequential(encoder(width, feedforward), encoder(width, feedforward)),
        "feed-forward alone": _feed_forward,
    },
    how="exact, torch's counter",
)
def encoder_layer_flops(part: Build, draws: Draws) -> Iterator[Evidence]:
    """Batches of 1 to 3, 1 to 9 positions."""
    for width, feedforward in _sizes(draws, 10):
        batch, positions = draws.integer(1, 3), draws.integer(1, 9)
        arguments = {"batch": batch, "positions": positions, "width": width, "feedforward": feedforward}
        found = _flops(part(width, feedforward), torch.randn(batch, positions, width))
        yield held("transformer.encoder_layer_flops", arguments, found)


class _Deaf(nn.Module):
    """A decoder layer that does not read its memory."""

    def __init__(self, width: int, feedforward: int, *, own: bool = False) -> None:
        super().__init__()
        self.layer = decoder(width, feedforward) if own else encoder(width, feedforward)
        self.own = own

    def forward(self, target: Tensor, _: Tensor) -> Tensor:
        output: Tensor = self.layer(target, 1.0 * target) if self.own else self.layer(target)
        return output


@experiment(
    "transformer.decoder_layer_flops",
    part=decoder,
    mutants={
        "twice as wide a network": lambda width, feedforward: decoder(width, 2 * feedforward),
        "memory not read": _Deaf,
        "its own target for a memory": lambda width, feedforward: _Deaf(width, feedforward, own=True),
    },
    how="exact, torch's counter",
)
def decoder_layer_flops(part: Build, draws: Draws) -> Iterator[Evidence]:
    """Batches of 1 to 3, 1 to 9 positions of target and memory."""
    for width, feedforward in _sizes(draws, 10):
        batch, positions, memory = draws.integer(1, 3), draws.integer(1, 9), draws.integer(1, 9)
        arguments = {"batch": batch, "positions": positions, "memory": memory, "width": width, "feedforward": feedforward}
        inputs = torch.randn(batch, positions, width), torch.randn(batch, memory, width)
        yield held("transformer.decoder_layer_flops", arguments, _flops(part(width, feedforward), *inputs))


def encode(layer: nn.Module, x: Tensor, *, causal: bool) -> Tensor:
    """A layer's output, (t, d), with its causal mask or without."""
    output: Tensor = layer(x.unsqueeze(0), is_causal=causal)
    return output.squeeze(0)


@experiment(
    "transformer.visible_pairs",
    part=encode,
    mutants={
        "causal always": lambda layer, x, **_: encode(layer, x, causal=True),
        "causal never": lambda layer, x, **_: encode(layer, x, causal=False),
        "itself hidden": lambda layer, x, *, causal: (
            layer(x[None], torch.ones(len(x), len(x), dtype=torch.bool).triu(0 if causal else len(x)))[0].masked_fill(
                torch.arange(len(x))[:, None] == 0, 0.0
            )
        ),
        "reads its own position alone": lambda layer, x, **_: layer(x.unsqueeze(1)).squeeze(1),
    },
    how="exact: non-zero gradients",
)
def visible_pairs(part: Callable[..., Tensor], draws: Draws) -> Iterator[Evidence]:
    """Of a layer's output by each position of its input, over 1 to 6 positions, with normalisation before and after."""
    for positions in range(1, 7):
        for norm_first in (True, False):
            layer, x = encoder(4, 8, norm_first=norm_first).double(), draws.normal(positions, 4)
            _drawn(layer, draws)
            for causal in (True, False):
                found = _pairs(lambda x, layer=layer, causal=causal: part(layer, x, causal=causal), x)  # type: ignore[misc]
                yield held("transformer.visible_pairs", {"positions": positions, "causal": causal}, found)


def _drawn(layer: nn.Module, draws: Draws) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(draws.normal(*parameter.shape))


def _pairs(function: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Pairs of positions (output, input) with a gradient that is not 0."""
    jacobian: Tensor = torch.autograd.functional.jacobian(function, x)  # type: ignore[no-untyped-call]
    return int((jacobian.abs().amax((1, 3)) > 0).sum())
