"""Loads the state of a model of aihwkit into one of mho."""

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mho.documented import documented
from mho.exceptions import AihwkitException, ArgumentError, StateError
from mho.nn.modules.loading import all_or_nothing, check_origin
from mho.simulator.parameters.arguments import check_flag
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.tiles.module import TileModule
from mho.utils.legacy.checkpoint import STATE, state_of_model, tiles_in
from mho.utils.legacy.configs import differences
from mho.utils.legacy.quantizer_state import with_quantizers
from mho.utils.legacy.tile_state import ALIASES, TranslatedTile, translate

_SHOWN = 8


@documented
@dataclass
class ImportReport:
    """What `load_aihwkit_state_dict` has found; its text is for people."""

    missing_keys: list[str]
    """Entries that the model has and the checkpoint lacks; empty with `strict`."""

    unexpected_keys: list[str]
    """Entries of the checkpoint that the model has no place for; empty with `strict`."""

    versions: list[str] = field(default_factory=list)
    """Versions of aihwkit that wrote the states of tiles."""

    tile_classes: dict[str, str] = field(default_factory=dict)
    """Classes of the saved tiles by the name of the tile."""

    config_differences: dict[str, list[str]] = field(default_factory=dict)
    """Fields in which the configuration of a tile differed from the saved one, by its name."""

    not_saved: dict[str, list[str]] = field(default_factory=dict)
    """State that aihwkit had and did not save, by the name of the tile."""

    def __str__(self) -> str:
        """Return a summary."""
        lines = [f"{len(self.tile_classes)} tiles of aihwkit {', '.join(self.versions) or '?'}"]
        lines += [f"missing: {name}" for name in self.missing_keys]
        lines += [f"unexpected: {name}" for name in self.unexpected_keys]
        for text, tiles in _grouped(self.config_differences).items():
            lines.append(f"{text} ({_counted(tiles)})")
        for text, tiles in _grouped(self.not_saved).items():
            lines.append(f"not saved by aihwkit: {text} ({_counted(tiles)})")
        return "\n".join(lines)


def load_aihwkit_state_dict(
    model: nn.Module,
    source: Any,
    strict: bool = True,
    load_rpu_config: bool | None = None,
    strict_rpu_config_check: bool | None = None,
) -> ImportReport:
    """Load the state of a model of aihwkit into the same model of mho, all of it or nothing.

    Weights, hidden parameters, scales, ranges, learning rates, counters and signs of unit cells and
    the state of drift are those that were saved. Seeds and numbers of calls, which aihwkit does not
    save, stay as they are. A warning names what else was not saved and begins anew.

    Args:
        model: Model with analog layers, built by the ported script.
        source: Path or binary file that `torch.save` has written, or what `load_checkpoint` has
            returned of it: a state dictionary, or a whole model.
        strict: Whether missing and unexpected entries are an error.
        load_rpu_config: Whether tiles take over the saved configurations; None keeps the choice of
            each tile, which is True at first, as in aihwkit.
        strict_rpu_config_check: Otherwise whether their classes must fit; None keeps the choice of
            each tile.

    Returns:
        What was found, among it the fields in which configurations differed.

    Raises:
        ArgumentError: `model` is no module, or has no tiles.
        ConfigError: mho lacks a class, field or choice of a configuration, or refuses a value; the
            message names tile and field.
        StateError: The file is damaged, is not that of a model, or has something that mho has no
            place for; `strict` is set and names do not match.
        TileError: A state does not fit its tile; the message names both.
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model: expected a module, got {type(model).__name__}")
    strict = check_flag("strict", strict)
    modules = model.named_modules(remove_duplicate=False)
    tiles = {name: module for name, module in modules if isinstance(module, TileModule)}
    if not tiles:
        raise ArgumentError(
            "model: has no analog tiles; build it as it was built for aihwkit, or load a digital"
            " state with model.load_state_dict"
        )
    state = with_quantizers(model, state_of_model(source))
    check_origin(model, state)
    _check_names(tiles, state, strict)
    translated, rest = _translated(tiles, state)
    report = ImportReport([], [], sorted({t.version for t in translated.values() if t.version}))
    for name, part in translated.items():
        report.tile_classes[name] = part.tile_class
        if found := list(differences(tiles[name].rpu_config, part.config)):
            report.config_differences[name] = found
        if part.lost:
            report.not_saved[name] = part.lost
    with all_or_nothing(model, tiles.values()):
        for tile in tiles.values():
            tile.set_load_rpu_config_state(load_rpu_config, strict_rpu_config_check)
        try:
            found = model.load_state_dict(rest, strict=strict)
        except AihwkitException:
            raise
        except RuntimeError as error:  # torch's, of names and of what is no tensor
            raise StateError(f"state: {error}") from error
    report.missing_keys, report.unexpected_keys = list(found[0]), list(found[1])
    if report.not_saved:
        texts = _grouped(report.not_saved)
        warnings.warn(
            "aihwkit has not saved all of the state: "
            + "; ".join(f"{text} ({_counted(names)})" for text, names in texts.items()),
            stacklevel=2,
        )
    return report


def _check_names(tiles: Mapping[str, TileModule], state: Mapping[str, Any], strict: bool) -> None:
    saved = tiles_in(state)
    if not saved and any(name.endswith(Names.CONFIG) for name in state):
        raise StateError("state: was written by mho; load it with model.load_state_dict")
    if not saved:
        raise StateError(
            "state: has no states of analog tiles; it is that of a digital model, or was not"
            " written by aihwkit"
        )
    if not strict:
        return
    missing, unknown = sorted(set(tiles) - set(saved)), sorted(set(saved) - set(tiles))
    if missing or unknown:
        raise StateError(
            f"state: has the tiles {_some(unknown)}, which the model lacks, and lacks"
            f" {_some(missing)}; layers must have the same names, sizes and mapping as in aihwkit"
        )


def _translated(
    tiles: Mapping[str, TileModule], state: Mapping[str, Any]
) -> tuple[dict[str, TranslatedTile], "OrderedDict[str, Any]"]:
    """Return what the tiles get, and the whole state with it in the place of what was saved."""
    result: OrderedDict[str, Any] = OrderedDict(state)
    if hasattr(state, "_metadata"):
        result._metadata = state._metadata  # type: ignore[attr-defined]
    translated: dict[str, TranslatedTile] = {}
    for name, tile in tiles.items():
        prefix = f"{name}." if name else ""
        if f"{prefix}{STATE}" not in state:
            continue
        own = [key for key in state if key.startswith(prefix)]
        entries = {key.removeprefix(prefix): result.pop(key) for key in own}
        translated[name] = translate(tile, entries, name or "tile")
        result.update((prefix + key, v) for key, v in translated[name].entries.items())
    for key in [key for key in result if key.rpartition(".")[2] in ALIASES]:
        del result[key]
    return translated, result


def _grouped(texts: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the names of tiles by what is said of them."""
    groups: dict[str, list[str]] = {}
    for name, found in texts.items():
        for text in found:
            groups.setdefault(text, []).append(name)
    return groups


def _counted(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} tiles from {names[0]} on"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN]) or 'none'}{more}"
