"""Evaluation traces with their derivatives or adjoints, in three-part notation."""
