"""Analog in-memory computing for PyTorch: layers whose weights are conductances."""

from typing import TYPE_CHECKING, Any

from mho import pending
from mho.adapters import Backend, backends, synchronize
from mho.settings import get_backend, get_num_threads, set_backend, set_num_threads
from mho.version import __version__

if TYPE_CHECKING:
    from mho.nn.noise import fork_noise, same_noise

__all__ = [
    "Backend",
    "__version__",
    "backends",
    "fork_noise",
    "get_backend",
    "get_num_threads",
    "same_noise",
    "set_backend",
    "set_num_threads",
    "synchronize",
]

pending.install()

# What needs torch is imported when it is asked for.
_LATER = ("fork_noise", "same_noise")


def __getattr__(name: str) -> Any:
    """Return a function of the package that is imported when it is first used."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mho.nn import noise

    value = globals()[name] = getattr(noise, name)
    return value
