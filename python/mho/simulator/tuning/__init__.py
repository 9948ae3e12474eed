"""Settings of training algorithms that follow from the device and the size of the tile."""
