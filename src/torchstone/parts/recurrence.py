"""Recurrence as PyTorch objects: the linear recurrent network."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.errors import UsageError


class LinearRNN(nn.Module):
    """h_t = weight_ih x_t + weight_hh h_{t-1} + bias: `nn.RNN` of one layer and one direction with the identity for tanh.

    Arguments, initialisation (uniform within 1/sqrt(hidden_size)) and layouts are `nn.RNN`'s; weight_ih is (hidden_size,
    input_size), weight_hh (hidden_size, hidden_size). One bias, where `nn.RNN` has two of which only the sum counts.

    Input (time, batch, input_size), or (batch, time, input_size) if `batch_first`, or (time, input_size) for one sequence; hx
    (1, batch, hidden_size) or (1, hidden_size), zeros by default. Output: every state h_1..h_T in the layout of the input, and h_T
    in the layout of hx. Raises UsageError for sizes below 1 and inputs that do not fit.

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
        super().__init__()
        if min(input_size, hidden_size) < 1:
            message = f"sizes are 1 or more; input_size={input_size} and hidden_size={hidden_size} came"
            raise UsageError(message)
        self.input_size, self.hidden_size, self.batch_first = input_size, hidden_size, batch_first
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size, device=device, dtype=dtype))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter uniformly within 1/sqrt(hidden_size), as `nn.RNN` does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(
        self,
        input: Float[Tensor, "*batch_and_time input"],  # noqa: A002 - torch.nn's name
        hx: Float[Tensor, "1 *batch hidden"] | None = None,
    ) -> tuple[Float[Tensor, "*batch_and_time hidden"], Float[Tensor, "1 *batch hidden"]]:
        """Every state and the last one."""
        if input.dim() not in {2, 3} or input.shape[-1] != self.input_size:
            message = f"an input of two or three axes, the last of {self.input_size}, is needed; {tuple(input.shape)} came"
            raise UsageError(message)
        axis = 1 if self.batch_first and input.dim() == 3 else 0  # noqa: PLR2004 - batched
        driven = functional.linear(input, self.weight_ih, self.bias).unbind(axis)  # one product for all steps
        first = (*input.shape[:axis], *input.shape[axis + 1 : -1], self.hidden_size)
        state = input.new_zeros(first) if hx is None else hx.squeeze(0)
        if state.shape != first:
            message = f"hx of {(1, *first)} is needed for this input; {tuple(hx.shape) if hx is not None else None} came"
            raise UsageError(message)
        states = []
        for step in driven:
            state = step + functional.linear(state, self.weight_hh)
            states.append(state)
        output = torch.stack(states, axis) if states else input.new_zeros((*input.shape[:-1], self.hidden_size))
        return output, state.unsqueeze(0)

    def extra_repr(self) -> str:
        """The arguments, for printing the network."""
        return f"{self.input_size}, {self.hidden_size}, bias={self.bias is not None}, batch_first={self.batch_first}"
