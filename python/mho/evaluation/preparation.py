"""The copy of a model that an evaluation works on."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mho.evaluation.moments import Moment, label
from mho.exceptions import AihwkitException, ArgumentError, ConfigError
from mho.inference.compensation.base import BaseDriftCompensation
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.reram_wan import ReRamWan2022NoiseModel
from mho.simulator.parts.programming import Programming
from mho.simulator.tiles import editing
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.periphery import TileWithPeriphery

FROM_CONFIG = "config"
"""The drift compensation of the configurations."""


def tiles_of(model: nn.Module) -> dict[str, TileModule]:
    """Return every tile of a model once, by its first name.

    Args:
        model: Any module.
    """
    return {name: m for name, m in model.named_modules() if isinstance(m, TileModule)}


def programmable(model: nn.Module) -> dict[str, Any]:
    """Return the tiles whose weights a noise model programs, by name.

    Args:
        model: Any module.
    """
    return {name: tile for name, tile in tiles_of(model).items() if is_programmable(tile)}


def is_programmable(tile: TileModule) -> bool:
    """Return whether a noise model programs the weights of a tile.

    Args:
        tile: Tile.
    """
    return isinstance(tile, TileWithPeriphery) and isinstance(tile.programming, Programming)


@dataclass
class Prepared:
    """A copy in evaluation mode, whose weights are what programming aims at."""

    model: nn.Module
    notes: list[str] = field(default_factory=list)


def prepare(
    model: nn.Module,
    keep: bool,
    noise_model: BaseNoiseModel | None,
    compensation: BaseDriftCompensation | str | None,
) -> Prepared:
    """Return the copy of a model that is evaluated.

    Args:
        model: Model, not changed.
        keep: Keep what is programmed, instead of aiming at it anew.
        noise_model: Noise model of all tiles, None for their own.
        compensation: Drift compensation of all tiles, or `"config"`.

    Raises:
        ConfigError: Weights that were programmed are kept without their targets, or are to be kept
            and are not there; the message names the tile.
    """
    prepared = Prepared(copy.deepcopy(model).eval())
    tiles = programmable(prepared.model)
    changes: dict[str, Any] = {} if noise_model is None else {"noise_model": noise_model}
    if compensation != FROM_CONFIG:
        changes["drift_compensation"] = compensation
    if changes:
        editing.edit(tiles, changes)
    if keep:
        _check_programmed(tiles)
    elif any([_aim(name, tile) for name, tile in tiles.items()]):
        prepared.notes.append(
            "the model was programmed already; what is programmed are the weights that were aimed"
            " at then"
        )
    others = [name for name in tiles_of(prepared.model) if name not in tiles]
    if others:
        listed = ", ".join(map(repr, others[:5])) + (", ..." if len(others) > 5 else "")
        prepared.notes.append(
            f"{len(others)} tiles have no noise model and are not programmed: {listed}"
        )
    if any(value.is_cuda for value in prepared.model.parameters()):
        prepared.notes.append("results on CUDA are equal from run to run, on equal devices only")
    return prepared


def _check_programmed(tiles: dict[str, Any]) -> None:
    for name, tile in tiles.items():
        if tile.programmed_weights is None or tile.drift_noise_parameters is None:
            raise ConfigError(
                f"tile {name!r}: nothing is programmed that programming='keep' could keep; call"
                " program_analog_weights, or use programming='fresh'"
            )


def _aim(name: str, tile: Any) -> bool:
    """Write the targets of a tile to its weights; returns whether it was programmed."""
    reference: Tensor | None = tile.reference_combined_weights
    if reference is None:
        if tile.programmed_weights is not None:
            raise ConfigError(
                f"tile {name!r}: was programmed, but the weights that were aimed at are gone; use"
                " programming='keep', or write the weights with set_weights"
            )
        return False
    tile.tile.set_weights(reference.detach().clone())
    tile.programming.forget()
    return True


def check_drift(model: nn.Module, moments: list[Moment]) -> None:
    """Let one conductance of every noise model drift to all times.

    Args:
        model: Prepared model.
        moments: Times.

    Raises:
        ArgumentError: A noise model does not know one of them; the message names tile and time.
    """
    seen: list[BaseNoiseModel] = []
    for name, tile in programmable(model).items():
        noise = getattr(tile.rpu_config, "noise_model", None)
        if not isinstance(noise, BaseNoiseModel):
            raise ConfigError(f"tile {name!r}: noise_model: has none; evaluate(noise_model=...)")
        if noise in seen:
            continue
        seen.append(noise)
        programmed, parameters = noise.apply_programming_noise(
            torch.tensor([[1.0, -0.5]], device="cpu")
        )
        for moment in moments:
            if moment is None:
                continue
            try:
                noise.apply_drift_noise(programmed.clone(), parameters, moment)
            except (AihwkitException, ValueError) as error:
                raise ArgumentError(
                    f"times: {label(moment)!r} is refused by {type(noise).__name__} of tile"
                    f" {name!r}: {error}"
                ) from error


def known_moments(model: nn.Module) -> list[Moment] | None:
    """Return the times of noise models that know some times only, None if there are none.

    Args:
        model: Model.
    """
    tables = [
        set(tile.rpu_config.noise_model.coeff_dic)
        for tile in programmable(model).values()
        if isinstance(tile.rpu_config.noise_model, ReRamWan2022NoiseModel)
    ]
    return [None, *sorted(set.intersection(*tables))] if tables else None
