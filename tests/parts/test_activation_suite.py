"""LogLU, the affine map and the tanh twin under the shared suite."""

import torch
from torch import nn

from suites.part_suite import Row, part_tests
from torchstone import parts


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


class Twin(nn.Module):
    """A network with the twin inside, so that its parameters are the twin's own."""

    def __init__(self, convert, *layers):
        super().__init__()
        self.twin = convert(nn.Sequential(*layers))

    def forward(self, inputs):
        return self.twin(inputs)


def by_sigmoids(part):
    """The twin's own parameters, used as the sigmoid network that they stand for would be: tanh(z) = 2 sigmoid(2z) - 1."""
    first, _, second = part.twin

    def reference(x):
        hidden = 2 * torch.sigmoid(2 * (x @ first.weight.T + first.bias)) - 1
        return hidden @ second.weight.T + second.bias

    return reference


ROWS = [
    Row(
        "log-lu",
        parts.LogLU,
        lambda cls: cls(),
        lambda _: lambda x: x.log(),
        lambda batch: [normal(batch, 3).abs() + 0.5],
        lambda x: x,
    ),
    Row(
        "affine",
        parts.Affine,
        lambda cls: cls(0.5, 0.25),
        lambda _: lambda x: x / 2 + 0.25,
        lambda batch: [normal(batch, 3)],
        lambda x: x,
    ),
    Row(
        "tanh-twin",
        parts.sigmoid_to_tanh,
        lambda function: Twin(function, nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2, bias=False)),
        by_sigmoids,
        lambda batch: [normal(batch, 3)],
        lambda x: (x[0], 2),
        parameters=3 * 4 + 4 + 4 * 2 + 2,
        flops=2 * 2 * (3 * 4 + 4 * 2),
    ),
]
test_part = part_tests(ROWS)
