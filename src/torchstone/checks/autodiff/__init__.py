"""Findings about autodiff."""
