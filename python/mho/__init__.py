"""Analog in-memory computing for PyTorch: layers whose weights are conductances.

Subpackages are loaded at their first use, since torch takes a second: `mho.nn`, `mho.optim`,
`mho.simulator`, `mho.inference`, `mho.utils`, `mho.compat`.
"""

import importlib
from types import ModuleType

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

_SUBPACKAGES = frozenset(("compat", "exceptions", "inference", "nn", "optim", "simulator", "utils"))


def __getattr__(name: str) -> ModuleType:
    """Load a subpackage at its first use."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBPACKAGES})
