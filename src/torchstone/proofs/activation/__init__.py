"""Activations of torch and of torchstone against their closed forms."""
