"""What a transfer tile in Python keeps beside its two arrays, each as a tensor of its own."""

from typing import Any

import torch
from torch import Tensor

from mho.exceptions import InputError, StateError
from mho.simulator.devices.cells.chopped_transfer import ChoppedTransferCompound
from mho.simulator.devices.cells.dynamic_transfer import DynamicTransferCompound
from mho.simulator.parameters.finite import all_finite
from mho.simulator.state.entries import describe_value
from mho.simulator.state.names import AnalogTileStateNames as Names

# A number that no tile reaches, and from which none gets to the end of 63 bits.
_LARGEST = 2**62


def fresh_buffers(
    cell: ChoppedTransferCompound, d_size: int, x_size: int, seed: int | None = None
) -> dict[str, Tensor]:
    """Return the buffers of a new tile; `algorithm.TransferArrays` tells what they are.

    Args:
        cell: Parameters of the cell.
        d_size: Number of rows.
        x_size: Number of columns.
        seed: Seed of the draws that signs take; None draws one from torch's generator.
    """
    lines, length = (x_size, d_size) if cell.transfer_columns else (d_size, x_size)
    is_dynamic = isinstance(cell, DynamicTransferCompound)
    planes = ("past_mean_weight", "reference_weight") if is_dynamic else ()
    counters = ("current_update_idx", "current_slice_indices", "transfer_counter", Names.CALLS)
    made = {
        **{n: _zeros(torch.float32, lines, length) for n in ("hidden_weight", *planes)},
        "in_chopper": _zeros(torch.int8, lines) + 1,
        "out_chopper": _zeros(torch.int8, length) + 1,
        **({"in_chopper_switched": _zeros(torch.int8, lines)} if is_dynamic else {}),
        **{name: _zeros(torch.int64, 1) for name in counters},
        "input_error_averages": _zeros(torch.float64, 2),
        "count_lr": _zeros(torch.float64, 1),
    }
    if seed is None:
        seed = int(torch.randint(0, 2**63 - 1, (1,), dtype=torch.int64, device="cpu"))
    return made | {Names.SEED: _zeros(torch.int64, 1) + seed}


def _zeros(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.zeros(shape, dtype=dtype, device="cpu")


def checked_buffer(name: str, value: Any, like: Tensor) -> Tensor:
    """Return the value of a buffer that was saved, detached.

    Args:
        name: Its name in messages, and without a prefix that of the buffer.
        value: What the state has.
        like: The buffer of a new tile.

    Raises:
        InputError: It is no such tensor.
        StateError: No tile can have that value.
    """
    fits = isinstance(value, Tensor) and value.dtype is like.dtype and value.shape == like.shape
    if not fits:
        raise InputError(
            f"{name}: expected a tensor of {like.dtype} of shape {tuple(like.shape)}, got"
            f" {describe_value(value)}"
        )
    why = _fault(name.rpartition(".")[2], value)
    if why is not None:
        raise StateError(f"{name}: {why}")
    return value.detach()  # type: ignore[no-any-return]


def _fault(name: str, value: Tensor) -> str | None:
    if not all_finite(value):
        return "values must be finite"
    if name in ("in_chopper", "out_chopper"):
        return None if bool((value.abs() == 1).all()) else "signs must be 1 or -1"
    if name == "in_chopper_switched":
        return None if bool(((value == 0) | (value == 1)).all()) else "values must be 0 or 1"
    if name in ("input_error_averages", "count_lr"):
        return None if bool((value >= 0).all()) else "values must not be negative"
    if value.dtype is torch.int64 and name != Names.SEED:
        return None if 0 <= int(value) <= _LARGEST else "must be a count from 0 to 2**62"
    return None
