"""Live objects into the plain numbers of the laws, one file a topic."""
