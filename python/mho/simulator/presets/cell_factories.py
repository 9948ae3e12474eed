"""Building blocks of the training presets: cells of several devices, and their decorator."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

from mho.simulator.devices.cells.chopped_transfer import ChoppedTransferCompound
from mho.simulator.devices.cells.dynamic_transfer import DynamicTransferCompound
from mho.simulator.devices.cells.mixed_precision import MixedPrecisionCompound
from mho.simulator.devices.cells.transfer import TransferCompound
from mho.simulator.devices.cells.vector import VectorUnitCell
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.enums import (
    BoundManagementType,
    NoiseManagementType,
    VectorUnitCellUpdatePolicy,
)
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.presets.utils import PresetIOParameters, PresetUpdateParameters
from mho.simulator.tiles.io_managed import IOManagedRPUConfig

DeviceFactory: TypeAlias = Callable[[], CrosspointDevice]
ConfigT = TypeVar("ConfigT", bound=type[IOManagedRPUConfig])


def training_preset(device: DeviceFactory, desired_bl: int = 31) -> Callable[[ConfigT], ConfigT]:
    """Make a configuration class a registered preset (class decorator).

    The class keeps its fields; `device` gets a new default, `forward` and `backward` that of
    `PresetIOParameters`, and `update` that of `PresetUpdateParameters`.

    Args:
        device: Makes the device of each new configuration.
        desired_bl: Length of the pulse trains.
    """
    # What is declared here is what a class body would declare as `name: type = field(...)`.
    declared: dict[str, tuple[type, Callable[[], Any]]] = {
        "forward": (IOParameters, PresetIOParameters),
        "backward": (IOParameters, PresetIOParameters),
        "update": (UpdateParameters, partial(PresetUpdateParameters, desired_bl=desired_bl)),
        "device": (CrosspointDevice, device),
    }

    def decorate(cls: ConfigT) -> ConfigT:
        cls.__annotations__ = {name: hint for name, (hint, _) in declared.items()}
        for name, (_, factory) in declared.items():
            setattr(cls, name, field(default_factory=factory))
        dataclass(cls)
        return register_config_class(cls)

    return decorate


def vector(device: DeviceFactory, n_devices: int) -> DeviceFactory:
    """Return a factory of cells in which each update reaches one device at random.

    Args:
        device: Makes each device.
        n_devices: Number of devices.
    """
    return lambda: VectorUnitCell(
        unit_cell_devices=[device() for _ in range(n_devices)],
        update_policy=VectorUnitCellUpdatePolicy.SINGLE_RANDOM,
    )


def tiki_taka(device: DeviceFactory) -> DeviceFactory:
    """Return a factory of cells for Tiki-Taka (Gokmen and Haensch, Front. Neurosci. 14:103, 2020).

    Args:
        device: Makes the fast and the slow device.
    """
    return lambda: TransferCompound(
        unit_cell_devices=[device(), device()],
        transfer_forward=_unmanaged_io(),
        transfer_update=PresetUpdateParameters(),
    )


def ttv2(
    device: DeviceFactory, *, fast_lr: float, auto_granularity: float, in_chop_prob: float = 0.0
) -> DeviceFactory:
    """Return a factory of cells for Tiki-Taka with a digital buffer, chopped or not.

    Without choppers this is version 2 (Gokmen, Front. Artif. Intell. 4:699148, 2021), with them
    chopped version 2 (Rasch et al., Nat. Commun. 15, 2024).

    Args:
        device: Makes the fast and the slow device.
        fast_lr: Learning rate of the fast device.
        auto_granularity: Updates that fill the buffer up to one pulse.
        in_chop_prob: Probability of a flip of the sign of an input.
    """
    return lambda: ChoppedTransferCompound(
        **_buffered(device),
        fast_lr=fast_lr,
        auto_granularity=auto_granularity,
        in_chop_prob=in_chop_prob,
    )


def agad(
    device: DeviceFactory,
    *,
    fast_lr: float,
    auto_granularity: float,
    in_chop_prob: float,
    tail_weightening: float,
) -> DeviceFactory:
    """Return a factory of cells for AGAD (Rasch et al., Nat. Commun. 15, 2024).

    Args:
        device: Makes the fast and the slow device.
        fast_lr: Learning rate of the fast device.
        auto_granularity: Updates that fill the buffer up to one pulse.
        in_chop_prob: Frequency of the flips of the sign of an input.
        tail_weightening: How much the mean readout favours the end of a chopper period.
    """
    return lambda: DynamicTransferCompound(
        **_buffered(device),
        fast_lr=fast_lr,
        auto_granularity=auto_granularity,
        in_chop_prob=in_chop_prob,
        tail_weightening=tail_weightening,
    )


def mixed_precision(device: DeviceFactory) -> DeviceFactory:
    """Return a factory of cells with a digital accumulator.

    See Nandakumar et al., Front. Neurosci. 14:406, 2020.

    Args:
        device: Makes the device that holds the weight.
    """
    return lambda: MixedPrecisionCompound(device=device())


def _buffered(device: DeviceFactory) -> dict[str, Any]:
    return {
        "unit_cell_devices": [device(), device()],
        "transfer_forward": _unmanaged_io(),
        "transfer_update": PresetUpdateParameters(
            desired_bl=1, update_bl_management=False, update_management=False
        ),
        "auto_scale": True,
    }


def _unmanaged_io() -> PresetIOParameters:
    # Transfers ignore both kinds of management; switching them off here says so.
    return PresetIOParameters(
        bound_management=BoundManagementType.NONE, noise_management=NoiseManagementType.NONE
    )
