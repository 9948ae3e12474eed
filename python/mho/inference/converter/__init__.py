"""Conversion between weights and conductances."""
