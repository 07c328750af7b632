"""Normalisation held against its laws: the two maps, and stacks of layers."""
