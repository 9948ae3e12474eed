"""Digital parts around a raw tile; each owns its entries of the state."""
