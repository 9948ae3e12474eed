"""Scales between the logical weights of a layer and the raw weights of a tile."""

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, ConfigError
from mho.simulator.parameters.arguments import check_not_negative
from mho.simulator.parameters.enums import WeightRemapType
from mho.simulator.parts.base import Part, PartOwner
from mho.simulator.raw_tiles.given_values import as_vector
from mho.simulator.raw_tiles.rows import check_tensor, check_view
from mho.simulator.raw_tiles.weight_limits import with_floor
from mho.simulator.state.entries import Entry, assign
from mho.simulator.state.ordinary import ordinary_tensors


class ScaledTile(PartOwner, Protocol):
    """What scales need of their tile."""

    mapping_lr_scale: float

    def get_tensor_view(self, ndim: int, dim: int | None = None) -> tuple[int, ...]:
        """Return the shape that spreads a vector over one axis of a tensor."""


class Scales(Part):
    """Mapping scales and learned output scales; logical weights are raw weights times both.

    Mapping scales, `[1]` or `[out_size]`, are constants for autograd; learned output scales are an
    ordinary parameter behind the product.
    """

    _tile: ScaledTile

    def register(self) -> None:
        """Register the scales of a fresh tile, none at first."""
        self._tile.register_parameter("out_scaling_alpha", None)
        self._tile.register_buffer("mapping_scales", None)

    def follow(self, config: Any) -> None:
        """Add, drop and resize scales as a configuration says; new ones are one.

        Args:
            config: Configuration; its `mapping`, and its `remap` if it has one.
        """
        self.init_learned_out_scales()
        self.init_mapping_scales()

    def entries(self, config: Any) -> dict[str, Entry]:
        """Return the entries of the scales; see the base class."""
        one, vector = (1,), (self._tile.out_size,)
        entries = {"mapping_scales": Entry((one, vector), required=False, positive=True)}
        if config.mapping.learn_out_scaling:
            columnwise = config.mapping.out_scaling_columnwise
            entries["out_scaling_alpha"] = Entry((vector if columnwise else one,))
        return entries

    def store(self, name: str, value: Tensor | None) -> None:
        """Take over scales; see the base class."""
        if value is None:
            self._tile._buffers[name] = None
        else:
            assign(self._tile, name, value)
        self._follow_rate()

    def init_learned_out_scales(self) -> None:
        """Add or remove the learned output scales as the configuration says; new ones are one."""
        mapping, parameters = self._tile.rpu_config.mapping, self._tile._parameters
        size = self._tile.out_size if mapping.out_scaling_columnwise else 1
        present = parameters["out_scaling_alpha"]
        if not mapping.learn_out_scaling:
            parameters["out_scaling_alpha"] = None
        elif present is None or present.numel() != size:
            ones = self._filled(size, 1.0)
            parameters["out_scaling_alpha"] = nn.Parameter(ones)

    def init_mapping_scales(self) -> None:
        """Add mapping scales of one if scaling or remapping of the weights asks for them."""
        config = self._tile.rpu_config
        mapping, remap = config.mapping, getattr(config, "remap", None)
        remaps = remap is not None and remap.type is not WeightRemapType.NONE
        if self.get_mapping_scales() is None and (mapping.weight_scaling_omega > 0.0 or remaps):
            is_one = mapping.weight_scaling_omega > 0.0 and not mapping.weight_scaling_columnwise
            ones = self._filled(1 if is_one else self._tile.out_size, 1.0)
            self._tile._buffers["mapping_scales"] = ones
        self._follow_rate()

    def get_mapping_scales(self) -> Tensor | None:
        """Return the mapping scales, shape `[1]` or `[out_size]`, or None."""
        return self._tile._buffers["mapping_scales"]

    @ordinary_tensors()
    def set_mapping_scales(self, mapping_scales: Tensor | float | None) -> None:
        """Set the mapping scales; the learning rate stays what it is.

        Args:
            mapping_scales: One factor, one per output, or None to remove them.

        Raises:
            ArgumentError: Wrong number of factors, or one is not positive and finite.
        """
        tile = self._tile
        if mapping_scales is None:
            tile._buffers["mapping_scales"] = None
        else:
            new = as_scales(mapping_scales, tile.out_size, self.get_mapping_scales())
            assign(tile, "mapping_scales", new)
            if tile.tile.moves:
                moved = tile._buffers["mapping_scales"].to(tile._get_tile_weights_ref())  # type: ignore[union-attr]
                tile._buffers["mapping_scales"] = moved
        self._keep_rate()

    def _follow_rate(self) -> None:
        # A plain number of the tile, not computed at each use: graphs carry it as a constant.
        compensate = self._tile.rpu_config.mapping.weight_scaling_lr_compensation
        self._tile.mapping_lr_scale = learning_rate_scale(self.get_mapping_scales(), compensate)

    def follow_cast(self) -> None:
        """Follow a cast, which rounds the scales: the learning rate stays."""
        self._keep_rate()

    def _keep_rate(self) -> None:
        """Follow new scales with the raw learning rate: it is relative to them."""
        before = self._tile.mapping_lr_scale
        self._follow_rate()
        if self._tile.mapping_lr_scale != before:
            raw = self._tile.tile.get_learning_rate()
            self.set_learning_rate(None if raw is None else raw / before)

    def get_learned_out_scales(self) -> Tensor | None:
        """Return the learned output scales, shape `[1]` or `[out_size]`, or None."""
        return self._tile._parameters["out_scaling_alpha"]

    def set_learned_out_scales(self, alpha: Tensor | float) -> None:
        """Set the learned output scales.

        Args:
            alpha: One factor, or one per output.

        Raises:
            ArgumentError: Wrong number of factors, or one is not positive and finite.
            ConfigError: The tile has no learned output scales.
        """
        present = self.get_learned_out_scales()
        if present is None:
            raise ConfigError("mapping.learn_out_scaling: the tile has no learned output scales")
        new = as_scales(alpha, self._tile.out_size, present.detach())
        if new.numel() > present.numel():
            raise ArgumentError(
                f"alpha: the tile has one learned output scale, got {new.numel()}; set"
                " mapping.out_scaling_columnwise for one per output"
            )
        present.detach().copy_(new.to(present))

    def apply_out_scaling(
        self, values: Tensor, tensor_view: tuple[int, ...] | None = None
    ) -> Tensor:
        """Return values times the learned output scales.

        Args:
            values: Outputs.
            tensor_view: Shape that spreads a vector of all outputs over them.

        Raises:
            InputError: The values are no tensor, or the shape does not fit them.
        """
        alpha = self.get_learned_out_scales()
        if alpha is None:
            return values
        if not isinstance(values, Tensor) or values.is_meta or values.is_nested:
            check_tensor(values, "values")
        if tensor_view is None:
            tensor_view = self._tile.get_tensor_view(values.dim())
        else:
            check_view(tensor_view, self._tile.out_size, tuple(values.shape))
        return values * alpha.view(tensor_view)

    def get_scales(self) -> Tensor | None:
        """Return mapping times learned scales, shape `[1]` or `[out_size]`, or None."""
        mapping, learned = self.get_mapping_scales(), self.get_learned_out_scales()
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
        learned = self.get_learned_out_scales()
        if learned is not None:
            learned.detach().fill_(1.0)

    def set_learning_rate(self, learning_rate: float | None) -> None:
        """Set the learning rate; compensation for the mapping scales multiplies the raw one.

        Args:
            learning_rate: None is ignored.

        Raises:
            ArgumentError: It is negative or not finite; the present one stays.
        """
        if learning_rate is not None:
            rate = check_not_negative("learning_rate", learning_rate)
            self._tile.tile.set_learning_rate(rate * self._tile.mapping_lr_scale)

    def get_learning_rate(self) -> float | None:
        """Return the learning rate."""
        raw = self._tile.tile.get_learning_rate()
        return None if raw is None else raw / self._tile.mapping_lr_scale

    def times(self, values: Tensor, dim: int) -> Tensor:
        """Return outputs, or gradients of outputs, times the mapping scales.

        Args:
            values: Features on axis `dim`.
            dim: Axis of the features.
        """
        scales = self._tile._buffers["mapping_scales"]
        if scales is None:
            return values
        return values * scales.view(self._tile.get_tensor_view(values.dim(), dim))

    def unscale(self, d: Tensor, dim: int) -> Tensor:
        """Return gradients by which an update changes the logical weights as plain SGD would.

        Args:
            d: Gradients of the outputs, features on axis `dim`.
            dim: Axis of the features.
        """
        scales = self._tile._buffers["mapping_scales"]
        if scales is None:
            return d
        factor = scales * self._tile.mapping_lr_scale
        return d / factor.view(self._tile.get_tensor_view(d.dim(), dim))


