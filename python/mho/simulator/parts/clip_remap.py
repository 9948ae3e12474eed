"""What follows each optimizer step of inference tiles."""

from typing import Protocol

import torch

from mho.simulator.parameters.enums import WeightClipType, WeightRemapType
from mho.simulator.parts.base import Part
from mho.simulator.parts.scales import ScaledTile, Scales


class ClippedTile(ScaledTile, Protocol):
    """What clipping and remapping need of their tile."""

    scales: Scales

    def weights_edited(self) -> None:
        """Follow a change of the weights by anything but their devices or their programming."""


class ClipRemap(Part):
    """Clips weights, and rescales weights and scales, as `clip` and `remap` say."""

    _tile: ClippedTile

    @torch.no_grad()
    def after_step(self) -> None:
        """Clip the weights, then remap them; scales times weights stay what they are.

        Values that are not finite stay, as torch leaves them: a step does not fail halfway.
        """
        config = self._tile.rpu_config
        clip, remap = getattr(config, "clip", None), getattr(config, "remap", None)
        if clip is not None and clip.type is not WeightClipType.NONE:
            self._tile.weights_edited()
            self._tile.tile.clip_weights(clip)
        if remap is not None and remap.type is not WeightRemapType.NONE:
            self._tile.weights_edited()
            scales = self._tile.scales.get_scales()
            if scales is None:
                scales = torch.ones(1).to(self._tile._get_tile_weights_ref())
            if not bool(torch.isfinite(scales).all()):
                return  # training diverged, as the outputs show
            spread = scales.expand(self._tile.out_size).clone()
            self._tile.scales.set_scales(self._tile.tile.remap_weights(remap, spread))
