"""Optimisation: what a step uses (gradients), how it moves (dynamics, rates), and the curvature that it meets (curvature)."""

from torchstone.laws.optimization import curvature, dynamics, gradients, rates
from torchstone.laws.optimization.curvature import lanczos_iterations, ritz_error, ritz_range
from torchstone.laws.optimization.dynamics import (
    OPTIMIZERS,
    error_after,
    scheduled_error,
    spectral_radius,
    step_map,
    steps_to_tolerance,
)
from torchstone.laws.optimization.gradients import carried_gradient, uncleared_gradient, updates_received
from torchstone.laws.optimization.rates import (
    best_convergence,
    best_hyperparameters,
    divergence_threshold,
    one_step_learning_rate,
    two_step_momentum,
)

__all__ = [
    "OPTIMIZERS",
    "best_convergence",
    "best_hyperparameters",
    "carried_gradient",
    "curvature",
    "divergence_threshold",
    "dynamics",
    "error_after",
    "gradients",
    "lanczos_iterations",
    "one_step_learning_rate",
    "rates",
    "ritz_error",
    "ritz_range",
    "scheduled_error",
    "spectral_radius",
    "step_map",
    "steps_to_tolerance",
    "two_step_momentum",
    "uncleared_gradient",
    "updates_received",
]
