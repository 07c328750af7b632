"""Activations as PyTorch objects: LogLU, and the tanh twin of a sigmoid network."""

from collections import Counter

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchstone.core.errors import UsageError

__all__ = ["Affine", "LogLU", "sigmoid_to_tanh"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_ACCEPTED = "an nn.Sequential (nested ones too) of plain nn.Linear and nn.Sigmoid is accepted"


class LogLU(nn.Module):
    """LogLU(x) = log(relu(x)): -inf for every x <= 0. A system to study, not an activation to train with.

    Input and output have one shape, any. The gradient is 1/x for x > 0 and 0 elsewhere: torch's relu selects, so that the
    1/0 of the logarithm never reaches x. A dense layer behind it adds -inf to +inf (see `activation.not_numbers_behind_log_relu`).

    Source: final exam, question A6.
    """

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:  # noqa: A002 - torch.nn's name
        """Elementwise log(relu(input))."""
        return torch.relu(input).log()


class Affine(nn.Module):
    """scale * input + shift with two fixed numbers: what turns tanh into sigmoid where no dense layer can take it in.

    Input and output have one shape, any. It has no parameters.
    """

    def __init__(self, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:  # noqa: A002 - torch.nn's name
        """Elementwise scale * input + shift."""
        return self.scale * input + self.shift

    def extra_repr(self) -> str:
        """The two numbers, for printing the network."""
        return f"scale={self.scale}, shift={self.shift}"


def sigmoid_to_tanh(network: nn.Sequential) -> nn.Sequential:
    """The tanh twin of a sigmoid network: every sigmoid a tanh, the same outputs and input gradients for every input.

    `network` is a stack of `nn.Linear` and `nn.Sigmoid` of any depth, with or without biases. A linear layer that feeds a sigmoid
    is halved; one that is fed by a sigmoid has its weight halved and its bias raised by half the sum of its weights (the bias is
    made where there was none). A sigmoid that no linear layer follows becomes tanh and a fixed `Affine(1/2, 1/2)`.

    The twin has copies: same names, dtypes, devices, `requires_grad` and mode; the network stays as it is. The parameter
    gradients relate as `activation.gradients_from_tanh_twin` says.

    Raises UsageError for any other module, hooks, shared weights or an empty stack.
    Source: Bishop 2006, exercise 5.1; assignment, question B3.

    >>> twin = sigmoid_to_tanh(nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2)))
    >>> [type(layer).__name__ for layer in twin]
    ['Linear', 'Tanh', 'Linear']
    """
    layers = _layers(network)
    twin = nn.Sequential()
    order = [None, *layers.values(), None]
    replaced = {name: _replacement(*order[at : at + 3]) for at, name in enumerate(layers)}
    for name, _ in network.named_modules(remove_duplicate=False):
        if name:  # a stack inside a stack, or a layer: either comes after the stack that holds it
            parent, _, own = name.rpartition(".")
            twin.get_submodule(parent).add_module(own, replaced[name] if name in layers else nn.Sequential())
    return twin.train(network.training)


def _layers(network: object) -> dict[str, nn.Module]:
    """Every layer by its path, in the order of the forward pass; refuses what has no twin."""
    if not isinstance(network, nn.Module):
        message = f"sigmoid_to_tanh takes a network; {type(network).__name__} came: {_ACCEPTED}"
        raise UsageError(message)
    layers = {}
    for name, module in network.named_modules(remove_duplicate=False):
        called = f"layer {name} of the network" if name else "the network"
        if type(module) not in {nn.Linear, nn.Sigmoid, nn.Sequential} or not (name or type(module) is nn.Sequential):
            message = f"{called} is {type(module).__name__}, which has no tanh twin here; {_ACCEPTED}"
            raise UsageError(message)
        if any(getattr(module, hooks) for hooks in _HOOKS):
            message = f"{called} has hooks, which its twin would not have; remove them before the conversion"
            raise UsageError(message)
        if type(module) is not nn.Sequential:
            layers[name] = module
    if not layers:
        message = f"the network has no layers; {_ACCEPTED}"
        raise UsageError(message)
    used = Counter(id(parameter) for layer in layers.values() for parameter in layer.parameters())
    for name, layer in layers.items():
        if any(used[id(parameter)] > 1 for parameter in layer.parameters()):
            message = f"layer {name} of the network shares a parameter with another, whose twin would differ: give it a copy"
            raise UsageError(message)
    return layers


def _replacement(previous: nn.Module | None, layer: nn.Module | None, following: nn.Module | None) -> nn.Module:
    """The twin of one layer between its neighbours: sigmoid(z) is 1/2 + tanh(z/2)/2, its halves taken in by linear layers."""
    after, before = isinstance(previous, nn.Sigmoid), isinstance(following, nn.Sigmoid)
    if isinstance(layer, nn.Linear):
        return _linear(layer, after_sigmoid=after, before_sigmoid=before)
    modules: list[nn.Module] = [nn.Tanh()]
    if not isinstance(previous, nn.Linear):
        modules.insert(0, Affine(0.25, 0.25) if after else Affine(0.5))
    if following is None:
        modules.append(Affine(0.5, 0.5))
    return nn.Sequential(*modules) if len(modules) > 1 else modules[0]


@torch.no_grad()
def _linear(layer: nn.Linear, *, after_sigmoid: bool, before_sigmoid: bool) -> nn.Linear:
    """The law `activation.tanh_twin_layer` on a real layer."""
    halved = 0.5 if before_sigmoid else 1.0
    bias: Tensor | None = layer.bias
    new = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")  # no storage, no draw of random numbers
    new.weight = nn.Parameter(layer.weight * (halved / 2 if after_sigmoid else halved), layer.weight.requires_grad)
    if bias is not None or after_sigmoid:
        made = layer.weight.new_zeros(layer.out_features) if bias is None else bias
        raised = made + 0.5 * layer.weight.sum(1) if after_sigmoid else made
        new.bias = nn.Parameter(halved * raised, layer.weight.requires_grad if bias is None else bias.requires_grad)
    return new
