"""Images as inputs of a tile, read through an index table."""

from typing import Any, Protocol

import torch
from torch import Tensor

from mho.exceptions import InputError, TileError
from mho.simulator.raw_tiles.patches import ImageTable, images_of
from mho.simulator.raw_tiles.rows import check_tensor


class IndexedTile(Protocol):
    """What reading images needs of a tile."""

    tile: Any
    analog_ctx: Any
    analog_bias: bool
    in_size: int
    out_size: int
    in_trans: bool
    out_trans: bool
    supports_indexed: bool

    def joint_forward(self, x_input: Tensor, is_test: bool = False, ctx: Any = None) -> Tensor:
        """Return outputs of rows."""

    def backward(self, d_input: Tensor, ctx: Any = None) -> Tensor:
        """Return gradients of rows."""

    def update(self, x_input: Tensor, d_input: Tensor) -> None:
        """Update with rows."""


class IndexedImages:
    """The index table of a tile, while its inputs are images; it is no part of the state."""

    def __init__(self, tile: IndexedTile) -> None:
        """Begin without a table.

        Args:
            tile: Tile.
        """
        self._tile = tile
        self.table: ImageTable | None = None

    def is_indexed(self) -> bool:
        """Return whether inputs are images with an index table."""
        return self.table is not None and self._tile.analog_ctx.use_indexed

    def set_indexed(self, indices: Tensor, image_sizes: list[int]) -> None:
        """Take images as inputs from now on, until `analog_ctx.set_indexed(False)`.

        Inputs are images ``[N, C, *sizes]`` then, and outputs images ``[N, out_size, *out_sizes]``;
        rows of a product, of the trace and of an update are all patches in row-major order.

        Args:
            indices: Index table, int32, one number for each column of the weights and, in it, for
                each output position, flat or as a matrix: 0 is a zero, 1 a one, ``k + 2`` element
                ``k`` of an image. With an analog bias the last row is all ones.
            image_sizes: ``[C, *sizes, *out_sizes]``.

        Raises:
            ArgumentError: Sizes are no positive integers, or too few.
            InputError: The table does not fit the sizes or the tile.
            TileError: Features are on the first axis, or the tile computes in torch.
        """
        tile = self._tile
        if not tile.supports_indexed or tile.in_trans or tile.out_trans:
            raise TileError(
                f"{type(tile).__name__} reads no indexed images; unfold them, and have features on"
                " the last axis"
            )
        self.table = ImageTable(indices, image_sizes, tile.in_size, tile.analog_bias)
        # Raw tiles of the core take images as well, by calls of their own.
        if (set_of_raw := getattr(tile.tile, "set_matrix_indices", None)) is not None:
            set_of_raw(indices)
        tile.analog_ctx.set_indexed(True)

    def forward(self, images: Tensor, tensor_view: tuple[int, ...] | None) -> Tensor:
        """Return the outputs of images, differentiable as those of rows.

        Args:
            images: Shape ``[N, C, *sizes]``.
            tensor_view: Shape that spreads a vector of all outputs over images.
        """
        table, tile = self._table(), self._tile
        if tensor_view is not None and tuple(tensor_view) != (-1, *(1,) * len(table.out_sizes)):
            raise InputError(
                f"tensor_view: outputs are images of {len(table.out_sizes)} axes, got {tensor_view}"
            )
        rows: Any = type(tile).forward_of_rows  # type: ignore[attr-defined]
        return images_of(rows(tile, table.rows(images)), table.out_sizes, False)

    def joint_forward_indexed(
        self, x_input: Tensor, is_test: bool = False, ctx: Any = None
    ) -> Tensor:
        """Return the outputs of images before learned scales and digital bias, without autograd.

        Args:
            x_input: Images ``[N, C, *sizes]``.
            is_test: Evaluation mode.
            ctx: Passed to the periphery hooks.

        Raises:
            InputError: Shape, dtype or device does not fit.
            TileError: There is no index table.
        """
        table = self._table()
        with torch.no_grad():
            y = self._tile.joint_forward(table.rows(x_input), is_test, ctx)
            return images_of(y, table.out_sizes, False)

    def backward_indexed(self, d_input: Tensor, ctx: Any = None) -> Tensor:
        """Return gradients of images, without those of learned scales and without autograd.

        Args:
            d_input: Gradients of the outputs, ``[N, out_size, *out_sizes]``.
            ctx: Passed to the periphery hooks.

        Raises:
            InputError: Shape, dtype or device does not fit.
            TileError: There is no index table.
        """
        table = self._table()
        with torch.no_grad():
            return table.folded(self._tile.backward(self._outputs(table, d_input), ctx))

    def update_indexed(self, x_input: Tensor, d_input: Tensor) -> None:
        """Update the weights with all patches of images; on any error nothing is changed.

        Args:
            x_input: Images ``[N, C, *sizes]``.
            d_input: Gradients of the outputs, ``[N, out_size, *out_sizes]``.

        Raises:
            ArgumentError: A value is not finite.
            InputError: Shape, dtype or device does not fit.
            TileError: There is no index table, or the weights follow a gradient.
        """
        table = self._table()
        with torch.no_grad():
            self._tile.update(table.rows(x_input), self._outputs(table, d_input))

    def _table(self) -> ImageTable:
        if self.table is None:
            raise TileError("there is no index table; call set_indexed first")
        return self.table

    def _outputs(self, table: ImageTable, d: Tensor) -> Tensor:
        check_tensor(d, "d_input")
        if d.dim() < 2 or tuple(d.shape[1:]) != (self._tile.out_size, *table.out_sizes):
            raise InputError(
                f"d_input: expected [N, {self._tile.out_size}, "
                f"{', '.join(map(str, table.out_sizes))}], got shape {tuple(d.shape)}"
            )
        return d.flatten(2).transpose(1, 2)
