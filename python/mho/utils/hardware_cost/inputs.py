"""Inputs of the pass that is counted."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError
from mho.nn.data_passes import arguments_of
from mho.simulator.parameters.arguments import check_size
from mho.simulator.parameters.checking import describe
from mho.utils.hardware_cost.digital_work import shape_of


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
        args, kwargs = (), inputs
    elif isinstance(inputs, tuple) and not (len(inputs) == 2 and isinstance(inputs[1], Mapping)):
        if not inputs:
            raise ArgumentError("inputs: expected arguments, got an empty tuple")
        args, kwargs = inputs, {}
    else:
        args, kwargs = arguments_of(inputs, "inputs")
    if any(isinstance(value, Tensor) and value.is_nested for value in (*args, *kwargs.values())):
        raise ArgumentError("inputs: nested tensors have no shape; pad them")
    try:
        inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError as error:
        raise ArgumentError(
            f"inputs: do not fit the arguments of {type(model).__name__}: {error}"
        ) from error
    return args, dict(kwargs)


def _zeros(model: nn.Module, input_size: Any) -> tuple[Tensor, ...]:
    if input_size is None:
        return ()
    if not isinstance(input_size, list | tuple) or not input_size:
        raise ArgumentError(
            f"input_size: expected a shape such as (1, 28, 28), got {describe(input_size)}"
        )
    several = input_size if isinstance(input_size[0], list | tuple) else [input_size]
    shapes = [tuple(check_size("input_size", n) for n in shape) for shape in several]
    first = next((p for p in model.parameters() if p.is_floating_point()), None)
    like: dict[str, Any] = {} if first is None else {"device": first.device, "dtype": first.dtype}
    return tuple(torch.zeros(shape, **like) for shape in shapes)


def batch_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Return the size of the first axis of the first tensor, 1 without any.

    Args:
        args: Arguments of a pass.
        kwargs: Those by name.
    """
    for value in (*args, *kwargs.values()):
        shape = shape_of(value)
        if shape:
            return max(1, shape[0])
    return 1
