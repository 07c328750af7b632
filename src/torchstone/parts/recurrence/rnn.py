"""The plain recurrent network with its activation inside or outside the recurrence, and the map between the two.

Axis letters: t time, b batch, n input features, m hidden features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchstone.core.errors import UsageError
from torchstone.parts.recurrence.linear import Elman, same

Place = Literal["inside", "outside"]
Nonlinearity = Literal["tanh", "relu", "sigmoid"]


@dataclass(frozen=True, slots=True)
class Activation:
    """sigma, what undoes it, the open ends of what it can give, and gamma, the largest abs(sigma')."""

    function: Callable[[Tensor], Tensor]
    undone: Callable[[Tensor], Tensor]
    inside: Callable[[Tensor], Tensor]
    steepest: float


ACTIVATIONS = {
    "tanh": Activation(torch.tanh, torch.atanh, lambda g: g.abs() < 1, 1.0),
    "relu": Activation(torch.relu, same, lambda g: g >= 0, 1.0),
    "sigmoid": Activation(torch.sigmoid, torch.logit, lambda g: (g > 0) & (g < 1), 0.25),
}


class RNN(Elman):
    """`nn.RNN` of one layer and one direction, whose activation may also stand outside: the state is then what goes into it.

    activation="inside": g_t = sigma(W g_{t-1} + U x_t + b), which is `nn.RNN`. activation="outside": h_t = W sigma(h_{t-1}) + U x_t
    + b. They are one network: g_t = sigma(h_t) for every t >= 0, and h_t = W g_{t-1} + U x_t + b. `to_inside` and `to_outside` give
    the other form with the same parameters, `inside_state` and `outside_state` map what they begin with. Zero states, the default
    of both, go with each other where sigma(0) = 0: not for the sigmoid, where h_0 = 0 goes with g_0 = 1/2.

    U is weight_ih (m, n), W weight_hh (m, m); one bias (m), where `nn.RNN` has two of which only the sum counts. nonlinearity is
    "tanh", "relu" or "sigmoid". Layouts, hx, lengths and output as in `LinearRNN`; initialisation is `nn.RNN`'s. Raises
    UsageError for arguments and inputs that do not fit.

    Source: assignment C, question C1.1.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,  # noqa: FBT001, FBT002 - torch.nn's arguments
        batch_first: bool = False,  # noqa: FBT001, FBT002
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        activation: Place = "inside",
    ) -> None:
        if nonlinearity not in ACTIVATIONS:
            message = f"nonlinearity is one of {', '.join(ACTIVATIONS)}; {nonlinearity!r} came"
            raise UsageError(message)
        if activation not in {"inside", "outside"}:
            message = f"activation is 'inside' (nn.RNN) or 'outside' the recurrence; {activation!r} came"
            raise UsageError(message)
        super().__init__(input_size, hidden_size, bias=bias, batch_first=batch_first, device=device, dtype=dtype)
        self.nonlinearity, self.activation = nonlinearity, activation
        function = ACTIVATIONS[nonlinearity].function
        self.before, self.after = (same, function) if activation == "inside" else (function, same)

    def to_inside(self) -> Self:
        """The same network with its activation inside; it shares the parameters."""
        return self._formed("inside")

    def to_outside(self) -> Self:
        """The same network with its activation outside; it shares the parameters."""
        return self._formed("outside")

    def inside_state(self, state: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """What the inside form holds where the outside form holds `state`: g = sigma(h)."""
        return ACTIVATIONS[self.nonlinearity].function(state)

    def outside_state(self, state: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """An h with sigma(h) = g: what to begin the outside form with so that it follows an inside one begun with `state`.

        Raises UsageError where there is none: sigma never gives such a value.
        """
        activation = ACTIVATIONS[self.nonlinearity]
        if not bool(activation.inside(state).all()):
            ends = f"from {state.min():.3g} to {state.max():.3g}"
            message = f"{self.nonlinearity} does not take every value in this state, {ends}: no h_0 goes with it"
            raise UsageError(message)
        return activation.undone(state)

    def _formed(self, activation: Place) -> Self:
        biased = self.bias is not None
        made = type(self)(
            self.input_size, self.hidden_size, self.nonlinearity, biased, self.batch_first, "meta", activation=activation
        )
        made.weight_ih, made.weight_hh, made.bias = self.weight_ih, self.weight_hh, self.bias
        return made.train(self.training)

    @classmethod
    def from_torch(cls, network: nn.RNN) -> Self:
        """The RNN that an `nn.RNN` of one layer and one direction is, with copies of its parameters.

        Raises UsageError for more layers, two directions or dropout between layers.
        """
        if network.num_layers != 1 or network.bidirectional or network.proj_size:
            message = f"an nn.RNN of one layer and one direction is needed; {network} came"
            raise UsageError(message)
        weights = {name.removesuffix("_l0"): value.detach() for name, value in network.named_parameters()}
        first = weights["weight_ih"]
        sizes = network.input_size, network.hidden_size, network.nonlinearity
        made = cls(*sizes, network.bias, network.batch_first, first.device, first.dtype)
        if network.bias:
            weights["bias"] = weights.pop("bias_ih") + weights.pop("bias_hh")
        made.load_state_dict(weights)
        return made

    def extra_repr(self) -> str:
        """The arguments, for printing the network."""
        return f"{super().extra_repr()}, nonlinearity={self.nonlinearity!r}, activation={self.activation!r}"
