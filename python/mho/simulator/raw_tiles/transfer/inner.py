"""One of the two arrays of a transfer tile: a raw tile of the core, and the module of its state."""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ConfigError, StateError
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters import wire
from mho.simulator.parameters.enums import BoundManagementType, NoiseManagementType
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.raw_tiles.core.tile import AnalogTile as CoreTile
from mho.simulator.state.header import Steps
from mho.simulator.state.ordinary import ordinary_tensors
from mho.simulator.state.plan import LoadPlan
from mho.simulator.state.tensor_group import TensorGroup

_STEP = "dw_min"

# Seeds of the second array are far from those that users count up from one.
_APART = 0x1E3779B97F4A7C15


class InnerConfig:
    """Configuration of one array, made of that of the tile."""

    def __init__(
        self,
        device: CrosspointDevice,
        forward: IOParameters,
        backward: IOParameters,
        update: UpdateParameters,
        paths: dict[str, str],
    ) -> None:
        """Put it together.

        Args:
            device: Device at each crosspoint.
            forward: Non-idealities of the product.
            backward: Non-idealities of the transposed product.
            update: How updates become pulses.
            paths: Names of these four in the configuration of the tile, for messages.
        """
        self.device, self.forward, self.backward, self.update = device, forward, backward, update
        self._paths = paths

    def core_json(self) -> str:
        """Return the JSON text for the core.

        Raises:
            ConfigError: A value is invalid; the message names the field.
        """
        paths = self._paths
        return wire.dumps({name: getattr(self, name).to_wire(path) for name, path in paths.items()})

    @contextmanager
    def named_as_in_tile(self) -> Iterator[None]:
        """Let errors name the fields as they are called in the configuration of the tile."""
        try:
            yield
        except ConfigError as error:
            name = re.match(r"\w*", str(error))
            assert name is not None
            path = self._paths.get(name[0], name[0])
            raise type(error)(path + str(error)[name.end() :]) from error


def inner_configs(config: Any) -> tuple[InnerConfig, InnerConfig]:
    """Return the configurations of the fast and of the slow array.

    Args:
        config: Configuration of the tile, checked, whose device is a transfer compound.
    """
    cell, at = config.device, "device.unit_cell_devices"
    fast, slow = (_seeded(cell.unit_cell_devices[k], cell.construction_seed, k) for k in (0, 1))
    read = copy.copy(cell.transfer_forward)
    # Scales that follow the signal would make every line count the same.
    read.noise_management = NoiseManagementType.NONE
    read.bound_management = BoundManagementType.NONE
    reads = dict.fromkeys(("forward", "backward"), "device.transfer_forward")
    return (
        InnerConfig(
            fast, read, read, config.update, {"device": f"{at}[0]", "update": "update"} | reads
        ),
        InnerConfig(
            slow,
            config.forward,
            config.backward,
            cell.transfer_update,
            {
                "device": f"{at}[1]",
                "forward": "forward",
                "backward": "backward",
                "update": "device.transfer_update",
            },
        ),
    )


def _seeded(device: CrosspointDevice, seed: int, number: int) -> CrosspointDevice:
    """Return a device that is drawn from the seed of its cell, whatever its own one is."""
    seeded: Any = copy.copy(device)
    seeded.construction_seed = 0 if seed == 0 else (seed + number * _APART) % 2**63 or 1
    return seeded  # type: ignore[no-any-return]


class InnerTile(TensorGroup):
    """Holds the state of a raw tile of the core, which stands alone: without a periphery."""

    tile: CoreTile
    """Raw tile."""

    @ordinary_tensors()
    def __init__(self, config: InnerConfig, d_size: int, x_size: int) -> None:
        """Draw a fresh array; draws one seed from torch's generator.

        Args:
            config: Configuration.
            d_size: Number of rows.
            x_size: Number of columns.

        Raises:
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        super().__init__()
        seed = torch.randint(0, 2**63 - 1, (1,), dtype=torch.int64, device="cpu")
        with config.named_as_in_tile():
            self.tile = CoreTile(self, config.core_json(), d_size, x_size, False, seed)
        self.register_buffer(_STEP, None)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, whose raw tile finds its tensors here."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.tile.connect(self)

    @property
    def weights(self) -> Tensor:
        """Live weights, shape `[out, in]`."""
        return self.tile.live_weights()

    def granularity(self) -> float:
        """Return the mean step of the devices."""
        return float(self.tile.spec.weight_granularity)

    def update(self, x: Tensor, d: Tensor, rate: float) -> None:
        """Do a pulsed update.

        Args:
            x: Inputs, shape `[batch, in]`.
            d: Errors, shape `[batch, out]`.
            rate: Learning rate.
        """
        if rate != 0.0:
            self.tile.kernels.update(x.contiguous(), d.contiguous(), rate, None)

    @ordinary_tensors()
    def note_step(self) -> None:
        """Hold the mean step of the devices, unless it is that of the configuration."""
        own = self.tile.dw_min
        steps = own if isinstance(own, list) else [own]
        value = None if own is None else torch.tensor(steps, dtype=torch.float64, device="cpu")
        self._buffers[_STEP] = value

    def check(self, config: InnerConfig) -> None:
        """Refuse what the core cannot simulate.

        Args:
            config: Configuration that the array is to have.

        Raises:
            ConfigError: It cannot; the message names the field.
        """
        with config.named_as_in_tile():
            self.tile.check(config)

    def plan(
        self, entries: dict[str, Any], saved: InnerConfig, config: InnerConfig, replaces: bool
    ) -> LoadPlan:
        """Check the entries of the array in a state.

        Args:
            entries: Its entries, without prefix.
            saved: Configuration that they were written with.
            config: Configuration that the array is to have.
            replaces: Whether the state is that of the array itself, which gets another
                configuration.

        Raises:
            ConfigError: A configuration is invalid.
            InputError: An entry has the wrong shape or dtype.
            StateError: The entries are those of another device.
        """
        step = _step(entries.pop(_STEP, None))
        with config.named_as_in_tile():
            plan = self.tile.plan(entries, saved, config, step, only_present=replaces)
        plan.unexpected += entries
        plan.steps.append(self.note_step)
        return plan


def _step(value: object) -> Steps | None:
    if value is None:
        return None
    if not isinstance(value, Tensor) or value.dtype is not torch.float64 or value.dim() != 1:
        raise StateError(f"{_STEP}: expected float64 values")
    if not all_finite(value) or bool((value <= 0.0).any()):
        raise StateError(f"{_STEP}: must be finite and positive")
    steps: list[float] = value.tolist()
    return steps[0] if len(steps) == 1 else steps
