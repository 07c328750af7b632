"""Local attention against torch's own attention under a dense band mask, at its edges, and as a layer."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from torchstone.core.errors import UsageError
from torchstone.parts import LocalSelfAttention, local_attention
from torchstone.parts.attention.band import chunks, segments

ROUNDINGS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.06}


def dense(query, key, value, left, right, ignored=None, scale=None):
    """torch's attention under a mask; rows without a key are 0 there too."""
    positions = torch.arange(query.shape[2])
    distance = positions[None] - positions[:, None]
    mask = ((distance >= -left) & (distance <= right))[None, None]
    mask = mask if ignored is None else mask & ~ignored[:, None, None]
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


def rows(*shape, dtype=torch.float64, seed=0, batch_first=False):
    torch.manual_seed(seed)
    b, h, t, d = shape
    made = [torch.randn(b, t, h, d).transpose(1, 2) if batch_first else torch.randn(b, h, t, d) for _ in range(3)]
    return [x.to(dtype).requires_grad_() for x in made]


def both(function, tensors, seed=1):
    output = function(*tensors)
    torch.manual_seed(seed)
    return [output, *torch.autograd.grad(output, tensors, torch.randn(output.shape).to(output))]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    length=st.integers(1, 200), left=st.integers(0, 70), right=st.integers(0, 70), batch=st.integers(1, 2), heads=st.integers(1, 3),
    padding=st.sampled_from([None, 0.2, 0.95]), causal=st.booleans(), batch_first=st.booleans(),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]), seed=st.integers(0, 999),
)  # fmt: skip
def test_it_is_torchs_attention_under_a_band_mask(length, left, right, batch, heads, padding, causal, batch_first, dtype, seed):
    tensors = rows(batch, heads, length, 4, dtype=dtype, seed=seed, batch_first=batch_first)
    ignored = None if padding is None else torch.rand(batch, length) < padding
    found = both(lambda q, k, v: local_attention(q, k, v, (left, right), is_causal=causal, key_padding_mask=ignored), tensors)
    exact = [x.detach().double().requires_grad_() for x in tensors]
    wanted = both(lambda q, k, v: dense(q, k, v, left, 0 if causal else right, ignored), exact)
    if dtype is torch.bfloat16:  # the same random gradient, but rounded
        wanted[1:] = torch.autograd.grad(dense(*exact, left, 0 if causal else right, ignored), exact, gradient_of(found[0]).double())
    for one, other in zip(found, wanted, strict=True):
        scale = max(1.0, other.abs().max().item())
        assert one.dtype is dtype
        assert (one.double() - other).abs().max().item() <= ROUNDINGS[dtype] * scale


def gradient_of(output, seed=1):
    torch.manual_seed(seed)
    return torch.randn(output.shape).to(output)


def test_positions_beyond_a_length_that_no_block_divides_are_not_attended():
    """local-attention 1.11.2 with autopad has rows 53 to 60 wrong here: its zero pads are attended."""
    query, key, value = rows(1, 2, 61, 8)
    torch.testing.assert_close(local_attention(query, key, value, 8), dense(query, key, value, 8, 8))


def test_the_window_is_the_band_and_not_whole_blocks():
    """local-attention's default sees its own block and its neighbours; position 0 must not see position k + 1."""
    query, key, value = rows(1, 1, 100, 4)
    (by_value,) = torch.autograd.grad(local_attention(query, key, value, 8)[0, 0, 50].sum(), value)
    assert by_value[0, 0].abs().sum(-1).nonzero().flatten().tolist() == list(range(42, 59))


def test_a_row_without_a_key_is_zero_and_has_no_gradient():
    tensors = rows(2, 2, 70, 4)
    ignored = torch.zeros(2, 70, dtype=torch.bool)
    ignored[0, :40] = True
    ignored[1] = True
    output, *gradients = both(lambda q, k, v: local_attention(q, k, v, 3, key_padding_mask=ignored), tensors)
    assert not output[0, :, :37].any() and output[0, :, 37:].all() and not output[1].any()
    assert all(one.isfinite().all() and not one[1].any() for one in gradients)
    assert not gradients[1][0, :, :40].any() and not gradients[2][0, :, :40].any()


def test_a_window_that_covers_everything_is_full_attention():
    query, key, value = rows(2, 3, 50, 4)
    torch.testing.assert_close(local_attention(query, key, value, 10**9), functional.scaled_dot_product_attention(query, key, value))
    causal = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(local_attention(query, key, value, 49, is_causal=True), causal)


