"""Process-wide settings: number of threads and backend."""

import os

from mho import _core
from mho.exceptions import ArgumentError, ConfigError

BACKENDS = ("cpu",)
_KNOWN_BACKENDS = ("cpu", "wgpu")


class _Settings:
    """What was chosen so far."""

    backend = "cpu"
    threads_chosen = "RAYON_NUM_THREADS" in os.environ


def set_num_threads(threads: int) -> None:
    """Set the number of threads of all kernels; results never depend on it.

    Args:
        threads: At least 1.

    Raises:
        ArgumentError: If ``threads`` is not a positive integer.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ArgumentError(f"num_threads: must be a positive integer, got {threads!r}")
    _core.set_num_threads(threads)
    _Settings.threads_chosen = True


def get_num_threads() -> int:
    """Return the number of threads of all kernels.

    Unless chosen with :func:`set_num_threads` or ``RAYON_NUM_THREADS``, it is that of torch.
    """
    follow_torch()
    return _core.get_num_threads()


def follow_torch() -> None:
    """Take over torch's number of threads unless one was chosen."""
    if not _Settings.threads_chosen:
        import torch  # a module of mho that needs no tiles must not import torch

        _core.set_num_threads(torch.get_num_threads())


def set_backend(backend: str) -> None:
    """Choose the backend of tiles that are built from now on.

    Args:
        backend: ``"cpu"``.

    Raises:
        ConfigError: If the backend is unknown or not part of this build.
    """
    _Settings.backend = check_backend(backend)


def get_backend() -> str:
    """Return the backend of tiles that are built from now on."""
    return _Settings.backend


def check_backend(backend: str) -> str:
    """Return ``backend`` if this build has it.

    Raises:
        ConfigError: If the backend is unknown or not part of this build.
    """
    if backend not in _KNOWN_BACKENDS:
        raise ConfigError(f"backend: unknown name {backend!r}; use one of {_KNOWN_BACKENDS}")
    if backend not in BACKENDS:
        raise ConfigError(f"backend: {backend!r} is not part of this build; use 'cpu'")
    return backend
