"""Answers about optimizers."""
