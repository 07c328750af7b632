"""Models that studies train, and how: what is too much for a study's own page."""
