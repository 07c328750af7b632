"""Findings about variational bottlenecks."""
