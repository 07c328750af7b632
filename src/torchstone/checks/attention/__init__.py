"""Findings about attention."""
