"""What a graphics processor has of the tensors of a raw tile."""

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import TileError
from mho.settings import open_adapter
from mho.simulator.raw_tiles.core.gpu.watched_buffers import peek, peek_all
from mho.simulator.raw_tiles.core.kernels import check_finite
from mho.simulator.raw_tiles.core.parsed import ParsedConfig
from mho.simulator.raw_tiles.core.tensors import CoreTensors
from mho.simulator.raw_tiles.core.versions import TensorVersions
from mho.simulator.state.names import PERSISTENT
from mho.simulator.state.names import AnalogTileStateNames as Names

_OWN, _HIDDEN, _LINES = "own", "hidden", ("forward", "backward")


class Mirror:
    """The tile on the graphics processor, and which versions of the tensors it has seen."""

    def __init__(self, tensors: CoreTensors, parsed: ParsedConfig, adapter: str | None) -> None:
        """Start without a tile.

        Args:
            tensors: Tensors of the raw tile.
            parsed: Its configuration.
            adapter: Number or part of the name of an adapter, None for the default one.
        """
        self._tensors, self._parsed, self._adapter = tensors, parsed, adapter
        self.tile: _core.GpuTile | None = None
        self._spec: _core.TileSpec | None = None
        self._versions = TensorVersions()
        self._is_finite = False

    def drop(self) -> None:
        """Forget the tile."""
        self.tile = None
        self.forget()

    def forget(self) -> None:
        """Upload everything at the next use."""
        self._versions.clear()

    def replaces_weights(self, weight: Tensor | None) -> bool:
        """Return whether `upload` would write over the weights on the graphics processor.

        Args:
            weight: As for `upload`.
        """
        if not self._is_built() or self._is_other(weight):
            return True
        return self._versions.changed(_OWN, self._own())

    def was_written(self) -> bool:
        """Return whether the weights of the host were written since the last upload."""
        return self._versions.written(_OWN, self._own())

    def upload(self, weight: Tensor | None) -> _core.GpuTile:
        """Bring the tile up to date and return it.

        Args:
            weight: Weights to use instead of the own ones until the next upload.

        Raises:
            BackendError: There is no adapter, or it failed.
            ConfigError: The tile has an option that the backend cannot do.
        """
        if self.tile is None or not self._is_built():
            self.drop()
            open_adapter(self._adapter)
            self.tile = _core.GpuTile(self._parsed.spec, self._adapter)
            self._spec = self._parsed.spec
        self._upload_weights(self.tile, weight)
        self._upload_devices(self.tile)
        return self.tile

    def check_finite(self) -> None:
        """Refuse to update weights that are not finite.

        They are looked at once per upload: kernels leave finite weights finite.

        Raises:
            ArgumentError: One is NaN or infinite.
        """
        if not self._is_finite:
            check_finite(self._own()["buffer"])
            self._is_finite = True

    def read_back(self) -> None:
        """Write the weights of the graphics processor to the tensors of the host.

        Raises:
            BackendError: They cannot be read.
        """
        if self.tile is None:
            raise TileError("backend: there is no tile on the graphics processor")
        own, state = self._own(), self.state()
        if state is not None:
            self.tile.read_cells(state)
        else:
            self.tile.read_weights(own["buffer"])
            if PERSISTENT in own:
                self.tile.read_persistent(own[PERSISTENT])
        if self.shared() is not None:
            self._tensors.count_write()
            self._versions.put(_OWN, own)  # seen: these are its own

    def shared(self) -> Tensor | None:
        """Return the parameter by which optimizers of torch train the weights, if there is one."""
        return self._tensors.owner._parameters.get(Names.SHARED_WEIGHTS)

    def state(self) -> tuple[Tensor, dict[str, Tensor]] | None:
        """Return the tensors of the host of a tile of cells, whatever is newer; None for devices.

        Counters and signs of cells are on the host all the time, and go with every call.
        """
        if not self._parsed.spec.is_cell:
            return None
        hidden = peek_all(self._tensors.hidden)
        return self._own()["buffer"], {**hidden, **self._tensors.cell}

    def _own(self) -> dict[str, Tensor]:
        shared = self.shared()
        weights: Tensor | None = peek(self._tensors.state, Names.WEIGHTS)
        if shared is not None:
            weights = shared.detach()  # with the version of the parameter
        if weights is None:
            raise TileError(f"{Names.WEIGHTS}: the tile has lost this buffer")
        own = {"buffer": weights}
        for name in self._parsed.spec.weight_names:
            value = peek(self._tensors.hidden, name)
            if value is not None:
                own[name] = value
        return own

    def _is_built(self) -> bool:
        return self.tile is not None and self._spec is self._parsed.spec

    def _is_other(self, weight: Tensor | None) -> bool:
        return weight is not None and weight.data_ptr() != self._own()["buffer"].data_ptr()

    def _upload_weights(self, tile: _core.GpuTile, weight: Tensor | None) -> None:
        own = self._own()
        if weight is not None and self._is_other(weight):
            tile.write_weights(weight.detach().contiguous())
            self._versions.forget(_OWN)
        elif self._versions.changed(_OWN, own):
            self._is_finite = False  # not known
            if (state := self.state()) is not None:
                tile.write_cells(state)
            else:
                tile.write_weights(own["buffer"])
                if PERSISTENT in own:
                    tile.write_persistent(own[PERSISTENT])
            self._versions.put(_OWN, own)

    def _upload_devices(self, tile: _core.GpuTile) -> None:
        hidden, state = peek_all(self._tensors.hidden), self.state()
        for name in self._parsed.spec.weight_names:
            hidden.pop(name, None)
        reads = {name: value for name, value in self._tensors.cell.items() if _of_a_read(value)}
        if self._versions.changed(_HIDDEN, hidden | reads):
            if state is not None:
                tile.write_cell_parameters(state)
            else:
                tile.write_hidden(hidden)
            self._versions.put(_HIDDEN, hidden | reads)
        for backward, name in enumerate(_LINES):
            lines = self._tensors.lines[backward]
            if lines and self._versions.changed(name, lines):
                tile.write_lines(bool(backward), lines)
                self._versions.put(name, lines)


def _of_a_read(value: Tensor) -> bool:
    """Return whether an entry of a cell has frozen values, which no call changes."""
    return value.dtype == torch.float32
