"""Analog layers and containers, one kind per module."""
