"""Which all-reduce for how many workers and parameters: its messages, its time, with stragglers too, and which scheme wins when."""

from torchstone.solve.exchange.asking import AllReduces, Crossover, Row, all_reduce
from torchstone.solve.exchange.simulating import Simulated, simulate

__all__ = ["AllReduces", "Crossover", "Row", "Simulated", "all_reduce", "simulate"]
