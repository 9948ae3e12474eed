"""A layer that is too large for one tile, split over several."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from mho import pending
from mho.exceptions import ArgumentError, InputError, TileModuleError
from mho.simulator.parameters.arguments import (
    check_flag,
    check_index,
    check_rpu_config,
    check_size,
)
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.mapping import MappableRPU
from mho.simulator.parameters.registry import register_tile_class
from mho.simulator.parts.logical_weights import as_matrix
from mho.simulator.raw_tiles.rows import (
    as_tensor,
    check_features,
    check_output_view,
    check_tensor,
)
from mho.simulator.state.entries import Entry, check_entry
from mho.simulator.state.ordinary import keep_ordinary, ordinary_tensors
from mho.simulator.state.transaction import unchanged_on_error
from mho.simulator.tiles.base import TileModuleBase
from mho.simulator.tiles.editing import SharedView
from mho.simulator.tiles.grid import forward_together, grid_of
from mho.simulator.tiles.module import TileModule


@register_tile_class
@TileModuleBase.register
class TileModuleArray(nn.Module):
    """Grid of tiles whose products are summed over input parts, concatenated over output parts.

    The bias is always digital and added once, whatever `mapping.digital_bias` says.
    """

    supports_indexed = False

    array: nn.ModuleList
    bias: nn.Parameter | None

    @ordinary_tensors()
    def __init__(
        self,
        out_size: int,
        in_size: int,
        rpu_config: MappableRPU,
        bias: bool = False,
        **kwargs: Any,
    ) -> None:
        """Build the tiles.

        Args:
            out_size: Number of outputs.
            in_size: Number of inputs.
            rpu_config: Configuration; `mapping` has the size limits of a tile.
            bias: Whether there is a bias.
            kwargs: Passed to the tiles.

        Raises:
            ArgumentError: A size is not a positive integer or the configuration has no mapping.
            ConfigError: The configuration is invalid; the message names the field.
            MemoryError: There is no memory for so many weights.
        """
        super().__init__()
        bias = check_flag("bias", bias)
        self.out_size, self.in_size = (
            check_size("out_size", out_size),
            check_size("in_size", in_size),
        )
        if not isinstance(check_rpu_config(rpu_config), MappableRPU):
            raise ArgumentError(
                "rpu_config: expected a configuration with a mapping, got"
                f" {type(rpu_config).__name__}"
            )
        _check_memory(out_size, in_size)
        mapping = rpu_config.mapping
        self.in_sizes = self.get_split_sizes(in_size, mapping.max_input_size)
        self.out_sizes = self.get_split_sizes(out_size, mapping.max_output_size)
        cls = rpu_config.tile_class
        self.array = nn.ModuleList(
            nn.ModuleList(
                cls(rows, columns, rpu_config, bias=False, **kwargs) for rows in self.out_sizes
            )
            for columns in self.in_sizes
        )
        has_bias = check_flag("bias", bias)
        zeros = torch.zeros(out_size, dtype=torch.float32, device=self.device)
        self.register_parameter("bias", nn.Parameter(zeros) if has_bias else None)
        self.analog_tile_count = len(self.in_sizes) * len(self.out_sizes)

    @property
    def rpu_config(self) -> Any:
        """Copy of the configuration of the tiles; a change of a field is made in all of them."""
        return SharedView([tile for tiles in self._grid() for tile in tiles]).config

    @property
    def use_bias(self) -> bool:
        """Whether there is a bias."""
        return self.bias is not None

    @property
    def device(self) -> torch.device:
        """Device of the tiles."""
        return self._first().device

    @property
    def is_cuda(self) -> bool:
        """Whether the tiles are on a CUDA device."""
        return self._first().is_cuda

    def _first(self) -> TileModule:
        first: TileModule = self._grid()[0][0]
        return first

    def _grid(self) -> list[list[Any]]:
        return [list(cast(nn.ModuleList, tiles)) for tiles in self.array]

    def get_split_sizes(self, size: int, split_max_size: int) -> list[int]:
        """Return the sizes of the parts of an axis, nearly equal and larger ones first.

        Args:
            size: Size of the axis.
            split_max_size: Largest part; zero or less is no limit.

        Raises:
            ArgumentError: The size is not a positive integer, or the limit is no integer.
        """
        size = check_size("size", size)
        if check_index("split_max_size", split_max_size) <= 0:
            return [size]
        count = -(-size // split_max_size)
        base, extra = divmod(size, count)
        return [base + (i < extra) for i in range(count)]

    def forward(self, x_input: Tensor, tensor_view: tuple[int, ...] | None = None) -> Tensor:
        """Return the output of the layer.

        Args:
            x_input: Inputs, shape `[..., in_size]`.
            tensor_view: Shape that spreads a vector of all outputs over the output tensor.

        Returns:
            Shape `[..., out_size]`.

        Raises:
            InputError: Wrong number of features, dtype or device, or the shape does not fit.
        """
        check_tensor(x_input, "x_input")
        check_features(x_input, self.in_size, False, "x_input")
        if tensor_view is not None:
            check_output_view(tensor_view, self.out_size, x_input, False, False)
        grid = grid_of(self, x_input) if tensor_view is None else None
        if grid is not None:
            return forward_together(grid, x_input, self._parameters["bias"])
        output: Tensor | None = None
        for x, tiles in zip(torch.split(x_input, self.in_sizes, dim=-1), self._grid(), strict=True):
            part = torch.cat([tile(x, tensor_view) for tile in tiles], dim=-1)
            output = part if output is None else output + part
        assert output is not None  # there is at least one part
        if self.bias is None:
            return output
        return output + (self.bias if tensor_view is None else self.bias.view(tensor_view))

    def backward(self, d_input: Tensor) -> Tensor:
        """Return gradients of the inputs, without autograd.

        Args:
            d_input: Gradients of the outputs, shape `[..., out_size]`.

        Returns:
            Shape `[..., in_size]`.

        Raises:
            InputError: Wrong number of features, dtype or device.
        """
        check_tensor(d_input, "d_input")
        check_features(d_input, self.out_size, False, "d_input")
        parts = []
        for tiles in self._grid():
            pieces = torch.split(d_input.detach(), self.out_sizes, dim=-1)
            back = [tile.backward(d) for tile, d in zip(tiles, pieces, strict=True)]
            parts.append(torch.stack(back).sum(dim=0))
        return torch.cat(parts, dim=-1)

    def update(self, x_input: Tensor, d_input: Tensor) -> None:
        """Update the weights of all tiles; on any error nothing is changed.

        Args:
            x_input: Inputs of the layer, shape `[..., in_size]`.
            d_input: Gradients of the outputs, shape `[..., out_size]`.

        Raises:
            ArgumentError: A value is not finite.
            InputError: Wrong number of features or samples, dtype or device.
            TileError: The weights follow a gradient that autograd computes.
        """
        for name, value, size in (
            ("x_input", x_input, self.in_size),
            ("d_input", d_input, self.out_size),
        ):
            check_tensor(value, name)
            check_features(value, size, False, name)
        with unchanged_on_error([tile for tiles in self._grid() for tile in tiles]):
            columns = torch.split(x_input.detach(), self.in_sizes, dim=-1)
            rows = torch.split(d_input.detach(), self.out_sizes, dim=-1)
            for x, tiles in zip(columns, self._grid(), strict=True):
                for d, tile in zip(rows, tiles, strict=True):
                    tile.update(x, d)

    def set_learning_rate(self, learning_rate: float | None) -> None:
        """Set the learning rate of the updates of all tiles.

        Args:
            learning_rate: Not negative; None keeps it.
        """
        self._apply_to_tiles("set_learning_rate", learning_rate)

    @ordinary_tensors()
    def _apply(self, fn: Any, recurse: bool = True) -> "TileModuleArray":
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call,no-any-return]

    @ordinary_tensors()
    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        keep_ordinary(self)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        name = prefix + "bias"
        if self.bias is not None and name in state_dict:
            check_entry(name, state_dict[name], Entry(((self.out_size,),)))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def set_weights(self, weight: Tensor, bias: Tensor | None = None, **kwargs: Any) -> None:
        """Write logical weights.

        Args:
            weight: Shape `[out_size, in_size]`, or a kernel as for a tile.
            bias: Shape `[out_size]`; the present one is kept if it is not given.
            kwargs: Passed to the tiles.

        Raises:
            ArgumentError: A value is not finite; nothing is changed.
            InputError: Wrong shape; nothing is changed.
        """
        matrix = as_matrix(as_tensor("weight", weight), self.out_size, self.in_size)
        full = self._checked("weight", matrix, (self.out_size, self.in_size))
        column = None if bias is None else self._checked("bias", bias, (self.out_size,))
        with unchanged_on_error([tile for tiles in self._grid() for tile in tiles]):
            for part, tiles in zip(torch.split(full, self.in_sizes, 1), self._grid(), strict=True):
                for rows, tile in zip(torch.split(part, self.out_sizes, 0), tiles, strict=True):
                    tile.set_weights(rows, **kwargs)
        if column is not None and self.bias is not None:
            self.bias.detach().copy_(column)

    @staticmethod
    def _checked(name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
        given = as_tensor(name, value).detach().cpu()
        if given.numel() != torch.Size(shape).numel():
            raise InputError(f"{name}: expected values for shape {shape}, got {tuple(given.shape)}")
        if not all_finite(given):
            raise ArgumentError(f"{name}: values must be finite; found NaN or infinity")
        return given.reshape(shape)

    def get_weights(self, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Return copies of the logical weights `[out_size, in_size]` and of the bias.

        Args:
            kwargs: Passed to the tiles.
        """
        grid = self._apply_to_tiles("get_weights", **kwargs)
        weight = torch.cat([torch.cat([part[0] for part in parts], dim=0) for parts in grid], dim=1)
        return weight, None if self.bias is None else self.bias.detach().cpu().clone()

    def get_pulse_counters(self) -> Tensor:
        """Return how many pulses every crosspoint got, int64 `[2, out_size, in_size]`.

        Raises:
            ConfigError: The devices do not count pulses; the message names the field to set.
            TileError: The tiles have no devices of the core.
            TileModuleError: The tiles cannot tell.
        """
        grid = self._apply_to_tiles("get_pulse_counters")
        return torch.cat([torch.cat(parts, dim=1) for parts in grid], dim=2)

    def _apply_to_tiles(self, method: str, *args: Any, **kwargs: Any) -> list[list[Any]]:
        """Return the results of a method of all tiles, by input part and output part.

        Raises:
            TileModuleError: The tiles have no such method.
        """
        if not callable(getattr(self._first(), method, None)):
            raise TileModuleError(f"{type(self._first()).__name__} has no method {method!r}")
        return [
            [getattr(tile, method)(*args, **kwargs) for tile in tiles] for tiles in self._grid()
        ]


pending.explain(__name__)


def _check_memory(out_size: int, in_size: int) -> None:
    """Refuse sizes for whose weights there is no memory, before the first of many tiles is built.

    One by one they would be built until the system ends the process.
    """
    try:
        torch.empty(out_size, in_size, dtype=torch.float32, device="cpu")  # given back at once
    except RuntimeError as error:
        raise MemoryError(
            f"out_size, in_size: there is no memory for {out_size} x {in_size} weights"
        ) from error
