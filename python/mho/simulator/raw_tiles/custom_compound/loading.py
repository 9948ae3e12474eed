"""Loading of the state of a compound: the tile, each device, and its rule."""

from typing import Any, Protocol

import torch
from torch import Tensor

from mho.exceptions import AihwkitException, ConfigError, InputError, StateError
from mho.simulator.devices.cells.custom import CustomCompound, compound_of
from mho.simulator.raw_tiles.core.tile import AnalogTile as CoreTile
from mho.simulator.raw_tiles.custom_compound.device import (
    DEVICES,
    DW_MIN,
    DeviceTile,
    device_config,
)
from mho.simulator.raw_tiles.custom_compound.products import without_devices
from mho.simulator.raw_tiles.custom_compound.rule_state import RuleState
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.plan import LoadPlan

# Sums of the weights of several devices may round otherwise on another machine.
_SUM = 1e-6

Entries = dict[str, Any]


class Loadable(Protocol):
    """What is loaded: the raw tile."""

    devices: list[DeviceTile]
    products: CoreTile
    rule: RuleState

    def put_together(self) -> None:
        """Compute the weights of the tile from its devices."""


def plan_compound(
    raw: Loadable, entries: Entries, saved: Any, config: Any, only_present: bool
) -> LoadPlan:
    """Check the entries of a compound and take them out of a dictionary.

    Args:
        raw: Raw tile.
        entries: Entries of the tile without prefix; those of the raw tile are removed.
        saved: Configuration that the entries were written with.
        config: Configuration that the tile is to have.
        only_present: Whether the state is the tile's own, and its configuration another one.

    Raises:
        ConfigError: A configuration is invalid.
        InputError: An entry has the wrong shape or dtype.
        StateError: The state is of other devices, or was changed.
    """
    try:
        old = compound_of(saved)
    except ConfigError as error:
        raise StateError(f"{Names.CONFIG}: {error}") from error
    new = compound_of(config)
    number = len(raw.devices)
    if len(old.unit_cell_devices) != number:
        raise StateError(
            f"{DEVICES}: the state has {len(old.unit_cell_devices)} devices, the tile {number}"
        )
    stream = {name: entries[name] for name in (Names.SEED, Names.CALLS) if name in entries}
    weights = entries.get(Names.WEIGHTS)
    result = raw.products.plan(entries, without_devices(saved), without_devices(config))
    found = []
    for k, device in enumerate(raw.devices):
        prefix = f"{DEVICES}.{k}."
        own = {
            name.removeprefix(prefix): entries.pop(name)
            for name in [name for name in entries if name.startswith(prefix)]
        }
        found.append(own.get(Names.WEIGHTS))
        try:
            step = _mean_step(own, device.raw.spec.is_cell)
            own.update(stream)
            part = device.raw.plan(
                own,
                device_config(old, saved.update, k),
                device_config(new, config.update, k),
                step,
                only_present=only_present,
            )
        except AihwkitException as error:
            raise type(error)(f"{prefix}{error}") from error
        result.missing += [f"{prefix}{name}" for name in part.missing]
        result.unexpected += [f"{prefix}{name}" for name in own]
        result.steps += [*part.steps, device.keep_dw_min]
    raw.rule.plan(entries, result)
    if not result.missing and new.weight is None and new.gammas() == old.gammas():
        _check_sum(new, weights, found)
    if only_present:
        result.steps.append(raw.put_together)
    return result


def _check_sum(cell: CustomCompound, weights: Any, devices: list[Any]) -> None:
    total, size = torch.zeros_like(weights), _SUM
    for gamma, value in zip(cell.gammas(), devices, strict=True):
        if gamma != 0.0:
            total = total + gamma * value
            size += _SUM * abs(gamma) * float(value.abs().max())
    outside = int(((total - weights).abs() > size).sum())
    if outside:
        raise StateError(
            f"{Names.WEIGHTS}: {outside} of {weights.numel()} weights are not the sum of those of"
            " the devices; the state was changed after it was saved"
        )


def _mean_step(own: Entries, is_cell: bool) -> float | list[float] | None:
    """Take mean steps that are not those of the configuration out of the entries of a device."""
    value = own.pop(DW_MIN, None)
    if value is None:
        return None
    if not isinstance(value, Tensor) or value.dtype is not torch.float64 or value.dim() != 1:
        raise InputError(f"{DW_MIN}: expected float64 values")
    steps: list[float] = value.tolist()
    if not (steps and all(0.0 < step < float("inf") for step in steps)):
        raise StateError(f"{DW_MIN}: must be positive and finite, got {steps}")
    return steps if is_cell else steps[0]
