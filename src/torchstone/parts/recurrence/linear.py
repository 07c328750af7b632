"""The linear recurrent network, and the loop that it shares with the networks that have an activation.

Axis letters: t time, b batch, n input features, m hidden features.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone.parts.recurrence.sequence import Recurrent

Map = Callable[[Tensor], Tensor]


def same(state: Tensor) -> Tensor:
    """The identity."""
    return state


class Elman(Recurrent):
    """h_t = after(weight_ih x_t + weight_hh before(h_{t-1}) + bias): one product for all inputs, then one small one a step."""

    before: Map = staticmethod(same)
    after: Map = staticmethod(same)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool,
        batch_first: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__(input_size, hidden_size, batch_first=batch_first)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size, device=device, dtype=dtype))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def run(self, steps: Tensor, state: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """Every state and the last one; a step that is not real leaves the state as it is."""
        driven = functional.linear(steps, self.weight_ih, self.bias)
        weight, current, states = self.weight_hh.t(), state[0], []
        for number, step in enumerate(driven.unbind(0)):
            new = self.after(torch.addmm(step, self.before(current), weight))
            current = new if real is None else torch.where(real[number].unsqueeze(-1), new, current)
            states.append(current)
        return torch.stack(states) if states else driven, current.unsqueeze(0)

    def extra_repr(self) -> str:
        """The arguments, for printing the network."""
        return f"{self.input_size}, {self.hidden_size}, bias={self.bias is not None}, batch_first={self.batch_first}"


class LinearRNN(Elman):
    """h_t = weight_ih x_t + weight_hh h_{t-1} + bias: `nn.RNN` of one layer and one direction with the identity for tanh.

    Arguments, initialisation (uniform within 1/sqrt(hidden_size)) and layouts are `nn.RNN`'s; weight_ih is (hidden_size,
    input_size), weight_hh (hidden_size, hidden_size). One bias, where `nn.RNN` has two of which only the sum counts.

    Input (time, batch, input_size), or (batch, time, input_size) if `batch_first`, or (time, input_size) for one sequence, or a
    PackedSequence; hx (1, batch, hidden_size) or (1, hidden_size), zeros by default; lengths (batch,) where sequences are padded.
    Output: every state h_1..h_T in the layout of the input, and h_T in the layout of hx. Raises UsageError for sizes below 1 and
    inputs that do not fit.

    Source: final exam, question A4.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,  # noqa: FBT001, FBT002 - torch.nn's arguments
        batch_first: bool = False,  # noqa: FBT001, FBT002
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias=bias, batch_first=batch_first, device=device, dtype=dtype)
