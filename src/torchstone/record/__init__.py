"""A live run becomes a Recording: the only place that hooks torch."""
