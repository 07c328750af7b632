"""B3: a two-layer sigmoid network as a tanh network."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Claim, Posted
from torchstone.parts import sigmoid_to_tanh
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import claimed, compared, found, generator, rounding, value

INPUTS, HIDDEN, OUTPUTS, ROWS = 3, 5, 2, 20
# The posted names of the parameters, and where they stand in a two-layer network.
PARAMETERS = {"first weight": "0.weight", "first bias": "0.bias", "output weight": "2.weight", "output bias": "2.bias"}
LAW = "activation.sigmoid_network"


def _network() -> nn.Sequential:
    """A real two-layer network in float64, its parameters standard normal."""
    network = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Sigmoid(), nn.Linear(HIDDEN, OUTPUTS)).double()
    source = generator(3)
    for parameter in network.parameters():
        nn.init.normal_(parameter, generator=source)
    return network.requires_grad_(requires_grad=False)


def _rows() -> Tensor:
    return 3 * torch.randn(ROWS, INPUTS, generator=generator(4), dtype=torch.float64)


def _ratio(after: Tensor, before: Tensor) -> float:
    """The one factor between two tensors, by least squares."""
    return ((after * before).sum() / before.square().sum()).item()


@answers("B3")
def tanh_twin(posted: Posted) -> Answer:
    """The parameter map, read off a network and its twin."""
    network, inputs = _network(), _rows()
    twin = sigmoid_to_tanh(network)
    old, new = network.state_dict(), twin.state_dict()
    factors = {about: f"{_ratio(new[name], old[name]):.6g}" for about, name in PARAMETERS.items()}
    raised = f"{_ratio(new['2.bias'] - old['2.bias'], old['2.weight'].sum(1)):.6g}"
    return Answer(
        says=(
            f"first layer: weights times {factors['first weight']}, biases times {factors['first bias']}",
            f"output layer: weights times {factors['output weight']}, bias b_k + {raised} sum_j w_kj",
        ),
        derivation=(
            "sigmoid(z) = (1 + tanh(z/2)) / 2",
            "sum_j w_kj sigmoid(z_j) + b_k = sum_j (w_kj/2) tanh(z_j/2) + (b_k + 1/2 sum_j w_kj)",
            "z_j/2 = sum_i (w_ji/2) x_i + b_j/2: the first layer's weights and biases are halved, both inside the bracket",
        ),
        evidence=(
            *proved("activation.tanh_twin", LAW, "activation.sigmoid_network_jacobian", "activation.gradients_from_tanh_twin"),
            _worst_output(network, inputs, twin(inputs), "torchstone.parts.activation.sigmoid_to_tanh"),
        ),
        claims=(*_parameter_claims(posted, network, inputs), *_working_claims(posted, network, inputs)),
    )


def _worst_output(network: nn.Module, inputs: Tensor, outputs: Tensor, how: str) -> Evidence:
    """The output that agrees least with the sigmoid network's."""
    right = network(inputs)
    worst = (outputs - right).abs().argmax()
    scale = right.abs().max().item()
    return compared(LAW, right.flatten()[worst].item(), outputs.flatten()[worst].item(), rounding(8 * HIDDEN, scale), how)


def _evaluated(expression: str, weight: Tensor, names: dict[str, Tensor]) -> Tensor:
    """An expression of tensors of one shape, element by element."""
    columns = zip(*(tensor.flatten().tolist() for tensor in names.values()), strict=True)
    numbers = [value(expression, **dict(zip(names, column, strict=True))) for column in columns]
    return torch.tensor(numbers, dtype=weight.dtype).reshape(weight.shape)


def _said(held: Evidence) -> str:
    return f"with {held.how} an output becomes {found(held):.6g} where the sigmoid network gives {held.predicted.value:.6g}"


def _parameter_claims(posted: Posted, network: nn.Sequential, inputs: Tensor) -> Iterator[Claim]:
    """Each posted parameter put into the right twin in place of its own; s is the sum of a unit's weights."""
    state = network.state_dict()
    for about, expression in posted.claims.items():
        if about not in PARAMETERS:
            continue
        name = PARAMETERS[about]
        weights = state[name.replace("bias", "weight")]
        names = {"w": state[name]} if name.endswith("weight") else {"b": state[name], "s": weights.sum(1)}
        twin = sigmoid_to_tanh(network)
        twin.get_parameter(name).copy_(_evaluated(str(expression), state[name], names))
        yield claimed(about, [_worst_output(network, inputs, twin(inputs), f"{about} {expression}")], _said)


def _working_claims(posted: Posted, network: nn.Sequential, inputs: Tensor) -> Iterator[Claim]:
    """The argument of tanh in the posted middle line, an expression in s = sum_i w_ji x_i and b = b_j."""
    if "argument of tanh" not in posted.working:
        return
    expression = str(posted.working["argument of tanh"])
    state, twin = network.state_dict(), sigmoid_to_tanh(network)
    sums = inputs @ state["0.weight"].T
    arguments = _evaluated(expression, sums, {"s": sums, "b": state["0.bias"].expand_as(sums)})
    outputs = twin[2](torch.tanh(arguments))
    yield claimed("argument of tanh", [_worst_output(network, inputs, outputs, f"tanh({expression})")], _said)
