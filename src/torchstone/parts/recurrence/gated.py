"""The gated recurrent network of E1.2: a gate keeps a share of the old state and takes the rest from the input.

Axis letters: t time, b batch, n input features, m hidden features.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from torchstone.parts.recurrence.diagram import Diagram, gated_diagram
from torchstone.parts.recurrence.sequence import Recurrent, traced


class GatedRNN(Recurrent):
    """c_t = sigmoid(Wc x_t + Wh h_{t-1}), h_t = c_t * h_{t-1} + (1 - c_t) * Wx x_t: every unit keeps the share c_t of its state.

    weight_ih: (2 m, n), Wc above Wx; weight_hh: Wh (m, m); bias, if asked for: (2 m), added to Wc x and to Wx x (the source has
    none). Initialisation as `nn.RNN`'s. Layouts, hx (1, batch, m), lengths and output as in `LinearRNN`. Raises UsageError for
    arguments and inputs that do not fit.

    All inputs are projected by one product; the backward pass gathers the weights' gradients in one product after its loop. Second
    derivatives, torch.func and torch.compile are served by the same recurrence left to autograd.

    Source: homework E, question E1.2.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = False,  # noqa: FBT001, FBT002 - torch.nn's arguments; the source has none
        batch_first: bool = False,  # noqa: FBT001, FBT002
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, batch_first=batch_first)
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size, device=device, dtype=dtype))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def run(self, steps: Tensor, state: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """Every state and the last one; a gate of exactly 1 keeps the state where a step is not real."""
        driven = functional.linear(steps, self.weight_ih, self.bias)
        if real is not None:
            kept = driven.new_tensor([math.inf, 0.0]).repeat_interleave(self.hidden_size)
            driven = torch.where(real.unsqueeze(-1), driven, kept)
        inputs = driven, state[0].to(driven.dtype), self.weight_hh.to(driven.dtype)  # autocast has chosen driven's type
        states: Tensor = _plain(*inputs) if traced() else _Gated.apply(*inputs)  # type: ignore[no-untyped-call]
        return states, states[-1:] if len(states) else state

    def gates(self, steps: Tensor, states: Tensor) -> Tensor:
        """c_1..c_T (.., m) from inputs (.., n) and the states before them h_0..h_{T-1} (.., m)."""
        bias = None if self.bias is None else self.bias[: self.hidden_size]
        driven = functional.linear(steps, self.weight_ih[: self.hidden_size], bias)
        return torch.sigmoid(driven + functional.linear(states, self.weight_hh))

    def values(self, steps: Tensor) -> Tensor:
        """Wx x_1..Wx x_T (.., m): what the gate mixes in."""
        bias = None if self.bias is None else self.bias[self.hidden_size :]
        return functional.linear(steps, self.weight_ih[self.hidden_size :], bias)

    def diagram(self) -> Diagram:
        """One step as a picture, in SVG and in characters."""
        return gated_diagram(self.input_size, self.hidden_size, biased=self.bias is not None)

    def extra_repr(self) -> str:
        """The arguments, for printing the network."""
        return f"{self.input_size}, {self.hidden_size}, bias={self.bias is not None}, batch_first={self.batch_first}"


def _plain(driven: Tensor, state: Tensor, weight: Tensor) -> Tensor:
    """The recurrence in operations that autograd follows: states (t, b, m) from driven (t, b, 2 m), gate first."""
    gated, values = driven.chunk(2, -1)
    states, transposed = [], weight.t()
    for gate, value in zip(gated.unbind(0), values.unbind(0), strict=True):
        state = torch.lerp(value, state, torch.sigmoid(torch.addmm(gate, state, transposed)))
        states.append(state)
    return torch.stack(states) if states else values


class _Gated(Function):
    """`_plain` with its own backward pass: per step one small product, the gradient of Wh in one large one at the end."""

    @staticmethod
    def forward(ctx: Any, driven: Tensor, state: Tensor, weight: Tensor) -> Tensor:
        gated, values = driven.chunk(2, -1)
        gates = gated.clone(memory_format=torch.contiguous_format)
        states = torch.empty(len(driven) + 1, *state.shape, dtype=driven.dtype, device=driven.device)
        states[0] = state
        rows, transposed = states.unbind(0), weight.t()
        for old, new, gate, value in zip(rows[:-1], rows[1:], gates.unbind(0), values.unbind(0), strict=True):
            torch.addmm(gate, old, transposed, out=gate)  # not addmm_: torch's FLOP counter would not see it
            torch.lerp(value, old, gate.sigmoid_(), out=new)
        ctx.save_for_backward(driven, state, weight, gates, states)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        driven, state, weight, gates, states = ctx.saved_tensors
        (gradient,) = gradients
        if torch.is_grad_enabled():  # a derivative of the derivative is wanted
            return again(_plain, (driven, state, weight), gradient, ctx.needs_input_grad)
        width = weight.shape[0]
        pull = torch.empty_like(driven, memory_format=torch.contiguous_format)
        by_gate, by_value = pull.chunk(2, -1)
        shut = 1 - gates
        slope = (states[:-1] - driven[..., width:]).mul_(gates).mul_(shut)  # dh_t by what goes into the gate
        totals, carried = torch.empty_like(gates), torch.zeros_like(state)
        rows = [one.unbind(0) for one in (gradient, totals, slope, by_gate, gates)]
        for given, total, steep, inner, gate in zip(*(reversed(row) for row in rows), strict=True):
            torch.add(given, carried, out=total)
            torch.mul(total, steep, out=inner)
            carried = torch.addmm(total * gate, inner, weight)
        torch.mul(totals, shut, out=by_value)
        wanted = ctx.needs_input_grad[2]
        by_weight = by_gate.reshape(-1, width).t() @ states[:-1].reshape(-1, width) if wanted else None
        return pull, carried, by_weight


def again(plain: Any, inputs: tuple[Tensor, ...], gradient: Tensor, needed: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
    """The gradients of plain(*inputs) in a form that can be differentiated once more; None where one is not needed."""
    with torch.enable_grad():
        output = plain(*inputs)
        wanted = [one for one, need in zip(inputs, needed, strict=True) if need]
        found = iter(torch.autograd.grad(output, wanted, gradient, create_graph=True, allow_unused=True))
    return tuple(next(found) if need else None for need in needed)
