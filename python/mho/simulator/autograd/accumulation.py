"""Where a backward pass accumulates gradients: there pairs are recorded, and nowhere else.

`torch.autograd.grad`, and `backward` with other `inputs`, leave gradients of parameters alone, so
they leave the traces of pulsed tiles alone as well. What autograd is about to do is asked of its
engine.

Compiled graphs reach a context through the token of its tile. Whoever names the context in
`backward(inputs=...)` means the token too, hence `torch.autograd.backward` is wrapped here, in
place; the method of tensors calls it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from mho.optim.context import AnalogContext

_will_execute: Any = torch._C._will_engine_execute_node


def accumulates_into(node: Any) -> bool:
    """Return whether the running backward pass accumulates the gradient of a leaf.

    Args:
        node: Node of autograd at which the gradient of the leaf arrives.
    """
    try:
        return bool(_will_execute(node))
    except RuntimeError:
        # `torch.autograd.grad` returns the gradient of this leaf instead, or no pass is running.
        return False


def accumulates(leaf: Tensor) -> bool:
    """Return whether the running backward pass accumulates the gradient of a leaf.

    Args:
        leaf: Tensor that requires a gradient.
    """
    return accumulates_into(torch.autograd.graph.get_gradient_edge(leaf).node)


def _with_tokens(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    contexts = [value for value in inputs if issubclass(type(value), AnalogContext)]
    tokens = [context.analog_tile._token for context in contexts]
    present = set(map(id, inputs))  # some versions of torch call the wrapped function once more
    return (*inputs, *(t for t in tokens if t.requires_grad and id(t) not in present))


def _naming_tokens(backward: Callable[..., None]) -> Callable[..., None]:
    """Return `backward` of torch for which a context in `inputs` stands for its token too."""

    @wraps(backward)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        inputs = kwargs.get("inputs")
        if isinstance(inputs, Tensor):
            inputs = (inputs,)
        if inputs is not None:
            kwargs["inputs"] = _with_tokens(tuple(inputs))
        backward(*args, **kwargs)

    wrapped.names_tokens = True  # type: ignore[attr-defined]
    return wrapped


if not hasattr(torch.autograd.backward, "names_tokens"):
    torch.autograd.backward = _naming_tokens(torch.autograd.backward)
