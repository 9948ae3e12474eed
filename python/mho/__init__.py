"""Analog in-memory computing for PyTorch: layers whose weights are conductances."""

from mho.settings import get_backend, get_num_threads, set_backend, set_num_threads
from mho.version import __version__

__all__ = [
    "__version__",
    "get_backend",
    "get_num_threads",
    "set_backend",
    "set_num_threads",
]
