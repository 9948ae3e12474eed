"""Raw tiles: weights, devices, products and updates, without digital periphery."""
