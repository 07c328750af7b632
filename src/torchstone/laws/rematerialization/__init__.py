"""Rematerialisation: fewer activations kept, some layers run again. Counts, peaks, chains, graphs, schedules, bounds."""

from torchstone.laws.rematerialization import (
    alike,
    bound,
    chain,
    covering,
    graph,
    level,
    modules,
    nested,
    peak,
    peaks,
    planning,
    recomputation,
    search,
)

__all__ = [
    "alike", "bound", "chain", "covering", "graph", "level", "modules", "nested", "peak", "peaks", "planning", "recomputation",
    "search",
]  # fmt: skip
