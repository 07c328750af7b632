"""Findings about noise: dropout, batch statistics, and when they are at work."""
