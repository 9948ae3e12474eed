"""Maps of what of a model is analog, and folders that hold whole models."""
