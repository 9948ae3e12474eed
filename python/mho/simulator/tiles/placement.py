"""Where the kernels of a tile of the core run."""

from typing import Any

from mho.exceptions import ConfigError
from mho.settings import adapter_name, check_backend, get_adapter
from mho.simulator.devices.custom import CustomPulsedDevice
from mho.simulator.raw_tiles.core.gpu.kernels import Resident
from mho.simulator.raw_tiles.core.tile import NativeSimulatorTile
from mho.simulator.tiles.hooks import HookedTile

BACKENDS = ("cpu", "wgpu")
"""Where tiles of the core can run."""


class PlacedTile(HookedTile):
    """Tile whose kernels run on the host or on a graphics processor.

    The tensors of the tile own its state in both cases.
    """

    @property
    def backend(self) -> str:
        """Where the kernels of the tile run, `"cpu"` or `"wgpu"`."""
        raw = self._native()
        return "cpu" if raw is None else raw.backend

    def to_backend(self, backend: str, adapter: int | str | None = None) -> "PlacedTile":
        """Run the kernels of the tile elsewhere from now on; returns the tile.

        On any error the tile stays where it is.

        Args:
            backend: `"cpu"` or `"wgpu"`.
            adapter: Number or part of the name of an adapter, see `mho.backends`; None for the one
                that `mho.set_backend` or the variable `MHO_GPU` names, else the best one.

        Raises:
            ArgumentError: The adapter is neither a number nor a name.
            BackendError: There is no such adapter, or too little memory.
            ConfigError: The backend is unknown, or the tile has an option that it cannot do; the
                message names both.
        """
        raw = self._native()
        if raw is None:
            super().to_backend(backend, adapter)
            return self
        name = adapter_name(adapter) or get_adapter()
        if check_backend(backend) == "wgpu":
            self._to_gpu(raw, name)
        elif raw.resident is not None:
            raw.resident.remove()
            raw.resident = None
        raw.backend, raw.adapter = backend, name if backend == "wgpu" else None
        self.rpu_config.runtime.backend = backend
        return self

    def _to_gpu(self, raw: NativeSimulatorTile, adapter: str | None) -> None:
        if raw.resident is not None and raw.resident.adapter == adapter:
            return
        self._refuse_python(self.rpu_config)
        if raw.resident is not None:
            raw.resident.sync_to_host()
        new = Resident(self, raw, adapter)
        new.open()
        if raw.resident is not None:
            raw.resident.remove()
        new.install()
        raw.resident = new

    def _check_config(self, config: Any) -> None:
        super()._check_config(config)
        if self.backend == "wgpu":
            self._refuse_python(config)

    def _refuse_python(self, config: Any) -> None:
        device = getattr(config, "device", None)
        if isinstance(device, CustomPulsedDevice):
            raise ConfigError(
                f"device: {type(device).__name__} takes its steps in Python, which the backend"
                " 'wgpu' cannot; use 'cpu'"
            )

    def _attach_backend(self) -> None:
        """Use the backend of the raw tile; nothing is opened before the first use."""
        raw = self._native()
        if raw is not None and raw.backend == "wgpu" and raw.resident is None:
            self._refuse_python(self.rpu_config)
            raw.resident = Resident(self, raw, raw.adapter)
            raw.resident.install()

    def _open_backend(self) -> None:
        """Open the backend of a fresh tile, so that what it cannot do is refused at once."""
        raw = self._native()
        if raw is not None and raw.resident is not None:
            raw.resident.open()

    def _native(self) -> NativeSimulatorTile | None:
        raw = self.__dict__.get("tile")
        return raw if isinstance(raw, NativeSimulatorTile) else None
