"""The recurrent parts under the shared suite, each against its recurrence spelt out one step after the other."""

import math

import torch
from torch import nn

from suites.part_suite import BATCH, Row, part_tests
from torchstone import parts


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


class States(nn.Module):
    """Every state, without the last one a second time; some sequences may be shorter than others."""

    def __init__(self, network, lengths=None):
        super().__init__()
        self.network, self.lengths = network, lengths

    def forward(self, inputs, hx):
        batch = hx.shape[1]
        return self.network(inputs, hx, None if self.lengths is None else torch.tensor(self.lengths)[:batch])[0]


def looped(axis, step):
    """step(network, x_t, past states, newest first) is the next state; 0 where a sequence has ended."""

    def reference(part):
        def run(inputs, hx):
            past, states = list(hx), []
            for row in inputs.unbind(axis):
                past.insert(0, step(part.network, row, past))
                states.append(past[0])
            states = torch.stack(states, axis)
            if part.lengths is None:
                return states
            ends = torch.tensor(part.lengths)[: hx.shape[1]]
            seen = torch.arange(len(states)).unsqueeze(1) < ends
            return torch.where(seen.unsqueeze(-1), states, torch.zeros(()).to(states))

        return run

    return reference


def linear(network, x, past):
    return x @ network.weight_ih.T + past[0] @ network.weight_hh.T + (0 if network.bias is None else network.bias)


def inside(network, x, past):
    return torch.tanh(linear(network, x, past))


def outside(network, x, past):
    return linear(network, x, [torch.sigmoid(past[0])])


def gated(network, x, past):
    bias = torch.zeros(8).to(x) if network.bias is None else network.bias
    gate = torch.sigmoid(x @ network.weight_ih[:4].T + past[0] @ network.weight_hh.T + bias[:4])
    return gate * past[0] + (1 - gate) * (x @ network.weight_ih[4:].T + bias[4:])


def attended(network, x, past):
    tied = network.window == math.inf
    sources = [(x, network.query_ih, network.key_ih, network.value_ih)]
    for number, state in enumerate(past[: None if tied else network.window]):
        own = 0 if tied else number
        sources.append((state, network.query_hh[own], network.key_hh[own], network.value_hh[own]))
    scores = torch.stack([((s @ q.T) * (s @ k.T)).sum(-1) for s, q, k, _ in sources])
    values = torch.stack([s @ v.T for s, _, _, v in sources])
    return (torch.softmax(scores, 0).unsqueeze(-1) * values).sum(0)


class Pooled(States):
    """The infinite form begun with states, as the reference is."""

    def forward(self, inputs, hx):
        return super().forward(inputs, self.network.pooled(hx))


def inputs_for(slots, axis=0):
    def inputs(batch):
        return [normal(*((5, batch, 3) if axis == 0 else (batch, 5, 3))), normal(slots, batch, 4)]

    return inputs


def shape(x, h):
    return (x[0], x[1], 4)


STEPS = BATCH * 5
ATTENTION = 3 * (4 * 3 + 2 * 4 * 4)
READ = {"one_device": "lengths are looked at, and fake tensors have no values"}
SAME = {"compiles": "the loop of attention-rnn-2, which is compiled"}
# Of the input the form of its score (made of n m n) and its value; of each state, those it begins with too, 2 forms (made of m m m),
# scores and values for 2 steps, and the averages of 3 values.
ATTENTION_FLOPS = 2 * (3 * 4 * 3 + STEPS * (3 * 3 + 3 * 4) + 2 * 4 * 4 * 4 + (STEPS + 2 * BATCH) * 2 * (2 * 4 * 4 + 4) + STEPS * 3 * 4)
ROWS = [
    Row(
        "linear-rnn",
        parts.LinearRNN,
        lambda cls: States(cls(3, 4, bias=False)),
        looped(0, linear),
        inputs_for(1),
        shape,
        parameters=3 * 4 + 4 * 4,
        flops=2 * STEPS * (3 * 4 + 4 * 4),
    ),
    Row("linear-rnn-batch-first", parts.LinearRNN, lambda cls: States(cls(3, 4, batch_first=True)), looped(1, linear), inputs_for(1, 1), shape, parameters=3 * 4 + 4 * 4 + 4),
    Row("rnn-inside", parts.RNN, lambda cls: States(cls(3, 4)), looped(0, inside), inputs_for(1), shape, parameters=32, flops=2 * STEPS * (3 * 4 + 4 * 4)),
    Row("rnn-outside", parts.RNN, lambda cls: States(cls(3, 4, "sigmoid", batch_first=True, activation="outside")), looped(1, outside), inputs_for(1, 1), shape, parameters=32),
    Row("rnn-lengths", parts.RNN, lambda cls: States(cls(3, 4), (3, 5, 0)), looped(0, inside), inputs_for(1), shape, parameters=32, without=READ),
    Row(
        "gated-rnn",
        parts.GatedRNN,
        lambda cls: States(cls(3, 4)),
        looped(0, gated),
        inputs_for(1),
        shape,
        parameters=2 * 3 * 4 + 4 * 4,
        flops=2 * STEPS * (2 * 3 * 4 + 4 * 4),
    ),
    Row("gated-rnn-bias", parts.GatedRNN, lambda cls: States(cls(3, 4, True, True)), looped(1, gated), inputs_for(1, 1), shape, parameters=48),
    Row("gated-rnn-lengths", parts.GatedRNN, lambda cls: States(cls(3, 4), (2, 5, 0)), looped(0, gated), inputs_for(1), shape, parameters=40, without=READ),
    Row("attention-rnn-1", parts.AttentionRNN, lambda cls: States(cls(3, 4, 1)), looped(0, attended), inputs_for(1), shape, parameters=3 * (4 * 3 + 4 * 4), without=SAME),
    Row("attention-rnn-2", parts.AttentionRNN, lambda cls: States(cls(3, 4)), looped(0, attended), inputs_for(2), shape, parameters=ATTENTION, flops=ATTENTION_FLOPS),
    Row("attention-rnn-7", parts.AttentionRNN, lambda cls: States(cls(3, 4, 7, True)), looped(1, attended), inputs_for(7, 1), shape, parameters=3 * (4 * 3 + 7 * 4 * 4), without=SAME),
    Row("attention-rnn-lengths", parts.AttentionRNN, lambda cls: States(cls(3, 4), (4, 5, 0)), looped(0, attended), inputs_for(2), shape, parameters=ATTENTION, without={**SAME, **READ}),
    Row("attention-rnn-infinite", parts.AttentionRNN, lambda cls: Pooled(cls(3, 4, math.inf)), looped(0, attended), inputs_for(2), shape, parameters=3 * (4 * 3 + 4 * 4)),
]
test_part = part_tests(ROWS)
