"""Whether tensors have NaN or infinities."""

import math

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import InputError

_PLAIN = (Tensor, torch.nn.Parameter)


def all_finite(*values: Tensor) -> bool:
    """Return whether all values of all tensors are finite.

    Args:
        values: Dense tensors of real numbers.
    """
    if all(type(value) in _PLAIN for value in values) and not torch.compiler.is_compiling():
        try:
            return _core.all_finite(*values)
        except InputError:  # of another dtype, device or layout, unaligned, or a wrapper
            pass  # torch can read what the core cannot
    return all(_is_finite(value) for value in values)


def _is_finite(values: Tensor) -> bool:
    if not values.is_floating_point():
        return True
    # A sum shows NaN and infinities, in one pass that makes no other tensor. Where it is itself
    # beyond the precision, which is rare, the values decide.
    return math.isfinite(values.sum().item()) or bool(torch.isfinite(values).all())
