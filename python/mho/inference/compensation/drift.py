"""Drift compensation by one factor per tile or per output."""

import torch
from torch import Tensor

from mho.exceptions import TileError
from mho.inference.compensation.base import BaseDriftCompensation, DriftReadoutTile
from mho.simulator.parameters.arguments import check_size
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.signatures import checked

_SMALLEST_READOUT = 1e-4


@register_config_class
class GlobalDriftCompensation(BaseDriftCompensation):
    """One factor per tile from the mean absolute output over all one-hot inputs.

    See Joshi et al., Nat. Commun. 11:2473, 2020.
    """

    @checked
    @torch.no_grad()
    def readout(self, out_tensor: Tensor) -> Tensor:
        """Return the mean absolute output, a scalar of at least 1e-4.

        Args:
            out_tensor: Outputs of the array, shape `[batch, out]`.
        """
        return out_tensor.abs().mean().clamp(min=_SMALLEST_READOUT)

    @checked
    def get_readout_tensor(self, in_size: int) -> Tensor:
        """Return one-hot inputs, shape `[in_size, in_size]`.

        Args:
            in_size: Number of input lines.
        """
        return torch.eye(check_size("in_size", in_size), device="cpu")


@register_config_class
class GlobalDriftCompensationWithExactReference(GlobalDriftCompensation):
    """One factor per tile relative to the weights before programming, read without noise."""

    @checked
    @torch.no_grad()
    def init_baseline(self, tile: DriftReadoutTile) -> tuple[Tensor, Tensor]:
        """Return the exact readout of the weights before programming.

        Args:
            tile: Programmed tile.

        Returns:
            The readout, and the inputs it was taken with, shape `[in, in]`.

        Raises:
            TileError: The tile holds no weights from before programming.
        """
        weights = tile.reference_combined_weights
        if weights is None:
            raise TileError(
                "drift compensation with exact reference needs programmed weights;"
                " call program_weights"
            )
        readout_tensor = self.get_readout_tensor(tile.drift_readout_size())
        return self.readout(readout_tensor.to(weights) @ weights.T), readout_tensor


@register_config_class
class PerColumnDriftCompensation(BaseDriftCompensation):
    """One factor per output from its mean absolute value over all one-hot inputs."""

    @checked
    @torch.no_grad()
    def readout(self, out_tensor: Tensor) -> Tensor:
        """Return the mean absolute value of each output, at least 1e-4.

        Args:
            out_tensor: Outputs of the array, shape `[batch, out]`.

        Returns:
            Shape `[out]`.
        """
        return out_tensor.abs().mean(dim=0).clamp(min=_SMALLEST_READOUT)

    @checked
    def get_readout_tensor(self, in_size: int) -> Tensor:
        """Return one-hot inputs, shape `[in_size, in_size]`.

        Args:
            in_size: Number of input lines.
        """
        return torch.eye(check_size("in_size", in_size), device="cpu")
