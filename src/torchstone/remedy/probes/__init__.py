"""Probes: the same script again, with a deep look at some steps of it: one class a kind, found by walking this package.

A class is a `Window` with a KIND: the word that a `Probe` names it by.
"""
