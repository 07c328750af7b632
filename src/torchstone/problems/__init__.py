"""Every question of the documents, answered with the public face only. One file a topic."""
