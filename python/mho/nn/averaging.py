"""Averages of models whose mapping scales change while they are trained.

Remapping moves factors between raw weights and scales after every step. Averages of torch meet the
raw weights, which are parameters, and take the scales of the present model beside them: a product
of numbers that do not belong together. With the averaged weights in the units of the present
scales, any linear average of raw weights is that of the logical ones.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mho.exceptions import ModuleError
from mho.simulator.parameters.signatures import checked
from mho.simulator.state.ordinary import ordinary_tensors
from mho.simulator.tiles.module import TileModule


@checked
def match_scales(averaged: nn.Module, model: nn.Module) -> None:
    """Give the tiles of a model the mapping scales of another one, and keep its logical weights.

    What was drawn from its former weights, or programmed with them, is forgotten: an average that
    follows is of other ones.

    `torch.optim.swa_utils.AveragedModel` does so by itself; own code that averages parameters calls
    it before each average.

    Args:
        averaged: Model with averaged weights; its raw weights and scales are changed.
        model: Model of the same structure.

    Raises:
        ModuleError: The models differ in the number of tiles.
    """
    tiles, others = _tiles(averaged), _tiles(model)
    if len(tiles) != len(others):
        raise ModuleError(
            f"averaged: has {len(tiles)} analog tiles, but model has {len(others)}; average a copy"
            " of the model"
        )
    for tile, other in zip(tiles, others, strict=True):
        weight = tile.trained_parameter()
        scales = getattr(other, "scales", None)
        if weight is not None and scales is not None:
            tile.weights_edited()
            _enter_scales(tile, weight, scales.get_mapping_scales())


def _tiles(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, TileModule)]


@ordinary_tensors()
def _enter_scales(tile: Any, weight: nn.Parameter, scales: Tensor | None) -> None:
    present = tile.scales.get_mapping_scales()
    if scales is None and present is None:
        return
    one = weight.new_ones(1)
    old, new = (one if value is None else value.to(weight) for value in (present, scales))
    if old.shape == new.shape and torch.equal(old, new):
        return
    weight.mul_(old.reshape(-1, 1)).div_(new.reshape(-1, 1))
    tile.scales.set_mapping_scales(None)  # one scale would fill a vector that is there
    if scales is not None:
        tile.scales.set_mapping_scales(scales)


def _matching(update: Callable[..., None]) -> Callable[..., None]:
    """Return `update_parameters` of torch with the averaged weights in the present scales."""

    @wraps(update)
    def update_parameters(self: AveragedModel, model: nn.Module) -> None:
        match_scales(self.module, model)
        update(self, model)

    update_parameters.matches_scales = True  # type: ignore[attr-defined]
    return update_parameters


if not hasattr(AveragedModel.update_parameters, "matches_scales"):
    AveragedModel.update_parameters = _matching(AveragedModel.update_parameters)  # type: ignore[method-assign]
