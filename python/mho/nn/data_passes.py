"""Passing data through a model without training it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from mho.exceptions import ArgumentError


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode inside the block, then every module into its own again.

    Args:
        model: Model.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def arguments_of(batch: Any, name: str) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return the arguments of a model for one batch.

    A tensor is the one argument, a pair of arguments and a dictionary is both, of any other list or
    tuple the first element is the one argument, and a dictionary has arguments by name.

    Args:
        batch: What the loader yields.
        name: Name of the loader in the message.

    Raises:
        ArgumentError: The batch is none of these.
    """
    if isinstance(batch, Tensor):
        return (batch,), {}
    if isinstance(batch, Mapping):
        return (), batch
    if not isinstance(batch, (list, tuple)) or not batch:
        raise ArgumentError(
            f"{name}: expected batches that are tensors, (args, kwargs), lists that begin with"
            f" the input, or dictionaries, got {type(batch).__name__}"
        )
    if len(batch) == 2 and isinstance(batch[1], Mapping):
        args, kwargs = batch
        return tuple(args) if isinstance(args, (list, tuple)) else (args,), kwargs
    return (batch[0],), {}
