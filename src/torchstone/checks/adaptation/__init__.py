"""Findings about adaptation."""
