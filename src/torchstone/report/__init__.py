"""A Report as text and as JSON. Never imports torch."""
