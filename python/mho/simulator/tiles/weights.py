"""Writing, reading and programming the weights of a tile."""

from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, InputError
from mho.simulator.parameters.arguments import check_not_negative, check_size
from mho.simulator.raw_tiles.rows import check_tensor
from mho.simulator.raw_tiles.weight_limits import check_weights
from mho.simulator.tiles.scales import ScaledTile


class WeightTile(ScaledTile):
    """Tile whose weights can be accessed as those of a layer."""

    reference_combined_weights: Tensor | None

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
            weight: Logical weights, reshaped to `[out_size, in_size]`.
            bias: Bias `[out_size]`; a digital one is kept if it is not given.
            apply_weight_scaling: Choose new mapping scales; the learned ones are reset to one.
            realistic: Program the weights with the errors of the devices.
            weight_scaling_omega: Largest absolute tile weight; None takes that of the
                configuration. Zero or less resets the scales to one.

        Raises:
            ArgumentError: An analog bias is missing, or a value is not finite.
            InputError: Wrong number of elements.
        """
        combined, digital = self._combined(weight, bias)
        with torch.no_grad():
            if digital is not None and self.bias is not None:
                self.bias.data.copy_(digital)
            if apply_weight_scaling:
                combined = self._rescaled(combined, weight_scaling_omega)
            self.tile.set_weights(combined)
            self._forget_programming()
        if realistic:
            self.program_weights()

    def _rescaled(self, combined: Tensor, weight_scaling_omega: float | None) -> Tensor:
        # Scales of earlier weights must not multiply the new ones a second time.
        if self.get_scales() is not None:
            self.set_scales(1.0)
        return self.apply_weight_scaling(combined, weight_scaling_omega)

    def _combined(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return checked logical weights with the analog bias column, and the digital bias."""
        value = torch.as_tensor(weight)
        check_tensor(value, "weight")
        if value.numel() != self.out_size * self.in_size:
            raise InputError(
                f"weight: expected {self.out_size * self.in_size} values for shape"
                f" {(self.out_size, self.in_size)}, got shape {tuple(value.shape)}"
            )
        shape = (self.out_size, self.in_size)
        combined = check_weights(value.detach().reshape(shape), shape)
        checked = None if bias is None else self._checked_bias(bias)
        if not self.analog_bias:
            return combined, checked if self.digital_bias else None
        if checked is None:
            raise ArgumentError("bias: is required, the tile has an analog bias")
        return torch.cat([combined, checked.reshape(-1, 1)], dim=1), None

    def _checked_bias(self, bias: Tensor) -> Tensor:
        value = torch.as_tensor(bias).detach().to("cpu", torch.float32).reshape(-1)
        if value.numel() != self.out_size:
            raise InputError(f"bias: expected {self.out_size} values, got {value.numel()}")
        if not bool(torch.isfinite(value).all()):
            raise ArgumentError("bias: values must be finite; found NaN or infinity")
        return value

    def _forget_programming(self) -> None:
        """Drop what belongs to earlier weights."""
        self.reference_combined_weights = None

    def _weights_edited(self) -> None:
        """Follow a change of the weights by anything but their devices or their programming."""
        if self._is_programmed():
            self._forget_programming()

    def _is_programmed(self) -> bool:
        # Not by the attribute, which is slow: this is asked after every optimizer step.
        return self._buffers["reference_combined_weights"] is not None

    def get_weights(
        self, apply_weight_scaling: bool = True, realistic: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return copies of the logical weights `[out_size, in_size]` and bias on the host.

        Args:
            apply_weight_scaling: Multiply by the scales; otherwise the raw weights of the tile are
                returned.
            realistic: Estimate them from products of the tile, with all their noise.
        """
        if realistic:
            return self.read_weights(apply_weight_scaling)
        with torch.no_grad():
            combined = self.tile.get_weights().detach().cpu()
            scales = self.get_scales() if apply_weight_scaling else None
            if scales is not None:
                combined = combined * scales.cpu().reshape(-1, 1)
            return self._separated(combined)

    def _separated(self, combined: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.analog_bias:
            return combined[:, :-1].clone(), combined[:, -1].clone()
        return combined, None if self.bias is None else self.bias.detach().cpu().clone()

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
            InputError: `x_values` has the wrong shape.
        """
        size = self.in_size
        x = (
            torch.randn(size * over_sampling, size, dtype=torch.float32)
            if x_values is None
            else x_values.detach().cpu().float()
        )
        if x.dim() != 2 or x.shape[1] != size:
            raise InputError(f"x_values: expected shape [samples, {size}], got {tuple(x.shape)}")
        combined = self._estimate(x)
        scales = None if apply_weight_scaling else self.get_scales()
        if scales is not None:
            combined = combined / scales.cpu().reshape(-1, 1)
        return self._separated(combined)

    def _estimate(self, x: Tensor) -> Tensor:
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                given = x.to(self.device, self.io_dtype)
                y: Tensor = self(given.t() if self.in_trans else given)
                y = (y.t() if self.out_trans else y).float().cpu()
        finally:
            self.train(training)
        if self.bias is not None:
            y = y - self.bias.detach().cpu()
        if self.analog_bias:
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

    def program_weights(
        self,
        from_reference: bool = True,
        x_values: Tensor | None = None,
        learning_rate: float = 0.1,
        max_iter: int = 10000,
        tolerance: float | None = 0.01,
        w_init: float | Tensor = 0.01,
    ) -> None:
        """Program the weights in a closed loop of products and pulsed updates.

        Args:
            from_reference: Aim at the weights of the first call; otherwise, or at the first call,
                at the present ones.
            x_values: Inputs to verify with, shape `[samples, x_size]`; by default one-hot.
            learning_rate: Raw learning rate of the updates.
            max_iter: Largest number of iterations.
            tolerance: Stop when the mean absolute error falls below this fraction of the largest
                target output; None makes all iterations.
            w_init: Start from uniform weights of this magnitude, or from these raw weights.

        Raises:
            ArgumentError: A number is impossible, or a value is not finite; nothing is changed.
            InputError: `x_values` or `w_init` has the wrong shape; nothing is changed.
        """
        check_not_negative("learning_rate", learning_rate)
        check_size("max_iter", max_iter)
        if tolerance is not None:
            check_not_negative("tolerance", tolerance)
        with torch.no_grad():
            x = self._verification_inputs(x_values)
            start = self._checked_start(w_init)
            if not from_reference or self.reference_combined_weights is None:
                self.reference_combined_weights = self.tile.get_weights()
            targets = x @ self.reference_combined_weights.t()
            if isinstance(start, Tensor):
                self.tile.set_weights(start)
            else:
                self.tile.set_weights_uniform_random(-start, start)
            kept = self.tile.get_learning_rate()
            self.tile.set_learning_rate(learning_rate)
            try:
                self._programming_loop(x, targets, max_iter, tolerance)
            finally:
                self.tile.set_learning_rate(kept)

    def _verification_inputs(self, x_values: Tensor | None) -> Tensor:
        size, like = self.tile.get_x_size(), self.tile.get_weights()
        if x_values is None:
            return torch.eye(size).to(like)
        check_tensor(x_values, "x_values")
        if x_values.dim() != 2 or x_values.shape[1] != size or x_values.shape[0] == 0:
            raise InputError(
                f"x_values: expected shape [samples, {size}], got {tuple(x_values.shape)}"
            )
        if not bool(torch.isfinite(x_values).all()):
            raise ArgumentError("x_values: values must be finite; found NaN or infinity")
        return x_values.detach().to(like)

    def _checked_start(self, w_init: float | Tensor) -> float | Tensor:
        if not isinstance(w_init, Tensor) or w_init.dim() == 0:
            return check_not_negative("w_init", float(w_init))
        shape = (self.tile.get_d_size(), self.tile.get_x_size())
        return check_weights(w_init, shape, "w_init").to(self.tile.get_weights())

    def _programming_loop(
        self, x: Tensor, targets: Tensor, max_iter: int, tolerance: float | None
    ) -> None:
        # Errors are relative to the largest output; outputs of zero have none to be relative to.
        largest = float(targets.abs().max()) or 1.0
        for _ in range(max_iter):
            error = self.tile.forward(x, False) - targets
            if tolerance is not None and float(error.abs().mean()) < tolerance * largest:
                return
            self.tile.update(x, error, False)

    def set_learning_rate(self, learning_rate: float | None) -> None:
        """Set the learning rate; compensation for the mapping scales multiplies the raw one.

        Args:
            learning_rate: None is ignored.

        Raises:
            ArgumentError: It is negative or not finite; the present one stays.
        """
        if learning_rate is not None:
            rate = check_not_negative("learning_rate", learning_rate)
            self.tile.set_learning_rate(rate * self.mapping_lr_scale)

    def get_learning_rate(self) -> float | None:
        """Return the learning rate."""
        raw: Any = self.tile.get_learning_rate()
        return None if raw is None else raw / self.mapping_lr_scale
