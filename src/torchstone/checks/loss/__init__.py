"""Findings about loss."""
