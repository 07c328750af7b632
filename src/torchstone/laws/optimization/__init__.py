"""Optimisation: gradients of a step, its motion (dynamics, momentum, adaptive), order around it, rates, decay, curvature."""

from torchstone.laws.optimization import adaptive, curvature, decay, dynamics, gradients, momentum, order, rates
from torchstone.laws.optimization.adaptive import FORMS, LINES, adam_step, decay_line, shrinkage_slope
from torchstone.laws.optimization.curvature import lanczos_iterations, ritz_error, ritz_range
from torchstone.laws.optimization.decay import decay_share, form_difference, l2_penalty, matching_decay, penalty_weight_decay
from torchstone.laws.optimization.dynamics import (
    OPTIMIZERS,
    error_after,
    scheduled_error,
    spectral_radius,
    step_map,
    steps_to_tolerance,
)
from torchstone.laws.optimization.gradients import carried_gradient, uncleared_gradient, updates_received
from torchstone.laws.optimization.momentum import (
    average_bias,
    averaged_hyperparameters,
    averaged_position,
    corrected_average,
    momentum_hyperparameters,
    running_average,
    velocity,
)
from torchstone.laws.optimization.order import clipped_norm, schedule_moves
from torchstone.laws.optimization.rates import (
    best_convergence,
    best_hyperparameters,
    divergence_threshold,
    one_step_learning_rate,
    two_step_momentum,
)

__all__ = [
    "FORMS", "LINES", "OPTIMIZERS", "adam_step", "adaptive", "average_bias", "averaged_hyperparameters", "averaged_position",
    "best_convergence", "best_hyperparameters", "carried_gradient", "clipped_norm", "corrected_average", "curvature", "decay",
    "decay_line", "decay_share", "divergence_threshold", "dynamics", "error_after", "form_difference", "gradients", "l2_penalty",
    "lanczos_iterations", "matching_decay", "momentum", "momentum_hyperparameters", "one_step_learning_rate", "order",
    "penalty_weight_decay", "rates", "ritz_error", "ritz_range", "running_average", "schedule_moves", "scheduled_error",
    "shrinkage_slope", "spectral_radius", "step_map", "steps_to_tolerance", "two_step_momentum", "uncleared_gradient",
    "updates_received", "velocity",
]  # fmt: skip
