"""Inputs of the pass that is counted."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError
from mho.nn.data_passes import arguments_of
from mho.simulator.parameters.arguments import check_size


def arguments_of_pass(
    model: nn.Module, input_size: Any, inputs: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a pass; none without inputs and sizes.

    Args:
        model: Model; zeros are made where its parameters are.
        input_size: Shape of an input of zeros, or a list of shapes.
        inputs: Inputs: a tensor, a tuple of arguments, arguments and those by name, or these.

    Raises:
        ArgumentError: Both are given, or one is something else.
    """
    if inputs is not None and input_size is not None:
        raise ArgumentError("input_size: is not used with inputs; give one of them")
    if inputs is None:
        return _zeros(model, input_size), {}
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    if isinstance(inputs, tuple) and not (len(inputs) == 2 and isinstance(inputs[1], Mapping)):
        if not inputs:
            raise ArgumentError("inputs: expected arguments, got an empty tuple")
        return inputs, {}
    args, kwargs = arguments_of(inputs, "inputs")
    return args, dict(kwargs)


def _zeros(model: nn.Module, input_size: Any) -> tuple[Tensor, ...]:
    if input_size is None:
        return ()
    try:
        several = [input_size] if isinstance(input_size[0], int) else list(input_size)
        shapes = [tuple(check_size("input_size", n) for n in shape) for shape in several]
    except (TypeError, IndexError, KeyError):
        raise ArgumentError(
            f"input_size: expected a shape such as (1, 28, 28), got {input_size!r}"
        ) from None
    first = next(model.parameters(), None)
    device = None if first is None else first.device
    return tuple(torch.zeros(shape, device=device) for shape in shapes)


def batch_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Return the size of the first axis of the first tensor, 1 without any.

    Args:
        args: Arguments of a pass.
        kwargs: Those by name.
    """
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor) and value.dim() > 0:
            return max(1, len(value))
    return 1
