"""The state of a raw tile of the core: weights, devices, and what its cells and lines remember."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.exceptions import InputError, StateError
from mho.simulator.parameters.checking import describe
from mho.simulator.state.entries import check_readable
from mho.simulator.state.names import AnalogTileStateNames as Names

_DEVICE = "rpu.rpu_device."
_LINES = {Names.FORWARD_LINES: "rpu.fb_pass.fwd.", Names.BACKWARD_LINES: "rpu.fb_pass.bwd."}
_READS = "rpu.rpu_device.transfer_fb_pass.fwd."
_RUNNING_MAXIMUM = "rpu.fb_pass.aux_nm_value"
_DRIFT = "wdrifter."
_DRIFT_ENTRIES = ("current_t", "t", "w0", "previous_weights")
_GROUPS = tuple(f"{name}." for name in (Names.HIDDEN, Names.CELL, *_LINES))

# Entries of a cell whose name or form is another one. Signs are flags in aihwkit: set means -1.
_AVERAGES = ("m_x", "m_d")
_NAMES = {"count_lr": "tmp_count_lr"}
_SIGNS = ("in_chopper", "out_chopper")

# Values of features that nothing in Python switches on.
_NEUTRAL = {
    "rpu.fwd_alpha": 1.0, "rpu.bwd_alpha": 1.0, "rpu.use_delayed_update": 0.0,
}  # fmt: skip
_EMPTY = ("rpu.flicker_probs", "rpu.flicker_states")


@dataclass
class Stored:
    """What aihwkit has saved of a raw tile."""

    weights: Tensor
    """Raw weights, `[out, in]` or with a column of an analog bias."""

    hidden: dict[str, Tensor]
    """Hidden parameters by name, like the weights."""

    extra: dict[str, list[float]] | None
    """Plain values by name; None in files of versions that do not save them."""

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "Stored":
        """Check the state of a tile.

        Args:
            state: Entry `analog_tile_state`.

        Raises:
            InputError: A value has another form.
            StateError: Something is missing.
        """
        if Names.WEIGHTS not in state:
            raise StateError(f"{Names.WEIGHTS}: missing in the state of the tile")
        weights = _matrix(Names.WEIGHTS, state[Names.WEIGHTS])
        names = state.get(Names.HIDDEN_PARAMETER_NAMES)
        names = [] if names is None else names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{Names.HIDDEN_PARAMETER_NAMES}: expected a list of texts")
        planes = _matrix(
            Names.HIDDEN_PARAMETERS, state.get(Names.HIDDEN_PARAMETERS, torch.empty(0))
        )
        if len(set(names)) != len(names) or (names and len(planes) != len(names)):
            raise InputError(
                f"{Names.HIDDEN_PARAMETERS}: {len(planes)} planes for the names {names}"
            )
        if names and planes.shape[1:] != weights.shape:
            raise InputError(
                f"{Names.HIDDEN_PARAMETERS}: expected planes of shape {tuple(weights.shape)}, got"
                f" {tuple(planes.shape[1:])}"
            )
        return cls(weights, dict(zip(names, planes, strict=False)), _extra(state.get(Names.EXTRA)))

    def planes(self, tile: Any) -> list[Tensor]:
        """Return the hidden parameters in the order of a tile of mho.

        Args:
            tile: The tile.

        Raises:
            StateError: It has other ones.
        """
        names = tile.tile.get_hidden_parameter_names()
        if set(names) != self.hidden.keys():
            missing = [name for name in names if name not in self.hidden]
            unknown = [name for name in self.hidden if name not in names]
            raise StateError(
                f"{Names.HIDDEN_PARAMETERS}: are those of another device; mho has no {unknown} for"
                f" this one, and the file no {missing}"
            )
        return [self.hidden[name] for name in names]


def core_entries(
    stored: Stored, template: Mapping[str, Tensor], prefix: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Return the entries of a raw tile of the core, and what of them aihwkit has not saved.

    Args:
        stored: What it has saved.
        template: Entries of a fresh tile of mho, which say what there is.
        prefix: What the names of the entries begin with.

    Raises:
        InputError: A value has another form.
        StateError: There is a value that mho has no place for.
    """
    own = {n.removeprefix(prefix): v for n, v in template.items() if n.startswith(prefix)}
    found: dict[str, Any] = {Names.WEIGHTS: stored.weights}
    found |= {f"{Names.HIDDEN}.{name}": plane for name, plane in stored.hidden.items()}
    lost: list[str] = []
    extra = stored.extra or {}
    _check_neutral(extra)
    for name, like in own.items():
        if name in found or not name.startswith(_GROUPS):
            continue
        value = _entry(name, like, extra)
        if value is not None:
            found[name] = value
        elif _matters(name, like):
            lost.append(name)
    found |= _drift(extra, tuple(stored.weights.shape))
    return {f"{prefix}{name}": value for name, value in found.items()}, lost


