"""Whether tensors have NaN or infinities."""

import math

import torch
from torch import Tensor


def all_finite(values: Tensor) -> bool:
    """Return whether all values are finite.

    Args:
        values: Dense tensor of real numbers.
    """
    if not values.is_floating_point():
        return True
    # A sum shows NaN and infinities, in one pass that makes no other tensor. Where it is itself
    # beyond the precision, which is rare, the values decide.
    return math.isfinite(values.sum().item()) or bool(torch.isfinite(values).all())
