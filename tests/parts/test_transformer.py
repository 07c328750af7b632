"""The transformer's layers beside torch.nn's: every mask, layout and state; what no position may read; and the first loss of a tied model."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from torchstone import parts
from torchstone.core.errors import UsageError
from torchstone.laws.initialization import tied_deviation

ALIKE = {"rtol": 0, "atol": 1e-6}


def pair(ours, theirs, **settings):
    torch.manual_seed(0)
    one, two = ours(8, 2, 12, 0.0, **settings), theirs(8, 2, 12, 0.0, **settings)
    for parameter in two.parameters():
        nn.init.normal_(parameter, std=0.5)
    one.load_state_dict(two.state_dict())  # the same names
    return one, two


def encoders(**settings):
    return pair(parts.TransformerEncoderLayer, nn.TransformerEncoderLayer, **settings)


def masks(batch, length, heads=2):
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    padded = torch.zeros(batch, length, dtype=torch.bool)
    padded[1, -2:] = True
    yield {}
    yield {"src_mask": future}
    yield {"src_mask": future, "is_causal": True}
    yield {"src_mask": torch.randn(length, length)}
    yield {"src_mask": torch.randn(batch * heads, length, length)}
    yield {"src_key_padding_mask": padded}
    yield {"src_mask": future, "src_key_padding_mask": padded}
    yield {"src_mask": future, "src_key_padding_mask": padded, "is_causal": True}
    yield {"src_mask": torch.randn(batch * heads, length, length), "src_key_padding_mask": torch.zeros(batch, length).masked_fill(padded, -torch.inf)}


@pytest.mark.parametrize(("norm_first", "bias", "activation"), [*itertools.product([True, False], [True, False], ["relu", "gelu"])])
def test_an_encoder_layer_is_torchs_under_every_mask(norm_first, bias, activation):
    ours, theirs = encoders(batch_first=True, norm_first=norm_first, bias=bias, activation=activation)
    x = torch.randn(3, 5, 8)
    for given in masks(3, 5):
        torch.testing.assert_close(ours(x, **given), theirs(x, **given), **ALIKE)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_a_decoder_layer_is_torchs_under_masks(norm_first, batch_first):
    ours, theirs = pair(parts.TransformerDecoderLayer, nn.TransformerDecoderLayer, norm_first=norm_first, batch_first=batch_first)
    target, memory = torch.randn(4, 4, 8), torch.randn(4, 4, 8)
    padded = torch.tensor([[False] * 4, [False, False, True, True], [False] * 4, [False, True, True, True]])
    future = torch.ones(4, 4, dtype=torch.bool).triu(1)
    for given in ({}, {"tgt_mask": future, "tgt_is_causal": True}, {"memory_mask": future}, {"memory_key_padding_mask": padded},
                  {"tgt_mask": future, "tgt_key_padding_mask": padded, "memory_key_padding_mask": padded}):
        torch.testing.assert_close(ours(target, memory, **given), theirs(target, memory, **given), **ALIKE)


def test_one_sequence_without_a_batch():
    ours, theirs = encoders()
    x = torch.randn(5, 8)
    torch.testing.assert_close(ours(x), theirs(x), **ALIKE)
    padded = torch.tensor([False, False, False, True, True])
    torch.testing.assert_close(ours(x, src_key_padding_mask=padded), theirs(x, src_key_padding_mask=padded), **ALIKE)
    one, two = pair(parts.TransformerDecoderLayer, nn.TransformerDecoderLayer)
    torch.testing.assert_close(one(x, x[:3]), two(x, x[:3]), **ALIKE)


def test_causal_needs_no_mask_and_hides_the_future_with_padding_too():
    layer, _ = encoders(batch_first=True)
    x, padded = torch.randn(2, 5, 8), torch.zeros(2, 5, dtype=torch.bool)
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    torch.testing.assert_close(layer(x, is_causal=True), layer(x, future), **ALIKE)
    torch.testing.assert_close(layer(x, src_key_padding_mask=padded, is_causal=True), layer(x, future), **ALIKE)


def test_a_position_that_may_read_nothing_is_finite_and_has_gradients():
    layer, _ = encoders(batch_first=True)
    x = torch.randn(2, 3, 8, requires_grad=True)
    padded = torch.tensor([[False] * 3, [True] * 3])
    output = layer(x, src_key_padding_mask=padded)
    assert output.isfinite().all()
    assert torch.autograd.grad(output.sum(), x)[0].isfinite().all()
    without = layer.norm1(x[1] + layer.self_attn.out_proj.bias)
    torch.testing.assert_close(output[1], layer.norm2(without + layer.linear2(functional.relu(layer.linear1(without)))), **ALIKE)


def test_padding_is_not_read():
    layer, _ = encoders(batch_first=True)
    x, padded = torch.randn(1, 4, 8), torch.tensor([[False, False, True, True]])
    other = torch.cat([x[:, :2], torch.randn(1, 2, 8)], 1)
    torch.testing.assert_close(layer(x, src_key_padding_mask=padded)[:, :2], layer(other, src_key_padding_mask=padded)[:, :2], **ALIKE)


def test_dropout_is_drawn_in_training_alone():
    layer = parts.TransformerEncoderLayer(8, 2, 12, 0.5)
    x = torch.randn(3, 2, 8)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize(("make", "text"), [
    (lambda: parts.TransformerEncoderLayer(8, 3), "nhead divides d_model; d_model=8, nhead=3"),
    (lambda: parts.TransformerDecoderLayer(0, 1), "sizes are 1 or more"),
    (lambda: parts.TransformerEncoderLayer(8, 2, activation="tanh"), "one of relu, gelu; 'tanh' came"),
    (lambda: parts.TransformerEncoderLayer(8, 2)(torch.zeros(3, 2, 6)), r"the last of 8, is needed; \(3, 2, 6\) came"),
    (lambda: parts.TransformerEncoderLayer(8, 2)(torch.zeros(8)), "two or three axes"),
    (lambda: parts.EncoderDecoder(1, 8, 2), "two words and one position"),
    (lambda: parts.EncoderDecoder(9, 8, 2, 1, 1, 8, max_positions=3)(torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.int64)),
     "up to max_positions=3 tokens are read; 4 came"),
])  # fmt: skip
def test_bad_input_is_told(make, text):
    with pytest.raises(UsageError, match=text):
        make()


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize(("words", "width"), [(100, 64), (1000, 32), (3000, 128)])
def test_a_tied_model_starts_near_the_loss_of_knowing_nothing(words, width, norm_first):
    torch.manual_seed(0)
    model = parts.EncoderDecoder(words, width, 4, 2, 2, 2 * width, 0.0, norm_first=norm_first)
    source, target = torch.randint(words, (32, 12)), torch.randint(words, (32, 13))
    assert model.embedding.weight.std().item() == pytest.approx(tied_deviation(words, width), rel=0.1)
    with torch.no_grad():
        start = functional.cross_entropy(model(source, target[:, :-1]).flatten(0, 1), target[:, 1:].flatten()).item()
        model.reset_embeddings(1.0)
        wide = functional.cross_entropy(model(source, target[:, :-1]).flatten(0, 1), target[:, 1:].flatten()).item()
    assert abs(start - math.log(words)) < 0.2 and wide > math.log(words) + 10


def test_padded_sources_and_the_future_change_nothing():
    torch.manual_seed(0)
    model = parts.EncoderDecoder(9, 8, 2, 1, 1, 8, 0.0, padding_idx=0).double()
    source, target = torch.tensor([[3, 4, 5]]), torch.tensor([[1, 2, 6, 7]])
    alone = model(source, target)
    torch.testing.assert_close(model(functional.pad(source, (0, 2)), target), alone)
    torch.testing.assert_close(model(source, target[:, :2]), alone[:, :2])
    assert not torch.equal(model(torch.tensor([[3, 4, 6]]), target), alone)


def test_the_head_is_the_embedding_and_learns_as_one():
    model = parts.EncoderDecoder(9, 8, 2, 1, 1, 8, 0.0)
    assert not any(name.startswith("head") for name in model.state_dict())
    model(torch.tensor([[3]]), torch.tensor([[1]])).sum().backward()
    assert model.embedding.weight.grad[5].any()  # a word that was only ever a candidate
