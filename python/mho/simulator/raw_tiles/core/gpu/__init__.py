"""Kernels of raw tiles on graphics processors."""
