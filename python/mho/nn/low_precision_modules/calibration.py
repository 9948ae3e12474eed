"""Ranges of quantisers from data, without training."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import nn

from mho.exceptions import ArgumentError
from mho.nn.data_passes import arguments_of, evaluated
from mho.nn.low_precision_modules.quantization_states import fix_ranges
from mho.simulator.digital_low_precision.quantization_manager import QuantizationManager
from mho.simulator.parameters.signatures import checked


@checked
def calibrate_quantization_ranges(
    model: nn.Module, loader: Iterable[Any], max_num_batches: int = 20
) -> None:
    """Estimate all ranges of quantised modules and tiles from data, and keep them.

    The model runs in evaluation mode, which is undone. Ranges of quantised modules stay until they
    are told otherwise, also in training; those of tiles stay in evaluation. On an error, such as
    one in the data, everything is as before.

    Args:
        model: Model.
        loader: Yields batches: a tensor, arguments and a dictionary of those by name, a tuple or
            list whose first entry is the input, or a dictionary of arguments by name.
        max_num_batches: Largest number of batches that are used.

    Raises:
        ArgumentError: The model has nothing quantised, there is no batch, or it is something else.
    """
    if max_num_batches < 1:
        raise ArgumentError(f"max_num_batches: must be positive, got {max_num_batches}")
    managers = [module for module in model.modules() if isinstance(module, QuantizationManager)]
    if not managers:
        raise ArgumentError("model: has no quantised modules or tiles; convert it first")
    with evaluated(model), torch.no_grad(), _in_their_states(managers):
        for manager in managers:
            manager.estimate_ranges()
        count = 0
        for batch in islice(loader, max_num_batches):
            args, kwargs = arguments_of(batch, "loader")
            model(*args, **kwargs)
            count += 1
        if count == 0:
            raise ArgumentError("loader: there is no batch to estimate ranges from")
    fix_ranges(model)


@contextmanager
def _in_their_states(managers: list[QuantizationManager]) -> Iterator[None]:
    """Put every manager back into its state at the end; if the block raises, with its range."""
    states = [manager.state for manager in managers]
    ranges = [
        {name: value.detach().clone() for name, value in manager.state_dict().items()}
        for manager in managers
    ]
    try:
        yield
    except BaseException:
        for manager, saved in zip(managers, ranges, strict=True):
            manager.load_state_dict(saved)
        raise
    finally:
        for manager, state in zip(managers, states, strict=True):
            manager.enter(state)
