"""Questions about attention: over all pairs, local, and linear in the sequence."""
