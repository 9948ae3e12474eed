"""Devices at the crosspoints of raw tiles of the extension module."""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import InputError
from mho.simulator.raw_tiles.core.native_core import Buffers, NativeCore
from mho.simulator.raw_tiles.rows import check_tensor
from mho.simulator.state.names import AnalogTileStateNames as Names


class NativeHidden(NativeCore):
    """Raw tile whose devices can be inspected and replaced."""

    def get_hidden_parameter_names(self) -> list[str]:
        """Return the names of the per-crosspoint device parameters in their fixed order."""
        return list(self.spec.hidden_names)

    def get_hidden_parameters(self) -> Tensor:
        """Return all per-crosspoint device parameters, shape `[n, out, x_size]`, or empty."""
        planes = [self._plane(name) for name in self.spec.hidden_names]
        return torch.stack(planes) if planes else torch.empty(0)

    def set_hidden_parameters(self, params: Tensor) -> None:
        """Write all per-crosspoint device parameters and bring the weights into the new bounds.

        Persistent weights stay as given, within the bounds, and the visible ones with their noise
        as they are. If the mean step contradicts `dw_min` of the configuration, the tile uses a
        `dw_min` of its own from then on.

        Args:
            params: Shape `[n, out, x_size]` in the order of `get_hidden_parameter_names`.

        Raises:
            ArgumentError: A value is not finite, or bounds are crossed; nothing is changed.
            InputError: Wrong shape; nothing is changed.
        """
        names = self.spec.hidden_names
        check_tensor(params, "params")
        if not names and params.numel() == 0:
            return
        shape = (len(names), self.spec.d_size, self.spec.x_size)
        if tuple(params.shape) != shape:
            raise InputError(f"params: expected shape {shape}, got {tuple(params.shape)}")
        values = params.detach().to("cpu", torch.float32).contiguous()
        self._write_hidden({name: values[i] for i, name in enumerate(names)})

    @torch.no_grad()
    def _write_hidden(self, planes: Buffers) -> None:
        _core.check_hidden(self.spec, planes)
        spec, dw_min = self.estimated(self.config_text, self.spec, planes)
        self.adopt(self.config_text, spec, dw_min)
        with self.on_host():
            self.store_planes(planes)
            _core.enter_bounds(self.spec, self.live_weights(), self._hidden)

    def estimated(
        self, config_text: str, spec: _core.TileSpec, planes: Mapping[str, Tensor]
    ) -> tuple[_core.TileSpec, float | None]:
        """Return a configuration that agrees with the mean step of planes, and its own `dw_min`.

        Args:
            config_text: JSON text.
            spec: The same, parsed.
            planes: Values of all hidden parameters, shape `[out, x_size]` each.
        """
        dw_min = _core.unexpected_dw_min(spec, dict(planes))
        if dw_min is None:
            return spec, self.dw_min if spec is self.spec else None
        warnings.warn(
            f"dw_min: the steps of the hidden parameters do not fit that of {spec.device}; the tile"
            f" uses {dw_min:g} from now on",
            stacklevel=2,
        )
        return self.parsed(config_text, dw_min), dw_min

    def get_hidden_update_index(self) -> int:
        """Return the index of the device that is updated; single devices have only one."""
        return 0

    def set_hidden_update_index(self, index: int) -> None:
        """Ignore the index: single devices have only one.

        Args:
            index: Accepted for compatibility.
        """

    def get_pulse_counters(self) -> Tensor:
        """Return how many pulses every crosspoint got, int64 `[2, out, x_size]`.

        Index 0 has those down (`x d > 0`), index 1 those up. Coincidences are counted whether or
        not the weight could follow. Empty unless the device has `count_pulses`.
        """
        counts: Tensor | None = self._state[Names.COUNTS]
        return torch.empty(0, dtype=torch.int64) if counts is None else counts.clone()
