"""The recurrent network of E1.3: every state is an average of values of the input and of past states, weighted by attention.

Axis letters: t time, b batch, n input features, m hidden features, k past states, i how many steps ago.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.errors import UsageError
from torchstone.parts.recurrence.attending import attend
from torchstone.parts.recurrence.diagram import Diagram, attention_diagram
from torchstone.parts.recurrence.pooling import pool
from torchstone.parts.recurrence.sequence import Recurrent


class AttentionRNN(Recurrent):
    """h_t = sum over i = 0..k of a_i v_i with a = softmax(w), w_i = q_i . k_i: attention over the input and the last k states.

    q_0, k_0, v_0 are query_ih, key_ih, value_ih (m, n) times x_t; q_i, k_i, v_i for i = 1..k are query_hh[i-1], key_hh[i-1] and
    value_hh[i-1] (k, m, m) times h_{t-i}. No bias, and no scale: w is as the source has it. `window` is k, or math.inf for every
    past state from h_0 on, whose parameters are then tied: q_i = Q h_{t-i} for all i, and query_hh has one row.

    hx: the last k states, newest first, (k, batch, m): zeros by default, which take part with w = 0 and v = 0. Of the infinite
    form: one slot of 1 + m numbers, (1, batch, 1 + m), the logarithm of the sum of e^w over the states so far and their mean value;
    `pooled` makes it from states; by default h_0 = 0 is the only one so far. Layouts, lengths and output as in `LinearRNN`; the
    state that is returned goes on where the sequence ended.

    A state's score and value depend on that state only, so they are computed once, when it is born; w_i = h' (Qi'Ki + Ki'Qi)/2 h is
    one product where queries and keys are two. With tied parameters a score does not depend on t either: the infinite form carries
    a running softmax, 1 + m numbers a sequence, whatever its length. (With a query from x_t it could not.)

    Raises UsageError for arguments and inputs that do not fit. Source: homework E, question E1.3.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        window: float = 2,
        batch_first: bool = False,  # noqa: FBT001, FBT002 - torch.nn's arguments
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, batch_first=batch_first)
        if window != math.inf and not (window >= 1 and window == int(window)):
            message = f"window is how many past states are attended to, 1 or more, or math.inf for all; {window!r} came"
            raise UsageError(message)
        self.window = window
        self.slots = 1 if window == math.inf else int(window)
        for name in ("query", "key", "value"):
            outer = torch.empty(hidden_size, input_size, device=device, dtype=dtype)
            inner = torch.empty(self.slots, hidden_size, hidden_size, device=device, dtype=dtype)
            self.register_parameter(f"{name}_ih", nn.Parameter(outer))
            self.register_parameter(f"{name}_hh", nn.Parameter(inner))
        self.reset_parameters()

    query_ih: nn.Parameter
    query_hh: nn.Parameter
    key_ih: nn.Parameter
    key_hh: nn.Parameter
    value_ih: nn.Parameter
    value_hh: nn.Parameter

    @property
    def state_width(self) -> int:
        """How many numbers a slot has: m, and one more in the infinite form, a log-sum-exp."""
        return self.hidden_size + (self.window == math.inf)

    def run(self, steps: Tensor, state: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """Every state, and the last k of them or the running softmax."""
        scores = _quadratic(steps, self.query_ih, self.key_ih)
        values = functional.linear(steps, self.value_ih)
        inner = (state, self._forms(), self.value_hh)
        start, forms, weights = (one.to(values.dtype) for one in inner)  # autocast has chosen the type of values
        scores = scores.to(values.dtype)
        if self.window == math.inf:
            return pool(scores, values, start[0], forms[0], weights[0], real)
        states = attend(scores, values, start, forms, weights, real)
        return states, _newest(states, start, real)

    def pooled(self, states: Float[Tensor, "s *b m"]) -> Float[Tensor, "1 *b m1"]:
        """The infinite form's hx after these past states: (1, .., 1 + m). Raises UsageError for a finite window."""
        if self.window != math.inf:
            message = f"a window of {self.window} begins with states themselves; only window=math.inf has them pooled"
            raise UsageError(message)
        scores = (states * functional.linear(states, self._forms()[0])).sum(-1)
        values = functional.linear(states, self.value_hh[0])
        mean = (torch.softmax(scores, 0).unsqueeze(-1) * values).sum(0)
        return torch.cat([torch.logsumexp(scores, 0).unsqueeze(-1), mean], -1).unsqueeze(0)

    def diagram(self) -> Diagram:
        """One step as a picture, in SVG and in characters."""
        return attention_diagram(self.input_size, self.hidden_size, self.window)

    def extra_repr(self) -> str:
        """The arguments, for printing the network."""
        return f"{self.input_size}, {self.hidden_size}, window={self.window}, batch_first={self.batch_first}"

    def _forms(self) -> Tensor:
        """The symmetric matrices of the scores, w_i = h' F_i h: (k, m, m)."""
        product = self.query_hh.transpose(1, 2) @ self.key_hh
        return (product + product.transpose(1, 2)) / 2


def _quadratic(x: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """(query x) . (key x): by the product of the two where that is the smaller one."""
    if query.shape[1] <= 2 * query.shape[0]:
        return (functional.linear(x, query.t() @ key) * x).sum(-1)
    return (functional.linear(x, query) * functional.linear(x, key)).sum(-1)


def _newest(states: Tensor, before: Tensor, real: Tensor | None) -> Tensor:
    """The last k states of each sequence, newest first: (k, b, m), reaching back to those it began with."""
    slots = len(before)
    line = torch.cat([before.flip(0), states[-slots:] if real is None else states])
    if real is None:
        return line[-slots:].flip(0)
    ends = real.sum(0) + slots - 1  # where each sequence's last state stands in the line
    rows = ends - torch.arange(slots, device=line.device).unsqueeze(1)  # (k, b)
    return line.gather(0, rows.unsqueeze(-1).expand(-1, -1, line.shape[-1]))
