"""Calls of modules from within other modules."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks


def call(module: Any, x_input: Tensor) -> Tensor:
    """Return `module(x_input)`, without the detour through torch's hooks where there are none.

    Args:
        module: Module with one input.
        x_input: Its input.
    """
    if (
        torch.is_grad_enabled()
        or module._forward_hooks
        or module._forward_pre_hooks
        or _global_forward_hooks
        or _global_forward_pre_hooks
        or module._compiled_call_impl is not None
        or torch._C._get_tracing_state()
    ):
        output: Tensor = module(x_input)
        return output
    # Backward hooks have nothing to do where no gradient is recorded.
    output = module.forward(x_input)
    return output
