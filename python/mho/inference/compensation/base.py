"""Interface of the digital correction of drift."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.simulator.parameters.attribute_config import AttributeConfig
from mho.simulator.parameters.signatures import checked


@runtime_checkable
class DriftReadoutTile(Protocol):
    """What a compensation needs of a tile."""

    @property
    def reference_combined_weights(self) -> Tensor | None:
        """Weights before programming, shape `[out, in]` with the analog bias column, or None."""

    def drift_readout_size(self) -> int:
        """Return the number of input lines of the array, with that of an analog bias."""

    def drift_readout(self, readout_tensor: Tensor) -> Tensor:
        """Return the product of the bare array in test mode: no input range, no scales, no bias.

        Args:
            readout_tensor: Inputs, shape `[batch, drift_readout_size()]`.

        Returns:
            Outputs, shape `[batch, out]`.
        """


class BaseDriftCompensation(AttributeConfig):
    """Multiplies outputs by the ratio of a readout after programming to the same readout now."""

    def __str__(self) -> str:
        """Return the constructor call."""
        values = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"

    @checked
    @torch.no_grad()
    def init_baseline(self, tile: DriftReadoutTile) -> tuple[Tensor, Tensor]:
        """Return the readout of a freshly programmed tile.

        Args:
            tile: Tile whose weights were just programmed.

        Returns:
            The readout, and the inputs it was taken with, shape `[batch, in]`.
        """
        readout_tensor = self.get_readout_tensor(tile.drift_readout_size())
        return self.readout(tile.drift_readout(readout_tensor)), readout_tensor

    @checked
    def get_readout_tensor(self, in_size: int) -> Tensor:
        """Return the inputs that readouts are taken with, shape `[batch, in_size]`.

        Args:
            in_size: Number of input lines.
        """
        raise NotImplementedError(f"{type(self).__name__} lacks get_readout_tensor")

    @checked
    def readout(self, out_tensor: Tensor) -> Tensor:
        """Return the number, or one number per output, that sums a readout up.

        Args:
            out_tensor: Outputs of the array, shape `[batch, out]`.
        """
        raise NotImplementedError(f"{type(self).__name__} lacks readout")

    @checked
    @torch.no_grad()
    def apply(self, forward_output: Tensor, ref_value: Tensor) -> Tensor:
        """Return the factor that corrects outputs now.

        Args:
            forward_output: Outputs of a readout now, shape `[batch, out]`.
            ref_value: Readout after programming.

        Raises:
            ArgumentError: `ref_value` is the readout of another number of outputs.
        """
        now = self.readout(forward_output)
        if ref_value.numel() != 1 and ref_value.shape != now.shape:
            raise ArgumentError(
                f"ref_value: expected shape {tuple(now.shape)}, got {tuple(ref_value.shape)}"
            )
        return ref_value.to(forward_output.device) / now
