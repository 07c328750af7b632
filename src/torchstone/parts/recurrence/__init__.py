"""Recurrence as PyTorch objects: linear, with an activation inside or outside, gated, and by attention over past states."""

from torchstone.parts.recurrence.attention import AttentionRNN
from torchstone.parts.recurrence.diagram import Diagram
from torchstone.parts.recurrence.gated import GatedRNN
from torchstone.parts.recurrence.linear import LinearRNN
from torchstone.parts.recurrence.rnn import RNN

__all__ = ["RNN", "AttentionRNN", "Diagram", "GatedRNN", "LinearRNN"]
