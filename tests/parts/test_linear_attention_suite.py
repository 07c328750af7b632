"""Attention linear in the sequence under the shared suite: the oracle makes every weight, in float64."""

import math

import torch
from torch import nn
from torch.nn import functional

from suites.part_suite import BATCH, Row, part_tests
from torchstone import parts
from torchstone.laws.attention.linear import kernel_attention_flops, random_feature_flops
from torchstone.laws.attention.separable import separable_flops

HEADS, QUERIES, KEYS, WIDTH, VALUES, FEATURES = 2, 5, 6, 3, 4, 4


def normal(*shape):
    return 0.7 * torch.randn(*shape, dtype=torch.float64)


def inputs(batch, queries=QUERIES, keys=KEYS, width=WIDTH):
    return [normal(batch, HEADS, *shape) for shape in ((queries, width), (keys, width), (keys, VALUES))]


def one_length(batch):
    return inputs(batch, KEYS, KEYS)


def padding(batch, keys=KEYS):
    """Every other sequence without its second and last key, the others without their first."""
    mask = torch.zeros(batch, keys, dtype=torch.bool)
    mask[::2, 1] = mask[::2, -1] = mask[1::2, 0] = True
    return mask


def masked_inputs(batch):
    return [*inputs(batch), padding(batch)]


def masked_one_length(batch):
    return [*one_length(batch), padding(batch)]


def divided(weights, value, is_causal=False, mask=None):
    """Row by row sum_j a_ij v_j / sum_j a_ij, zeros where nothing is seen."""
    if mask is not None:
        weights = weights * ~mask[:, None, None, :]
    if is_causal:
        weights = weights.tril()
    total = weights.sum(-1, keepdim=True)
    return torch.einsum("bhts,bhse->bhte", weights, value) / torch.where(weights.abs().sum(-1, keepdim=True) > 0, total, 1.0)


def separable(query, key, value, mask=None):
    if mask is not None:
        key = torch.where(mask[:, None, :, None], -torch.inf, key)
    shares = (key - key.amax(-2, keepdim=True)).exp()
    weights = torch.einsum("bhtd,bhsd->bhts", query.softmax(-1), shares / shares.sum(-2, keepdim=True))
    return torch.einsum("bhts,bhse->bhte", weights, value)


def drawn(kind, width=WIDTH):
    count = FEATURES if kind == "positive" else FEATURES // 2
    return parts.feature_directions(count, width, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def estimated(kind, is_causal, directions=None, scale=None):
    def reference(query, key, value, mask=None):
        w = (drawn(kind) if directions is None else directions).to(query)
        root = math.sqrt(query.shape[-1] ** -0.5 if scale is None else scale)
        mapped = [parts.random_features(root * x, w, kind) for x in (query, key)]
        return divided(torch.einsum("bhtm,bhsm->bhts", *mapped), value, is_causal, mask)

    return reference


def product(query, key, value, mask=None):
    return divided(query.exp() @ key.exp().mT, value, mask=mask)


def attention(kind, is_causal, scale=None):
    directions = drawn(kind)

    def build(function):
        def part(query, key, value, mask=None):
            more = {"directions": directions.to(query.device), "features": FEATURES, "kind": kind, "is_causal": is_causal}
            return function(query, key, value, key_padding_mask=mask, scale=scale, **more)

        return part

    return build


def output(query, key, value, *mask):
    return (*query[:3], value[3])


def random_rows():
    for kind in ("positive", "hyperbolic", "trigonometric"):
        for is_causal in (False, True):
            for masked in (False, True):
                made = (masked_one_length if masked else one_length) if is_causal else (masked_inputs if masked else inputs)
                name = f"{kind}{'-causal' * is_causal}{'-masked' * masked}"
                scale = 0.3 if masked else None
                without = {"lower_precisions": "of a sum with both signs"} if kind == "trigonometric" else {}
                flops = BATCH * HEADS * random_feature_flops(QUERIES, KEYS, FEATURES, WIDTH, VALUES)
                yield Row(
                    name, parts.random_feature_attention, attention(kind, is_causal, scale),
                    lambda _, kind=kind, is_causal=is_causal, scale=scale: estimated(kind, is_causal, scale=scale), made, output,
                    flops=flops if kind != "trigonometric" and not is_causal else None, without=without,
                )  # fmt: skip


class Layer(nn.Module):
    """A layer with its arguments, so that the suite can give it tensors alone."""

    def __init__(self, layer, **arguments):
        super().__init__()
        self.layer, self.arguments = layer, arguments

    def forward(self, x, *mask):
        return self.layer(x, *mask, **self.arguments)


def projected(core, batch_first=True):
    """nn.MultiheadAttention's projections around an attention, spelt out."""

    def around(part):
        layer = part.layer if isinstance(part, Layer) else part

        def reference(x, mask=None):
            rows = x if batch_first else x.transpose(0, 1)
            heads = functional.linear(rows, layer.in_proj_weight, layer.in_proj_bias).unflatten(-1, (3, layer.num_heads, x.shape[-1] // layer.num_heads))
            found = core(layer)(*(heads[:, :, which].transpose(1, 2) for which in range(3)), mask)
            mixed = layer.out_proj(found.transpose(1, 2).flatten(2))
            return mixed if batch_first else mixed.transpose(0, 1)

        return reference

    return around


def same(x, *mask):
    return x


def counted(embed):
    return 4 * embed * embed + 4 * embed


def seeded(cls, **more):
    return cls(6, 2, features=FEATURES, generator=torch.Generator().manual_seed(5), **more)


ROWS = [
    Row(
        "separable", parts.separable_attention, lambda function: function, lambda _: separable, inputs, output,
        flops=BATCH * HEADS * separable_flops(QUERIES, KEYS, WIDTH, VALUES),
    ),
    Row(
        "separable-masked", parts.separable_attention, lambda function: lambda q, k, v, mask: function(q, k, v, key_padding_mask=mask),
        lambda _: separable, masked_inputs, output,
    ),
    Row(
        "linear", parts.linear_attention, lambda function: lambda q, k, v: function(q.exp(), k.exp(), v), lambda _: product, inputs, output,
        flops=BATCH * HEADS * kernel_attention_flops(QUERIES, KEYS, WIDTH, VALUES),
    ),
    Row(
        "linear-causal", parts.linear_attention,
        lambda function: lambda q, k, v, mask: function(q.exp(), k.exp(), v, is_causal=True, key_padding_mask=mask),
        lambda _: lambda q, k, v, mask: divided(q.exp() @ k.exp().mT, v, True, mask), masked_one_length, output,
    ),
    *random_rows(),
    Row(
        "separable-layer", parts.SeparableSelfAttention, lambda cls: cls(6, 2, batch_first=True), projected(lambda _: separable),
        lambda batch: [normal(batch, KEYS, 6), padding(batch)], same, parameters=counted(6),
    ),
    Row(
        "random-layer", parts.RandomFeatureSelfAttention, lambda cls: seeded(cls, batch_first=True),
        projected(lambda layer: estimated("positive", False, layer.directions)),
        lambda batch: [normal(batch, KEYS, 6)], same, parameters=counted(6),
    ),
    Row(
        "random-layer-causal", parts.RandomFeatureSelfAttention, lambda cls: Layer(seeded(cls, batch_first=True), is_causal=True),
        projected(lambda layer: estimated("positive", True, layer.directions)),
        lambda batch: [normal(batch, KEYS, 6), padding(batch)], same, parameters=counted(6),
    ),
]  # fmt: skip

test_part = part_tests(ROWS)
