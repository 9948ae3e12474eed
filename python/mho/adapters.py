"""What tiles can run on in this process."""

from dataclasses import dataclass

from mho import _core
from mho.documented import documented
from mho.settings import BACKENDS, silent_drivers


@documented
@dataclass(frozen=True)
class Backend:
    """One place where tiles can run; `mho.set_backend(b.backend, b.adapter)` chooses it."""

    backend: str
    """`"cpu"` or `"wgpu"`."""

    adapter: int | None
    """Number of the adapter, None for the processor."""

    name: str
    """Name of the hardware."""

    type: str
    """`"processor"`, `"discrete"`, `"integrated"`, `"virtual"`, `"other"` or `"software"`."""

    driver: str
    """Name and version of the driver."""

    api: str
    """Programming interface, such as `"vulkan"`; empty for the processor."""


def backends() -> list[Backend]:
    """Return the processor and all adapters of graphics processors, best first.

    Adapters of type `"software"` emulate one on the processor; they are used only when named. The
    first call loads the drivers, which takes about 0.1 s.
    """
    found = [Backend("cpu", None, "processor", "processor", "", "")]
    with silent_drivers():
        adapters = _core.gpu_adapters() if "wgpu" in BACKENDS else []
    return found + [Backend("wgpu", at, *summary) for at, summary in enumerate(adapters)]


def synchronize() -> None:
    """Wait until graphics processors have done all that tiles asked for.

    Products wait by themselves; updates do not. For measurements.

    Raises:
        BackendError: A graphics processor failed.
    """
    if "wgpu" in BACKENDS:
        _core.gpu_synchronize()
