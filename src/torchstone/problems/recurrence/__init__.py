"""Questions about recurrence: linear, with an activation inside or outside, gated, and by attention over past states."""
