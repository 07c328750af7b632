"""Adaptation: low-rank factors beside a frozen weight, soft prompts, initialisations learned over tasks, and what each costs."""

from torchstone.laws.adaptation import cost, factors, forgetting, meta, size
from torchstone.laws.adaptation.size import Decoder

__all__ = ["Decoder", "cost", "factors", "forgetting", "meta", "size"]
