"""Rematerialisation's laws held: counts on running executors, peaks of running checkpointed networks."""
