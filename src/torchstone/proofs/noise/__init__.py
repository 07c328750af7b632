"""Experiments about noise."""
