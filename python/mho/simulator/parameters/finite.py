"""Whether tensors have NaN or infinities."""

import math

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import InputError

_PLAIN = (Tensor, torch.nn.Parameter)


def all_finite(values: Tensor) -> bool:
    """Return whether all values are finite.

    Args:
        values: Dense tensor of real numbers.
    """
    if (
        values.dtype is torch.float32
        and type(values) in _PLAIN
        and values.is_cpu
        and values.is_contiguous()
        and not values.is_neg()
        and not torch.compiler.is_compiling()
    ):
        try:
            return _core.all_finite(values)
        except InputError:  # unaligned, or a wrapper
            pass  # torch can read what the core cannot
    if not values.is_floating_point():
        return True
    # A sum shows NaN and infinities, in one pass that makes no other tensor. Where it is itself
    # beyond the precision, which is rare, the values decide.
    return math.isfinite(values.sum().item()) or bool(torch.isfinite(values).all())
