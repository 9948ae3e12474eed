"""The state of one tile of aihwkit as entries of a state of mho."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.exceptions import AihwkitException, InputError
from mho.inference.noise.reram_cmo import ReRamCMONoiseModel
from mho.simulator.parameters import registry
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.checking import describe
from mho.simulator.state.entries import check_readable
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.transfer import TorchTransferTile
from mho.utils.legacy.checkpoint import DRIFT_PARAMETERS, PROGRAMMED, STATE
from mho.utils.legacy.core_state import Stored, core_entries
from mho.utils.legacy.transfer_state import transfer_entries

ALIASES = (Names.CONTEXT, Names.SHARED_WEIGHTS)
"""Entries that show the weights under another name, or nothing."""

_NOISE = "tile.out_noise_values"
_RANDOM = (Names.SEED, Names.CALLS)


@dataclass
class TranslatedTile:
    """Entries of a tile in a state of mho."""

    entries: dict[str, Any]
    """By names without the prefix of the tile."""

    tile_class: str
    """Name of the class of the tile that was saved."""

    config: RPUConfigBase
    """Configuration that was saved."""

    version: str
    """Version of aihwkit that wrote it, empty if it does not say so."""

    lost: list[str] = field(default_factory=list)
    """What aihwkit had and did not save, and what mho needs and keeps from the tile instead."""


def translate(tile: TileModule, entries: Mapping[str, Any], name: str) -> TranslatedTile:
    """Return the entries of a tile of mho; nothing is changed.

    A tile is built as the one that was saved, whose state says which entries there are. Those that
    aihwkit has saved take their values from it, seed and number of calls from the tile of the
    model, for aihwkit saves neither.

    Args:
        tile: Tile of the model.
        entries: Entries that aihwkit has saved, by names without the prefix of the tile.
        name: Name of the tile in messages.

    Raises:
        ConfigError: mho cannot build such a tile; the message names the field.
        StateError: There is something that mho has no place for.
        TileError: The tile of the model has another size.
    """
    try:
        return _translate(tile, dict(entries))
    except AihwkitException as error:
        raise type(error)(f"{name}: {error}") from error


def _translate(tile: TileModule, entries: dict[str, Any]) -> TranslatedTile:
    state: dict[str, Any] = entries.pop(STATE)
    config = state[Names.RPU_CONFIG]
    saved_class = str(state.get(Names.CLASS, config.tile_class.__name__))
    version = _version_of(state) or _version_of(entries.get(f"tile.weight_tile.{STATE}") or {})
    fresh = _fresh(tile, config, saved_class)
    template = {n: v for n, v in fresh.state_dict().items() if _is_raw(n)}
    raw, lost = _raw_entries(fresh, template, state, entries)
    own = tile.state_dict()
    random = {n: own[n] for n in template if n.endswith(_RANDOM) and n in own}
    # Values of the output noise of a product that is exact are not used.
    unused = {*ALIASES, *({_NOISE} - template.keys())}
    digital = {n: v for n, v in entries.items() if n not in unused}
    entries = {**template, **raw, **random, **digital, **_programmed(state, config)}
    entries[Names.CONFIG] = fresh.analog_tile_config
    if is_drifted(entries) and PROGRAMMED[0] not in entries:
        lost.append(
            "the programmed weights (weights are those after the last drift: program anew, or"
            " save the whole model with torch.save(model) in aihwkit)"
        )
    return TranslatedTile(entries, saved_class, config, version or "", lost)


def _raw_entries(
    fresh: Any, template: Mapping[str, Tensor], state: Mapping[str, Any], entries: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return the entries of the raw tile, and what of them was not saved.

    The fresh tile gets the learning rate, and looks whether the steps of its devices are those of
    its configuration.
    """
    if isinstance(fresh, TorchTransferTile):
        return transfer_entries(fresh.rpu_config, template, entries)
    fresh.tile.set_learning_rate(state.get(Names.LR))
    if Names.WEIGHTS not in template:  # weights are ordinary tensors of the state
        return {}, []
    stored = Stored.of(state)
    _check_shape(stored.weights, fresh)
    if stored.hidden:
        fresh.tile.set_hidden_parameters(torch.stack(stored.planes(fresh)))
    return core_entries(stored, template)


def _version_of(state: Any) -> str | None:
    """Return the version of aihwkit that has written the state of a tile, None without one."""
    version = state.get(Names.VERSION) if isinstance(state, Mapping) else None
    if version is not None and not isinstance(version, str):
        raise InputError(f"{Names.VERSION}: expected text, got {describe(version)}")
    return version


def _fresh(tile: TileModule, config: RPUConfigBase, saved_class: str) -> Any:
    """Return a tile of the class that was saved, in the size of the one of the model."""
    kind: Any = registry.tile_class(saved_class)
    config.tile_class = kind
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tile of the model has said it
        return kind(tile.out_size, tile.in_size, config, bias=tile.use_bias)


def _is_raw(name: str) -> bool:
    return name.startswith(("analog_tile_", "tile.")) and name != Names.CONFIG


def _check_shape(weights: Tensor, fresh: TileModule) -> None:
    expected = tuple(fresh.tile.get_weights().shape)
    if tuple(weights.shape) != expected:
        raise InputError(
            f"{Names.WEIGHTS}: the file has {tuple(weights.shape)} weights, the model"
            f" {expected}; build it with the same sizes, bias and mapping"
        )


def _programmed(state: Mapping[str, Any], config: Any) -> dict[str, Tensor]:
    """Return the entries of programming and drift that pickled models have."""
    found: dict[str, Tensor] = {}
    noise_model = getattr(config, "noise_model", None)
    for name in PROGRAMMED:
        value = state.get(name)
        if name == DRIFT_PARAMETERS and isinstance(noise_model, ReRamCMONoiseModel):
            # Its drift depends on time alone; what aihwkit keeps there is not used.
            value = None if value is None else [None]
        if isinstance(value, (list, tuple)):
            # An empty tensor stands for a device that does not drift.
            found |= {
                f"{name}.{at}": torch.empty(0) if item is None else as_tensor(f"{name}.{at}", item)
                for at, item in enumerate(value)
            }
        elif value is not None:
            found[name] = as_tensor(name, value)
    return found


def as_tensor(name: str, value: Any) -> Tensor:
    """Return real numbers as a tensor of the core.

    Args:
        name: Name in messages.
        value: Tensor or array.

    Raises:
        InputError: It is something else.
    """
    if isinstance(value, (np.ndarray, float)):
        value = torch.as_tensor(value)
    check_readable({name: value})
    if not isinstance(value, Tensor) or value.is_complex():
        raise InputError(f"{name}: expected a tensor, got {type(value).__name__}")
    return value.detach().to("cpu", torch.float32)


def is_drifted(entries: Mapping[str, Any]) -> bool:
    """Return whether a tile of inference has drifted, and its outputs are compensated.

    Args:
        entries: Its entries.
    """
    alpha = entries.get("alpha")
    check_readable({"alpha": alpha})
    return isinstance(alpha, Tensor) and (alpha.dim() == 0 or bool((alpha != 1.0).any()))
