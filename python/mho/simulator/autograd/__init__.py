"""The product of a tile as a function of tensors: eager, compiled, exported."""
