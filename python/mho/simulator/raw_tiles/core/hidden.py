"""Devices at the crosspoints of a raw tile of the core."""

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError, InputError
from mho.simulator.parameters.arguments import check_index
from mho.simulator.parameters.finite import all_finite
from mho.simulator.raw_tiles.core.kernels import Kernels
from mho.simulator.raw_tiles.core.parsed import ParsedConfig
from mho.simulator.raw_tiles.core.tensors import Buffers, CoreTensors
from mho.simulator.raw_tiles.rows import check_tensor

# Entry of a cell with the device that updates reach.
_CHOSEN = "current_device_idx"


class HiddenParameters:
    """Parameters of each device: those of the core, then those that a device in Python adds."""

    def __init__(self, tensors: CoreTensors, parsed: ParsedConfig, kernels: Kernels) -> None:
        """Work on the state of a raw tile.

        Args:
            tensors: Its tensors.
            parsed: Its configuration.
            kernels: Its kernels.
        """
        self._tensors, self._parsed, self._kernels = tensors, parsed, kernels

    def names(self) -> list[str]:
        """Return the names in their fixed order."""
        return [*self._parsed.spec.hidden_names, *self._tensors.added]

    def get(self) -> Tensor:
        """Return copies of all of them, shape `[n, out, x_size]`, or empty."""
        tensors, spec = self._tensors, self._parsed.spec
        planes = [tensors.plane(name, spec) for name in spec.hidden_names]
        planes += tensors.added.values()
        return torch.stack(planes) if planes else torch.empty(0, device="cpu")

    def set(self, params: Tensor) -> None:
        """Write all of them and bring the weights into the new bounds.

        Persistent weights stay as given, within the bounds, and the visible ones with their noise
        as they are. If the mean step contradicts `dw_min` of the configuration, the tile uses a
        `dw_min` of its own from then on.

        Args:
            params: Shape `[n, out, x_size]` in the order of `names`.

        Raises:
            ArgumentError: A value is not finite, or bounds are crossed; nothing is changed.
            InputError: Wrong shape; nothing is changed.
        """
        names, spec = self.names(), self._parsed.spec
        check_tensor(params, "params")
        if not names and params.numel() == 0:
            return
        shape = (len(names), spec.d_size, spec.x_size)
        if tuple(params.shape) != shape:
            raise InputError(f"params: expected shape {shape}, got {tuple(params.shape)}")
        values = params.detach().to("cpu", torch.float32).contiguous()
        count = len(spec.hidden_names)
        added = values[count:]
        if not all_finite(added):
            raise ArgumentError("params: values must be finite")
        self._write({name: values[i] for i, name in enumerate(names[:count])})
        for old, new in zip(self._tensors.added.values(), added, strict=True):
            old.copy_(new)

    def get_hidden_update_index(self) -> int:
        """Return the index of the device that is updated; 0 if there is nothing to choose."""
        return 0 if self._parsed.spec.choices is None else int(self._tensors.cell[_CHOSEN])

    def set_hidden_update_index(self, index: int) -> None:
        """Choose the device of a cell that is updated and, if only one is, written to.

        Args:
            index: Index; ignored where there is nothing to choose.

        Raises:
            ArgumentError: The cell has no such device.
        """
        count = self._parsed.spec.choices
        if count is None:
            return
        if not 0 <= check_index("index", index) < count:
            raise ArgumentError(f"index: expected 0 to {count - 1}, got {index}")
        self._tensors.cell[_CHOSEN].fill_(index)

    @torch.no_grad()
    def _write(self, planes: Buffers) -> None:
        tensors, parsed = self._tensors, self._parsed
        visible = parsed.spec.visible_name
        _core.check_hidden(parsed.spec, {k: v for k, v in planes.items() if k != visible})
        spec, dw_min = parsed.estimated(parsed.text, parsed.spec, planes)
        parsed.adopt(parsed.text, spec, dw_min)
        with self._kernels.on_host():
            tensors.store_planes(planes, spec)
            _core.enter_bounds(spec, tensors.weights, tensors.devices)
            tensors.count_write()
