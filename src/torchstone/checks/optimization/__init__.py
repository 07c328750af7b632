"""Findings about optimization."""
