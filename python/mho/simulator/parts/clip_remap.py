"""What follows each optimizer step of inference tiles."""

from typing import Protocol

import torch
from torch import Tensor, nn

from mho.simulator.parameters.enums import WeightClipType, WeightRemapType
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.inference import WeightRemapParameter
from mho.simulator.parts.base import Part
from mho.simulator.parts.scales import ScaledTile, Scales


class ClippedTile(ScaledTile, Protocol):
    """What clipping and remapping need of their tile."""

    scales: Scales

    def trained_parameter(self) -> nn.Parameter | None:
        """Return the parameter by which torch trains the weights."""

    def weights_edited(self) -> None:
        """Follow a change of the weights by anything but their devices or their programming."""


class ClipRemap(Part):
    """Clips weights, and rescales weights and scales, as `clip` and `remap` say."""

    _tile: ClippedTile

    @torch.no_grad()
    def after_step(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Clip the weights, then remap them; scales times weights stay what they are.

        Values that are not finite stay, as torch leaves them: a step does not fail halfway.

        Returns:
            Parameters that remapping multiplied by factors: weights, learned output scales.
        """
        config = self._tile.rpu_config
        clip, remap = getattr(config, "clip", None), getattr(config, "remap", None)
        if clip is not None and clip.type is not WeightClipType.NONE:
            self._tile.weights_edited()
            self._tile.tile.clip_weights(clip)
        if remap is not None and remap.type is not WeightRemapType.NONE:
            self._tile.weights_edited()
            return self._remap(remap)
        return []

    def _remap(self, remap: WeightRemapParameter) -> list[tuple[nn.Parameter, Tensor]]:
        tile = self._tile
        scales, learned = tile.scales.get_scales(), tile.scales.get_learned_out_scales()
        if scales is None:
            scales = tile._get_tile_weights_ref().new_ones(1)
        if not all_finite(scales):
            return []  # training diverged, as the outputs show
        spread = scales.expand(tile.out_size).clone()
        new = tile.tile.remap_weights(remap, spread)
        multiplied = []
        trained = tile.trained_parameter()
        if trained is not None:
            multiplied.append((trained, (spread / new).reshape(-1, 1)))
        if learned is not None:
            ones = torch.ones_like(learned)
            multiplied.append((learned, torch.where(learned != 0.0, ones / learned, ones)))  # type: ignore[arg-type]
        tile.scales.set_scales(new)
        return multiplied