@pytest.mark.parametrize("window", [0, (0, 0)])
def test_a_window_of_nothing_but_itself_gives_the_values(window):
    query, key, value = rows(1, 1, 70, 3)
    torch.testing.assert_close(local_attention(query, key, value, window), value)


@pytest.mark.parametrize("shape", [(0, 2, 5, 3), (2, 0, 5, 3), (1, 2, 0, 3)])
def test_nothing_in_nothing_out(shape):
    tensors = rows(*shape)
    output, *gradients = both(lambda q, k, v: local_attention(q, k, v, 2), tensors)
    assert output.shape == shape and all(one.shape == shape for one in gradients)


def test_queries_of_large_norm_do_not_overflow():
    query, key, value = rows(1, 1, 90, 4, dtype=torch.float32)
    found = local_attention(1e6 * query, key, value, 3)
    assert found.isfinite().all() and all(x.isfinite().all() for x in torch.autograd.grad(found.sum(), (query, key, value)))


def test_a_part_of_a_larger_tensor_is_read_in_its_place():
    torch.manual_seed(0)
    packed = torch.randn(2, 90, 3, 2, 4, dtype=torch.float64)
    query, key, value = packed.permute(2, 0, 3, 1, 4)
    torch.testing.assert_close(local_attention(query, key, value, 5), dense(query, key, value, 5, 5))
    expanded = value[:, :1].expand_as(value)
    torch.testing.assert_close(local_attention(query, key, expanded, 5), dense(query, key, expanded, 5, 5))
    turned = packed.permute(2, 0, 4, 1, 3)  # features are not the last in memory
    torch.testing.assert_close(local_attention(*turned, 5), dense(*turned, 5, 5))


@pytest.mark.parametrize(("length", "padding"), [(6, False), (40, True)])
def test_gradients_of_first_and_second_order(length, padding):
    tensors = rows(2, 1, length, 2)
    ignored = (torch.arange(2 * length).view(2, length) % 3 == 0) if padding else None
    ignored = ignored if ignored is None else ignored | (torch.arange(length) < 9)

    def function(*x):
        return local_attention(*x, (3, 1), key_padding_mask=ignored)

    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors, fast_mode=True)


def test_func_transforms_and_checkpointing():
    query, key, value = rows(1, 2, 40, 3)
    found = torch.func.grad(lambda q: local_attention(q, key, value, 3).square().sum())(query)
    wanted = torch.func.grad(lambda q: dense(q, key, value, 3, 3).square().sum())(query)
    torch.testing.assert_close(found, wanted)
    per_sample = torch.vmap(torch.func.grad(lambda q, k: local_attention(q[None], k[None], value, 3).square().sum()), (1, 0), 1)
    several = query.expand(5, 2, 40, 3).movedim(0, 1), key.expand(5, 2, 40, 3)
    torch.testing.assert_close(per_sample(*several), wanted[0, :, None].expand(2, 5, 40, 3))
    again = torch.utils.checkpoint.checkpoint(lambda *x: local_attention(*x, 3), query, key, value, use_reentrant=False)
    torch.testing.assert_close(torch.autograd.grad(again.square().sum(), query)[0], wanted)


def test_dropout_drops_weights_and_keeps_their_mean():
    query, key, value = rows(1, 2, 500, 2, dtype=torch.float32)
    torch.manual_seed(3)
    none, all_of_it = local_attention(query, key, value, 4, dropout_p=0.0), local_attention(query, key, value, 4, dropout_p=1.0)
    some = torch.stack([local_attention(query, key, value, 4, dropout_p=0.3) for _ in range(200)])
    assert not all_of_it.any()
    error = some.std(0) / math.sqrt(len(some))
    assert ((some.mean(0) - none).abs() / error).mean() < 1.0  # the mean of |N(0, 1)| is 0.8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"window": -1}, "a window is k or (left, right), 0 or more; -1 came"),
        ({"window": (2, -1)}, "a window is k or (left, right), 0 or more; (2, -1) came"),
        ({"key": torch.zeros(1, 1, 6, 2)}, "(1, 1, 5, 2), (1, 1, 6, 2), (1, 1, 5, 2) came"),
        ({"query": torch.zeros(1, 5, 2)}, "query and key (b, h, t, d)"),
        ({"value": torch.zeros(1, 1, 5, 2).double()}, "torch.float32 on cpu, torch.float32 on cpu, torch.float64 on cpu came"),
        ({"key_padding_mask": torch.zeros(1, 5)}, "key_padding_mask is bool (b, t), True = ignore; torch.float32 (1, 5) came"),
        ({"key_padding_mask": torch.zeros(5, dtype=torch.bool)}, "torch.bool (5,) came"),
        ({"dropout_p": 1.5}, "dropout_p is a probability, 0 to 1; 1.5 came"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, said):
    given = {name: torch.zeros(1, 1, 5, 2) for name in ("query", "key", "value")} | {"window": 1} | arguments
    with pytest.raises(UsageError) as error:
        local_attention(**given)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("length", [1, 31, 64, 97, 128, 300])
