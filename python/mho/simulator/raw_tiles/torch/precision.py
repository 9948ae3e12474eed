"""What of a configuration the precision of a torch tile has room for."""

from dataclasses import fields
from math import isinf

import torch

from mho.exceptions import ConfigError
from mho.simulator.parameters.io import BOUNDS, LARGEST, IOParameters


def check_numbers(io: IOParameters, path: str, dtype: torch.dtype) -> None:
    """Refuse parameters that products in a precision have no room for.

    Args:
        io: Parameters.
        path: Their field in the configuration.
        dtype: Precision.

    Raises:
        ConfigError: A number is too large; the message names the field.
    """
    largest = torch.finfo(dtype).max
    for field in fields(io):
        value = getattr(io, field.name)
        # Of fields at their defaults some belong to what torch tiles do not simulate.
        if not isinstance(value, float) or value == field.default:
            continue
        is_bound = field.name in BOUNDS
        limit = largest if is_bound else min(largest, LARGEST)
        if abs(value) > limit and not (is_bound and isinf(value)):
            raise ConfigError(
                f"{path}.{field.name}: {value:g} is beyond what products in {dtype} have room for;"
                f" use at most {limit:g}"
            )
