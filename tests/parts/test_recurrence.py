"""LinearRNN against a bare loop, in every layout of nn.RNN."""

import pytest
import torch
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped
from torch import nn

from torchstone.core.errors import UsageError
from torchstone.parts.recurrence import LinearRNN

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def looped(network, inputs, state):
    """Time first, the state of one step after the other."""
    bias = 0 if network.bias is None else network.bias
    states = []
    for row in inputs:
        state = row @ network.weight_ih.T + state @ network.weight_hh.T + bias
        states.append(state)
    return torch.stack(states)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_every_layout_gives_the_states_of_a_bare_loop(bias, given):
    network = LinearRNN(3, 4, bias=bias, dtype=torch.float64)
    inputs, start = torch.randn(6, 2, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64) * given
    expected = looped(network, inputs, start)
    hx = start.unsqueeze(0) if given else None
    output, last = network(inputs, hx)
    torch.testing.assert_close(output, expected, **CLOSE)
    torch.testing.assert_close(last, expected[-1:], **CLOSE)
    network.batch_first = True
    output, last = network(inputs.transpose(0, 1), hx)
    torch.testing.assert_close(output.transpose(0, 1), expected, **CLOSE)
    torch.testing.assert_close(last, expected[-1:], **CLOSE)
    output, last = network(inputs[:, 0], None if hx is None else hx[:, 0])
    torch.testing.assert_close(output, expected[:, 0], **CLOSE)
    assert last.shape == (1, 4)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("shape", [(5, 3), (5, 2, 3)])
def test_shapes_are_those_of_nn_rnn(batch_first, shape):
    ours, theirs = LinearRNN(3, 4, batch_first=batch_first), nn.RNN(3, 4, batch_first=batch_first)
    inputs = torch.randn(shape)
    assert [one.shape for one in ours(inputs)] == [one.shape for one in theirs(inputs)]


def test_small_states_are_those_of_a_tanh_network():
    theirs = nn.RNN(3, 4, bias=False).double()
    ours = LinearRNN(3, 4, bias=False, dtype=torch.float64)
    ours.load_state_dict({name.removesuffix("_l0"): value for name, value in theirs.state_dict().items()})
    inputs = 1e-6 * torch.randn(5, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(ours(inputs)[0], theirs(inputs)[0], rtol=1e-9, atol=1e-15)


def test_gradients_are_right():
    network = LinearRNN(2, 3, dtype=torch.float64)
    inputs = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    hx = torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, h, *_: network(x, h), (inputs, hx, *network.parameters()))


def test_no_step_leaves_the_state_as_it_is():
    network, hx = LinearRNN(2, 3), torch.randn(1, 4, 3)
    output, last = network(torch.empty(0, 4, 2), hx)
    assert output.shape == (0, 4, 3) and torch.equal(last, hx)


def test_it_compiles_whole():
    network = LinearRNN(2, 3)
    inputs = torch.randn(4, 2)
    torch.testing.assert_close(torch.compile(network, backend="eager", fullgraph=True)(inputs)[0], network(inputs)[0])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: LinearRNN(0, 3), "sizes are 1 or more; input_size=0 and hidden_size=3 came"),
        (lambda: LinearRNN(2, 3)(torch.ones(4, 5)), "an input of two or three axes, the last of 2, is needed; (4, 5) came"),
        (lambda: LinearRNN(2, 3)(torch.ones(2)), "an input of two or three axes, the last of 2, is needed; (2,) came"),
        (lambda: LinearRNN(2, 3)(torch.ones(4, 1, 2), torch.ones(1, 2, 3)), "hx of (1, 1, 3) is needed for this input; (1, 2, 3) came"),
        (lambda: LinearRNN(2, 3)(torch.ones(4, 2), torch.ones(2, 3)), "hx of (1, 3) is needed for this input; (2, 3) came"),
    ],
)
def test_what_does_not_fit_is_refused(call, said):
    with pytest.raises(UsageError) as refused:
        call()
    assert str(refused.value) == said


def test_the_shapes_that_the_signature_states_are_checked():
    network = LinearRNN(2, 3)
    checked = jaxtyped(typechecker=beartype)(LinearRNN.forward)
    assert checked(network, torch.ones(4, 1, 2), torch.ones(1, 1, 3))[0].shape == (4, 1, 3)
    with pytest.raises(TypeCheckError):
        checked(network, torch.ones(4, 2), torch.ones(3))
    assert repr(network) == "LinearRNN(2, 3, bias=True, batch_first=False)"
