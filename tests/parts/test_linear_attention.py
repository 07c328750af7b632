"""Attention linear in the sequence at its edges: long and extreme inputs, chunks, masks, directions, layers, refusals, forecasts."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from torchstone import parts
from torchstone.core.errors import UsageError
from torchstone.parts.attention import landmarks

FORMS = pytest.mark.parametrize("is_causal", [False, True])


def draws(seed, *shapes, spread=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [spread * torch.randn(*shape, generator=generator, dtype=dtype) for shape in shapes]


def directions(count, width, seed=0, **more):
    return parts.feature_directions(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, **more)


def by_logarithms(query, key, value, w, scale, is_causal, mask=None):
    """Every weight made, in logarithms: nothing can overflow."""
    q, k = math.sqrt(scale) * query, math.sqrt(scale) * key
    exponents = (q @ w.mT).unsqueeze(-2) + (k @ w.mT - k.square().sum(-1, keepdim=True) / 2).unsqueeze(-3)
    weights = exponents.logsumexp(-1)
    hidden = torch.zeros(weights.shape, dtype=torch.bool)
    if is_causal:
        hidden |= torch.ones_like(weights, dtype=torch.bool).triu(1)
    if mask is not None:
        hidden |= mask[:, None, None, :]
    shares = weights.masked_fill(hidden, -torch.inf).softmax(-1)
    return torch.where(hidden.all(-1, keepdim=True), 0.0, shares) @ value


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.tuples(st.integers(1, 200), st.integers(1, 200)), sizes=st.tuples(*[st.integers(1, 6)] * 3),
    heads=st.integers(1, 3), is_causal=st.booleans(), masked=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_shape_is_the_estimate_written_out(lengths, sizes, heads, is_causal, masked, seed):
    (t, s), (d, e, m) = lengths, sizes
    s = t if is_causal else s
    query, key, value = draws(seed, (2, heads, t, d), (2, heads, s, d), (2, heads, s, e))
    mask = torch.rand(2, s, generator=torch.Generator().manual_seed(seed)) < 0.4 if masked else None
    w = directions(m, d, seed)
    found = parts.random_feature_attention(
        query, key, value, features=m, directions=w, is_causal=is_causal, key_padding_mask=mask
    )
    torch.testing.assert_close(found, by_logarithms(query, key, value, w, d**-0.5, is_causal, mask), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("chunk", [1, 2**9, 2**20])
def test_the_chunks_do_not_show(monkeypatch, chunk):
    query, key, value = draws(1, *[(1, 2, 300, 4)] * 3)
    wanted = by_logarithms(query, key, value, directions(8, 4), 0.5, is_causal=False)
    monkeypatch.setitem(landmarks._CHUNK, "cpu", chunk)
    found = parts.random_feature_attention(query, key, value, features=8, directions=directions(8, 4))
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)


def test_extreme_norms_neither_overflow_nor_vanish_in_float32():
    """Exponents of hundreds: each soft-max subtracts its own maximum, so no epsilon is needed."""
    query, key, value = draws(2, *[(1, 1, 64, 8)] * 3, spread=30.0)
    w = directions(16, 8)
    wanted = by_logarithms(query, key, value, w, 8**-0.5, is_causal=False)
    single = [x.float().requires_grad_() for x in (query, key, value)]
    found = parts.random_feature_attention(*single, features=16, directions=w.float())
    assert found.isfinite().all()
    torch.testing.assert_close(found.double(), wanted, rtol=0.01, atol=0.3)  # exponents near 1000 in float32: 1e-4 each, at values of 30
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(found.sum(), single))


def test_a_causal_row_beyond_the_exponent_range_is_nan_and_not_silently_zero():
    key = torch.zeros(1, 1, 2, 1)
    key[0, 0, 0] = 40.0  # exp(-800) beside the next key's 1
    query, value = torch.zeros_like(key), torch.ones_like(key)
    found = parts.random_feature_attention(query, key, value, features=1, directions=torch.ones(1, 1), is_causal=True, scale=1.0)
    assert found[0, 0, 0].isnan() and found[0, 0, 1] == 1


@FORMS
def test_no_position_sees_what_it_must_not(is_causal):
    query, key, value = draws(3, *[(1, 2, 150, 4)] * 3)
    mask = torch.zeros(1, 150, dtype=torch.bool)
    mask[0, 100:] = True
    more = {"features": 8, "directions": directions(8, 4), "is_causal": is_causal, "key_padding_mask": mask}
    other_key, other_value = key.clone(), value.clone()
    other_key[:, :, 100:], other_value[:, :, 100:] = 9.0, -7.0
    assert torch.equal(parts.random_feature_attention(query, key, value, **more), parts.random_feature_attention(query, other_key, other_value, **more))
    if is_causal:
        other_key[:, :, 50:], other_value[:, :, 50:] = 1.0, 5.0
        before, after = (parts.random_feature_attention(query, *pair, **more)[:, :, :50] for pair in ((key, value), (other_key, other_value)))
        torch.testing.assert_close(before, after, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("function", [
    parts.separable_attention,
    lambda q, k, v, key_padding_mask: parts.linear_attention(q.exp(), k.exp(), v, key_padding_mask=key_padding_mask),
    lambda q, k, v, key_padding_mask: parts.random_feature_attention(q, k, v, features=4, key_padding_mask=key_padding_mask),
])
def test_a_sequence_of_padding_alone_gives_zeros_and_no_gradient(function):
    inputs = [x.requires_grad_() for x in draws(4, *[(2, 1, 5, 3)] * 3)]
    mask = torch.tensor([[True] * 5, [False] * 5])
    found = function(*inputs, key_padding_mask=mask)
    assert not found[0].any() and found[1].all()
    for gradient in torch.autograd.grad(found.square().sum(), inputs):
        assert gradient.isfinite().all() and not gradient[0].any()


def test_half_precision_sums_in_float32():
    query, key, value = draws(5, *[(1, 2, 3000, 16)] * 3, spread=0.5)
    wanted = parts.random_feature_attention(query, key, value, features=32, directions=directions(32, 16))
    half = [x.bfloat16() for x in (query, key, value)]
    found = parts.random_feature_attention(*half, features=32, directions=directions(32, 16))
    assert found.dtype == torch.bfloat16
    assert (found.double() - wanted).norm() < 0.05 * wanted.norm()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = parts.random_feature_attention(query.float(), key.float(), value.float(), features=32, directions=directions(32, 16))
    assert under.dtype == torch.float32 and (under.double() - wanted).norm() < 1e-4 * wanted.norm()


@pytest.mark.parametrize("kind", ["positive", "hyperbolic", "trigonometric"])
def test_many_features_come_to_soft_max_attention(kind):
    query, key, value = draws(6, *[(1, 2, 40, 8)] * 3, spread=0.7)
    exact = functional.scaled_dot_product_attention(query, key, value)
    generator = torch.Generator().manual_seed(7)
    found = parts.random_feature_attention(query, key, value, features=20_000, kind=kind, generator=generator)
    assert (found - exact).norm() / exact.norm() < 0.12
    causal = parts.random_feature_attention(query, key, value, features=20_000, kind=kind, is_causal=True, generator=generator)
    exact = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert (causal - exact).norm() / exact.norm() < 0.12


@pytest.mark.parametrize(
    ("kind", "orthogonal", "allowed"), [("trigonometric", False, 0.33), ("trigonometric", True, 2.0), ("positive", True, 2.0)]
)
def test_the_tolerances_of_the_published_performer_tests_hold(kind, orthogonal, allowed):
    """google-research performer/fast_attention/jax/fast_attention_test.py: q = k, 10,000 trigonometric pairs, largest relative error."""
    features = 10_000 if kind == "positive" else 20_000
    errors = []
    for seed in range(9):  # theirs is one draw; an output that happens to lie at zero has any relative error, so the median of nine
        query, value = draws(seed, (1, 1, 2, 8), (1, 1, 2, 10), dtype=torch.float32)
        exact = functional.scaled_dot_product_attention(query, query, value)
        generator = torch.Generator().manual_seed(900 + seed)
        found = parts.random_feature_attention(
            query, query, value, features=features, kind=kind, orthogonal=orthogonal, generator=generator
        )
        errors.append(((found - exact).abs() / exact.abs()).max().item())
    assert sorted(errors)[4] < allowed


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize("kind", ["trigonometric", "positive"])
def test_the_published_causal_case_holds(kind, orthogonal):
    """There: ones of width 1 and 10,000 directions give 1, 1/2, 1/3 within 0.02."""
    ones = torch.ones(1, 1, 3, 1)
    value = torch.tensor([1.0, 0.0, 0.0]).view(1, 1, 3, 1)
    more = {"features": 10_000, "kind": kind, "orthogonal": orthogonal, "generator": torch.Generator().manual_seed(0)}
    found = parts.random_feature_attention(ones, ones, value, is_causal=True, **more)
    assert (found.flatten() - torch.tensor([1, 1 / 2, 1 / 3])).abs().max() < 0.02


def test_directions_stand_at_right_angles_in_blocks_and_have_gaussian_lengths():
    found = directions(2000 * 8, 8).view(2000, 8, 8)
    products = found @ found.mT
    assert (products - torch.diag_embed(products.diagonal(dim1=-2, dim2=-1))).abs().max() < 1e-12
    squares = found.square().sum(-1).flatten()
    assert abs(squares.mean() - 8) < 5 * squares.std() / len(squares) ** 0.5
    assert found.mean((0, 1)).abs().max() < 5 / len(squares) ** 0.5  # of either sign: Haar, not LAPACK's choice
    cut = directions(11, 8)
    assert cut.shape == (11, 8) and (cut[:8] @ cut[:8].mT).triu(1).abs().max() < 1e-12
    assert torch.equal(directions(5, 3, seed=2), directions(5, 3, seed=2)) and directions(3, 4, orthogonal=False).shape == (3, 4)


def test_a_generator_fixes_the_draw_and_leaves_the_global_one_alone():
    query, key, value = draws(9, *[(1, 1, 6, 4)] * 3)
    one, other = (parts.random_feature_attention(query, key, value, features=4, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)
    before = torch.get_rng_state()
    parts.random_feature_attention(query, key, value, features=4, generator=torch.Generator())
    assert torch.equal(before, torch.get_rng_state())


def test_separable_attention_is_a_mixture_of_shared_distributions():
    query, key = draws(10, *[(1, 1, 30, 4)] * 2, spread=3.0)
    weights = parts.separable_attention(query, key, torch.eye(30, dtype=torch.float64)[None, None])[0, 0]
    assert weights.min() >= 0 and (weights.sum(1) - 1).abs().max() < 1e-14
    assert torch.linalg.matrix_rank(weights) == 4
    assert torch.equal(parts.separable_attention(query, key + 5, key), parts.separable_attention(query, key + 5, key))


@pytest.mark.parametrize("layer", [parts.SeparableSelfAttention, parts.RandomFeatureSelfAttention])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_layer_takes_the_parameters_of_multihead_attention(layer, batch_first):
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(8, 2, batch_first=batch_first)
    ours = layer(8, 2, batch_first=batch_first)
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not unexpected and set(missing) <= {"directions"}
    x = torch.randn(3, 5, 8)
    assert ours(x).shape == x.shape
    one = x[0] if batch_first else x[:, 0]
    torch.testing.assert_close(ours(one), ours(x)[0] if batch_first else ours(x)[:, 0])


def test_a_layer_with_many_features_is_multihead_attention():
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    ours = parts.RandomFeatureSelfAttention(8, 2, features=20_000, batch_first=True, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict(), strict=False)
    x, mask = torch.randn(2, 6, 8, dtype=torch.float64), torch.zeros(2, 6, dtype=torch.bool)
    mask[0, 4:] = True
    torch.testing.assert_close(ours(x, mask), theirs(x, x, x, key_padding_mask=mask)[0], rtol=0, atol=0.02)


def test_redrawing_changes_the_directions_only():
    layer = parts.RandomFeatureSelfAttention(8, 2, features=6, kind="hyperbolic", generator=torch.Generator().manual_seed(1))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    layer.redraw(torch.Generator().manual_seed(2))
    changed = {name for name, tensor in layer.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"directions"} and layer.directions.shape == (3, 4)
    layer.redraw(torch.Generator().manual_seed(1))
    assert torch.equal(layer.directions, before["directions"])
    assert "features=6, kind='hyperbolic'" in repr(layer)


ONE = torch.zeros(1, 1, 3, 2)


@pytest.mark.parametrize(("call", "said"), [
    (lambda: parts.random_feature_attention(ONE, ONE, ONE, features=0), "the number of positive features is one or more; 0 came"),
    (lambda: parts.random_feature_attention(ONE, ONE, ONE, features=3, kind="hyperbolic"), "the number of hyperbolic features is even and two or more: each direction gives two; 3 came"),
    (lambda: parts.random_feature_attention(ONE, ONE, ONE, kind="cosine"), "kinds of features are positive, hyperbolic, trigonometric; 'cosine' came"),
    (lambda: parts.random_feature_attention(ONE, ONE, ONE, scale=-1.0), "scale multiplies q·k and is positive, since its root goes to either side; -1.0 came"),
    (lambda: parts.random_feature_attention(ONE, ONE[:, :, :2], ONE[:, :, :2], is_causal=True), "causal attention is of one sequence: 3 queries and 2 keys came"),
    (lambda: parts.random_feature_attention(ONE, ONE, ONE, features=4, directions=torch.zeros(4, 3)), "directions are (directions, width) = (4, 2); (4, 3) came"),
    (lambda: parts.random_feature_attention(ONE, ONE, ONE, features=4, directions=torch.zeros(4, 2, requires_grad=True)), "directions are constants of the estimate and get no gradient: detach() them"),
    (lambda: parts.separable_attention(ONE, ONE, ONE, key_padding_mask=torch.zeros(1, 2, dtype=torch.bool)), "key_padding_mask is bool and (batch, keys) = (1, 3); torch.bool and (1, 2) came"),
    (lambda: parts.linear_attention(ONE, ONE, ONE, key_padding_mask=torch.zeros(1, 3)), "key_padding_mask is bool and (batch, keys) = (1, 3); torch.float32 and (1, 3) came"),
    (lambda: parts.linear_attention(ONE, ONE[:, :, :2], ONE[:, :, :2], is_causal=True), "causal attention is of one sequence: 3 queries and 2 keys came"),
    (lambda: parts.feature_directions(0, 2), "directions are one or more, of width one or more; 0 of width 2 came"),
    (lambda: parts.SeparableSelfAttention(6, 2)(torch.zeros(3, 6), is_causal=True), "separable attention has no causal form: each column's soft-max is over all keys; is_causal=True came"),
    (lambda: parts.forecast_features(ONE, ONE[:, :, :0], ONE[:, :, :0]), "a forecast needs a positive scale, a query and a key; scale 0.7071067811865475, (1, 1, 3, 2), (1, 1, 0, 2) came"),
    (lambda: parts.forecast_features(ONE, ONE, ONE, key_padding_mask=torch.ones(1, 3, dtype=torch.bool)), "a forecast needs a key in every sequence; key_padding_mask hides all of one"),
    (lambda: parts.FeatureForecast(1.0, 1.0, 1.0).features_needed(0.0), "the wanted relative error is positive, such as 0.1; 0.0 came"),
])
def test_what_does_not_fit_is_refused_in_one_line(call, said):
    with pytest.raises(UsageError) as refused:
        call()
    assert str(refused.value) == said


@pytest.mark.parametrize(("spread", "features"), [(0.25, 256), (0.5, 4096)])
def test_the_forecast_is_the_error_that_comes(spread, features):
    query, key = draws(11, *[(1, 1, 128, 64)] * 2, spread=spread)
    (value,) = draws(12, (1, 1, 128, 64))
    exact = functional.scaled_dot_product_attention(query, key, value)
    forecast = parts.forecast_features(query, key, value, queries=128, generator=torch.Generator().manual_seed(0))
    squares = []
    for seed in range(12):
        found = parts.random_feature_attention(
            query, key, value, features=features, orthogonal=False, generator=torch.Generator().manual_seed(1000 + seed)
        )
        squares.append(((found - exact).norm() / exact.norm()).item() ** 2)
    assert forecast.error(features) == pytest.approx(math.sqrt(sum(squares) / len(squares)), rel=0.25)
    assert forecast.features_needed(forecast.error(features)) == pytest.approx(features, abs=1)
    assert forecast.sum_of_squares == pytest.approx(2 * spread**2 * 8, rel=0.1)


def test_the_forecast_says_when_features_are_worse_than_none():
    """Unit variance, as after a LayerNorm, at width 64: at every m to 4096 the mean of the values is the better reply."""
    query, key, value = draws(13, *[(1, 1, 128, 64)] * 3)
    exact = functional.scaled_dot_product_attention(query, key, value)
    forecast = parts.forecast_features(query, key, value, generator=torch.Generator().manual_seed(0))
    uniform = ((value.mean(-2, keepdim=True) - exact).norm() / exact.norm()).item()
    assert forecast.uniform_error == pytest.approx(uniform, rel=0.15)
    assert forecast.features_worth > 4096 and forecast.features_needed(0.1) > 1e8
    assert "are worse than none" in str(forecast)
    for features in (64, 1024, 4096):
        found = parts.random_feature_attention(query, key, value, features=features, generator=torch.Generator().manual_seed(features))
        assert (found - exact).norm() / exact.norm() > uniform


def test_a_forecast_beyond_float64_is_infinite_and_equal_values_need_one_feature():
    query, key, value = draws(14, *[(1, 1, 8, 4)] * 3, spread=60.0)
    assert parts.forecast_features(query, key, value).features_needed(0.1) == math.inf
    same = parts.forecast_features(query / 60, key / 60, torch.ones_like(value))
    assert same.features_needed(0.1) == 1


@pytest.mark.gpu
@FORMS
def test_cuda_gives_the_numbers_of_the_cpu(is_causal):
    query, key, value = draws(15, *[(2, 4, 1000, 32)] * 3, spread=0.5, dtype=torch.float32)
    w = directions(64, 32).float()
    here = parts.random_feature_attention(query, key, value, features=64, directions=w, is_causal=is_causal)
    there = parts.random_feature_attention(
        query.cuda(), key.cuda(), value.cuda(), features=64, directions=w.cuda(), is_causal=is_causal
    )
    torch.testing.assert_close(there.cpu(), here, rtol=1e-4, atol=1e-4)
