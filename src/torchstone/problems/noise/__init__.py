"""Answers about noise."""
