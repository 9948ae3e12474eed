"""Quantisers of digital values: levels, their ranges and when these follow the data."""
