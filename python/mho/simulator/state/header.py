"""Class, configuration and learning rate of a saved tile, as text in a tensor."""

import json
from typing import Any

import torch
from torch import Tensor

from mho._core import __version__
from mho.exceptions import ArgumentError, StateError
from mho.simulator.parameters.arguments import check_not_negative
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.state.entries import describe_value
from mho.simulator.state.names import AnalogTileStateNames as Names

FORMAT = 2
"""2 adds what other programs than Python need; states of format 1 are read as before."""

_TEXTS = (Names.MHO_VERSION, "tile_class", Names.RPU_CONFIG)
_HEADER_KEYS = {"format", "learning_rate", *_TEXTS}
_ADDED_KEYS = {1: set[str](), FORMAT: {"core", "analog_bias"}}
"""Further keys that each format has."""

Steps = float | list[float]
"""Mean step of a device, or of each device of a cell."""

_OPTIONAL_KEYS = {"dw_min"}


def encode_header(
    tile_class: str,
    config: RPUConfigBase,
    learning_rate: float | None,
    dw_min: Steps | None,
    core: str | None,
    analog_bias: bool,
) -> Tensor:
    """Return class, configuration and learning rate of a tile as UTF-8 JSON text in a uint8 tensor.

    Args:
        tile_class: Name of its class.
        config: Its configuration.
        learning_rate: Its raw learning rate, None if it has none.
        dw_min: Mean step of its devices, of each one of a cell, if that is not the one of the
            configuration.
        core: What the core needs to know of the configuration, as JSON text, for readers that know
            no classes of Python; None if the core cannot do what the tile does.
        analog_bias: Whether the last column of the weights is a bias, for the same readers.

    Raises:
        ConfigError: The configuration contains a class that is not registered.
    """
    header = {
        "format": FORMAT,
        Names.MHO_VERSION: __version__,
        "tile_class": tile_class,
        "learning_rate": learning_rate,
        Names.RPU_CONFIG: config.to_json(),
        "core": core,
        "analog_bias": analog_bias,
    }
    if dw_min is not None:
        header["dw_min"] = dw_min
    return torch.frombuffer(bytearray(json.dumps(header).encode()), dtype=torch.uint8)


def decode_header(value: object) -> dict[str, Any]:
    """Return the content of the entry written by `encode_header`.

    A state that was made without Python has neither class nor configuration of Python, only that of
    the core: both are None then.

    Args:
        value: Entry of a state dictionary.

    Raises:
        StateError: It cannot be read.
    """
    if not isinstance(value, Tensor) or value.dtype is not torch.uint8 or value.dim() != 1:
        raise StateError(
            f"{Names.CONFIG}: expected a uint8 tensor of one axis, got {describe_value(value)}"
        )
    try:
        header = json.loads(bytes(value.cpu().tolist()).decode())
    except (ValueError, RecursionError) as error:
        raise StateError(f"{Names.CONFIG}: is truncated or no JSON text: {error}") from error
    if not isinstance(header, dict) or not _HEADER_KEYS <= set(header):
        raise StateError(
            f"{Names.CONFIG}: expected keys {sorted(_HEADER_KEYS)}; this is not the state of a tile"
        )
    added = _ADDED_KEYS.get(header["format"]) if type(header["format"]) is int else None
    if added is None:
        raise StateError(
            f"{Names.CONFIG}: format {header['format']!r} is not supported by mho {__version__};"
            f" it was written by mho {header[Names.MHO_VERSION]}"
        )
    # A key that is not known may mean anything, so nothing is guessed.
    if unknown := set(header) - _HEADER_KEYS - _OPTIONAL_KEYS - added:
        raise StateError(f"{Names.CONFIG}: unknown keys {sorted(unknown)}")
    if missing := added - set(header):
        raise StateError(f"{Names.CONFIG}: missing keys {sorted(missing)}")
    _check_types(header)
    _check_number("learning_rate", header.get("learning_rate"))
    steps = header.get("dw_min")
    for step in steps if isinstance(steps, list) else [steps]:
        _check_number("dw_min", step)
    return header


def _check_types(header: dict[str, Any]) -> None:
    """Check what is no number, and give what format 1 lacks a value."""
    core = header.setdefault("core", None)
    if core is not None and not isinstance(core, str):
        raise StateError(f"{Names.CONFIG}: core must be text, got {core!r}")
    if type(header.setdefault("analog_bias", False)) is not bool:
        raise StateError(f"{Names.CONFIG}: analog_bias must be a truth value")
    without_python = header["tile_class"] is header[Names.RPU_CONFIG] is None and core is not None
    for name in _TEXTS:
        if not isinstance(header[name], str) and not (without_python and header[name] is None):
            raise StateError(f"{Names.CONFIG}: {name} must be text, got {header[name]!r}")


def _check_number(name: str, value: Any) -> None:
    try:
        if value is not None:
            check_not_negative(name, value)
    except ArgumentError as error:
        raise StateError(f"{Names.CONFIG}: {error}") from error
