"""Local attention, as a function and as a layer, under the shared suite."""

import torch
from torch.nn import functional

from suites.part_suite import BATCH, Row, part_tests
from torchstone import parts
from torchstone.laws.attention.local import local_flops
from torchstone.parts.attention.band import block_size


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def banded(left, right):
    """All with all under a mask of the band, for inputs (b, h, t, d)."""

    def reference(query, key, value):
        length = query.shape[2]
        band = torch.ones(length, length, dtype=torch.bool).triu(-left).tril(right)
        scores = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).masked_fill(~band, -torch.inf)
        return scores.softmax(-1) @ value

    return reference


def layer_by_hand(left, right):
    def reference(layer):
        def run(x):
            b, t, c = x.shape
            projected = functional.linear(x, layer.in_proj_weight, layer.in_proj_bias)
            heads = projected.reshape(b, t, 3, layer.num_heads, c // layer.num_heads).permute(2, 0, 3, 1, 4)
            return layer.out_proj(banded(left, right)(*heads).transpose(1, 2).reshape(b, t, c))

        return run

    return reference


def qkv(length, width=3, values=3):
    return lambda batch: [normal(batch, 2, length, width), normal(batch, 2, length, width), normal(batch, 2, length, values)]


ROWS = [
    Row(
        "local-attention",
        parts.local_attention,
        lambda function: lambda q, k, v: function(q, k, v, 3),
        lambda _: banded(3, 3),
        qkv(9),
        lambda q, k, v: q,
        flops=BATCH * local_flops(9, 3, 3, block_size(3, 3), features=3, heads=2),
    ),
    Row(
        "local-attention-blocks",
        parts.local_attention,
        lambda function: lambda q, k, v: function(q, k, v, (5, 2)),
        lambda _: banded(5, 2),
        qkv(107, 2, 2),
        lambda q, k, v: q,
        flops=BATCH * local_flops(107, 5, 2, block_size(5, 2), features=2, heads=2),
        without={"gradcheck": "the row of wide values has it, and this one's reference; 107 positions are slow"},
    ),
    Row(
        "local-attention-causal-wide-values",
        parts.local_attention,
        lambda function: lambda q, k, v: function(q, k, v, 4, is_causal=True),
        lambda _: banded(4, 0),
        qkv(40, 1, 2),
        lambda q, k, v: (*q[:3], v[3]),
    ),
    Row(
        "local-self-attention",
        parts.LocalSelfAttention,
        lambda cls: cls(6, 2, (2, 1), batch_first=True),
        layer_by_hand(2, 1),
        lambda batch: [normal(batch, 7, 6)],
        lambda x: x,
        parameters=4 * 6 * 6 + 4 * 6,
    ),
]
test_part = part_tests(ROWS)
