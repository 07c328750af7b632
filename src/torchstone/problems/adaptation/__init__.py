"""Answers about adaptation."""
