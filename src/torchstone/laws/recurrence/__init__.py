"""Recurrence: linear, with an activation inside or outside, gated, and by attention over past states."""

from torchstone.laws.recurrence.attention import (
    attention_jacobian,
    attention_loss_gradient,
    attention_memory,
    attention_size,
    attention_state,
    infinite_attention,
)
from torchstone.laws.recurrence.gated import gate_size, gated_gain, gated_growth, gated_jacobian, gated_state, gated_weight_gradient
from torchstone.laws.recurrence.learning import compounded_share, lost_gradient, summed_gradient
from torchstone.laws.recurrence.linear import cumulative_state, identity_weight_gradient, recurrent_weight_gradient
from torchstone.laws.recurrence.plain import exploding_weight, inside_state, outside_state, vanishing_gradient

__all__ = [
    "attention_jacobian",
    "attention_loss_gradient",
    "attention_memory",
    "attention_size",
    "attention_state",
    "compounded_share",
    "cumulative_state",
    "exploding_weight",
    "gate_size",
    "gated_gain",
    "gated_growth",
    "gated_jacobian",
    "gated_state",
    "gated_weight_gradient",
    "identity_weight_gradient",
    "infinite_attention",
    "inside_state",
    "lost_gradient",
    "outside_state",
    "recurrent_weight_gradient",
    "summed_gradient",
    "vanishing_gradient",
]
