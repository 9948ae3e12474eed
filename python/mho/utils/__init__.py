"""Tools for analog models."""
