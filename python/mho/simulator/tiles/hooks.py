"""What is done to inputs, outputs and gradients around the array; subclasses may replace it."""

from typing import Any

from torch import Tensor

from mho.simulator.parts import input_range
from mho.simulator.tiles.ranged import RangedTile


class HookedTile(RangedTile):
    """Tile with input range and mapping scales around its array, as steps of their own."""

    _backward_factor: float

    def pre_forward(
        self, x_input: Tensor, dim: int, is_test: bool = False, ctx: Any = None
    ) -> Tensor:
        """Return inputs as the array gets them.

        Args:
            x_input: Inputs, features on axis `dim`.
            dim: Axis of the features.
            is_test: Evaluation mode; the range follows the data only in training.
            ctx: Not used.
        """
        if self._buffers.get("input_range_update_idx") is None:
            return x_input
        return self._normalised(x_input, not is_test)

    def post_forward(
        self, x_output: Tensor, dim: int, is_test: bool = False, ctx: Any = None
    ) -> Tensor:
        """Return outputs scaled back by input range and mapping.

        Args:
            x_output: Outputs of the array, features on axis `dim`.
            dim: Axis of the features.
            is_test: Evaluation mode.
            ctx: Not used.
        """
        if self._buffers.get("input_range_update_idx") is not None and self.input_range is not None:
            x_output = x_output * input_range.positive(self.input_range)
        return self._times_scales(x_output, dim)

    def pre_backward(self, d_input: Tensor, dim: int, ctx: Any = None) -> Tensor:
        """Return gradients of outputs as the array gets them.

        Args:
            d_input: Gradients of the outputs, features on axis `dim`.
            dim: Axis of the features.
            ctx: Not used.
        """
        if self._backward_factor != 1.0:
            d_input = d_input * self._backward_factor
        return self._times_scales(d_input, dim)

    def post_backward(self, d_output: Tensor, dim: int, ctx: Any = None) -> Tensor:
        """Return gradients of inputs: clipping and scaling by the range cancel (straight-through).

        Args:
            d_output: Transposed product, features on axis `dim`.
            dim: Axis of the features.
            ctx: Not used.
        """
        return d_output

    def pre_update(
        self, x_input: Tensor, x_dim: int, d_input: Tensor, d_dim: int
    ) -> tuple[Tensor, Tensor]:
        """Return inputs and gradients of an update as the array gets them.

        Dividing the gradients by the mapping scales makes a step of the logical weights that of
        plain SGD.

        Args:
            x_input: Inputs, features on axis `x_dim`.
            x_dim: Axis of their features.
            d_input: Gradients of the outputs, features on axis `d_dim`.
            d_dim: Axis of their features.
        """
        if self.input_range is not None:
            x_input = self._normalised(x_input, False)
        return x_input, self._unscaled(d_input, d_dim)

    def _times_scales(self, values: Tensor, dim: int) -> Tensor:
        scales = self._buffers.get("mapping_scales")
        if scales is None:
            return values
        return values * scales.view(self.get_tensor_view(values.dim(), dim))

    def _unscaled(self, d: Tensor, dim: int) -> Tensor:
        scales = self._buffers.get("mapping_scales")
        if scales is None:
            return d
        return d / (scales * self.mapping_lr_scale).view(self.get_tensor_view(d.dim(), dim))
