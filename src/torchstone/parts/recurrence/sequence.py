"""What every recurrent part shares: nn.RNN's layouts, initial states, and sequences of unequal length, padded or packed.

Axis letters: t time, b batch, n input features, m hidden features, s slots of the state.
"""

import math
from abc import abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from torchstone.core.errors import UsageError

_BATCHED = 3


class Recurrent(nn.Module):
    """One layer in one direction that reads a sequence step by step; a subclass says what a step does.

    input: (t, b, n), or (b, t, n) if `batch_first`, or (t, n) for one sequence, or a PackedSequence. hx: the state to begin with,
    (s, b, width), or (s, width) for one sequence; by default what the part begins with of itself. lengths: how many steps of each
    sequence are real, (b,) whole numbers from 0 to t; what stands in the steps behind them is neither read nor does it get a
    gradient, and their outputs are 0. Output: every state in the layout of the input, (.., m), and the last state in the layout of
    hx, of each sequence after its own last step: given as hx with the rest of the sequence it goes on as if it were one.

    Raises UsageError for what does not fit.
    """

    slots = 1

    def __init__(self, input_size: int, hidden_size: int, *, batch_first: bool) -> None:
        super().__init__()
        if min(input_size, hidden_size) < 1:
            message = f"sizes are 1 or more; input_size={input_size} and hidden_size={hidden_size} came"
            raise UsageError(message)
        self.input_size, self.hidden_size, self.batch_first = input_size, hidden_size, batch_first

    @abstractmethod
    def run(self, steps: Tensor, state: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """Every state (t, b, m) and the last one (s, b, width), from steps (t, b, n), a state, and which steps are real (t, b)."""

    @property
    def state_width(self) -> int:
        """Numbers in a slot of the state."""
        return self.hidden_size

    def reset_parameters(self) -> None:
        """Draw every parameter uniformly within 1/sqrt(hidden_size), as `nn.RNN` does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(
        self,
        input: Float[Tensor, "*batch_and_time input"] | PackedSequence,  # noqa: A002 - torch.nn's name
        hx: Float[Tensor, "slots *batch width"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "*batch_and_time hidden"] | PackedSequence, Float[Tensor, "slots *batch width"]]:
        """Every state and the last one."""
        if isinstance(input, PackedSequence):
            return self._packed(input, hx, lengths)
        if input.dim() not in {2, _BATCHED} or input.shape[-1] != self.input_size:
            message = f"an input of two or three axes, the last of {self.input_size}, is needed; {tuple(input.shape)} came"
            raise UsageError(message)
        batched, swapped = input.dim() == _BATCHED, input.dim() == _BATCHED and self.batch_first
        steps = input.transpose(0, 1) if swapped else input if batched else input.unsqueeze(1)
        output, last = self._steps(steps, hx if batched or hx is None else hx.unsqueeze(-2), lengths, batched=batched)
        if not batched:
            return output.squeeze(1), last.squeeze(1)
        return output.transpose(0, 1) if swapped else output, last

    def _packed(self, packed: PackedSequence, hx: Tensor | None, lengths: Tensor | None) -> tuple[PackedSequence, Tensor]:
        if lengths is not None:
            message = "a PackedSequence carries its lengths; leave lengths out"
            raise UsageError(message)
        steps, counts = pad_packed_sequence(packed)
        output, last = self._steps(steps, hx, counts, batched=True)
        return pack_padded_sequence(output, counts, enforce_sorted=packed.sorted_indices is None), last

    def _steps(self, steps: Tensor, hx: Tensor | None, lengths: Tensor | None, *, batched: bool) -> tuple[Tensor, Tensor]:
        """The run, time first, and what is not real taken out of it."""
        first = (self.slots, steps.shape[1], self.state_width)
        state = self.beginning(steps) if hx is None else hx
        if state.shape != first:
            wanted, came = (first, state.shape) if batched else ((first[0], first[2]), state.squeeze(-2).shape)
            message = f"hx of {wanted} is needed for this input; {tuple(came)} came"
            raise UsageError(message)
        if lengths is None:
            return self.run(steps, state, None)
        real = _real(steps, lengths, batched=batched)
        seen = real.unsqueeze(-1)
        output, last = self.run(steps.masked_fill(~seen, 0.0), state, real)
        return output.masked_fill(~seen, 0.0), last

    def beginning(self, steps: Tensor) -> Tensor:
        """The state to begin with where none is given: zeros."""
        return steps.new_zeros(self.slots, steps.shape[1], self.state_width)


def _real(steps: Tensor, lengths: Tensor, *, batched: bool) -> Tensor:
    """Which steps are real: (t, b)."""
    time, batch = steps.shape[:2]
    if not batched or lengths.shape != (batch,):
        shape = (batch,) if batched else "no lengths for an input without a batch axis"
        message = f"lengths: one whole number for each sequence, {shape}, is needed; {tuple(lengths.shape)} came"
        raise UsageError(message)
    if not torch.compiler.is_compiling() and batch and not 0 <= int(lengths.min()) <= int(lengths.max()) <= time:
        message = f"lengths are from 0 to {time}, the steps of the input; {lengths.tolist()} came"
        raise UsageError(message)
    return torch.arange(time, device=steps.device).unsqueeze(1) < lengths.to(steps.device)


def traced() -> bool:
    """Whether a compiler or a functional transform is looking on: then every operation must be one that it can follow."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()  # noqa: SLF001 - torch's only word on it
