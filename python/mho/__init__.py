"""Analog in-memory computing for PyTorch: layers whose weights are conductances."""

from mho.adapters import Backend, backends, synchronize
from mho.settings import get_backend, get_num_threads, set_backend, set_num_threads
from mho.version import __version__

__all__ = [
    "Backend",
    "__version__",
    "backends",
    "get_backend",
    "get_num_threads",
    "set_backend",
    "set_num_threads",
    "synchronize",
]
