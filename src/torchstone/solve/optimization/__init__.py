"""Descent solved backwards: the learning rate and momentum that reach a minimum, and those that converge fastest."""

from torchstone.solve.optimization.descending import descent
from torchstone.solve.optimization.solution import DescentSolution, Exact, Minimum, Plan, Row, Run, Setting

__all__ = ["DescentSolution", "Exact", "Minimum", "Plan", "Row", "Run", "Setting", "descent"]
