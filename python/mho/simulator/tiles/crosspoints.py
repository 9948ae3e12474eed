"""Access to the devices at the crosspoints of a tile and to the converters at its lines."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mho.exceptions import InputError, TileError
from mho.simulator.raw_tiles.core.tile import CoreTile
from mho.simulator.raw_tiles.rows import check_tensor
from mho.simulator.tiles.weights import WeightTile


class CrosspointTile(WeightTile):
    """Tile whose devices can be inspected and acted upon.

    Everything but the hidden parameters needs a tile of the core; others raise `TileError`.
    """

    def _core_tile(self, what: str) -> CoreTile:
        if not isinstance(self.tile, CoreTile):
            raise TileError(
                f"{what}: {type(self).__name__} does not compute in the core and has none"
            )
        return self.tile

    def get_hidden_parameters(self) -> "OrderedDict[str, Tensor]":
        """Return copies of the device parameters in their order, shape `[out, x_size]` each."""
        values = self.tile.get_hidden_parameters()
        names = self.tile.get_hidden_parameter_names()
        return OrderedDict((name, values[i].clone()) for i, name in enumerate(names))

    def set_hidden_parameters(self, ordered_parameters: Mapping[str, Tensor]) -> None:
        """Write the device parameters; the weights are clipped to the new bounds.

        Args:
            ordered_parameters: As returned by `get_hidden_parameters`; an empty mapping changes
                nothing.

        Persistent weights stay as given, and visible ones with their noise as they are. If the mean
        step contradicts `dw_min` of the configuration, a warning says so and the tile uses a
        `dw_min` of its own from then on.

        Raises:
            ArgumentError: A value is not finite, or bounds are crossed; nothing is changed.
            InputError: A shape is wrong; nothing is changed.
            TileError: Names or their order differ from those of the device; nothing is changed.
        """
        if not ordered_parameters:
            return
        names = self.tile.get_hidden_parameter_names()
        if list(ordered_parameters) != names:
            raise TileError(f"hidden parameters: expected {names}, got {list(ordered_parameters)}")
        shape = (self.tile.get_d_size(), self.tile.get_x_size())
        for name, value in ordered_parameters.items():
            check_tensor(value, name)
            if tuple(value.shape) != shape:
                raise InputError(f"{name}: expected shape {shape}, got {tuple(value.shape)}")
        planes = [value.detach().to("cpu", torch.float32) for value in ordered_parameters.values()]
        self.tile.set_hidden_parameters(torch.stack(planes))

    def get_hidden_update_index(self) -> int:
        """Return the index of the device of a unit cell that is updated."""
        return self._core_tile("hidden update index").get_hidden_update_index()

    def set_hidden_update_index(self, index: int) -> None:
        """Choose the device of a unit cell that is updated.

        Args:
            index: Index; single devices ignore it.
        """
        self._core_tile("hidden update index").set_hidden_update_index(index)

    def get_forward_parameters(self) -> dict[str, Tensor]:
        """Return the frozen values per line of the product; empty tensors for those not in use."""
        return self._core_tile("forward parameters").get_forward_parameters()

    def set_forward_parameters(
        self, dic: Mapping[str, Tensor] | None = None, **kwargs: Tensor
    ) -> None:
        """Write frozen values per line of the product.

        Args:
            dic: Values by name.
            kwargs: More values.

        Raises:
            ArgumentError: Unknown name, wrong length or a value that is not finite; nothing is
                changed.
        """
        self._core_tile("forward parameters").set_forward_parameters(dic, **kwargs)

    def get_backward_parameters(self) -> dict[str, Tensor]:
        """Return the frozen values per line of the transposed product."""
        return self._core_tile("backward parameters").get_backward_parameters()

    def set_backward_parameters(
        self, dic: Mapping[str, Tensor] | None = None, **kwargs: Tensor
    ) -> None:
        """Write frozen values per line of the transposed product.

        Args:
            dic: Values by name.
            kwargs: More values.

        Raises:
            ArgumentError: Unknown name, wrong length or a value that is not finite; nothing is
                changed.
        """
        self._core_tile("backward parameters").set_backward_parameters(dic, **kwargs)

    def decay_weights(self, alpha: float = 1.0) -> None:
        """Let the weights decay once.

        Args:
            alpha: Number of calls it stands for.

        Raises:
            ArgumentError: It is negative or not finite; nothing is changed.
        """
        self._core_tile("decay_weights").decay_weights(alpha)
        self._weights_edited()

    def diffuse_weights(self) -> None:
        """Add one step of the random walk of the devices."""
        self._core_tile("diffuse_weights").diffuse_weights()
        self._weights_edited()

    def drift_weights(self, delta_t: float = 1.0) -> None:
        """Let the weights drift by the power law of the devices; without one nothing happens.

        The clock of a weight starts at the first call, and again at the call that finds it changed
        by anything else.

        Args:
            delta_t: Time since the last call, in the unit of `drift.t_0`.

        Raises:
            ArgumentError: It is negative or not finite; nothing is changed.
        """
        self._core_tile("drift_weights").drift_weights(delta_t)

    def reset_columns(
        self, start_column_idx: int = 0, num_columns: int = 1, reset_prob: float = 1.0
    ) -> None:
        """Reset columns to the reset value of the devices.

        Args:
            start_column_idx: First column.
            num_columns: Number of columns, wrapping around; a negative number means all.
            reset_prob: Probability of each crosspoint.

        Raises:
            ArgumentError: The column does not exist or the probability is outside `[0, 1]`.
        """
        self._core_tile("reset_columns").reset_columns(start_column_idx, num_columns, reset_prob)
        self._weights_edited()

    def reset(self, reset_prob: float = 1.0) -> None:
        """Reset all columns.

        Args:
            reset_prob: Probability of each crosspoint.
        """
        self.reset_columns(0, -1, reset_prob)

    def post_update_step(self) -> None:
        """Do what follows every optimizer step: diffusion and decay, if the device has them.

        What was programmed before belongs to other weights now, unless the tile is frozen.
        """
        if self._is_programmed() and self._is_trained():
            self._forget_programming()
        if not isinstance(self.tile, CoreTile):
            return
        device = getattr(self.rpu_config, "device", None)
        if getattr(device, "diffusion", 0.0) > 0.0:
            self.diffuse_weights()
        if getattr(device, "lifetime", 0.0) > 0.0:
            self.decay_weights()

    def _is_trained(self) -> bool:
        """Return whether optimizer steps change the weights."""
        return bool(self.analog_ctx.requires_grad)

    def dump_extra(self) -> dict[str, Any] | None:
        """Return seed, position in the random stream, learning rate, counters and drift state."""
        return self.tile.dump_extra()

    def load_extra(self, extra: dict[str, Any], strict: bool = False) -> None:
        """Restore what `dump_extra` returned.

        Args:
            extra: Output of `dump_extra`.
            strict: Raise on missing entries.

        Raises:
            TileError: An entry is missing, unknown or unusable; nothing is changed.
        """
        self.tile.load_extra(extra, strict)

    def set_verbosity_level(self, verbose: int) -> None:
        """Ignore the level: the core prints nothing.

        Args:
            verbose: Accepted for compatibility.
        """

    def ensure_shared_weights(self, shared_weights: Tensor | None = None) -> None:
        """Do nothing: the weights of the core are the parameter, they cannot come apart.

        Args:
            shared_weights: Accepted for compatibility.
        """