@pytest.mark.parametrize("window", [(0, 0), (1, 0), (0, 33), (32, 32), (70, 5), (500, 500)])
def test_every_query_is_in_one_block_and_every_window_in_the_sequence(length, window):
    covered = [at for one in segments(length, *window) for at in range(one.first, one.first + one.block * one.count)]
    assert covered == list(range(length))
    for one in segments(length, *window):
        assert one.start >= 0 and one.start + one.block * (one.count - 1) + one.size <= length
        parts = list(chunks(one, 3, torch.device("cpu"), step=one.apart))
        blocks = [at + chunk.step * number for chunk in parts for at in [chunk.at] for number in range(chunk.count)]
        assert sorted(set(blocks)) == list(range(one.count))
        assert all(chunk.step * one.block >= one.size or chunk.count == 1 for chunk in parts)  # windows taken together share no key


def multihead(**more):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, dtype=torch.float64, **more)
    if layer.in_proj_bias is not None:
        nn.init.normal_(layer.in_proj_bias)
        nn.init.normal_(layer.out_proj.bias)
    return layer


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_torchs_where_the_window_covers_everything(batch_first, bias):
    theirs = multihead(batch_first=batch_first, bias=bias)
    ours = LocalSelfAttention(8, 2, 40, batch_first=batch_first, bias=bias, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(*((2, 40) if batch_first else (40, 2)), 8, dtype=torch.float64)
    ignored = torch.rand(2, 40) < 0.3
    torch.testing.assert_close(ours(x, ignored), theirs(x, x, x, ignored)[0])
    mask = torch.ones(40, 40, dtype=torch.bool).triu(1)
    torch.testing.assert_close(ours(x, is_causal=True), theirs(x, x, x, attn_mask=mask)[0])
    torch.testing.assert_close(ours(x[0]), theirs(x[0], x[0], x[0])[0])


def test_the_layer_is_torchs_under_a_band_mask():
    theirs = multihead(batch_first=True)
    ours = LocalSelfAttention(8, 2, (6, 3), batch_first=True, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 90, 8, dtype=torch.float64)
    hidden = torch.ones(90, 90, dtype=torch.bool).triu(-6).tril(3).logical_not()  # nn.MultiheadAttention's True is ignore
    torch.testing.assert_close(ours(x), theirs(x, x, x, attn_mask=hidden)[0])


def test_the_layer_drops_in_training_only():
    layer = LocalSelfAttention(8, 2, 2, dropout=0.5, batch_first=True)
    x = torch.randn(1, 40, 8)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))
    assert "window=(2, 2)" in repr(layer)


@pytest.mark.parametrize(("arguments", "said"), [((8, 3, 1), "8 and 3 came"), ((8, 2, -1), "-1 came"), ((8, 2, 1, 2.0), "2.0 came")])
def test_the_layer_refuses_what_does_not_fit(arguments, said):
    with pytest.raises(UsageError, match=said):
        LocalSelfAttention(*arguments)


def test_a_language_model_has_the_same_loss_with_a_causal_window_in_place_of_torchs_attention():
    """Swap the call: with a window as long as the sequence every number stays."""
    torch.manual_seed(0)
    tokens, table = torch.randint(0, 11, (2, 65)), nn.Embedding(11, 8)

    def loss(attend):
        x = table(tokens[:, :-1])[:, None]
        return functional.cross_entropy((x + attend(x, x, x))[:, 0].flatten(0, 1) @ table.weight.T, tokens[:, 1:].flatten())

    theirs = loss(lambda *x: functional.scaled_dot_product_attention(*x, is_causal=True))
    torch.testing.assert_close(loss(lambda *x: local_attention(*x, window=64, is_causal=True)), theirs)
