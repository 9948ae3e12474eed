"""Configuration for a named training algorithm."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from mho.exceptions import ArgumentError
from mho.simulator.devices import rules
from mho.simulator.devices.cells.chopped_transfer import ChoppedTransferCompound
from mho.simulator.devices.cells.custom import CustomCompound
from mho.simulator.devices.cells.dynamic_transfer import DynamicTransferCompound
from mho.simulator.devices.cells.mixed_precision import MixedPrecisionCompound
from mho.simulator.devices.cells.transfer import TransferCompound
from mho.simulator.devices.cells.vector import VectorUnitCell
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.devices.rules.residual import weights_of_devices
from mho.simulator.parameters.arguments import check_size
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.enums import (
    BoundManagementType,
    NoiseManagementType,
    VectorUnitCellUpdatePolicy,
)
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.signatures import checked
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.parameters.tuning import TuningParameter
from mho.simulator.tiles.analog import (
    DigitalRankUpdateRPUConfig,
    SingleRPUConfig,
    UnitCellRPUConfig,
)

TrainingConfig = SingleRPUConfig | UnitCellRPUConfig | DigitalRankUpdateRPUConfig
FAST = 3.0
"""Rate of `tune="fast"`: what float networks like as well that train at a tenth."""

Factory = Callable[..., Any]

_RANK = 4
_UNTUNED = ("erider", "low-rank")
"""Rules whose settings nothing derives."""
_RULES = ("residual", *_UNTUNED)
T = TypeVar("T")

_ALIASES = {
    "sgd": "sgd",
    "tiki-taka": "ttv1",
    "tt": "ttv1",
    "ttv1": "ttv1",
    "ttv2": "ttv2",
    "chopped-ttv2": "ttv3",
    "ttv3": "ttv3",
    "c-ttv2": "ttv3",
    "agad": "ttv4",
    "ttv4": "ttv4",
    "mp": "mp",
    "mixed-precision": "mp",
    "residual": "residual",
    "erider": "erider",
    "e-rider": "erider",
    "low-rank": "low-rank",
}


@checked
def build_config(
    algorithm: str,
    device: type[CrosspointDevice] | CrosspointDevice | Factory,
    io_parameters: type[IOParameters] | IOParameters | Factory = IOParameters,
    up_parameters: type[UpdateParameters] | UpdateParameters | Factory = UpdateParameters,
    n_devices: int = 1,
    construction_seed: int = 0,
    tune: bool | str | TuningParameter = False,
    **kwargs: Any,
) -> TrainingConfig:
    """Return the configuration of a training algorithm with a given device.

    Args:
        algorithm: `sgd`; `tiki-taka`, `tt` or `ttv1`; `ttv2`; `chopped-ttv2`, `ttv3` or `c-ttv2`;
            `agad` or `ttv4`; `mp` or `mixed-precision`; as rules in Python (`CustomCompound`)
            `residual`, `erider` and `low-rank`. Case does not matter.
        device: Device, its class or a function that makes it; an instance is copied for each use.
        io_parameters: Parameters of all products, in the same forms.
        up_parameters: Parameters of all updates, in the same forms.
        n_devices: Devices per crosspoint of `sgd` and `residual`, which needs two or more; the
            other algorithms have a number of their own.
        construction_seed: Seed of the spreads between devices, set on the outermost device.
        tune: Whether every tile is to derive the settings of the algorithm from its device and its
            size, with which it learns on every preset device; `"fast"` lets the weight follow three
            times the learning rate. There are rules for `tt`, `ttv2`, `c-ttv2`, `agad`, `mp`
            and `residual`. See [`learnable`][mho.utils.tuning.learnable].
        kwargs: Further fields of the configuration, such as `mapping`.

    Raises:
        ArgumentError: The algorithm is unknown, a factory does not return what it should, the
            algorithm has another number of devices, or there is nothing to tune.
    """
    name = _ALIASES.get(algorithm.lower()) if isinstance(algorithm, str) else None
    if name is None:
        raise ArgumentError(f"algorithm: expected one of {', '.join(_ALIASES)}, got {algorithm!r}")
    if check_size("n_devices", n_devices) > 1 and name not in ("sgd", "residual"):
        raise ArgumentError(
            f"n_devices: {algorithm} has a number of devices of its own, got {n_devices}; leave it"
            " out, or use 'sgd' or 'residual'"
        )
    parts = _Parts(device, io_parameters, up_parameters)
    shared = {"forward": parts.io(), "backward": parts.io(), **_tuning(tune, name), **kwargs}
    if name == "sgd":
        return _sgd(parts, n_devices, construction_seed, shared)
    if name == "mp":
        cell = MixedPrecisionCompound(device=parts.device(), construction_seed=construction_seed)
        return DigitalRankUpdateRPUConfig(device=cell, update=parts.up(), **shared)
    if name in _RULES:
        rule = _by_rule(name, parts, n_devices)
        rule.construction_seed = construction_seed
        update = parts.up(desired_bl=5) if name == "erider" else parts.up()
        return UnitCellRPUConfig(device=rule, update=update, **shared)
    make = {"ttv1": _tiki_taka, "ttv2": _ttv2, "ttv3": _chopped_ttv2, "ttv4": _agad}[name]
    compound = make(parts)
    compound.construction_seed = construction_seed
    update = parts.up() if name == "ttv1" else parts.up(desired_bl=5)
    return UnitCellRPUConfig(device=compound, update=update, **shared)


def _tuning(tune: bool | str | TuningParameter, name: str) -> dict[str, TuningParameter]:
    """Return the field of a configuration by which its tiles derive their settings."""
    if tune is False:
        return {}
    if name == "sgd":
        raise ArgumentError("tune: sgd has no settings that could be derived; leave it False")
    if name in _UNTUNED:
        raise ArgumentError(
            f"tune: {name} is a rule in Python, for which no settings can be derived; leave it"
            " False, and change config.device.params"
        )
    if tune is True:
        return {"tuning": TuningParameter()}
    if tune == "fast":
        return {"tuning": TuningParameter(v=FAST)}
    if isinstance(tune, TuningParameter):
        return {"tuning": copy.deepcopy(tune)}
    raise ArgumentError(
        f"tune: expected True, False, 'fast' or TuningParameter, got {describe(tune)}"
    )


class _Parts:
    """Makes fresh devices and parameters from classes, functions or instances."""

    def __init__(self, device: Any, io_parameters: Any, up_parameters: Any) -> None:
        self._device = device
        self._io = io_parameters
        self._up = up_parameters

    def device(self, **overrides: Any) -> CrosspointDevice:
        return _make(self._device, CrosspointDevice, "device", overrides)

    def pair(self) -> list[CrosspointDevice]:
        return [self.device(), self.device()]

    def io(self, **overrides: Any) -> IOParameters:
        return _make(self._io, IOParameters, "io_parameters", overrides)

    def transfer_io(self) -> IOParameters:
        return self.io(
            noise_management=NoiseManagementType.NONE, bound_management=BoundManagementType.NONE
        )

    def up(self, **overrides: Any) -> UpdateParameters:
        return _make(self._up, UpdateParameters, "up_parameters", overrides)

    def single_pulse_up(self) -> UpdateParameters:
        return self.up(desired_bl=1, update_bl_management=False, update_management=False)


def _make(source: Any, wanted: type[T], name: str, overrides: dict[str, Any]) -> T:
    made = source() if callable(source) else copy.deepcopy(source)
    if not isinstance(made, wanted):
        raise ArgumentError(
            f"{name}: expected {wanted.__name__}, its class or a function that makes it,"
            f" got {describe(made)}"
        )
    for key, value in overrides.items():
        setattr(made, key, value)
    return made


def _sgd(
    parts: _Parts, n_devices: int, construction_seed: int, shared: dict[str, Any]
) -> TrainingConfig:
    if n_devices == 1:
        device = parts.device(construction_seed=construction_seed)
        return SingleRPUConfig(device=device, update=parts.up(), **shared)
    cell = VectorUnitCell(
        unit_cell_devices=[parts.device() for _ in range(n_devices)],
        construction_seed=construction_seed,
        update_policy=VectorUnitCellUpdatePolicy.SINGLE_RANDOM,
    )
    return UnitCellRPUConfig(device=cell, update=parts.up(), **shared)


def _tiki_taka(parts: _Parts) -> TransferCompound:
    return TransferCompound(
        unit_cell_devices=parts.pair(),
        transfer_forward=parts.transfer_io(),
        transfer_update=parts.up(),
        units_in_mbatch=True,
    )


def _ttv2(parts: _Parts) -> TransferCompound:
    return ChoppedTransferCompound(
        unit_cell_devices=parts.pair(),
        transfer_forward=parts.transfer_io(),
        transfer_update=parts.single_pulse_up(),
        in_chop_prob=0.0,
        units_in_mbatch=False,
        auto_scale=False,
    )


def _chopped_ttv2(parts: _Parts) -> TransferCompound:
    return ChoppedTransferCompound(
        unit_cell_devices=parts.pair(),
        transfer_forward=parts.transfer_io(),
        transfer_update=parts.single_pulse_up(),
        units_in_mbatch=False,
        fast_lr=0.1,
        auto_scale=True,
    )


def _agad(parts: _Parts) -> TransferCompound:
    return DynamicTransferCompound(
        unit_cell_devices=parts.pair(),
        # Transfers ignore noise and bound management; switching both off here says so.
        transfer_forward=parts.transfer_io(),
        transfer_update=parts.up(desired_bl=1, update_bl_management=True, update_management=True),
        units_in_mbatch=False,
        fast_lr=0.1,
        auto_scale=True,
    )


def _by_rule(name: str, parts: _Parts, n_devices: int) -> CustomCompound:
    if name == "residual":
        cell = _residual(parts, n_devices)
    elif name == "erider":
        cell = CustomCompound(
            unit_cell_devices=parts.pair(),
            rule=rules.erider,
            weight=rules.erider_weight,
            # arXiv:2602.21321, with the rates for small steps, which are below 0.05 there.
            params={"fast_lr": 0.1, "eta": 0.02, "beta": 0.02, "chop": 0.05, "gamma": 0.1},
        )
    else:
        cell = CustomCompound(
            unit_cell_devices=[*parts.pair(), parts.device()],
            rule=rules.low_rank,
            weight=rules.low_rank_weight,
            every=0,
            shapes={0: ("D", _RANK), 1: (_RANK, "X")},
            # Long periods win: the factors start anew after each.
            params={"rank": _RANK, "period": 500, "alpha": 1.0, "gain": 1.0},
        )
    cell.transfer_forward, cell.transfer_update = parts.transfer_io(), parts.up()
    return cell


def _residual(parts: _Parts, number: int) -> CustomCompound:
    if number < 2:
        raise ArgumentError(f"n_devices: residual learning needs 2 or more, got {number}")
    devices = [parts.device() for _ in range(number)]
    first = devices[0]
    if not isinstance(first, PulsedDevice):
        raise ArgumentError(f"device: expected a pulsed device, got {describe(first)}")
    return CustomCompound(
        unit_cell_devices=[*devices],
        rule=rules.residual,
        every=0,
        gamma_vec=weights_of_devices(first.calc_num_states(), number),
        params={"period": 5, "base": 5, "rate": 0.1, "growth": 1.2, "warm_start": True},
    )
