"""The loop of the recurrent network with attention over all its past states: a running softmax.

Axis letters: t time, b batch, m hidden features.
"""

import torch
from torch import Tensor
from torch.nn import functional


def pool(
    scores: Tensor, values: Tensor, state: Tensor, form: Tensor, weight: Tensor, real: Tensor | None
) -> tuple[Tensor, Tensor]:
    """States (t, b, m) of h_t = softmax over the input and all past states, and what has been pooled by then (1, b, 1 + m).

    With L = log of the sum of e^w over the past and M their mean value, h_t = M + sigmoid(w_0 - L) (v_0 - M), and h_t then joins
    the past in the same way: M moves to its value by sigmoid(w - L), and L becomes log(e^L + e^w). Nothing overflows.

    scores (t, b) and values (t, b, m) of the inputs; state (b, 1 + m), L and M; form F and weight V (m, m): w = h'Fh, v = V h.
    """
    total, mean = state[:, :1], state[:, 1:]
    both, states = torch.cat([form, weight]), []
    for number, (score, value) in enumerate(zip(scores.unsqueeze(-1).unbind(0), values.unbind(0), strict=True)):
        new = torch.lerp(mean, value, torch.sigmoid(score - total))
        turned, own = functional.linear(new, both).chunk(2, 1)
        weight_of_own = (turned * new).sum(1, keepdim=True)
        moved = torch.lerp(mean, own, torch.sigmoid(weight_of_own - total))
        grown = torch.logaddexp(total, weight_of_own)
        if real is not None:
            there = real[number].unsqueeze(-1)
            new, moved, grown = torch.where(there, new, 0.0), torch.where(there, moved, mean), torch.where(there, grown, total)
        mean, total = moved, grown
        states.append(new)
    pooled = torch.cat([total, mean], 1).unsqueeze(0)
    return torch.stack(states) if states else values, pooled
