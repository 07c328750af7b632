"""What a mask lets attention see, and local attention in place of torch's."""

import pytest
import torch
from torch.nn import functional

from torchstone.remedy.interventions.attention import LocalAttention
from torchstone.remedy.probes.attention_masks import Sight, sight

T = 40
BACK = torch.arange(T)[:, None] - torch.arange(T)
BAND = (BACK <= 5) & (BACK >= -2)
CAUSAL = BACK >= 0
KEPT = torch.ones(3, T, dtype=torch.bool)
KEPT[1, -7:] = False
KEPT[2, :3] = False


def padded(mask, *, rows=False):
    keys = mask & KEPT[:, None, :]
    return keys & KEPT[:, :, None] if rows else keys


@pytest.mark.parametrize(("mask", "seen"), [
    (BAND, Sight(5, 2, True)),
    (BAND.expand(2, 3, T, T), Sight(5, 2, True)),
    (CAUSAL, Sight(T - 1, 0, True)),
    (CAUSAL & (BACK <= 0), Sight(0, 0, True)),
    (torch.ones(T, T, dtype=torch.bool), Sight(T - 1, T - 1, True)),
    (padded(BAND), Sight(5, 2, True)),
    (padded(BAND, rows=True), Sight(5, 2, True)),
    (padded(CAUSAL), Sight(T - 1, 0, True)),
    (padded(CAUSAL, rows=True), Sight(T - 1, 0, True)),
    (CAUSAL & (torch.arange(T) < 10) & (torch.arange(T) < 10)[:, None], Sight(T - 1, 0, True)),
    (BACK <= -1, None),
    (torch.zeros(T, T, dtype=torch.bool), None),
])
def test_a_band_is_seen_up_to_padding(mask, seen):
    assert sight(mask) == seen


@pytest.mark.parametrize("mask", [
    CAUSAL & (torch.arange(T) // 8 == (torch.arange(T) // 8)[:, None]),
    CAUSAL & (BACK % 3 == 0),
    CAUSAL & ((BACK <= 4) | (torch.arange(T) < 2)),
    torch.stack([BAND, CAUSAL]),
    BAND & torch.rand(T, T, generator=torch.Generator().manual_seed(0)).lt(0.9) | (BACK == 0),
], ids=["blocks", "strided", "sinks", "a window for each head", "holes"])
def test_what_is_no_band(mask):
    assert not sight(mask).banded


def change(left, right):
    return LocalAttention({"places": [["a.py", 1]], "left": left, "right": right})


@pytest.mark.parametrize("mask", [
    BAND, padded(BAND)[:, None], padded(BAND)[:, None].expand(3, 2, T, T),
    torch.zeros(T, T).masked_fill(~BAND, float("-inf")),
], ids=["bool", "padded", "padded by head", "float"])
def test_local_attention_gives_what_the_mask_gave(mask):
    draws = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, 2, T, 4, generator=draws, dtype=torch.float64) for _ in range(3))
    mask = mask if mask.dtype == torch.bool else mask.double()
    wanted = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    found = change(5, 2)._attend({"query": q, "key": k, "value": v, "attn_mask": mask})
    seen = wanted.isfinite()
    assert torch.allclose(found[seen], wanted[seen], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(T, 4), (2, T, 4), (2, 3, 2, T, 4)])
def test_any_number_of_leading_axes(shape):
    q = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = functional.scaled_dot_product_attention(q, q, q, attn_mask=BAND, scale=0.3)
    found = change(5, 2)._attend({"query": q, "key": q, "value": q, "attn_mask": BAND, "scale": 0.3})
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


def test_fewer_heads_of_keys():
    draws = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, heads, T, 4, generator=draws, dtype=torch.float64) for heads in (4, 2))
    wanted = functional.scaled_dot_product_attention(q, k, k, attn_mask=BAND, enable_gqa=True)
    found = change(5, 2)._attend({"query": q, "key": k, "value": k, "attn_mask": BAND, "enable_gqa": True})
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("mask", "fits"), [
    (BAND, True), (padded(BAND)[:, None], True), (padded(BAND, rows=True)[:, None], True),
    (CAUSAL, False), (BAND | (torch.arange(T) < 2), False), (BAND[:, :20], False), (None, False),
])
def test_another_mask_on_the_same_line_is_left_alone(mask, fits):
    assert change(5, 2)._fits(torch.zeros(3, 2, T, 4), mask) is fits
