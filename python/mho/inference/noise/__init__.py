"""Noise of programmed weights, one technology per file."""
