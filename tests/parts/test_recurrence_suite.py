"""LinearRNN under the shared suite, in each layout."""

import torch
from torch import nn

from suites.part_suite import BATCH, Row, part_tests
from torchstone import parts


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


class States(nn.Module):
    """Every state, without the last one a second time."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs, hx):
        return self.network(inputs, hx)[0]


def looped(axis):
    """The recurrence spelt out, one step after the other."""

    def reference(part):
        network = part.network

        def run(inputs, hx):
            state, states = hx[0], []
            for row in inputs.unbind(axis):
                state = row @ network.weight_ih.T + state @ network.weight_hh.T + (0 if network.bias is None else network.bias)
                states.append(state)
            return torch.stack(states, axis)

        return run

    return reference


ROWS = [
    Row(
        "linear-rnn",
        parts.LinearRNN,
        lambda cls: States(cls(3, 4, bias=False)),
        looped(0),
        lambda batch: [normal(5, batch, 3), normal(1, batch, 4)],
        lambda x, h: (x[0], x[1], h[2]),
        parameters=3 * 4 + 4 * 4,
        flops=2 * BATCH * 5 * (3 * 4 + 4 * 4),
    ),
    Row(
        "linear-rnn-batch-first",
        parts.LinearRNN,
        lambda cls: States(cls(3, 4, batch_first=True)),
        looped(1),
        lambda batch: [normal(batch, 5, 3), normal(1, batch, 4)],
        lambda x, h: (x[0], x[1], h[2]),
        parameters=3 * 4 + 4 * 4 + 4,
    ),
]
test_part = part_tests(ROWS)
