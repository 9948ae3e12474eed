"""What a saved tile looks like, and how it is loaded all or not at all."""
