"""How the weights of a layer are cut into tiles, and what is put together from them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from mho.exceptions import TileModuleError
from mho.simulator.parameters.arguments import check_index, check_size


def split_sizes(size: int, largest: int) -> list[int]:
    """Return the sizes of the parts of an axis, nearly equal and larger ones first.

    Args:
        size: Size of the axis.
        largest: Largest part; zero or less is no limit.

    Raises:
        ArgumentError: The size is not a positive integer, or the limit is no integer.
    """
    size = check_size("size", size)
    if check_index("split_max_size", largest) <= 0:
        return [size]
    count = -(-size // largest)
    base, extra = divmod(size, count)
    return [base + (i < extra) for i in range(count)]


@dataclass(frozen=True)
class Cut:
    """Sizes of the tiles of a layer.

    Groups of inputs and of outputs belong to each other, one after the other; what is off this
    diagonal of blocks is no weight and has no tile. The tiles are an `nn.ModuleList` of
    `nn.ModuleList`: by input part, those of the first group first, then by output part.
    """

    in_sizes: tuple[int, ...]
    """Number of inputs of each input part of a group."""

    out_sizes: tuple[int, ...]
    """Number of outputs of each output part of a group."""

    groups: int = 1
    """Number of groups."""

    @property
    def in_size(self) -> int:
        """Number of inputs of the layer."""
        return self.groups * sum(self.in_sizes)

    @property
    def out_size(self) -> int:
        """Number of outputs of the layer."""
        return self.groups * sum(self.out_sizes)

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Shape of the weights: outputs of all groups, inputs of one."""
        return self.out_size, sum(self.in_sizes)

    def build(self, make: Callable[[int, int], nn.Module]) -> nn.ModuleList:
        """Return tiles.

        Args:
            make: Makes one of its number of outputs and inputs.
        """
        return nn.ModuleList(
            nn.ModuleList(make(rows, columns) for rows in self.out_sizes)
            for columns in self.in_sizes * self.groups
        )

    def grids(self, tiles: nn.ModuleList) -> list[list[list[Any]]]:
        """Return the tiles of each group, by input part, then by output part.

        Args:
            tiles: What `build` returned.
        """
        parts = [list(cast(nn.ModuleList, part)) for part in tiles]
        count = len(self.in_sizes)
        return [parts[i : i + count] for i in range(0, len(parts), count)]

    def all_tiles(self, tiles: nn.ModuleList) -> list[Any]:
        """Return the tiles one after the other.

        Args:
            tiles: What `build` returned.
        """
        return [tile for part in tiles for tile in cast(nn.ModuleList, part)]

    def product(
        self, tiles: nn.ModuleList, x_input: Tensor, tensor_view: tuple[int, ...] | None = None
    ) -> Tensor:
        """Return the outputs: sums over input parts, side by side over output parts and groups.

        Args:
            tiles: What `build` returned.
            x_input: Inputs of the layer, shape `[..., in_size]`.
            tensor_view: Passed to the tiles.

        Returns:
            Shape `[..., out_size]`.
        """
        pieces = iter(torch.split(x_input, self._columns(), dim=-1))
        outputs = []
        for grid in self.grids(tiles):
            output: Tensor | None = None
            for part in grid:
                x = next(pieces)
                y = torch.cat([tile(x, tensor_view) for tile in part], dim=-1)
                output = y if output is None else output + y
            assert output is not None  # there is at least one part
            outputs.append(output)
        return outputs[0] if self.groups == 1 else torch.cat(outputs, dim=-1)

    def backward(self, tiles: nn.ModuleList, d_input: Tensor) -> Tensor:
        """Return gradients of the inputs, shape `[..., in_size]`, without autograd.

        Args:
            tiles: What `build` returned.
            d_input: Gradients of the outputs, shape `[..., out_size]`.
        """
        pieces = torch.split(d_input, self._rows(), dim=-1)
        count, parts = len(self.out_sizes), []
        for group, grid in enumerate(self.grids(tiles)):
            own = pieces[group * count : (group + 1) * count]
            for part in grid:
                back = [tile.backward(d) for tile, d in zip(part, own, strict=True)]
                parts.append(torch.stack(back).sum(dim=0))
        return torch.cat(parts, dim=-1)

    def update(self, tiles: nn.ModuleList, x_input: Tensor, d_input: Tensor) -> None:
        """Update the weights of all tiles.

        Args:
            tiles: What `build` returned.
            x_input: Inputs of the layer, shape `[..., in_size]`.
            d_input: Gradients of the outputs, shape `[..., out_size]`.
        """
        columns = iter(torch.split(x_input, self._columns(), dim=-1))
        rows = torch.split(d_input, self._rows(), dim=-1)
        count = len(self.out_sizes)
        for group, grid in enumerate(self.grids(tiles)):
            for part in grid:
                x, own = next(columns), rows[group * count : (group + 1) * count]
                for d, tile in zip(own, part, strict=True):
                    tile.update(x, d)

    def write(self, tiles: nn.ModuleList, weight: Tensor, **kwargs: Any) -> None:
        """Write the weights of all tiles.

        Args:
            tiles: What `build` returned.
            weight: Logical weights, shape `weight_shape`.
            kwargs: Passed to the tiles.
        """
        blocks = torch.split(weight, sum(self.out_sizes), dim=0)
        for block, grid in zip(blocks, self.grids(tiles), strict=True):
            for columns, part in zip(torch.split(block, list(self.in_sizes), 1), grid, strict=True):
                for rows, tile in zip(
                    torch.split(columns, list(self.out_sizes), 0), part, strict=True
                ):
                    tile.set_weights(rows, **kwargs)

    def read(self, tiles: nn.ModuleList, **kwargs: Any) -> Tensor:
        """Return copies of the logical weights, shape `weight_shape`.

        Args:
            tiles: What `build` returned.
            kwargs: Passed to the tiles.
        """
        return self._joined([part[0] for part in self.call_all(tiles, "get_weights", **kwargs)])

    def pulse_counters(self, tiles: nn.ModuleList) -> Tensor:
        """Return how many pulses every crosspoint got, int64 `[2, *weight_shape]`.

        Args:
            tiles: What `build` returned.

        Raises:
            TileModuleError: The tiles cannot tell.
        """
        return self._joined(self.call_all(tiles, "get_pulse_counters"))

    def call_all(self, tiles: nn.ModuleList, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        """Return the results of a method of all tiles, one after the other.

        Args:
            tiles: What `build` returned.
            method: Its name.
            args: Passed to it.
            kwargs: Passed to it.

        Raises:
            TileModuleError: The tiles have no such method.
        """
        every = self.all_tiles(tiles)
        if not callable(getattr(every[0], method, None)):
            raise TileModuleError(f"{type(every[0]).__name__} has no method {method!r}")
        return [getattr(tile, method)(*args, **kwargs) for tile in every]

    def _columns(self) -> list[int]:
        return list(self.in_sizes * self.groups)

    def _rows(self) -> list[int]:
        return list(self.out_sizes * self.groups)

    def _joined(self, values: list[Tensor]) -> Tensor:
        """Return matrices of all tiles, in the order of `all_tiles`, as one."""
        count = len(self.out_sizes)
        columns = [torch.cat(values[i : i + count], -2) for i in range(0, len(values), count)]
        count = len(self.in_sizes)
        blocks = [torch.cat(columns[i : i + count], -1) for i in range(0, len(columns), count)]
        return torch.cat(blocks, dim=-2)
