"""Attention: local, separable, and by features of a kernel."""
