"""The network that an analog model stands for: exact products with the weights as stored."""

import copy
from typing import Any

from torch import nn

from mho.evaluation.ablation import changed_fields, without_idle_warnings
from mho.evaluation.preparation import programmable, tiles_of
from mho.simulator.parameters.enums import WeightModifierType
from mho.simulator.parameters.io import IOParameters
from mho.simulator.tiles import editing


def digital(model: nn.Module) -> nn.Module:
    """Return a copy of a model with exact products, and without clipping at input ranges.

    Its weights are those that programming aims at, where they are known. Everything else is as it
    is: scales, biases, digital layers, and a quantised periphery.

    Args:
        model: Prepared model.
    """
    copied = copy.deepcopy(model)
    for tile in programmable(copied).values():
        target = tile.reference_combined_weights
        if target is None:
            target = tile.programmed_weights
        if target is not None:
            tile.tile.set_weights(target.detach().clone())
        tile.programming.forget()
    for name, tile in tiles_of(copied).items():
        config = copy.deepcopy(tile.rpu_config)
        _make_exact(config)
        with without_idle_warnings():
            editing.edit({name: tile}, changed_fields(tile.rpu_config, config))
    return copied


def _make_exact(config: Any) -> None:
    range_ = getattr(getattr(config, "pre_post", None), "input_range", None)
    if range_ is not None:
        range_.enable = False
    if isinstance(getattr(config, "forward", None), IOParameters):
        config.forward.is_perfect = True
    if getattr(config, "drift_compensation", None) is not None:
        config.drift_compensation = None
    if getattr(config, "modifier", None) is not None:
        config.modifier.type = WeightModifierType.NONE
