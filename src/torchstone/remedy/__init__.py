"""Try a change, hold the same law again: interventions, probes and trials."""
