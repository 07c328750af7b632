"""`sigmoid_to_tanh` on real networks against the sigmoid networks that they came from."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import sympy
import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.evidence import Evidence
from torchstone.parts.activation import sigmoid_to_tanh
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Conversion = Callable[[nn.Sequential], nn.Sequential]
STACKS = ((1, 1, 1), (3, 4, 2), (2, 5, 3), (3, 4, 4, 2), (2, 3, 5, 4, 3))


def _network(draws: Draws, sizes: tuple[int, ...], *, ends_in_sigmoid: bool = False) -> nn.Sequential:
    """Dense layers with sigmoids between them, its parameters standard normal in float64."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        dense = nn.Linear(inputs, outputs, device="meta")
        dense.weight, dense.bias = nn.Parameter(draws.normal(outputs, inputs)), nn.Parameter(draws.normal(outputs))
        layers += [dense, nn.Sigmoid()]
    return nn.Sequential(*(layers if ends_in_sigmoid else layers[:-1]))


def _dense(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def _plain(network: nn.Module) -> list[tuple[list[list[float]], list[float]]]:
    return [(layer.weight.tolist(), layer.bias.tolist()) for layer in _dense(network)]


def _changed(change: Callable[[list[nn.Linear], list[nn.Linear]], None]) -> Conversion:
    """The conversion with a bug: `change` is given the linear layers of the network and of its twin."""

    @torch.no_grad()
    def broken(network: nn.Sequential) -> nn.Sequential:
        twin = sigmoid_to_tanh(network)
        change(_dense(network), _dense(twin))
        return twin

    return broken


def _first_bias_whole(old: list[nn.Linear], new: list[nn.Linear]) -> None:
    new[0].bias.copy_(old[0].bias)


def _output_bias_kept(old: list[nn.Linear], new: list[nn.Linear]) -> None:
    new[-1].bias.copy_(old[-1].bias)


def _output_weight_whole(old: list[nn.Linear], new: list[nn.Linear]) -> None:
    new[-1].weight.copy_(old[-1].weight)


def _sum_over_outputs(old: list[nn.Linear], new: list[nn.Linear]) -> None:
    new[-1].bias.copy_(old[-1].bias + old[-1].weight.sum() / 2)


def _sum_not_halved(old: list[nn.Linear], new: list[nn.Linear]) -> None:
    new[-1].bias.copy_(old[-1].bias + old[-1].weight.sum(1))


def _sigmoids_kept(network: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(*(nn.Sigmoid() if isinstance(module, nn.Tanh) else module for module in sigmoid_to_tanh(network)))


def _tanh_only(network: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(*(nn.Tanh() if isinstance(module, nn.Sigmoid) else module for module in network))


WRONG_PARAMETERS = {
    "first bias not halved": _changed(_first_bias_whole),
    "output bias kept": _changed(_output_bias_kept),
    "output weight not halved": _changed(_output_weight_whole),
    "weights summed over outputs too": _changed(_sum_over_outputs),
    "sum of weights not halved": _changed(_sum_not_halved),
}


def _tanh_identity(formula: Callable[..., Any]) -> Iterator[Any]:
    x = sympy.Symbol("x", real=True)
    yield (1 / (1 + sympy.exp(-x)) - formula(x)).rewrite(sympy.exp)


@experiment(
    "activation.sigmoid_by_tanh",
    part=torch.sigmoid,
    mutants={
        "tanh": torch.tanh,
        "argument not halved": lambda x: (1 + torch.tanh(x)) / 2,
        "hard sigmoid": functional.hardsigmoid,
        "turned": lambda x: torch.sigmoid(-x),
    },
    symbolic=_tanh_identity,
)
def sigmoid_by_tanh(part: Callable[[Tensor], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Random numbers, and large ones where both are flat."""
    samples = torch.cat([3 * draws.normal(100), torch.tensor([-800.0, -40.0, 0.0, 40.0, 800.0], dtype=torch.float64)])
    for x, measured in zip(samples.tolist(), part(samples).tolist(), strict=True):
        yield held("activation.sigmoid_by_tanh", {"x": x}, measured, rounding(4))


@experiment("activation.tanh_twin_layer", part=sigmoid_to_tanh, mutants=WRONG_PARAMETERS)
def tanh_twin_layer(part: Conversion, draws: Draws) -> Iterator[Evidence]:
    """Every layer of stacks of two to four, with and without a sigmoid at the end."""
    for sizes in STACKS * 3:
        for ends_in_sigmoid in (False, True):
            network = _network(draws, sizes, ends_in_sigmoid=ends_in_sigmoid)
            old, new = _plain(network), _plain(part(network))
            for at, ((weight, bias), (new_weight, new_bias)) in enumerate(zip(old, new, strict=True)):
                before = ends_in_sigmoid or at + 1 < len(old)
                arguments = {"weight": weight, "bias": bias, "after_sigmoid": at > 0, "before_sigmoid": before}
                yield held("activation.tanh_twin_layer", arguments, (new_weight, new_bias), rounding(2 * len(weight[0]) + 4, 10))


def _two_layer_identity(formula: Callable[..., Any]) -> Iterator[Any]:
    """Two inputs, two hidden units, one output: both networks are the same function of x and of every parameter."""
    x1, x2, w1, w2, w3, w4, b1, b2, v1, v2, c = sympy.symbols("x1 x2 w1:5 b1:3 v1:3 c", real=True)
    first, ((row,), (bias,)) = formula([[w1, w2], [w3, w4]], [b1, b2], [[v1, v2]], [c])
    twin = bias + sum(v * sympy.tanh(w[0] * x1 + w[1] * x2 + b) for v, w, b in zip(row, *first, strict=True))
    network = c + v1 / (1 + sympy.exp(-w1 * x1 - w2 * x2 - b1)) + v2 / (1 + sympy.exp(-w3 * x1 - w4 * x2 - b2))
    yield (network - twin).rewrite(sympy.exp)


@experiment("activation.tanh_twin", part=sigmoid_to_tanh, mutants=WRONG_PARAMETERS, symbolic=_two_layer_identity)
def tanh_twin(part: Conversion, draws: Draws) -> Iterator[Evidence]:
    """The four parameters of two-layer networks."""
    for sizes in ((1, 1, 1), (3, 4, 2), (5, 7, 3)) * 10:
        network = _network(draws, sizes)
        (first_weight, first_bias), (second_weight, second_bias) = _plain(network)
        arguments = {
            "first_weight": first_weight, "first_bias": first_bias, "second_weight": second_weight, "second_bias": second_bias,
        }  # fmt: skip
        yield held("activation.tanh_twin", arguments, _plain(part(network)), rounding(2 * sizes[1] + 4, 10))


@experiment(
    "activation.sigmoid_network",
    part=sigmoid_to_tanh,
    mutants={**WRONG_PARAMETERS, "sigmoids kept": _sigmoids_kept, "not converted but tanh": _tanh_only},
)
def sigmoid_network(part: Conversion, draws: Draws) -> Iterator[Evidence]:
    """The twin's outputs against the sigmoid network's forward pass in plain numbers."""
    for sizes in STACKS * 3:
        for ends_in_sigmoid in (False, True):
            network = _network(draws, sizes, ends_in_sigmoid=ends_in_sigmoid)
            inputs = 3 * draws.normal(sizes[0])
            arguments = {"inputs": inputs.tolist(), "layers": _plain(network), "ends_in_sigmoid": ends_in_sigmoid}
            yield held("activation.sigmoid_network", arguments, part(network)(inputs), rounding(40 * len(sizes), 10))


@experiment("activation.sigmoid_network_jacobian", part=sigmoid_to_tanh, mutants=WRONG_PARAMETERS, how="autograd, float64")
def sigmoid_network_jacobian(part: Conversion, draws: Draws) -> Iterator[Evidence]:
    """The twin's gradient by its input against the chain rule of the sigmoid network in plain numbers."""
    for sizes in STACKS * 2:
        for ends_in_sigmoid in (False, True):
            network = _network(draws, sizes, ends_in_sigmoid=ends_in_sigmoid)
            inputs = draws.normal(sizes[0]).requires_grad_()
            measured = [torch.autograd.grad(output, inputs, retain_graph=True)[0] for output in part(network)(inputs)]
            arguments = {"inputs": inputs.tolist(), "layers": _plain(network), "ends_in_sigmoid": ends_in_sigmoid}
            yield held("activation.sigmoid_network_jacobian", arguments, measured, rounding(40 * len(sizes), 100))


def _gradients(network: nn.Module, inputs: Tensor, targets: Tensor) -> list[tuple[list[list[float]], list[float]]]:
    dense = _dense(network)
    loss = (network(inputs) - targets).square().sum()
    found = torch.autograd.grad(loss, [parameter for layer in dense for parameter in (layer.weight, layer.bias)])
    return [(weight.tolist(), bias.tolist()) for weight, bias in zip(found[::2], found[1::2], strict=True)]


@experiment("activation.gradients_from_tanh_twin", part=sigmoid_to_tanh, mutants=WRONG_PARAMETERS, how="autograd, float64")
def gradients_from_tanh_twin(part: Conversion, draws: Draws) -> Iterator[Evidence]:
    """Squared error of a batch: the gradients of every layer of the network from those of its twin."""
    for sizes in STACKS * 2:
        for ends_in_sigmoid in (False, True):
            network = _network(draws, sizes, ends_in_sigmoid=ends_in_sigmoid)
            inputs, targets = draws.normal(8, sizes[0]), draws.normal(8, sizes[-1])
            old, new = _gradients(network, inputs, targets), _gradients(part(network), inputs, targets)
            scale = max(abs(number) for weight, bias in old for row in [*weight, bias] for number in row)
            for at, (measured, (weight, bias)) in enumerate(zip(old, new, strict=True)):
                before = ends_in_sigmoid or at + 1 < len(old)
                arguments = {"weight": weight, "bias": bias, "after_sigmoid": at > 0, "before_sigmoid": before}
                yield held("activation.gradients_from_tanh_twin", arguments, measured, rounding(400, 1 + scale))