def _entry(name: str, like: Tensor, extra: Mapping[str, list[float]]) -> Tensor | None:
    group, _, last = name.partition(".")
    if group in _LINES:
        if last == "running_abs_max":
            # Below zero before the first product.
            value = extra.get(_RUNNING_MAXIMUM)
            return _like(name, value, like) if value and value[0] >= 0.0 else None
        return _like(name, extra.get(f"{_LINES[group]}{last}"), like)
    if group != Names.CELL:
        return None
    if last == "input_error_averages":
        parts = [extra.get(f"{_DEVICE}{part}") for part in _AVERAGES]
        return _like(name, [p[0] for p in parts if p], like) if all(parts) else None
    if last.startswith("transfer_forward_"):
        return _like(name, extra.get(f"{_READS}{last.removeprefix('transfer_forward_')}"), like)
    value = extra.get(f"{_DEVICE}{_NAMES.get(last, last)}")
    if value is not None and last in _SIGNS:
        value = [-1.0 if flag else 1.0 for flag in value]
    return _like(name, value, like)


def _like(name: str, value: list[float] | None, like: Tensor) -> Tensor | None:
    if not value:
        return None
    if len(value) != like.numel():
        raise InputError(f"{name}: expected {like.numel()} values, the file has {len(value)}")
    return torch.tensor(value, dtype=torch.float64).to(like.dtype).view(like.shape)


def _matters(name: str, like: Tensor) -> bool:
    """Return whether an entry that was not saved holds more than a constant that all tiles have."""
    return not (name.endswith("out_nonlinearity_factor") and bool((like == 1.0).all()))


def _drift(extra: Mapping[str, list[float]], shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Return what devices that drift remember, from their first drift on."""
    found: dict[str, Tensor] = {}
    for name, value in extra.items():
        match = re.fullmatch(rf"{re.escape(_DEVICE)}((?:\d+\.)*){_DRIFT}active", name)
        if match is None or not any(value):
            continue
        ending = "".join(f"_{at}" for at in match[1].split(".") if at)
        for entry in _DRIFT_ENTRIES:
            source = f"{_DEVICE}{match[1]}{_DRIFT}{entry}"
            size = (1,) if entry == "current_t" else shape
            dtype = torch.float64 if entry in ("current_t", "t") else torch.float32
            like = torch.empty(size, dtype=dtype)
            plane = _like(source, extra.get(source), like)
            if plane is None:
                raise StateError(f"{source}: missing in the state of the tile")
            found[f"{Names.DRIFT}.{entry}{ending}"] = plane
    return found


def _check_neutral(extra: Mapping[str, list[float]]) -> None:
    for name, neutral in _NEUTRAL.items():
        if any(value != neutral for value in extra.get(name, ())):
            raise StateError(f"{name}: is {extra[name]} in the file; mho has only {neutral}")
    for name in _EMPTY:
        if extra.get(name):
            raise StateError(f"{name}: has values in the file, which mho has no place for")


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


def _matrix(name: str, value: Any) -> Tensor:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.ascontiguousarray(value))
    check_readable({name: value})
    if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
        raise InputError(f"{name}: expected a floating-point tensor, got {type(value).__name__}")
    return value.detach().to("cpu", torch.float32)


def _extra(value: Any) -> dict[str, list[float]] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InputError(f"{Names.EXTRA}: expected a dictionary, got {type(value).__name__}")
    for name, numbers in value.items():
        if not isinstance(name, str):
            raise InputError(f"{Names.EXTRA}: expected names of values, got {describe(name)}")
        is_list = isinstance(numbers, Sequence) and not isinstance(numbers, (str, bytes))
        if not is_list or not all(map(_is_number, numbers)):
            raise InputError(f"{Names.EXTRA}: {name} is no list of numbers")
    return value
