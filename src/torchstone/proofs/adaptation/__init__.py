"""Experiments of adaptation."""
