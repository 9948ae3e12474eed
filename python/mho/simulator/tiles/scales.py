"""Mapping scales and learned output scales of a tile."""

import torch
from torch import Tensor, nn

from mho.exceptions import ConfigError
from mho.simulator.parts import scales as scaling
from mho.simulator.state.entries import assign
from mho.simulator.tiles.module import TileModule


class ScaledTile(TileModule):
    """Tile whose logical weights are its raw weights times scales."""

    out_scaling_alpha: nn.Parameter | None
    mapping_lr_scale: float

    def get_tensor_view(self, ndim: int, dim: int | None = None) -> tuple[int, ...]:
        """Return the shape that spreads a vector over one axis of a tensor.

        Args:
            ndim: Rank of the tensor.
            dim: Axis; by default that of the output features.
        """
        axis = (0 if self.out_trans else ndim - 1) if dim is None else dim % ndim
        return tuple(-1 if i == axis else 1 for i in range(ndim))

    def _view(self, output: Tensor, tensor_view: tuple[int, ...] | None) -> tuple[int, ...]:
        return self.get_tensor_view(output.dim()) if tensor_view is None else tensor_view

    def init_learned_out_scales(self) -> None:
        """Add or remove the learned output scales as the configuration says; new ones are one."""
        mapping = self.rpu_config.mapping
        size = self.out_size if mapping.out_scaling_columnwise else 1
        present = self.out_scaling_alpha
        if not mapping.learn_out_scaling:
            self.out_scaling_alpha = None
        elif present is None or present.numel() != size:
            self.out_scaling_alpha = nn.Parameter(torch.ones(size, dtype=torch.float32))

    def init_mapping_scales(self) -> None:
        """Add mapping scales of one if the configuration asks for scaling."""
        mapping = self.rpu_config.mapping
        if mapping.weight_scaling_omega > 0.0 and self.mapping_scales is None:
            size = self.out_size if mapping.weight_scaling_columnwise else 1
            self.mapping_scales = torch.ones(size, dtype=torch.float32)
        self._learning_rate_scale()

    def get_mapping_scales(self) -> Tensor | None:
        """Return the mapping scales, shape `[1]` or `[out_size]`, or None."""
        return self.mapping_scales

    def set_mapping_scales(self, mapping_scales: Tensor | float | None) -> None:
        """Set the mapping scales.

        Args:
            mapping_scales: One factor, one per output, or None to remove them.

        Raises:
            ArgumentError: Wrong number of factors, or one is not positive and finite.
        """
        if mapping_scales is None:
            self.mapping_scales = None
        else:
            new = scaling.as_scales(mapping_scales, self.out_size, self.mapping_scales)
            assign(self, "mapping_scales", new)
        self._learning_rate_scale()

    def _learning_rate_scale(self) -> None:
        mapping = self.rpu_config.mapping
        self.mapping_lr_scale = scaling.learning_rate_scale(
            self._buffers.get("mapping_scales"), mapping.weight_scaling_lr_compensation
        )

    def get_learned_out_scales(self) -> Tensor | None:
        """Return the learned output scales, shape `[1]` or `[out_size]`, or None."""
        return self.out_scaling_alpha

    def set_learned_out_scales(self, alpha: Tensor | float) -> None:
        """Set the learned output scales.

        Args:
            alpha: One factor, or one per output.

        Raises:
            ArgumentError: Wrong number of factors, or one is not positive and finite.
            ConfigError: The tile has no learned output scales.
        """
        present = self.out_scaling_alpha
        if present is None:
            raise ConfigError("mapping.learn_out_scaling: the tile has no learned output scales")
        present.data.copy_(scaling.as_scales(alpha, self.out_size, present.detach()).to(present))

    def apply_out_scaling(
        self, values: Tensor, tensor_view: tuple[int, ...] | None = None
    ) -> Tensor:
        """Return values times the learned output scales.

        Args:
            values: Outputs.
            tensor_view: Shape that spreads a vector of all outputs over them.
        """
        alpha = self.out_scaling_alpha
        return values if alpha is None else values * alpha.view(self._view(values, tensor_view))

    def get_scales(self) -> Tensor | None:
        """Return mapping times learned scales, shape `[1]` or `[out_size]`, or None."""
        mapping, learned = self.mapping_scales, self.out_scaling_alpha
        if mapping is None or learned is None:
            present = mapping if learned is None else learned
            return None if present is None else present.detach().clone()
        return mapping * learned.detach()

    def set_scales(self, scales: Tensor | float) -> None:
        """Set the mapping scales and reset the learned ones to one.

        Args:
            scales: One factor, or one per output.

        Raises:
            ArgumentError: Wrong number of factors, or one is not positive and finite.
        """
        self.set_mapping_scales(scales)
        if self.out_scaling_alpha is not None:
            self.out_scaling_alpha.data.fill_(1.0)

    def apply_weight_scaling(
        self, combined_weights: Tensor, weight_scaling_omega: float | None = None
    ) -> Tensor:
        """Return tile weights for logical weights, and set the scales that belong to them.

        Args:
            combined_weights: Logical weights with the analog bias column, shape `[out, x_size]`.
            weight_scaling_omega: Largest absolute tile weight; None takes that of the
                configuration. Zero or less keeps the scales and returns the weights as they are.
        """
        mapping = self.rpu_config.mapping
        omega = (
            mapping.weight_scaling_omega if weight_scaling_omega is None else weight_scaling_omega
        )
        if omega <= 0.0:
            return combined_weights
        scales = scaling.weight_scales(combined_weights, omega, mapping.weight_scaling_columnwise)
        self.set_scales(scales)
        return combined_weights / scales.reshape(-1, 1)
