"""Diffusion: tables, paths, predictions and samplers."""
