"""Programming of trained tiles in a closed loop of reading and pulses."""

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, InputError
from mho.simulator.parameters.arguments import check_flag, check_not_negative, check_size
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parts.base import Part, PartOwner
from mho.simulator.parts.device_drift import restart_clock
from mho.simulator.parts.reference_weights import ReferenceWeights
from mho.simulator.raw_tiles.rows import check_tensor
from mho.simulator.raw_tiles.weight_limits import check_weights
from mho.simulator.state.ordinary import ordinary_tensors
from mho.simulator.state.transaction import unchanged_on_error


class VerifiedTile(PartOwner, Protocol):
    """What programming by pulses needs of its tile."""

    reference_weights: ReferenceWeights


class WriteVerify(Part):
    """Programs weights as hardware does: read, compare, send pulses, until the error is small."""

    _tile: VerifiedTile

    def forget(self) -> None:
        """Drop what belongs to earlier weights."""
        self._tile.reference_weights.forget()

    def output_factor(self) -> Tensor | None:
        """Return the factor on outputs in evaluation: there is none."""
        return None

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

        If the devices drift, they start anew from what was programmed.

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
        learning_rate = check_not_negative("learning_rate", learning_rate)
        max_iter = check_size("max_iter", max_iter)
        if tolerance is not None:
            tolerance = check_not_negative("tolerance", tolerance)
        from_reference = check_flag("from_reference", from_reference)
        with ordinary_tensors(), unchanged_on_error([cast(nn.Module, self._tile)]):
            x = self._verification_inputs(x_values)
            start = self._checked_start(w_init)
            targets = x @ self._tile.reference_weights.aim(from_reference).t()
            if isinstance(start, Tensor):
                self._tile.tile.set_weights(start)
            else:
                self._tile.tile.set_weights_uniform_random(-start, start)
            kept = self._tile.tile.get_learning_rate()
            self._tile.tile.set_learning_rate(learning_rate)
            try:
                self._programming_loop(x, targets, max_iter, tolerance)
            finally:
                self._tile.tile.set_learning_rate(kept)
                restart_clock(self._tile)

    def _verification_inputs(self, x_values: Tensor | None) -> Tensor:
        size, like = self._tile.tile.get_x_size(), self._tile.tile.get_weights()
        if x_values is None:
            return torch.eye(size, dtype=like.dtype, device=like.device)
        check_tensor(x_values, "x_values")
        if x_values.dim() != 2 or x_values.shape[1] != size or x_values.shape[0] == 0:
            raise InputError(
                f"x_values: expected shape [samples, {size}], got {tuple(x_values.shape)}"
            )
        if not all_finite(x_values):
            raise ArgumentError("x_values: values must be finite; found NaN or infinity")
        return x_values.detach().to(like)

    def _checked_start(self, w_init: float | Tensor) -> float | Tensor:
        if not isinstance(w_init, Tensor) or w_init.dim() == 0:
            return check_not_negative("w_init", w_init)
        shape = (self._tile.tile.get_d_size(), self._tile.tile.get_x_size())
        return check_weights(w_init, shape, "w_init").to(self._tile.tile.get_weights())

    def _programming_loop(
        self, x: Tensor, targets: Tensor, max_iter: int, tolerance: float | None
    ) -> None:
        # Errors are relative to the largest output; outputs of zero have none to be relative to.
        largest = float(targets.abs().max()) or 1.0
        for _ in range(max_iter):
            error = self._tile.tile.forward(x, False) - targets
            if tolerance is not None and float(error.abs().mean()) < tolerance * largest:
                return
            self._tile.tile.update(x, error, False)
