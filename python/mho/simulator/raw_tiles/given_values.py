"""Values that a caller gives to a tile: vectors of numbers, and tensors by their names."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.simulator.parameters.arguments import check_mapping, is_dense
from mho.simulator.parameters.checking import describe


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
