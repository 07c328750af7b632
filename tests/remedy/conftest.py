"""Fixtures of the diverted writes."""

from remedy.tree import scratch, user

__all__ = ["scratch", "user"]
