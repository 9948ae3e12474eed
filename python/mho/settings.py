"""The backend of new tiles, for the whole process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mho import _core
from mho.exceptions import ArgumentError, ConfigError

_STDERR = 2
_KNOWN_BACKENDS = ("cpu", "wgpu")
BACKENDS = _KNOWN_BACKENDS if hasattr(_core, "GpuTile") else ("cpu",)


class _Settings:
    """What was chosen so far."""

    backend = "cpu"
    adapter: str | None = None


def set_backend(backend: str, adapter: int | str | None = None) -> None:
    """Choose the backend of tiles that are built from now on.

    Args:
        backend: ``"cpu"``, or ``"wgpu"`` for graphics processors through Vulkan, Metal or
            Direct3D 12, see :func:`mho.backends`.
        adapter: Number or part of the name of an adapter of ``"wgpu"``. None takes the one that the
            variable ``MHO_GPU`` names, else the best one that is not software.

    Raises:
        ArgumentError: The adapter is neither a number nor a name, or the backend has none.
        BackendError: There is no such adapter; the message says what is missing.
        ConfigError: The backend is unknown or not part of this build.
    """
    name = adapter_name(adapter)
    if check_backend(backend) == "wgpu":
        open_adapter(name)
    elif name is not None:
        raise ArgumentError(f"adapter: backend {backend!r} has no adapters, got {adapter!r}")
    _Settings.backend, _Settings.adapter = backend, name


def get_backend() -> str:
    """Return the backend of tiles that are built from now on."""
    return _Settings.backend


def get_adapter() -> str | None:
    """Return the adapter that was chosen with the backend, None for the default one."""
    return _Settings.adapter


def chosen_backend(configured: str | None) -> tuple[str, str | None]:
    """Return backend and adapter of a tile that is built now.

    Args:
        configured: What its configuration asks for, None if it does not.
    """
    backend = get_backend() if configured is None else configured
    return backend, _Settings.adapter if backend == "wgpu" else None


def adapter_name(adapter: int | str | None) -> str | None:
    """Return an adapter as text, None for the default one.

    Args:
        adapter: Number or part of a name.

    Raises:
        ArgumentError: It is neither.
    """
    if adapter is None:
        return None
    if isinstance(adapter, bool) or not isinstance(adapter, (int, str)) or not str(adapter):
        raise ArgumentError(
            f"adapter: expected a number or a part of a name of mho.backends(), got {adapter!r}"
        )
    return str(adapter)


def check_backend(backend: str) -> str:
    """Return ``backend`` if this build has it.

    Raises:
        ConfigError: If the backend is unknown or not part of this build.
    """
    if not isinstance(backend, str) or backend not in _KNOWN_BACKENDS:
        raise ConfigError(f"backend: unknown name {backend!r}; use one of {_KNOWN_BACKENDS}")
    if backend not in BACKENDS:
        raise ConfigError(f"backend: {backend!r} is not part of this build; use 'cpu'")
    return backend


def refused_backend(name: str, backend: str | None) -> str:
    """Return what is said of a backend where a tile cannot run.

    Args:
        name: Name of the class of the tile.
        backend: Backend.
    """
    return f"{name} cannot run on {backend!r}; use 'cpu'"


def open_adapter(adapter: str | None) -> None:
    """Open an adapter, if that was not done yet.

    Args:
        adapter: Its number or a part of its name, None for the default one.

    Raises:
        BackendError: There is no such adapter; the message says what is missing.
    """
    with silent_drivers():
        _core.gpu_open(adapter)


@contextmanager
def silent_drivers() -> Iterator[None]:
    """Throw away what drivers print while they are looked for, such as that there is no display.

    They write to the file itself, past Python. What matters of it is in the list of adapters.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(_STDERR)
    except OSError:  # it is closed
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
