"""Rematerialisation: fewer activations kept, some layers run again. Counts, peaks, a chain's model, the best schedules."""

from torchstone.laws.rematerialization import alike, chain, level, nested, peak, planning, recomputation

__all__ = ["alike", "chain", "level", "nested", "peak", "planning", "recomputation"]
