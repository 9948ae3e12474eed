"""Calls of modules from within other modules."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import (
    _global_backward_hooks,
    _global_backward_pre_hooks,
    _global_forward_hooks,
    _global_forward_pre_hooks,
)


def call(module: Any, x_input: Tensor) -> Tensor:
    """Return `module(x_input)`, without the detour through torch's hooks where there are none.

    Args:
        module: Module with one input.
        x_input: Its input.
    """
    output: Tensor = module.forward(x_input) if is_called_alone(module) else module(x_input)
    return output


def is_called_alone(module: Any) -> bool:
    """Return whether a call of a module does nothing but its method `forward`.

    Args:
        module: Module.
    """
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or _global_forward_hooks
        or _global_forward_pre_hooks
        or module._compiled_call_impl is not None
        or torch._C._get_tracing_state()
        or (torch.is_grad_enabled() and _is_differentiated_as_module(module))
    )


def _is_differentiated_as_module(module: Any) -> bool:
    """Return whether something asks for the module itself when gradients are recorded."""
    return bool(
        module._backward_hooks
        or module._backward_pre_hooks
        or _global_backward_hooks
        or _global_backward_pre_hooks
        # Graphs name their nodes after the modules that are called.
        or torch.compiler.is_compiling()
    )
