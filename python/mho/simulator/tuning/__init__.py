"""Settings of training algorithms that follow from the device, the size of the tile and the batch."""
