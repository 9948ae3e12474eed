"""Clearing gradients clears what pulsed tiles have recorded, whoever does it.

Contexts never have a gradient, so `zero_grad` of torch passes over them. Models and optimizers that
hold one are plain ones of torch as often as ours; so its methods are wrapped here, in place.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from torch import nn
from torch.optim import Optimizer

from mho.optim.context import AnalogContext


def drop_pairs(parameters: Iterable[Any]) -> None:
    """Drop the traces of the contexts among parameters.

    Args:
        parameters: Parameters of a model.
    """
    for parameter in parameters:
        if issubclass(type(parameter), AnalogContext):
            parameter.clear_pairs()


def _clearing(
    zero_grad: Callable[..., None], held_by: Callable[[Any], Iterable[Any]]
) -> Callable[..., None]:
    @wraps(zero_grad)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        zero_grad(self, *args, **kwargs)
        drop_pairs(held_by(self))

    wrapped.clears_pairs = True  # type: ignore[attr-defined]
    return wrapped


def _held_by_model(model: nn.Module) -> Iterable[Any]:
    return model.parameters()


def _held_by_optimizer(optimizer: Optimizer) -> Iterable[Any]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


if not hasattr(nn.Module.zero_grad, "clears_pairs"):
    nn.Module.zero_grad = _clearing(nn.Module.zero_grad, _held_by_model)  # type: ignore[method-assign]
    Optimizer.zero_grad = _clearing(Optimizer.zero_grad, _held_by_optimizer)  # type: ignore[method-assign]
