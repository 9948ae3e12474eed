"""Interface of raw tiles."""

from typing import Any

import torch
from torch import Tensor

from mho.exceptions import TileError


class SimulatorTile:
    """Interface of a raw tile: weights and products, without digital periphery.

    `forward` computes `x W^T`, `backward` computes `d W`, and `update` ideally `W -= lr d^T x`.
    Tensors have any number of batch axes; features are last, or first where the layout argument
    says so. Nothing tracks gradients.
    """

    def forward(
        self,
        x_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        is_test: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return outputs, shape `[..., out]`.

        Args:
            x_input: Inputs, shape `[..., in]`.
            bias: Whether the last column is a bias, whose input of one is appended here.
            in_trans: Whether features are first in the input.
            out_trans: Whether features are first in the output.
            is_test: Evaluation mode.
            non_blocking: Accepted for compatibility.
        """
        raise NotImplementedError

    def backward(
        self,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return gradients of the inputs, shape `[..., in]`.

        Args:
            d_input: Gradients of the outputs, shape `[..., out]`.
            bias: Whether the last column is a bias, which is left out of the result.
            in_trans: Whether features are first in the argument.
            out_trans: Whether features are first in the result.
            non_blocking: Accepted for compatibility.
        """
        raise NotImplementedError

    def update(
        self,
        x_input: Tensor,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> None:
        """Update the weights with pairs of inputs and output gradients.

        Args:
            x_input: Inputs, shape `[..., in]`.
            d_input: Gradients of the outputs, shape `[..., out]`.
            bias: Whether the last column is a bias.
            in_trans: Whether features are first in the inputs.
            out_trans: Whether features are first in the gradients.
            non_blocking: Accepted for compatibility.
        """
        raise NotImplementedError

    def run_forward(
        self,
        rows: Tensor,
        bias_input: float | None,
        is_test: bool,
        weight: Tensor | None = None,
        want_mask: bool = False,
    ) -> tuple[Tensor, Tensor | None, int]:
        """Return the product of a batch of rows, for autograd.

        Args:
            rows: Inputs, shape `[batch, in]`.
            bias_input: Input of the bias column, None without one.
            is_test: Evaluation mode.
            weight: Raw weights to use instead of the own ones.
            want_mask: Also tell which outputs sit at the bound of the converter.

        Returns:
            Outputs `[batch, out]`, mask of clipped outputs (uint8, same shape) or None, and the
            number of the call.
        """
        return self.forward(rows, bias_input is not None, is_test=is_test), None, 0

    def run_backward(
        self, rows: Tensor, call: int, is_test: bool = False, weight: Tensor | None = None
    ) -> Tensor:
        """Return the transposed product of a batch of rows, for autograd.

        Args:
            rows: Gradients of the outputs, shape `[batch, out]`.
            call: Number of the forward call.
            is_test: Evaluation mode.
            weight: Raw weights to use instead of the own ones.

        Returns:
            Shape `[batch, in]`, without the bias column.
        """
        return self.backward(rows, self.has_bias_column())

    def run_update(self, x: Tensor, d: Tensor, bias_input: float | None) -> None:
        """Update the weights with pairs of rows.

        Args:
            x: Inputs, shape `[batch, in]`.
            d: Gradients of the outputs, shape `[batch, out]`.
            bias_input: Input of the bias column, None without one.
        """
        self.update(x, d, bias_input is not None)

    def next_call(self) -> int:
        """Return the number of a new call, for raw tiles that count them."""
        return 0

    def has_bias_column(self) -> bool:
        """Return whether the last column is a bias."""
        return False

    def get_brief_info(self) -> str:
        """Return one line with kind and size."""
        raise NotImplementedError

    def get_weights(self, as_ref: bool = False) -> Tensor:
        """Return the raw weights, shape `[out, in]`.

        Args:
            as_ref: Return the live storage instead of a copy.
        """
        raise NotImplementedError

    def set_weights(self, weight: Tensor) -> None:
        """Write the raw weights.

        Args:
            weight: Shape `[out, in]`.
        """
        raise NotImplementedError

    def get_x_size(self) -> int:
        """Return the number of columns."""
        raise NotImplementedError

    def get_d_size(self) -> int:
        """Return the number of rows."""
        raise NotImplementedError

    def get_hidden_parameters(self) -> Tensor:
        """Return the state of all crosspoints, shape `[n, out, in]`, empty if there is none."""
        return torch.empty(0)

    def get_hidden_parameter_names(self) -> list[str]:
        """Return the names of the planes of `get_hidden_parameters`."""
        return []

    def set_hidden_parameters(self, params: Tensor) -> None:
        """Write the state of all crosspoints.

        Args:
            params: As returned by `get_hidden_parameters`.

        Raises:
            TileError: The tile has no such state.
        """
        if params.numel() > 0:
            raise TileError(f"{type(self).__name__} has no hidden parameters")

    def get_learning_rate(self) -> float | None:
        """Return the raw learning rate."""
        raise NotImplementedError

    def set_learning_rate(self, learning_rate: float | None) -> None:
        """Set the raw learning rate; None is ignored."""
        raise NotImplementedError

    def dump_extra(self) -> dict[str, Any] | None:
        """Return further state, None if there is none."""
        return None

    def load_extra(self, extra: dict[str, Any], strict: bool = False) -> None:
        """Restore what `dump_extra` returned.

        Args:
            extra: Output of `dump_extra`.
            strict: Raise on missing entries.
        """

    def set_weights_uniform_random(self, bmin: float, bmax: float) -> None:
        """Draw the weights uniformly from `[bmin, bmax)`."""
        raise NotImplementedError

    def get_meta_parameters(self) -> Any:
        """Return the parameters the tile was built from."""
        raise NotImplementedError
