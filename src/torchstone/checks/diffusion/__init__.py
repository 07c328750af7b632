"""Findings about diffusion models."""
