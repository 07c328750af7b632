"""Findings about recurrent networks."""
