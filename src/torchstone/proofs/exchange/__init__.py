"""Gradient exchange held: every scheme's code run between the buffers of one process, on a network that is a clock."""
