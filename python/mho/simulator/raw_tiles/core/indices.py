"""Images as inputs of a raw tile, read through an index table."""

from typing import Protocol

import torch
from torch import Tensor

from mho.exceptions import InputError, TileError
from mho.simulator.parameters.arguments import check_flag
from mho.simulator.raw_tiles.patches import ImageTable, images_of
from mho.simulator.raw_tiles.rows import check_tensor


class IndexedRawTile(Protocol):
    """What reading images needs of a raw tile."""

    @property
    def in_size(self) -> int:
        """Number of inputs without that of an analog bias."""

    @property
    def out_size(self) -> int:
        """Number of outputs."""

    @property
    def analog_bias(self) -> bool:
        """Whether the last column is a bias."""

    def forward(self, x_input: Tensor, bias: bool = False, *, is_test: bool = False) -> Tensor:
        """Return outputs of rows."""

    def backward(self, d_input: Tensor, bias: bool = False) -> Tensor:
        """Return gradients of rows."""

    def update(self, x_input: Tensor, d_input: Tensor, bias: bool = False) -> None:
        """Update with rows."""


class MatrixIndices:
    """The index table of a raw tile; it is no part of the state, and no copy has it.

    Sizes of images are those of the tensors of a call. Rows of a product and of an update are all
    patches in row-major order, sample by sample.
    """

    def __init__(self, tile: IndexedRawTile) -> None:
        """Begin without a table.

        Args:
            tile: Raw tile.
        """
        self._tile = tile
        self._indices: Tensor | None = None
        self._table: tuple[list[int], ImageTable] | None = None

    def has_matrix_indices(self) -> bool:
        """Return whether there is an index table."""
        return self._indices is not None

    def set_matrix_indices(self, indices: Tensor) -> None:
        """Set the index table of the calls with images.

        Args:
            indices: int32, flat or `[columns, positions]`, a copy is kept: 0 is a zero, 1 a one,
                `k + 2` element `k` of an image. With an analog bias the last row is all ones.

        Raises:
            InputError: It is no int32 tensor of as many rows as the tile has columns; the table
                that was there stays.
        """
        check_tensor(indices, "indices")
        columns = self._tile.in_size + self._tile.analog_bias
        if indices.dtype is not torch.int32 or not indices.numel() or indices.numel() % columns:
            raise InputError(
                f"indices: expected int32, {columns} columns of some positions, got"
                f" {indices.dtype} of {indices.numel()} elements"
            )
        self._indices = indices.detach().clone()
        self._table = None

    def forward_indexed(
        self,
        x_input: Tensor,
        d_tensor: Tensor,
        is_test: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return the outputs of images, which are written into a tensor of their shape.

        Args:
            x_input: Images `[N, C, *sizes]`, float32.
            d_tensor: Is overwritten and returned, `[N, out, *out_sizes]`, float32.
            is_test: Evaluation mode.
            non_blocking: Accepted for compatibility.

        Raises:
            ArgumentError: The images have less than one or more than three axes of sizes.
            InputError: A shape does not fit the table or the tile, or a dtype is another one.
            TileError: There is no index table.
        """
        is_test = check_flag("is_test", is_test)
        table = self._table_for(x_input, d_tensor, "d_tensor")
        rows = self._tile.forward(table.rows(x_input), self._tile.analog_bias, is_test=is_test)
        return _written(d_tensor, images_of(rows, table.out_sizes, True))

    def backward_indexed(
        self, d_input: Tensor, x_tensor: Tensor, non_blocking: bool = False
    ) -> Tensor:
        """Return the gradients of images, which are written into a tensor of their shape.

        Args:
            d_input: Gradients of the outputs, `[N, out, *out_sizes]`, float32.
            x_tensor: Is overwritten and returned, `[N, C, *sizes]`, float32.
            non_blocking: Accepted for compatibility.

        Raises:
            ArgumentError: The images have less than one or more than three axes of sizes.
            InputError: A shape does not fit the table or the tile, or a dtype is another one.
            TileError: There is no index table.
        """
        table = self._table_for(x_tensor, d_input, "d_input")
        return _written(x_tensor, table.folded(self._tile.backward(_positions(d_input))))

    def update_indexed(self, x_input: Tensor, d_input: Tensor, non_blocking: bool = False) -> None:
        """Update the weights with all patches of images; on any error nothing is changed.

        Args:
            x_input: Images `[N, C, *sizes]`, float32.
            d_input: Gradients of the outputs, `[N, out, *out_sizes]`, float32.
            non_blocking: Accepted for compatibility.

        Raises:
            ArgumentError: A value is not finite, or the images have less than one or more than
                three axes of sizes.
            InputError: A shape does not fit the table or the tile, or a dtype is another one.
            TileError: There is no index table.
        """
        table = self._table_for(x_input, d_input, "d_input")
        self._tile.update(table.rows(x_input), _positions(d_input), self._tile.analog_bias)

    def _table_for(self, images: Tensor, outputs: Tensor, name: str) -> ImageTable:
        """Return the table for images and outputs of these shapes."""
        if self._indices is None:
            raise TileError("there is no index table; call set_matrix_indices first")
        for value, what in ((images, "images"), (outputs, name)):
            check_tensor(value, what)
            if value.dtype is not torch.float32:
                raise InputError(f"{what}: expected dtype torch.float32, got {value.dtype}")
        expected = (images.shape[0], self._tile.out_size)
        if outputs.dim() < 3 or tuple(outputs.shape[:2]) != expected:
            raise InputError(
                f"{name}: expected [{expected[0]}, {expected[1]}, *sizes], got shape"
                f" {tuple(outputs.shape)}"
            )
        sizes = [*images.shape[1:], *outputs.shape[2:]]
        if self._table is None or self._table[0] != sizes:
            tile = self._tile
            table = ImageTable(self._indices, sizes, tile.in_size, tile.analog_bias)
            self._table = sizes, table
        return self._table[1]


def _positions(outputs: Tensor) -> Tensor:
    """Return values of all positions as rows, `[N, L, out]`."""
    return outputs.flatten(2).transpose(1, 2)


@torch.no_grad()
def _written(target: Tensor, values: Tensor) -> Tensor:
    """Write values into the tensor of the caller, as the standard does."""
    return target.copy_(values)
