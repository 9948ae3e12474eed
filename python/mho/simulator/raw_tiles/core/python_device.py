"""Devices whose step is written in Python: their hidden parameters, and updates with them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ConfigError
from mho.simulator.devices.custom import CustomPulsedDevice
from mho.simulator.parameters.enums import PulseType, UpdateMode
from mho.simulator.parameters.finite import all_finite
from mho.simulator.raw_tiles.core.parsed import ParsedConfig
from mho.simulator.raw_tiles.core.python_flow import PythonFlow
from mho.simulator.raw_tiles.core.python_pulses import PythonSteps
from mho.simulator.raw_tiles.core.tensors import DEVICE, CoreTensors
from mho.simulator.state.entries import Entry, check_entry
from mho.simulator.state.names import PERSISTENT
from mho.simulator.state.ordinary import on_host
from mho.simulator.state.plan import LoadPlan
from mho.simulator.state.tensor_group import as_tensor

_TRIAL = (2, 3)


class PythonDevice:
    """What a raw tile of the core does in Python if its device is one of a user.

    All but the step is done by the core, with a device of equal steps. Other devices leave nothing
    to be done here.
    """

    device: CustomPulsedDevice | None = None
    """Device in Python, None if the core has the whole device."""

    takes_steps: bool = False
    """Whether updates are pulses of that device; otherwise the core makes them."""

    def __init__(self, tensors: CoreTensors, parsed: ParsedConfig) -> None:
        """Work on the state of a raw tile.

        Args:
            tensors: Its tensors.
            parsed: Its configuration.
        """
        self._tensors, self._parsed = tensors, parsed
        self._mode = UpdateMode.FLOW

    def follow(self, config: Any) -> None:
        """Follow a new configuration; hidden parameters are drawn unless present.

        Args:
            config: Configuration of the tile.

        Raises:
            ConfigError: The device draws something that cannot be hidden parameters.
        """
        self.device = _acting_device(config)
        self._mode = UpdateMode.FLOW if self.device is None else config.update.update_mode
        self.takes_steps = (
            self.device is not None and config.update.pulse_type is not PulseType.NONE_WITH_DEVICE
        )
        names = () if self.device is None else tuple(self.device.plane_names)
        if names == tuple(self._tensors.added):
            return
        self._tensors.drop_added()
        # While a state is loaded, the core may still have the exact device from before.
        if self.device is not None and names and self._parsed.spec.is_pulsed:
            seed = int(self._tensors.seed)
            for name, value in _drawn(self.device, self._planes(), seed).items():
                self._tensors.add_plane(name, value)

    def plan(
        self, entries: dict[str, Any], config: Any, only_present: bool, result: LoadPlan
    ) -> None:
        """Check the hidden parameters of the device in a state and take them out of it.

        Args:
            entries: Entries of the tile without prefix; those of the device are removed.
            config: Configuration that the tile is to have.
            only_present: Whether they may be absent: they are drawn then.
            result: Plan of the tile, continued.

        Raises:
            InputError: An entry has the wrong shape or dtype.
            TileError: A value is not finite.
        """
        device = _acting_device(config)
        if device is None:
            return
        spec = self._parsed.spec
        entry = Entry(((spec.d_size, spec.x_size),))
        for name in device.plane_names:
            key = f"{DEVICE}.{name}"
            if key not in entries:
                if not only_present:
                    result.missing.append(key)
                continue
            value = check_entry(key, entries.pop(key), entry).to(torch.float32)
            result.steps.append(
                lambda name=name, value=value: self._tensors.add_plane(name, value)  # type: ignore[misc]
            )

    def update(self, x: Tensor, d: Tensor, learning_rate: float, bias_input: float | None) -> None:
        """Update the weights by pulses, whose number the core draws; on any error nothing changes.

        Steps that are infinitely fine take no pulses.

        Args:
            x: Inputs, shape `[batch, in]`.
            d: Gradients of the outputs, shape `[batch, out]`.
            learning_rate: Raw learning rate.
            bias_input: Input of the analog bias column, None without one.

        Raises:
            ArgumentError: A value is not finite.
            TileError: The device returns something that cannot be a weight.
        """
        assert self.device is not None
        tensors, parsed = self._tensors, self._parsed
        counts = torch.zeros(
            parsed.spec.d_size, parsed.spec.x_size, dtype=torch.int64, device="cpu"
        )
        with tensors.undone_on_error(), on_host():
            call = tensors.next_call()
            if self.device.flows():
                flow = PythonFlow(tensors, self._planes(), self.device, self._mode, call)
                flow.batch(x, d, learning_rate, bias_input)
                flow.store()
                return
            steps = PythonSteps(tensors, self._planes(), self.device, parsed.dw_min, call)
            for at in range(x.shape[0]):
                _core.pulse_counts(
                    parsed.spec, x, d, learning_rate, tensors.seed, call, at, counts, bias_input
                )
                steps.sample(counts)
            steps.store()

    def _planes(self) -> dict[str, Tensor]:
        """Return copies of all hidden parameters but the persistent weights."""
        tensors, spec = self._tensors, self._parsed.spec
        names = [name for name in spec.hidden_names if name != PERSISTENT]
        added = {name: value.clone() for name, value in tensors.added.items()}
        return {name: tensors.plane(name, spec) for name in names} | added


def custom_device(config: Any) -> CustomPulsedDevice | None:
    """Return the device of a configuration if it takes its steps in Python.

    Args:
        config: Configuration of a tile.
    """
    device = getattr(config, "device", None)
    return device if isinstance(device, CustomPulsedDevice) else None


def check_python_device(config: Any) -> None:
    """Let a device in Python draw once for a tiny tile, so that a mistake shows before any change.

    Args:
        config: Configuration of a tile; one without such a device is accepted.

    Raises:
        ConfigError: The configuration is invalid, or names, shapes or values that the device draws
            do not fit; the message names the device.
    """
    device = custom_device(config)
    if device is None:
        return
    spec = _core.TileSpec(config.core_json(), *_TRIAL)
    if not spec.hidden_names or not device.plane_names:
        return
    planes = {
        name: torch.full(_TRIAL, value, device="cpu")
        if isinstance(value, float)
        else as_tensor(value, _TRIAL)
        for name, value in spec.construct(1).items()
    }
    _drawn(device, planes, 1)


def _acting_device(config: Any) -> CustomPulsedDevice | None:
    """Return the device in Python unless updates are exact, which leaves no device at all."""
    device = custom_device(config)
    return None if device is None or config.update.pulse_type is PulseType.NONE else device


def _drawn(device: CustomPulsedDevice, planes: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return what a device draws, checked; `construction_seed` takes the place of the seed."""
    generator = torch.Generator("cpu").manual_seed(device.construction_seed or seed)
    shape = tuple(next(iter(planes.values())).shape)
    with torch.no_grad(), on_host():
        values = device.draw_planes({k: v.clone() for k, v in planes.items()}, generator)
    where = f"device: {type(device).__name__}.draw_planes"
    names = _names(device, planes)
    if not isinstance(values, Mapping) or set(values) != set(names):
        given = sorted(values) if isinstance(values, Mapping) else type(values).__name__
        raise ConfigError(f"{where} must return the planes {sorted(names)}, got {given}")
    return {name: _checked(values[name], shape, f"{where}: {name}") for name in names}


def _names(device: CustomPulsedDevice, planes: dict[str, Tensor]) -> tuple[str, ...]:
    names = tuple(device.plane_names)
    taken = set(planes) | {PERSISTENT}
    if len(set(names)) < len(names) or not all(n.isidentifier() and n not in taken for n in names):
        raise ConfigError(
            f"device: {type(device).__name__}.plane_names: expected new and different identifiers,"
            f" got {names}; taken are {sorted(taken)}"
        )
    return names


def _checked(value: object, shape: tuple[int, ...], where: str) -> Tensor:
    if not isinstance(value, Tensor) or value.dtype is not torch.float32:
        raise ConfigError(f"{where} must be a float32 tensor")
    if tuple(value.shape) != shape:
        raise ConfigError(f"{where} must have shape {shape}, got {tuple(value.shape)}")
    if not all_finite(value):
        raise ConfigError(f"{where} must be finite, has NaN or infinity")
    return value.detach().clone().contiguous()