def weight_scales(combined: Tensor, omega: float, columnwise: bool, dtype: torch.dtype) -> Tensor:
    """Return the factors that bring the largest absolute weight to `omega`.

    Rows of nearly nothing get the scale of `with_floor`; their raw weights stay below `omega`.

    Args:
        combined: Logical weights with an analog bias column, shape `[out, x_size]`.
        omega: Largest absolute tile weight, positive.
        columnwise: One factor per output instead of one for all.
        dtype: Precision of the raw weights.

    Returns:
        Shape `[out]` or `[1]`; one where the weights are all zero.
    """
    largest = combined.abs().amax(dim=1) if columnwise else combined.abs().amax().reshape(1)
    scales = with_floor(largest, dtype) / omega
    return torch.where((largest > 0.0) & (scales > 0.0), scales, torch.ones_like(scales))


def as_scales(value: Tensor | float, out_size: int, current: Tensor | None) -> Tensor:
    """Return new mapping scales with the length that the tile keeps.

    Args:
        value: One factor, or one per output.
        out_size: Number of outputs.
        current: Present scales; one new factor fills them.

    Raises:
        ArgumentError: The number of factors is neither 1 nor `out_size`, or one is not positive and
            finite.
    """
    flat = as_vector("scales", value)
    if flat.numel() not in (1, out_size):
        raise ArgumentError(f"scales: expected 1 or {out_size} values, got {flat.numel()}")
    if not bool((torch.isfinite(flat) & (flat > 0.0)).all()):
        raise ArgumentError("scales: values must be finite and positive")
    if flat.numel() == 1 and current is not None and current.numel() == out_size:
        return flat.expand(out_size).clone()
    return flat.clone()


def learning_rate_scale(scales: Tensor | None, compensate: bool) -> float:
    """Return the factor on the learning rate, `1 / mean(scales)` with compensation and else 1.

    Args:
        scales: Mapping scales.
        compensate: Whether `weight_scaling_lr_compensation` is on.
    """
    if scales is None or not compensate:
        return 1.0
    factor = 1.0 / float(scales.mean())
    return factor if math.isfinite(factor) else 1.0


class UnscaledGradient(torch.autograd.Function):
    """Passes weights on and divides their gradient by the squared scale of its row.

    So a step of the raw weights changes the logical ones as it changes those of an unscaled layer.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, scales: Tensor) -> Tensor:
        """Return the weights unchanged.

        Args:
            weight: Shape `[out, in]`.
            scales: Shape `[out, 1]` or `[1, 1]`.
        """
        return weight.detach()  # not a view, whose error after a change in place is another one

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep the scales."""
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor, None]:
        """Return the divided gradient."""
        (scales,) = ctx.saved_tensors
        # Not by the square, which underflows in half precision where the quotient is ordinary.
        return d_output / scales / scales, None
