"""Values that a caller gives to a tile: vectors of numbers, and tensors by their names."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, InputError
from mho.simulator.parameters.arguments import check_mapping, is_dense
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.finite import all_finite
from mho.simulator.raw_tiles.rows import as_tensor


def named_values(dic: Mapping[str, Tensor] | None, more: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what was given by a dictionary and by keywords as one dictionary.

    Args:
        dic: Dictionary, or None.
        more: Keywords.

    Raises:
        ArgumentError: The first is not a dictionary.
    """
    return {**({} if dic is None else check_mapping("dic", dic)), **more}


def as_vector(name: str, value: object) -> Tensor:
    """Return numbers as a float32 vector on the host.

    Args:
        name: Name of the argument in messages.
        value: Numbers in any shape.

    Raises:
        ArgumentError: They are no real numbers.
    """
    try:
        given = torch.as_tensor(value, device="cpu").detach()
        if given.is_complex() or not is_dense(given):
            raise TypeError("not a dense tensor of real numbers")
        return given.to("cpu", torch.float32).reshape(-1)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ArgumentError(f"{name}: expected numbers, got {describe(value)}: {error}") from error


def check_values(name: str, value: object, shape: tuple[int, ...]) -> Tensor:
    """Return finite values in a shape, on the host and detached.

    Args:
        name: Name of the argument in messages.
        value: Tensor, or what becomes one, of as many values.
        shape: Shape of the result.

    Raises:
        ArgumentError: A value is not finite.
        InputError: It is no tensor of real numbers, or has another number of values.
    """
    given = as_tensor(name, value).detach().cpu()
    if given.numel() != torch.Size(shape).numel():
        raise InputError(f"{name}: expected values for shape {shape}, got {tuple(given.shape)}")
    if not all_finite(given):
        raise ArgumentError(f"{name}: values must be finite; found NaN or infinity")
    return given.reshape(shape)
