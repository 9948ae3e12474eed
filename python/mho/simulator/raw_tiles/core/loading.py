"""Loading of the state of raw tiles of the core."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import InputError, StateError, TileModuleError
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.finite import all_finite
from mho.simulator.raw_tiles.core.kernels import Kernels
from mho.simulator.raw_tiles.core.lines import LineValues
from mho.simulator.raw_tiles.core.parsed import ParsedConfig, device_of
from mho.simulator.raw_tiles.core.tensors import CoreTensors
from mho.simulator.raw_tiles.weight_limits import check_weights
from mho.simulator.state.header import Steps
from mho.simulator.state.names import PERSISTENT
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.plan import LoadPlan
from mho.simulator.state.tensor_group import as_tensor

Entries = dict[str, Any]

# Clipping is exact in float32, so that weights are never beyond bounds as they are stored. Devices
# whose bounds are shifted by a reference compute them: two roundings of at most 2**-24 each, on
# the machine that saved and on the one that loads.
_ROUNDING = 2.0**-22

# Sums of the weights of several devices, about one in size, may round otherwise on another machine.
_SUM = 1e-6

_REALS = ("input_error_averages", "count_lr")

# A number that no tile reaches, and from which none gets to the end of 63 bits.
_LARGEST_CALL = 2**62

_GROUPS = (Names.HIDDEN, Names.CELL, Names.FORWARD_LINES, Names.BACKWARD_LINES, Names.DRIFT)
_DOUBLES = (f"{Names.DRIFT}.current_t", f"{Names.DRIFT}.t", *(f"{Names.CELL}.{n}" for n in _REALS))

_TORCH_NAMES = {
    "tile.weight": Names.WEIGHTS,
    "tile.out_noise_values": f"{Names.FORWARD_LINES}.out_noise_values",
}


def plan(
    tensors: CoreTensors,
    parsed: ParsedConfig,
    kernels: Kernels,
    entries: Entries,
    saved: RPUConfigBase,
    config: RPUConfigBase,
    saved_dw_min: Steps | None = None,
    foreign: bool = False,
    keeps_state: bool = False,
) -> LoadPlan:
    """Check the entries of the core and take them out of a dictionary.

    The state of a torch tile has weights and no random stream: the tile keeps its own.

    Args:
        tensors: Tensors of the raw tile.
        parsed: Its configuration.
        kernels: Its kernels.
        entries: Entries of the tile without prefix; those of the core are removed.
        saved: Configuration that the entries were written with.
        config: Configuration that the tile is to have.
        saved_dw_min: Mean step of the devices that was used instead of that of `saved`.
        foreign: Whether the entries are those of a tile that computes in torch.
        keeps_state: Whether the state is that of the tile itself, which gets another configuration.

    Raises:
        ConfigError: A configuration is invalid.
        InputError: An entry has the wrong shape or dtype.
        StateError: The hidden parameters are those of another device.
    """
    result = LoadPlan()
    saved_text, text = saved.core_json(), config.core_json()
    old_spec = parsed.parse(saved_text, saved_dw_min)
    # A step that was estimated for these devices stays; other devices are looked at anew.
    dw_min = saved_dw_min if device_of(saved_text) == device_of(text) else None
    spec = parsed.parse(text, dw_min)
    kernels.check(spec)
    if foreign:
        _rename_torch_entries(entries)
    else:
        _check_precision(entries)
    weights = _plan_weights(tensors, spec, entries, result)
    if not foreign:
        _plan_counters(tensors, entries, result)
    hidden = _plan_hidden(entries, old_spec, spec, weights, result)
    cell = _plan_cell(entries, old_spec, spec, result)
    if not result.missing:
        _core.check_hidden(spec, _without_visible(spec, hidden))
        if weights is not None:
            _check_bounds(spec, weights, hidden, cell)
        if device_of(saved_text) != device_of(text):
            spec, dw_min = parsed.estimated(text, spec, hidden)
    same = saved_text == text and not foreign
    lines = _plan_lines(tensors, entries, spec, same=same, result=result)
    if keeps_state:
        lines = _redrawn_lines(tensors, parsed, spec)
    result.steps.insert(0, lambda: parsed.adopt(text, spec, dw_min))
    result.steps.append(lambda: tensors.store_planes(hidden, spec))
    _plan_counts(tensors, entries, spec, same=same, result=result)
    lines[Names.DRIFT] = _planned_drift(entries, spec, same=same)
    result.steps.append(lambda: tensors.store_cell(cell))
    for name, values in lines.items():
        group = tensors.group(name)
        result.steps.append(lambda group=group, values=values: group.replace(values))  # type: ignore[misc]
    return result


def check_edit(parsed: ParsedConfig, config: Any) -> None:
    """Refuse a change of a configuration with which a raw tile would need other devices.

    Args:
        parsed: Configuration of the raw tile.
        config: New one, checked.

    Raises:
        TileModuleError: It has other hidden parameters.
    """
    text = config.core_json()
    spec = parsed.parse(text, parsed.dw_min_for(text))
    if spec.hidden_names != parsed.spec.hidden_names:
        raise TileModuleError(
            f"update.pulse_type: cannot be changed in a living tile from {parsed.spec.device} to"
            f" {spec.device} devices, which are drawn when a tile is built; build a new tile"
        )
    if spec.cell_entries != parsed.spec.cell_entries:
        raise TileModuleError(
            f"device: this change of {spec.device} cannot be made in a living tile, whose"
            " counters, signs and lines of reads are made when it is built; build a new tile"
        )


def follow_text(tensors: CoreTensors, parsed: ParsedConfig, text: str) -> None:
    """Put another configuration in force for the state that is there.

    Args:
        tensors: Tensors of the raw tile.
        parsed: Its configuration.
        text: JSON text of the new one, checked.
    """
    if text == parsed.text:
        return
    dw_min = parsed.dw_min_for(text)
    spec = parsed.parse(text, dw_min)
    lines = _redrawn_lines(tensors, parsed, spec)
    parsed.adopt(text, spec, dw_min)
    for name, values in lines.items():
        tensors.group(name).replace(values)


def _redrawn_lines(
    tensors: CoreTensors, parsed: ParsedConfig, spec: _core.TileSpec
) -> dict[str, dict[str, Tensor]]:
    """Return the frozen values per line of both products with another configuration."""
    values = LineValues(tensors, parsed)
    groups = (Names.FORWARD_LINES, Names.BACKWARD_LINES)
    return {group: values.redrawn(spec, bool(back)) for back, group in enumerate(groups)}


def _rename_torch_entries(entries: Entries) -> None:
    for name, ours in _TORCH_NAMES.items():
        if name not in entries:
            continue
        value = entries.pop(name)
        # Torch tiles may be of any precision, the core has float32.
        is_real = isinstance(value, Tensor) and value.is_floating_point()
        entries[ours] = value.to("cpu", torch.float32) if is_real else value


def _check_precision(entries: Entries) -> None:
    """Refuse the state of a model that was cast: the core has float32, and clocks in float64.

    Rounded weights may be beyond the bounds of their devices, and rounded devices other ones.
    """
    for name, value in entries.items():
        if name != Names.WEIGHTS and name.split(".")[0] not in _GROUPS:
            continue
        is_double = _is_double(name)
        dtype = torch.float64 if is_double else torch.float32
        # Cells have counters among their entries; weights are never integers.
        is_weight = name == Names.WEIGHTS and not (isinstance(value, Tensor) and value.is_complex())
        is_real = isinstance(value, Tensor) and (is_weight or value.is_floating_point())
        if is_real and value.dtype is not dtype:
            method = "double" if is_double else "float"
            raise InputError(
                f"{name}: expected {dtype}, as tiles of the core save it whatever the precision of"
                f" the model, got {value.dtype}; save the state anew, or convert with .{method}()"
            )


def _is_double(name: str) -> bool:
    """Return whether an entry is in float64; numbers of the devices of a cell end its name."""
    return re.sub(r"(_\d+)*$", "", name) in _DOUBLES


def _plan_weights(
    tensors: CoreTensors, spec: _core.TileSpec, entries: Entries, result: LoadPlan
) -> Tensor | None:
    if Names.WEIGHTS not in entries:
        result.missing.append(Names.WEIGHTS)
        return None
    shape = (spec.d_size, spec.x_size)
    new = check_weights(entries.pop(Names.WEIGHTS), shape, Names.WEIGHTS)
    old = tensors.weights
    result.steps.append(lambda: old.copy_(new))  # type: ignore[arg-type]
    return new


def _check_bounds(
    spec: _core.TileSpec,
    weights: Tensor,
    hidden: Mapping[str, Tensor],
    cell: Mapping[str, Tensor],
) -> None:
    """Refuse weights that no device of these can have.

    What the device clips is what counts: of a device with write noise the persistent weights. The
    weights of a cell are the sum of those of its devices.
    """
    inside = weights.clone()
    planes = {k: v.clone() for k, v in {**_without_visible(spec, hidden), **cell}.items()}
    _core.enter_bounds(spec, inside, planes)
    pairs = {f"{Names.HIDDEN}.{name}": (hidden[name], planes[name]) for name in _held(hidden)}
    if spec.is_cell or not pairs:
        pairs[Names.WEIGHTS] = (weights, inside)
    for name, (given, clipped) in pairs.items():
        limit = clipped.abs() * _ROUNDING + torch.finfo(torch.float32).tiny
        if spec.is_cell and name == Names.WEIGHTS and spec.visible_name is None:
            limit = limit + _SUM
        outside = int(((given - clipped).abs() > limit).sum())
        if outside:
            raise StateError(
                f"{name}: {outside} of {given.numel()} weights are outside of the bounds of their"
                f" {spec.device} devices{' or not their sum' if spec.is_cell else ''}; the state"
                " was changed after it was saved"
            )


def _held(hidden: Mapping[str, Tensor]) -> list[str]:
    """Return the hidden weights that devices clip: under the write noise if they have any."""
    return [name for name in hidden if name.startswith(PERSISTENT)]


def _without_visible(spec: _core.TileSpec, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in hidden.items() if name != spec.visible_name}


def _plan_counters(tensors: CoreTensors, entries: Entries, result: LoadPlan) -> None:
    for name, old in ((Names.SEED, tensors.seed), (Names.CALLS, tensors.calls)):
        if name not in entries:
            result.missing.append(name)
            continue
        new = _counter(entries.pop(name), name)
        result.steps.append(lambda old=old, new=new: old.copy_(new))  # type: ignore[misc]


def _counter(value: object, name: str) -> Tensor:
    if not isinstance(value, Tensor) or value.dtype is not torch.int64 or value.numel() != 1:
        raise InputError(f"{name}: expected one int64 value")
    if name == Names.CALLS and not 0 <= int(value) <= _LARGEST_CALL:
        raise StateError(f"{name}: expected 0 to 2**62 calls, got {int(value)}")
    return value.detach().reshape(1)


def _plan_hidden(
    entries: Entries,
    old_spec: _core.TileSpec,
    spec: _core.TileSpec,
    weights: Tensor | None,
    result: LoadPlan,
) -> dict[str, Tensor]:
    if old_spec.hidden_names != spec.hidden_names:
        raise StateError(
            f"{Names.HIDDEN}: the state is that of device {old_spec.device} with parameters"
            f" {old_spec.hidden_names}, but the tile has {spec.device} with {spec.hidden_names}"
        )
    if old_spec.flows != spec.flows:
        fine, coarse = ("the state", "the tile") if old_spec.flows else ("the tile", "the state")
        raise StateError(
            f"{Names.HIDDEN}: {fine} has dw_min = 0, where steps are factors, and {coarse} steps in"
            " units of the weight; load the state with its configuration"
        )
    shape = (spec.d_size, spec.x_size)
    given = _take(entries, Names.HIDDEN)
    if unknown := set(given) - set(spec.hidden_names):
        raise StateError(f"{Names.HIDDEN}: device {spec.device} has no {sorted(unknown)}")
    hidden = {}
    for name in spec.hidden_names:
        constant = old_spec.hidden_constant(name)
        if name == spec.visible_name:
            if weights is not None:
                hidden[name] = weights
        elif name in given:
            hidden[name] = check_weights(given[name], shape, f"{Names.HIDDEN}.{name}")
        elif constant is not None:
            hidden[name] = torch.full(shape, constant, dtype=torch.float32, device="cpu")
        else:
            result.missing.append(f"{Names.HIDDEN}.{name}")
    return hidden


def _plan_cell(
    entries: Entries, old_spec: _core.TileSpec, spec: _core.TileSpec, result: LoadPlan
) -> dict[str, Tensor]:
    given = _take(entries, Names.CELL)
    if old_spec.cell_entries != spec.cell_entries:
        raise StateError(
            f"{Names.CELL}: the state is that of {old_spec.device} with"
            f" {[name for name, *_ in old_spec.cell_entries]}, but the tile has {spec.device}"
            f" with {[name for name, *_ in spec.cell_entries]}"
        )
    cell = {}
    for name, dtype, length in spec.cell_entries:
        if name not in given:
            result.missing.append(f"{Names.CELL}.{name}")
            continue
        value = given[name]
        expected = getattr(torch, dtype)
        fits = isinstance(value, Tensor) and value.dtype is expected and value.shape == (length,)
        if not fits:
            raise InputError(f"{Names.CELL}.{name}: expected {length} values of {expected}")
        if expected.is_floating_point and not all_finite(value):
            raise StateError(f"{Names.CELL}.{name}: values must be finite")
        cell[name] = value.detach()
    if unknown := set(given) - set(cell) - {name for name, *_ in spec.cell_entries}:
        raise StateError(f"{Names.CELL}: {spec.device} has no {sorted(unknown)}")
    return cell


def _plan_counts(
    tensors: CoreTensors, entries: Entries, spec: _core.TileSpec, same: bool, result: LoadPlan
) -> None:
    if not spec.counts_pulses:
        if not same:  # otherwise nobody expects them
            entries.pop(Names.COUNTS, None)
        result.steps.append(lambda: tensors.state.update({Names.COUNTS: None}))
        return
    shape = (2, spec.d_size, spec.x_size)
    given = entries.pop(Names.COUNTS, None)
    if given is None:
        if same:
            result.missing.append(Names.COUNTS)
        given = torch.zeros(shape, dtype=torch.int64, device="cpu")
    is_counter = isinstance(given, Tensor) and given.dtype is torch.int64
    if not is_counter or tuple(given.shape) != shape or bool((given < 0).any()):
        raise InputError(f"{Names.COUNTS}: expected counts, an int64 tensor of shape {shape}")
    old = tensors.counts
    if old is None:
        old = torch.zeros(shape, dtype=torch.int64, device="cpu")
    result.steps.append(lambda: tensors.state.update({Names.COUNTS: old.copy_(given)}))


def _planned_drift(entries: Entries, spec: _core.TileSpec, same: bool) -> dict[str, Tensor]:
    given = _take(entries, Names.DRIFT)
    if not given or not (spec.drifting or same):
        return {}
    matrix = (spec.d_size, spec.x_size)
    of_one = {"current_t": (1,), "t": matrix, "w0": matrix, "previous_weights": matrix}
    expected = {f"{k}{ending}": shape for ending in spec.drifting for k, shape in of_one.items()}
    if not expected or set(given) != set(expected):
        raise StateError(f"{Names.DRIFT}: expected entries {sorted(expected)}, got {sorted(given)}")
    return {name: _drift(name, given[name], shape) for name, shape in expected.items()}


def _drift(name: str, value: object, shape: tuple[int, ...]) -> Tensor:
    dtype = torch.float64 if _is_double(f"{Names.DRIFT}.{name}") else torch.float32
    if not isinstance(value, Tensor) or value.dtype is not dtype or tuple(value.shape) != shape:
        raise InputError(f"{Names.DRIFT}.{name}: expected a {dtype} tensor of shape {shape}")
    if not all_finite(value):
        raise StateError(f"{Names.DRIFT}.{name}: values must be finite")
    return value.detach()


def _plan_lines(
    tensors: CoreTensors,
    entries: Entries,
    spec: _core.TileSpec,
    same: bool,
    result: LoadPlan,
) -> dict[str, dict[str, Tensor]]:
    lines: dict[str, dict[str, Tensor]] = {}
    for backward, group in enumerate((Names.FORWARD_LINES, Names.BACKWARD_LINES)):
        given = _take(entries, group)
        # Values that the state does not have are drawn as for a new tile with its seed.
        drawn = spec.construct_lines(bool(backward), int(tensors.seed))
        values = {name: as_tensor(value, (-1,)) for name, value in drawn.items()}
        for name, value in values.items():
            if name in given:
                values[name] = _line(given[name], value, f"{group}.{name}")
            elif same:
                result.missing.append(f"{group}.{name}")
        if same and (unknown := set(given) - set(values)):
            raise StateError(f"{group}: the configuration has no {sorted(unknown)}")
        lines[group] = values
    return lines


def _line(value: object, drawn: Tensor, name: str) -> Tensor:
    if (
        not isinstance(value, Tensor)
        or value.dtype is not torch.float32
        or value.shape != drawn.shape
    ):
        raise InputError(f"{name}: expected a float32 tensor of shape {tuple(drawn.shape)}")
    if not all_finite(value):
        raise StateError(f"{name}: values must be finite")
    return value.detach()


def _take(entries: Entries, group: str) -> Mapping[str, Any]:
    names = [name for name in entries if name.startswith(f"{group}.")]
    return {name.removeprefix(f"{group}."): entries.pop(name) for name in names}
