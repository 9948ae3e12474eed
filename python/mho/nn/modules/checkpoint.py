"""What is adapted in a state dict before torch loads it."""

import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from mho.exceptions import ArgumentError
from mho.simulator.tiles.module import TileModule


def prepare(
    state_dict: Mapping[str, Any], strict: bool, assign: bool
) -> tuple[Mapping[str, Any], bool]:
    """Return the entries to load and whether names must match.

    Contexts of shape ``[]`` come from old checkpoints. They are left out with a warning, and
    missing names are then forgiven.

    Args:
        state_dict: Entries as given by the user; not changed.
        strict: Whether the user wants names to match.
        assign: Must be False.

    Raises:
        ArgumentError: ``assign`` is True.
    """
    if assign:
        raise ArgumentError("assign: tiles are loaded in place; call without it")
    outdated = [
        name
        for name, value in state_dict.items()
        if name.endswith("analog_ctx") and getattr(value, "shape", None) == ()
    ]
    if not outdated:
        return state_dict, strict
    warnings.warn(
        f"checkpoint is of an old format; {len(outdated)} analog contexts are ignored and"
        " missing names are not reported",
        stacklevel=3,
    )
    kept = OrderedDict((n, value) for n, value in state_dict.items() if n not in outdated)
    if hasattr(state_dict, "_metadata"):
        kept._metadata = state_dict._metadata  # type: ignore[attr-defined]
    return kept, False


def check_tiles(state_dict: Mapping[str, Any], tiles: Iterable[tuple[str, TileModule]]) -> None:
    """Check the entries of all tiles without loading them.

    Args:
        state_dict: Entries of a model; names that are missing or unexpected are left to torch.
        tiles: Names and tiles of the model.

    Raises:
        TileError: The entries do not fit a tile.
    """
    for name, tile in tiles:
        tile.check_state_dict(state_dict, f"{name}." if name else "")
