"""Where the kernels of a tile of the core run."""

from typing import Any

from mho.simulator.raw_tiles.core.tile import BACKENDS, CoreTile
from mho.simulator.tiles.hooks import HookedTile

__all__ = ["BACKENDS", "PlacedTile"]


class PlacedTile(HookedTile):
    """Tile whose kernels run on the host or on a graphics processor.

    The tensors of the tile own its state in both cases.
    """

    @property
    def backend(self) -> str:
        """Where the kernels of the tile run, `"cpu"` or `"wgpu"`."""
        raw: Any = self.__dict__.get("tile") or self._modules.get("tile")
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
        super().to_backend(backend, adapter)
        if "wgpu" in self.known_backends:
            self.tile.to_backend(backend, adapter)
            self.rpu_config.runtime.backend = backend
        return self

    def _check_config(self, config: Any) -> None:
        super()._check_config(config)
        raw = self.__dict__.get("tile")
        if isinstance(raw, CoreTile):
            raw.check(config)
