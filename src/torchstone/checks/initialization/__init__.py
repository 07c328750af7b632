"""Findings about initialization."""
