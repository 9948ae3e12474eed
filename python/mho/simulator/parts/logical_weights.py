"""The weights of a tile as those of a layer: logical weights and bias."""

from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, InputError
from mho.simulator.parameters.arguments import check_flag, check_number, check_size
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parts.base import Part
from mho.simulator.parts.clipping import note
from mho.simulator.parts.scales import ScaledTile, Scales, weight_scales
from mho.simulator.raw_tiles.rows import as_tensor, check_tensor
from mho.simulator.raw_tiles.weight_limits import check_weights
from mho.simulator.state.entries import Entry, assign
from mho.simulator.state.transaction import unchanged_on_error

# Inputs to read weights with: more of them are a slip, and fill the memory.
_MOST_SAMPLES = 10_000_000


class LayerTile(ScaledTile, Protocol):
    """What logical weights need of their tile."""

    scales: Scales
    programming: Any
    parts: tuple[Part, ...]
    io_dtype: torch.dtype

    def __call__(self, x_input: Tensor) -> Any:
        """Return the output of the tile."""

    def train(self, mode: bool = True) -> Any:
        """Switch between training and evaluation."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    def _get_tile_weights_ref(self) -> Tensor:
        """Return the live raw weights."""


class LogicalWeights(Part):
    """Writes and reads the weights of a layer: raw weights times scales, and the bias.

    The bias is a parameter of the tile, or the last column of the array if it is analog.
    """

    _tile: LayerTile

    def entries(self, config: Any) -> dict[str, Entry]:
        """Return the entry of the bias; see the base class."""
        return {"bias": Entry(((self._tile.out_size,),))} if self._tile.digital_bias else {}

    def store(self, name: str, value: Tensor | None) -> None:
        """Take over the bias; see the base class."""
        assert value is not None  # the entry is required
        assign(self._tile, name, value)

    def set_weights(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        apply_weight_scaling: bool = True,
        realistic: bool = False,
        weight_scaling_omega: float | None = None,
    ) -> None:
        """Write logical weights.

        Pulsed devices clip the weights to their bounds, so reading back may differ.

        Args:
            weight: Logical weights `[out_size, in_size]`, or the kernel of a convolution,
                `[out_size, ...]` with as many values.
            bias: Bias `[out_size]`; a digital one is kept if it is not given.
            apply_weight_scaling: Choose new mapping scales; the learned ones are reset to one.
            realistic: Program the weights with the errors of the devices.
            weight_scaling_omega: Largest absolute tile weight; None takes that of the
                configuration. Zero or less resets the scales to one.

        Raises:
            ArgumentError: An analog bias is missing, or a value is not finite; nothing is changed.
            InputError: Wrong shape; nothing is changed.
        """
        scaled = check_flag("apply_weight_scaling", apply_weight_scaling)
        combined, digital = self._combined(weight, bias)
        scales = self._new_scales(combined, weight_scaling_omega) if scaled else None
        raw = combined
        if scales is not None:
            raw = combined / scales.reshape(-1, 1)
            check_weights(raw, (raw.shape[0], raw.shape[1]))
        if check_flag("realistic", realistic):
            with unchanged_on_error([cast(nn.Module, self._tile)]):
                self._write(raw, digital, scaled, scales)
                self._tile.programming.program_weights()
        else:
            self._write(raw, digital, scaled, scales)

    @torch.no_grad()
    def _write(
        self, raw: Tensor, digital: Tensor | None, scaled: bool, scales: Tensor | None
    ) -> None:
        """Write what was checked."""
        tile = self._tile
        # First what can fail, for lack of memory or on a graphics processor.
        tile.tile.set_weights(raw)
        note(tile, raw, scales is not None)
        present = tile._parameters["bias"]
        if digital is not None and present is not None:
            present.detach().copy_(digital)
        if scaled and tile.scales.get_scales() is not None:
            # Scales of earlier weights must not multiply the new ones a second time.
            tile.scales.set_scales(1.0)
        if scales is not None:
            tile.scales.set_scales(scales)
        for part in tile.parts:
            part.forget()

    def _new_scales(self, combined: Tensor, weight_scaling_omega: float | None) -> Tensor | None:
        """Return the scales that belong to logical weights, None if they are not scaled."""
        mapping = self._tile.rpu_config.mapping
        omega = check_number(
            "weight_scaling_omega",
            mapping.weight_scaling_omega if weight_scaling_omega is None else weight_scaling_omega,
        )
        if omega <= 0.0:
            return None
        dtype = self._tile._get_tile_weights_ref().dtype
        scales = weight_scales(combined, omega, mapping.weight_scaling_columnwise, dtype)
        if not bool((torch.isfinite(scales) & (scales > 0.0)).all()):
            raise ArgumentError(
                f"weight_scaling_omega: {omega} does not go with these weights, their scales are"
                f" beyond {scales.dtype}"
            )
        return scales

    def apply_weight_scaling(
        self, combined_weights: Tensor, weight_scaling_omega: float | None = None
    ) -> Tensor:
        """Return tile weights for logical weights, and set the scales that belong to them.

        Args:
            combined_weights: Logical weights with the analog bias column, shape `[out, x_size]`.
            weight_scaling_omega: Largest absolute tile weight; None takes that of the
                configuration. Zero or less keeps the scales and returns the weights as they are.

        Raises:
            ArgumentError: A value is not finite; nothing is changed.
            InputError: The weights have another shape; nothing is changed.
        """
        raw = self._tile.tile
        shape = (raw.get_d_size(), raw.get_x_size())
        checked = check_weights(combined_weights, shape, "combined_weights")
        scales = self._new_scales(checked, weight_scaling_omega)
        if scales is None:
            return combined_weights
        self._tile.scales.set_scales(scales)
        return combined_weights / scales.reshape(-1, 1)

    def _combined(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return checked logical weights with the analog bias column, and the digital bias."""
        tile = self._tile
        given = as_matrix(as_tensor("weight", weight), tile.out_size, tile.in_size)
        checked = check_weights(given, (tile.out_size, tile.in_size))
        if not given.is_floating_point():
            given = checked
        # Raw tiles that move have a precision of their own, to which float32 would round.
        combined = given if tile.tile.moves else checked
        column = None if bias is None else self._checked_bias(bias)
        if not tile.analog_bias:
            return combined, column if tile.digital_bias else None
        if column is None:
            raise ArgumentError("bias: is required, the tile has an analog bias")
        return torch.cat([combined, column.reshape(-1, 1)], dim=1), None

    def _checked_bias(self, bias: Tensor) -> Tensor:
        given = as_tensor("bias", bias).detach().clone().reshape(-1)
        value = given.to("cpu", torch.float32)
        if value.numel() != self._tile.out_size:
            raise InputError(f"bias: expected {self._tile.out_size} values, got {value.numel()}")
        own = self._tile._parameters["bias"]
        stored = value if own is None else value.to(own.dtype)
        if not all_finite(stored):
            raise ArgumentError("bias: values must be finite; found NaN or infinity")
        return given if self._tile.tile.moves else value

    def get_weights(
        self, apply_weight_scaling: bool = True, realistic: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return copies of the logical weights `[out_size, in_size]` and bias on the host.

        Args:
            apply_weight_scaling: Multiply by the scales; otherwise the raw weights of the tile are
                returned.
            realistic: Estimate them from products of the tile, with all their noise.
        """
        apply_weight_scaling = check_flag("apply_weight_scaling", apply_weight_scaling)
        if check_flag("realistic", realistic):
            return self.read_weights(apply_weight_scaling)
        return self.of_raw(self._tile.tile.get_weights(), apply_weight_scaling)

    @torch.no_grad()
    def of_raw(self, raw: Tensor, apply_weight_scaling: bool) -> tuple[Tensor, Tensor | None]:
        """Return what weights and bias of the layer would be with other weights in the array.

        Args:
            raw: Raw weights, shape `[out, x_size]`, or `[samples, out, x_size]`.
            apply_weight_scaling: Multiply by the scales.
        """
        combined = raw.detach().cpu()
        scales = self._tile.scales.get_scales() if apply_weight_scaling else None
        if scales is not None:
            combined = combined * scales.cpu().reshape(-1, 1)
        return self._separated(combined)

    def _separated(self, combined: Tensor) -> tuple[Tensor, Tensor | None]:
        if self._tile.analog_bias:
            return combined[:, :-1].clone(), combined[:, -1].clone()
        bias = self._tile._parameters["bias"]
        return combined, None if bias is None else bias.detach().cpu().clone()

    def read_weights(
        self,
        apply_weight_scaling: bool = False,
        x_values: Tensor | None = None,
        over_sampling: int = 10,
    ) -> tuple[Tensor, Tensor | None]:
        """Return an estimate of weights and bias from products in evaluation mode.

        It is the least-squares solution.

        Args:
            apply_weight_scaling: Return logical weights; otherwise the scales are divided out.
            x_values: Inputs to read with, shape `[samples, in_size]`; by default standard normal
                ones.
            over_sampling: Number of samples per input by default.

        Raises:
            ArgumentError: `over_sampling` is no positive number, or a value is not finite.
            InputError: `x_values` has the wrong shape.
        """
        apply_weight_scaling = check_flag("apply_weight_scaling", apply_weight_scaling)
        size = self._tile.in_size
        if x_values is None:
            samples = size * check_size("over_sampling", over_sampling)
            if samples > _MOST_SAMPLES:
                raise ArgumentError(
                    f"over_sampling: at most {_MOST_SAMPLES} samples, got {samples}"
                )
            x = torch.randn(samples, size, dtype=torch.float32, device="cpu")
        else:
            check_tensor(x_values, "x_values")
            x = x_values.detach().cpu().float()
        if x.dim() != 2 or x.shape[1] != size or x.shape[0] == 0:
            raise InputError(f"x_values: expected shape [samples, {size}], got {tuple(x.shape)}")
        if not all_finite(x):
            raise ArgumentError("x_values: values must be finite; found NaN or infinity")
        with unchanged_on_error([cast(nn.Module, self._tile)]):
            combined = self._estimate(x)
        scales = None if apply_weight_scaling else self._tile.scales.get_scales()
        if scales is not None:
            combined = combined / scales.cpu().reshape(-1, 1)
        return self._separated(combined)

    def _estimate(self, x: Tensor) -> Tensor:
        tile = self._tile
        training = tile.training
        tile.train(False)
        try:
            with torch.no_grad():
                given = x.to(tile.device, tile.io_dtype)
                y: Tensor = tile(given.t() if tile.in_trans else given)
                y = (y.t() if tile.out_trans else y).float().cpu()
        finally:
            tile.train(training)
        bias = tile._parameters["bias"]
        if bias is not None:
            y = y - bias.detach().cpu()
        if tile.analog_bias:
            x = torch.cat([x, x.new_ones(x.shape[0], 1)], dim=1)
        solution: Tensor = torch.linalg.lstsq(x.double(), y.double()).solution
        return solution.t().float()

    def remap_weights(self, weight_scaling_omega: float | None = 1.0) -> None:
        """Write the logical weights again with new scales.

        Args:
            weight_scaling_omega: Largest absolute tile weight; None takes that of the
                configuration.
        """
        weight, bias = self.get_weights()
        self.set_weights(weight, bias, weight_scaling_omega=weight_scaling_omega)


def as_matrix(weight: Any, out_size: int, in_size: int) -> Tensor:
    """Return given weights as a matrix, detached.

    Args:
        weight: Weights `[out_size, in_size]`, or a kernel `[out_size, ...]` of as many values,
            which is flattened.
        out_size: Number of outputs.
        in_size: Number of inputs.

    Raises:
        InputError: It is no tensor of real numbers, or of another shape. A transposed matrix is
            named: reshaping it would scramble it.
    """
    value = as_tensor("weight", weight).detach()
    if type(value) is not Tensor:
        value = value.clone()  # of a view of other analog weights, the values
    check_tensor(value, "weight")
    if value.dim() > 2 and len(value) == out_size and value.numel() == out_size * in_size:
        return value.reshape(out_size, in_size)
    check_shape(value, (out_size, in_size))
    return value


def check_shape(weight: Any, expected: tuple[int, ...]) -> None:
    """Check the shape of given weights.

    Args:
        weight: Tensor, or what becomes one.
        expected: Shape of the logical weights.

    Raises:
        InputError: It is another one. A transposed matrix is named: reshaping would scramble it.
    """
    given = tuple(as_tensor("weight", weight).shape)
    if given != expected:
        hint = "; it is transposed, give weight.t()" if given == expected[::-1] else ""
        raise InputError(f"weight: expected shape [out, in] = {expected}, got {given}{hint}")
