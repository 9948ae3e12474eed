"""The state of a transfer tile in Python, whose two arrays have states of their own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mho.exceptions import InputError, StateError
from mho.utils.legacy.checkpoint import STATE
from mho.utils.legacy.core_state import Stored, core_entries

_ARRAYS = ("tile.grad_tile.", "tile.weight_tile.")
_CHOPPER = "tile.chopper"

_LOST = (
    "counters of samples, lines and flips of the transfer, running means of inputs and errors, and"
    " the learning rate of the tile, which begin anew"
)


def transfer_entries(
    config: Any, template: Mapping[str, Tensor], entries: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return the entries of a transfer tile, and what of them aihwkit has not saved.

    Args:
        config: Configuration that was saved.
        template: Entries of a fresh tile of mho.
        entries: Entries that aihwkit has saved; those of the raw tile are removed.

    Raises:
        InputError: An entry has another form.
        StateError: Something is missing, or has no place in mho.
    """
    found: dict[str, Any] = {}
    lost = [_LOST]
    for prefix in _ARRAYS:
        state = entries.pop(f"{prefix}{STATE}", None)
        entries.pop(f"{prefix}analog_ctx", None)
        if not isinstance(state, dict):
            raise StateError(f"{prefix}{STATE}: missing")
        values, missing = core_entries(Stored.of(state), template, prefix)
        found |= values
        lost += missing
    chopper = entries.pop(_CHOPPER, None)
    if not isinstance(chopper, Tensor) or not bool((chopper.abs() == 1).all()):
        raise InputError(f"{_CHOPPER}: expected signs")
    if config.device.transfer_columns:
        found["tile.in_chopper"] = chopper.to(torch.int8)
    elif bool((chopper != 1).any()):
        raise StateError(
            f"{_CHOPPER}: with transfer_columns=False aihwkit flips columns while it reads rows;"
            " such signs have no place in mho"
        )
    for name in template:
        if name.endswith("_weight") and name in entries:
            found[name] = entries.pop(name)
    return found, lost
