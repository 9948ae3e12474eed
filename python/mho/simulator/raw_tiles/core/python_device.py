"""Raw tile whose device may take its steps in Python."""

from typing import Any

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError, InputError
from mho.simulator.devices.custom import CustomPulsedDevice
from mho.simulator.parameters.enums import PulseType
from mho.simulator.raw_tiles.core import tile
from mho.simulator.raw_tiles.core.custom_planes import drawn
from mho.simulator.raw_tiles.core.native_core import Buffers
from mho.simulator.raw_tiles.core.python_pulses import PythonSteps
from mho.simulator.raw_tiles.rows import check_tensor
from mho.simulator.state.entries import Entry, check_entry
from mho.simulator.state.names import PERSISTENT
from mho.simulator.state.plan import LoadPlan
from mho.simulator.state.tensor_group import TensorGroup

DEVICE = "analog_tile_device"
"""Name of the child of a tile with the hidden parameters that a device in Python adds."""


class SteppedTile(tile.AnalogTile):
    """Raw tile with a device of the core, or one whose step is written in Python.

    All but the step of the latter is done by the core, with a device of equal steps.
    """

    device: CustomPulsedDevice | None = None
    """Device in Python, None if the core has the whole device."""

    _exact: bool = False
    _added: Buffers | None = None

    def follow(self, config: Any) -> None:
        """Follow a new configuration; hidden parameters are drawn unless present.

        Raises:
            ConfigError: The device draws something that cannot be hidden parameters.
        """
        super().follow(config)
        device = custom_device(config)
        if device is not None or self.device is not None:
            self._use(device, config.update.pulse_type)

    def _use(self, device: CustomPulsedDevice | None, pulses: PulseType) -> None:
        self.device = None if pulses is PulseType.NONE else device
        self._exact = pulses is PulseType.NONE_WITH_DEVICE
        names = () if self.device is None else self.device.plane_names
        if names == tuple(self._added or ()):
            return
        if self._added is not None:
            delattr(self._owner, DEVICE)
            self._added = None
        # While a state is loaded, the core may still have the exact device from before.
        if self.device is not None and names and self.spec.is_pulsed:
            for name, value in drawn(self.device, self.planes(), int(self._seed())).items():
                self.put(name, value)

    def put(self, name: str, value: Tensor) -> None:
        """Hold a hidden parameter beside those of the core.

        Args:
            name: Its name.
            value: Values, float32 `[out, x_size]`.
        """
        if self._added is None:
            child = TensorGroup()
            self._owner.add_module(DEVICE, child)
            self._added = child._buffers
        old: Tensor | None = self._added.get(name)
        if old is None:
            self._added[name] = value.clone()
        else:
            old.copy_(value)

    def entries(self, config: Any) -> list[str]:
        """Return the names of its entries; see the base class."""
        return [*super().entries(config), f"{DEVICE}.*"]

    def plan(
        self,
        entries: dict[str, Any],
        saved: Any,
        config: Any,
        saved_dw_min: float | None = None,
        foreign: bool = False,
        only_present: bool = False,
    ) -> LoadPlan:
        """Check its entries of a state, those of a device in Python included."""
        result = super().plan(entries, saved, config, saved_dw_min, foreign, only_present)
        device = custom_device(config)
        if device is None or config.update.pulse_type is PulseType.NONE:
            return result
        entry = Entry(((self.spec.d_size, self.spec.x_size),))
        for name in device.plane_names:
            key = f"{DEVICE}.{name}"
            if key not in entries:
                if not only_present:
                    result.missing.append(key)
                continue
            value = check_entry(key, entries.pop(key), entry).to(torch.float32)
            result.steps.append(lambda name=name, value=value: self.put(name, value))  # type: ignore[misc]
        return result

    def planes(self) -> dict[str, Tensor]:
        """Return copies of all hidden parameters but the persistent weights."""
        names = [name for name in self.spec.hidden_names if name != PERSISTENT]
        added = {name: value.clone() for name, value in (self._added or {}).items()}
        return {name: self._plane(name) for name in names} | added

    def _update(self, x: Tensor, d: Tensor, bias_input: float | None) -> None:
        if self.device is None or self._exact:
            super()._update(x, d, bias_input)
            return
        with self.numbered() as call:
            steps = PythonSteps(self, self.device, call)
            counts = torch.zeros(self.spec.d_size, self.spec.x_size, dtype=torch.int64)
            for at in range(x.shape[0]):
                _core.pulse_counts(
                    self.spec, x, d, self.learning_rate, self._seed(), call, at, counts, bias_input
                )
                steps.sample(counts)
            steps.store()

    def get_hidden_parameter_names(self) -> list[str]:
        """Return the names of all hidden parameters, those of a device in Python last."""
        return [*super().get_hidden_parameter_names(), *(self._added or ())]

    def get_hidden_parameters(self) -> Tensor:
        """Return all hidden parameters, shape `[n, out, x_size]`, or empty."""
        planes = super().get_hidden_parameters()
        if not self._added:
            return planes
        return torch.cat([planes, torch.stack(list(self._added.values()))])

    def set_hidden_parameters(self, params: Tensor) -> None:
        """Write all hidden parameters; as for devices of the core.

        Args:
            params: Shape `[n, out, x_size]` in the order of `get_hidden_parameter_names`.

        Raises:
            ArgumentError: A value is not finite, or bounds are crossed; nothing is changed.
            InputError: Wrong shape; nothing is changed.
        """
        if not self._added:
            super().set_hidden_parameters(params)
            return
        check_tensor(params, "params")
        names = self.get_hidden_parameter_names()
        shape = (len(names), self.spec.d_size, self.spec.x_size)
        if tuple(params.shape) != shape:
            raise InputError(f"params: expected shape {shape}, got {tuple(params.shape)}")
        first = len(names) - len(self._added)
        own = params[first:].detach()
        if not bool(torch.isfinite(own).all()):
            raise ArgumentError("params: values must be finite")
        super().set_hidden_parameters(params[:first])
        for value, new in zip(self._added.values(), own, strict=True):
            value.copy_(new)

    def get_brief_info(self) -> str:
        """Return kind, device and size in one line."""
        info = super().get_brief_info()
        if self.device is None:
            return info
        return info.replace(self.spec.device, type(self.device).__name__, 1)


def custom_device(config: Any) -> CustomPulsedDevice | None:
    """Return the device of a configuration if it takes its steps in Python.

    Args:
        config: Configuration of a tile.
    """
    device = getattr(config, "device", None)
    return device if isinstance(device, CustomPulsedDevice) else None
