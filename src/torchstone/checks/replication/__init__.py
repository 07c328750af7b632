"""Findings about replication: ranks that should hold the same model."""
