"""RNN, GatedRNN and AttentionRNN: nn.RNN as oracle, padding, packing, streaming, second derivatives, diagrams, refusals."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from torchstone.core.errors import UsageError
from torchstone.parts import RNN, AttentionRNN, GatedRNN, LinearRNN

CLOSE = {"rtol": 1e-11, "atol": 1e-11}
MAKERS = {
    "linear": lambda **a: LinearRNN(3, 4, **a),
    "inside": lambda **a: RNN(3, 4, **a),
    "outside": lambda **a: RNN(3, 4, "relu", activation="outside", **a),
    "gated": lambda **a: GatedRNN(3, 4, **a),
    "gated-bias": lambda **a: GatedRNN(3, 4, True, **a),
    "attention-1": lambda **a: AttentionRNN(3, 4, 1, **a),
    "attention-3": lambda **a: AttentionRNN(3, 4, 3, **a),
    "attention-all": lambda **a: AttentionRNN(3, 4, math.inf, **a),
}
every = pytest.mark.parametrize("name", MAKERS)


def made(name, **arguments):
    torch.manual_seed(0)
    return MAKERS[name](dtype=torch.float64, **arguments)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def first(network, batch):
    """A state to begin with that is not zero."""
    return network(normal(3, batch, 3))[1].detach()


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_inside_is_nn_rnn_with_its_weights(nonlinearity, batch_first):
    theirs = nn.RNN(3, 4, nonlinearity=nonlinearity, batch_first=batch_first, dtype=torch.float64)
    ours = RNN.from_torch(theirs)
    inputs, hx = normal(6, 6, 3), normal(1, 6, 4)
    for arguments in ((inputs, hx), (inputs,), (inputs[0], hx[:, 0])):
        for one, other in zip(ours(*arguments), theirs(*arguments), strict=True):
            torch.testing.assert_close(one, other, **CLOSE)
    assert RNN.from_torch(nn.RNN(3, 4, bias=False)).bias is None


@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequences_are_treated_as_nn_rnn_treats_them(enforce_sorted):
    theirs = nn.RNN(3, 4, dtype=torch.float64)
    lengths = [5, 3, 3, 1] if enforce_sorted else [1, 5, 3, 3]
    packed = pack_padded_sequence(normal(5, 4, 3), lengths, enforce_sorted=enforce_sorted)
    hx = normal(1, 4, 4)
    (ours, last), (wanted, end) = RNN.from_torch(theirs)(packed, hx), theirs(packed, hx)
    torch.testing.assert_close(ours.data, wanted.data, **CLOSE)
    torch.testing.assert_close(last, end, **CLOSE)
    torch.testing.assert_close(pad_packed_sequence(ours)[0], pad_packed_sequence(wanted)[0], **CLOSE)


@every
def test_streaming_step_by_step_is_the_whole_sequence(name):
    network = made(name)
    inputs = normal(7, 2, 3)
    whole, end = network(inputs)
    pieces, state = [], None
    for piece in (inputs[:1], inputs[1:3], inputs[3:3], inputs[3:]):
        output, state = network(piece, state)
        pieces.append(output)
    torch.testing.assert_close(torch.cat(pieces), whole, **CLOSE)
    torch.testing.assert_close(state, end, **CLOSE)


@every
def test_a_padded_sequence_is_the_short_one_whatever_the_padding_holds(name):
    network = made(name)
    lengths = torch.tensor([4, 0, 6, 1])
    inputs, hx = normal(6, 4, 3), first(network, 4)
    for number, length in enumerate(lengths):
        inputs[length:, number] = math.nan
    inputs.requires_grad_()
    output, last = network(inputs, hx, lengths)
    gradient = torch.autograd.grad(output.sum() + last.sum(), [inputs, *network.parameters()])
    assert all(one.isfinite().all() for one in gradient)
    for number, length in enumerate(lengths):
        alone, end = network(inputs[:length, number : number + 1], hx[:, number : number + 1])
        torch.testing.assert_close(output[:length, number], alone[:, 0], **CLOSE)
        torch.testing.assert_close(last[:, number], end[:, 0], **CLOSE)
        assert not output[length:, number].any() and not gradient[0][length:, number].any()


@every
def test_layouts_agree(name):
    network, inputs = made(name), normal(5, 2, 3)
    hx = first(network, 2)
    output, last = network(inputs, hx)
    network.batch_first = True
    turned, end = network(inputs.transpose(0, 1), hx)
    torch.testing.assert_close(turned.transpose(0, 1), output, **CLOSE)
    torch.testing.assert_close(end, last, **CLOSE)
    alone, end = network(inputs[:, 1], hx[:, 1])
    torch.testing.assert_close(alone, output[:, 1], **CLOSE)
    torch.testing.assert_close(end, last[:, 1], **CLOSE)


@every
def test_transforms_and_second_derivatives_see_the_same_function(name):
    network, inputs = made(name), normal(3, 1, 3)
    by_rows = torch.autograd.functional.jacobian(lambda x: network(x)[0], inputs)
    torch.testing.assert_close(torch.func.jacrev(lambda x: network(x)[0])(inputs), by_rows, **CLOSE)
    parameters = tuple(network.parameters())
    assert torch.autograd.gradgradcheck(lambda x, *_: network(x)[0], (inputs.requires_grad_(), *parameters))


@every
def test_autocast_trains(name):
    network = MAKERS[name]()
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = network(torch.randn(5, 2, 3), None, torch.tensor([5, 2]))
    output.float().square().sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in network.parameters())


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "sigmoid"])
def test_the_two_forms_are_one_network(nonlinearity):
    outside = RNN(3, 4, nonlinearity, dtype=torch.float64, activation="outside")
    inside = outside.to_inside()
    assert inside.weight_hh is outside.weight_hh and inside.activation == "inside" and outside.to_outside().activation == "outside"
    inputs, h = normal(6, 2, 3), normal(1, 2, 4).abs()
    states, last = outside(inputs, h)
    found, end = inside(inputs, outside.inside_state(h))
    torch.testing.assert_close(found, outside.inside_state(states), **CLOSE)
    torch.testing.assert_close(end, outside.inside_state(last), **CLOSE)
    torch.testing.assert_close(outside.outside_state(outside.inside_state(h)), h, rtol=1e-9, atol=1e-9)


@given(window=some.integers(1, 6), steps=some.integers(1, 9), seed=some.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_the_infinite_form_is_a_window_as_wide_as_the_past_with_one_set_of_matrices(window, steps, seed):
    torch.manual_seed(seed)
    infinite = AttentionRNN(2, 3, math.inf, dtype=torch.float64)
    inputs, past = 4 * normal(steps, 1, 2), 4 * normal(window, 1, 3)
    state = infinite.state_dict()
    line = [*past]  # one state more is seen with every step: a wider window with the same matrices each time
    for row in inputs:
        tied = AttentionRNN(2, 3, len(line), dtype=torch.float64)
        tied.load_state_dict({name: one.expand(len(line), -1, -1) if name.endswith("hh") else one for name, one in state.items()})
        line.insert(0, tied(row.unsqueeze(0), torch.stack(line))[0][0])
    found, _ = infinite(inputs, infinite.pooled(past))
    torch.testing.assert_close(found.flip(0), torch.stack(line[:steps]), rtol=1e-9, atol=1e-9)


def test_no_past_at_all_leaves_the_value_of_the_input():
    network = AttentionRNN(2, 3, math.inf, dtype=torch.float64)
    hx = torch.cat([torch.full((1, 1, 1), -math.inf), torch.zeros(1, 1, 3)], -1).double()
    inputs = normal(3, 1, 2).requires_grad_()
    output, _ = network(inputs, hx)
    torch.testing.assert_close(output[0], inputs[0] @ network.value_ih.T, **CLOSE)
    assert torch.autograd.grad(output.sum(), inputs)[0].isfinite().all()


def test_scores_beyond_exp_do_not_overflow():
    for window in (2, math.inf):
        network = AttentionRNN(2, 3, window)
        inputs = (1e3 * torch.randn(20, 1, 2)).requires_grad_()
        output, _ = network(inputs)
        (gradient,) = torch.autograd.grad(output.sum(), inputs)
        assert output.isfinite().all() and gradient.isfinite().all()


@pytest.mark.parametrize(
    ("network", "labels"),
    [
        (GatedRNN(3, 4, True), ("h[t-1] (4)", "x[t] (3)", "Wc (4 x 3) + b", "Wh (4 x 4)", "sigmoid = c[t]", "1 - c[t]", "times", "h[t] (4)")),
        (AttentionRNN(3, 4, 2), ("x[t] (3)", "h[t-1] (4)", "h[t-2] (4)", "Q2, K2, V2", "softmax = a[t] (3)", "sum a[i] v[i], i = 0..2")),
        (AttentionRNN(3, 4, math.inf), ("h[t-1] .. h[0] (4)", "Q, K, V, tied", "sum a[i] v[i], i = 0..t")),
    ],
)
def test_a_diagram_names_every_part_in_characters_and_in_svg(network, labels):
    drawn = network.diagram()
    texts = re.findall(r"<text [^>]*>([^<]*)</text>", drawn.svg)
    for label in labels:
        assert f"[{label}]" in drawn.text and label in texts
    lines = drawn.text.splitlines()
    assert drawn.text.count("▶") <= drawn.svg.count("<polyline") and max(map(len, lines)) < 200


def test_a_line_of_the_diagram_never_runs_through_a_box():
    for k in (1, 2, 3, 4, 7):
        for line in AttentionRNN(3, 4, k).diagram().text.splitlines():
            assert line.count("[") == line.count("]")
    text = AttentionRNN(30, 40, 2).diagram().text
    assert text.count("▶") == 3 + 3 + 3 + 3  # into matrices, values, scores; softmax, sum, state


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: RNN(2, 3, "gelu"), "nonlinearity is one of tanh, relu, sigmoid; 'gelu' came"),
        (lambda: RNN(2, 3, activation="before"), "activation is 'inside' (nn.RNN) or 'outside' the recurrence; 'before' came"),
        (lambda: RNN(2, 3).outside_state(torch.tensor([0.5, 1.0])), "tanh does not take every value in this state, from 0.5 to 1: no h_0 goes with it"),
        (lambda: RNN(2, 3, "relu").outside_state(torch.tensor([-1.0])), "relu does not take every value in this state, from -1 to -1: no h_0 goes with it"),
        (lambda: AttentionRNN(2, 3, 0), "window is how many past states are attended to, 1 or more, or math.inf for all; 0 came"),
        (lambda: AttentionRNN(2, 3, 1.5), "window is how many past states are attended to, 1 or more, or math.inf for all; 1.5 came"),
        (lambda: AttentionRNN(2, 3, 2)(torch.ones(4, 1, 2), torch.ones(1, 1, 3)), "hx of (2, 1, 3) is needed for this input; (1, 1, 3) came"),
        (lambda: AttentionRNN(2, 3, 2).pooled(torch.ones(1, 1, 3)), "a window of 2 begins with states themselves; only window=math.inf has them pooled"),
        (lambda: GatedRNN(2, 0), "sizes are 1 or more; input_size=2 and hidden_size=0 came"),
        (lambda: GatedRNN(2, 3)(torch.ones(4, 2, 2), lengths=torch.tensor([5, 1])), "lengths are from 0 to 4, the steps of the input; [5, 1] came"),
        (lambda: GatedRNN(2, 3)(torch.ones(4, 2, 2), lengths=torch.tensor([4])), "lengths: one whole number for each sequence, (2,), is needed; (1,) came"),
        (lambda: GatedRNN(2, 3)(pack_padded_sequence(torch.ones(2, 1, 2), [2]), None, torch.tensor([2])), "a PackedSequence carries its lengths; leave lengths out"),
    ],
)
def test_what_does_not_fit_is_refused(call, said):
    with pytest.raises(UsageError) as refused:
        call()
    assert str(refused.value) == said


def test_more_than_one_layer_is_no_rnn_of_ours():
    with pytest.raises(UsageError, match=r"^an nn.RNN of one layer and one direction is needed; RNN\(3, 4, num_layers=2\) came$"):
        RNN.from_torch(nn.RNN(3, 4, num_layers=2))
