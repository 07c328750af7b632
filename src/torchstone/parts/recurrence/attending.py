"""The loop of the recurrent network with attention over its last k states.

Axis letters: t time, b batch, m hidden features, k past states, i how many steps ago, 1 to k; slot i of a row of time t belongs
to the state of time t - i, slot 0 to the input.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from torchstone.parts.recurrence.gated import again
from torchstone.parts.recurrence.sequence import traced


def attend(scores: Tensor, values: Tensor, start: Tensor, forms: Tensor, weights: Tensor, real: Tensor | None) -> Tensor:
    """States (t, b, m) of h_t = softmax(w) V, w_i = h_{t-i}' F_i h_{t-i}, v_i = V_i h_{t-i}; 0 in steps that are not real.

    scores (t, b) and values (t, b, m) of the inputs; start (k, b, m), newest first; forms F and weights V (k, m, m).
    """
    if traced():
        return _plain(scores, values, start, forms, weights, real)
    states: Tensor = _Attended.apply(scores, values, start, forms, weights, real)  # type: ignore[no-untyped-call]
    return states


def _plain(scores: Tensor, values: Tensor, start: Tensor, forms: Tensor, weights: Tensor, real: Tensor | None) -> Tensor:
    """The recurrence in operations that autograd follows."""
    slots = len(start)

    def born(state: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (b, k) and values (b, k, m) that a state will have 1 to k steps later."""
        turned = torch.einsum("bm,kom->bko", state, forms)
        return (turned * state.unsqueeze(1)).sum(-1), torch.einsum("bm,kom->bko", state, weights)

    window = [born(state) for state in start.unbind(0)]
    states = []
    for number, (score, value) in enumerate(zip(scores.unbind(0), values.unbind(0), strict=True)):
        row = torch.stack([score, *(window[i][0][:, i] for i in range(slots))], 1)
        seen = torch.stack([value, *(window[i][1][:, i] for i in range(slots))], 1)
        state = (torch.softmax(row, 1).unsqueeze(-1) * seen).sum(1)
        if real is not None:
            state = torch.where(real[number].unsqueeze(-1), state, 0.0)
        states.append(state)
        window = [born(state), *window[:-1]]
    return torch.stack(states) if states else values


class _Attended(Function):
    """`_plain` without an index: what a state gives to the k steps after it is written down a diagonal of time and slot.

    Backward gathers along the same diagonals: one product a step, the gradients of forms and weights in two large ones at the end.
    """

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, values: Tensor, start: Tensor, forms: Tensor, weights: Tensor, real: Tensor | None
    ) -> Tensor:
        (time, batch, width), slots = values.shape, len(start)
        rows = time + slots  # of states: those of `start`, oldest first, then the new ones
        states = values.new_empty(rows, batch, width)
        states[:slots] = start.flip(0)
        shares = values.new_zeros(rows + slots, batch, slots + 1)  # scores, then their softmax
        seen = values.new_zeros(rows + slots, batch, slots + 1, width)
        shares[slots:rows, :, 0], seen[slots:rows, :, 0] = scores, values
        turned = values.new_empty(rows, batch, slots, width)
        to_shares, to_seen = _ahead(shares, rows).unbind(0), _ahead(seen, rows).unbind(0)
        forming = forms.reshape(slots * width, width).t()
        weighing = weights.reshape(slots * width, width).t()
        every = zip(states.unbind(0), shares.unbind(0), seen.unbind(0), turned.unbind(0), strict=False)
        for row, (state, share, value, turn) in enumerate(every):
            if row >= slots:
                share.copy_(torch.softmax(share, 1))
                torch.bmm(share.unsqueeze(1), value, out=state.unsqueeze(1))
                if real is not None:
                    state.masked_fill_(~real[row - slots].unsqueeze(-1), 0.0)
            torch.mm(state, forming, out=turn.view(batch, slots * width))
            to_shares[row].copy_(torch.bmm(turn, state.unsqueeze(-1)).squeeze(-1))
            to_seen[row].copy_(torch.mm(state, weighing).view(batch, slots, width))
        shares[:slots] = 0  # what the first states would have given to each other
        ctx.save_for_backward(scores, values, start, forms, weights, real, states, shares, seen, turned)
        return states[slots:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scores, values, start, forms, weights, real, states, shares, seen, turned = ctx.saved_tensors
        (gradient,) = gradients
        if torch.is_grad_enabled():  # a derivative of the derivative is wanted
            inputs = (scores, values, start, forms, weights)
            return (*again(partial(_plain, real=real), inputs, gradient, ctx.needs_input_grad[:5]), None)
        slots, (rows, batch, width) = len(start), states.shape
        totals = values.new_zeros(rows + slots, batch, width)  # dl/dh, of every state
        pulls = torch.zeros_like(shares)  # dl/dw
        sent = torch.empty_like(turned)  # a_i dl/dh[t+i], by the state that v_i came from
        stacked = weights.reshape(slots * width, width)
        every = zip(range(rows), totals.unbind(0), sent.unbind(0), turned.unbind(0), strict=False)
        shares_ahead, pulls_ahead = _ahead(shares, rows).unbind(0), _ahead(pulls, rows).unbind(0)
        for row, total, back, turn in reversed(list(every)):
            later = totals[row + 1 : row + 1 + slots].transpose(0, 1)  # (b, k, m)
            torch.mul(later, shares_ahead[row].unsqueeze(-1), out=back)
            torch.mm(back.view(batch, slots * width), stacked, out=total)
            whole = total.unsqueeze(1)
            torch.baddbmm(whole, pulls_ahead[row].unsqueeze(1), turn, alpha=2, out=whole)
            if row < slots:
                continue
            total.add_(gradient[row - slots])
            if real is not None:
                total.masked_fill_(~real[row - slots].unsqueeze(-1), 0.0)
            moved = torch.bmm(seen[row], total.unsqueeze(-1)).squeeze(-1)
            share = shares[row]
            torch.mul(share, moved - (share * moved).sum(1, keepdim=True), out=pulls[row])
        flat = states.reshape(-1, width)
        by_weights = sent.view(-1, slots * width).t() @ flat
        torch.mul(states.unsqueeze(2), _ahead(pulls, rows).unsqueeze(-1), out=sent)
        by_forms = sent.view(-1, slots * width).t() @ flat
        own = slice(slots, rows)
        by_values = totals[own] * shares[own, :, 0].unsqueeze(-1)
        return pulls[own, :, 0], by_values, totals[:slots].flip(0), by_forms.view_as(forms), by_weights.view_as(weights), None


def _ahead(table: Tensor, rows: int) -> Tensor:
    """A view of a table (time, b, 1 + k, ..): for the state of each row the slots 1 to k that it fills in the k rows after it.

    (rows, b, k, ..): entry (s, b, i - 1) is entry (s + i, b, i) of the table.
    """
    time, batch, slot, *rest = table.stride()
    _, b, k, *more = table.shape
    return table.as_strided((rows, b, k - 1, *more), (time, batch, time + slot, *rest), time + slot)
