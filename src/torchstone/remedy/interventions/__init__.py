"""Changes of a run, executed at the watcher's own moments: one class a kind, found by walking this package.

Runs in the child, after torch is imported. A class is an `Applied` with a KIND: the word that a `Change` names it by.
"""
