"""Gradient exchange between n workers: who sends what to whom, how many messages and bytes that is, and how long it takes."""

from torchstone.laws.exchange import cost, counts, results, schedule
from torchstone.laws.exchange.scheme import Scheme

__all__ = ["Scheme", "cost", "counts", "results", "schedule"]
