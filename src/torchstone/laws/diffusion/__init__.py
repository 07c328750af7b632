"""Diffusion: schedules of noise, jumps between levels, what a network may predict, and the way back."""

from torchstone.laws.diffusion import learned, noising, reverse, schedule, targets

__all__ = ["learned", "noising", "reverse", "schedule", "targets"]
