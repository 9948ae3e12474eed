"""Ranges of quantisers from data, without training."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError
from mho.nn.low_precision_modules.quantization_states import fix_ranges
from mho.simulator.digital_low_precision.quantization_manager import QuantizationManager
from mho.simulator.parameters.signatures import checked


@checked
def calibrate_quantization_ranges(
    model: nn.Module, loader: Iterable[Any], max_num_batches: int = 20
) -> None:
    """Estimate all ranges of quantised modules and tiles from data, and keep them.

    The model runs in evaluation mode, which is undone. Ranges of quantised modules stay until they
    are told otherwise, also in training; those of tiles stay in evaluation.

    Args:
        model: Model.
        loader: Yields batches: a tensor, a tuple or list whose first entry is the input, or a
            dictionary of arguments by name.
        max_num_batches: Largest number of batches that are used.

    Raises:
        ArgumentError: The model has nothing quantised, there is no batch, or it is something else.
    """
    if max_num_batches < 1:
        raise ArgumentError(f"max_num_batches: must be positive, got {max_num_batches}")
    managers = [module for module in model.modules() if isinstance(module, QuantizationManager)]
    if not managers:
        raise ArgumentError("model: has no quantised modules or tiles; convert it first")
    states = [manager.state for manager in managers]
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        for manager in managers:
            manager.estimate_ranges()
        with torch.no_grad():
            count = sum(1 for _ in _run(model, islice(loader, max_num_batches)))
        if count == 0:
            raise ArgumentError("loader: there is no batch to estimate ranges from")
    finally:
        for module, training in modes:
            module.training = training
        for manager, state in zip(managers, states, strict=True):
            manager.enter(state)
    fix_ranges(model)


def _run(model: nn.Module, batches: Iterable[Any]) -> Iterator[Any]:
    for batch in batches:
        if isinstance(batch, dict):
            yield model(**batch)
        elif isinstance(batch, Tensor):
            yield model(batch)
        elif isinstance(batch, (tuple, list)) and batch:
            yield model(batch[0])
        else:
            raise ArgumentError(
                f"loader: expected tensors, tuples or dictionaries, got {type(batch).__name__}"
            )
