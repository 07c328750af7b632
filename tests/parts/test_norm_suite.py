"""The maps of normalisation and the transformer's layers under the shared suite."""

import torch
from torch import nn
from torch.nn import functional

from suites.part_suite import Row, part_tests
from torchstone import parts
from torchstone.laws.transformer import decoder_layer_parameters, encoder_layer_parameters


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def same(*shapes):
    return shapes[0]


def by_torch(kind, *arguments, **settings):
    """torch's layer, reading the part's own parameters."""

    def reference(part):
        other = kind(*arguments, **settings).double()

        def run(*inputs):
            return torch.func.functional_call(other, dict(part.named_parameters()), inputs)

        return run

    return reference


def layer_rows():
    for norm_first in (False, True):
        when = "before" if norm_first else "after"
        settings = {"batch_first": True, "norm_first": norm_first}
        yield Row(
            f"encoder-layer-{when}",
            parts.TransformerEncoderLayer,
            lambda cls, settings=settings: cls(4, 2, 6, 0.0, "gelu", **settings),
            by_torch(nn.TransformerEncoderLayer, 4, 2, 6, 0.0, "gelu", **settings),
            lambda batch: [normal(batch, 3, 4)],
            same,
            parameters=encoder_layer_parameters(4, 6),
        )
        yield Row(
            f"decoder-layer-{when}",
            parts.TransformerDecoderLayer,
            lambda cls, settings=settings: cls(4, 2, 6, 0.0, "gelu", **settings),
            by_torch(nn.TransformerDecoderLayer, 4, 2, 6, 0.0, "gelu", **settings),
            lambda batch: [normal(batch, 3, 4), normal(batch, 2, 4)],
            same,
            parameters=decoder_layer_parameters(4, 6),
        )


def spelt_out(part):
    """The encoder-decoder's own layers, one after the other, its head the embedding."""

    def run(source, target):
        def embedded(tokens):
            return part.embedding.weight[tokens] + part.position.weight[: tokens.shape[1]]

        x = embedded(source)
        for layer in part.encoder:
            x = layer(x)
        y = embedded(target)
        future = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        for layer in part.decoder:
            y = layer(y, part.encoder_norm(x), future)
        return part.decoder_norm(y) @ part.embedding.weight.T

    return run


def tokens(batch, length):
    return torch.randint(1, 5, (batch, length))


ROWS = [
    Row("demean", parts.demean, lambda f: f, lambda _: lambda x: x - x.mean(-1, keepdim=True), lambda b: [normal(b, 5)], same),
    Row("normalize", parts.normalize, lambda f: f, lambda _: lambda z: functional.rms_norm(z, (5,), eps=0.0), lambda b: [normal(b, 5)], same),
    Row("demean-module", parts.Demean, lambda cls: cls((2, 3)), lambda _: lambda x: x - x.mean((-2, -1), keepdim=True), lambda b: [normal(b, 2, 3)], same),
    Row("normalize-module", parts.Normalize, lambda cls: cls(5, eps=0.1), lambda _: nn.RMSNorm(5, 0.1, elementwise_affine=False), lambda b: [normal(b, 5)], same),
    Row(
        "layer-norm", parts.LayerNorm, lambda cls: cls(5), by_torch(nn.LayerNorm, 5), lambda b: [normal(b, 3, 5)], same, parameters=10,
    ),
    Row(
        "layer-norm-two-axes", parts.LayerNorm, lambda cls: cls((2, 3), 0.5, bias=False), by_torch(nn.LayerNorm, (2, 3), 0.5, bias=False),
        lambda b: [normal(b, 2, 3)], same, parameters=6,
    ),
    *layer_rows(),
    Row(
        "encoder-decoder",
        parts.EncoderDecoder,
        lambda cls: cls(5, 4, 2, 1, 1, 6, 0.0, "gelu", norm_first=True, max_positions=4),
        spelt_out,
        lambda b: [tokens(b, 4), tokens(b, 3)],
        lambda source, target: (*target, 5),
        parameters=(5 + 4) * 4 + encoder_layer_parameters(4, 6) + decoder_layer_parameters(4, 6) + 4 * 4,
    ),
]  # fmt: skip


test_part = part_tests(ROWS)
