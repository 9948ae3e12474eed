"""What convolutions on tiles have in common: one product for each patch of an image."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.exceptions import InputError
from mho.nn.modules.kernel_layer import KernelLayer
from mho.nn.modules.location import raise_located
from mho.nn.modules.module_call import call, is_called_alone
from mho.simulator.autograd.grid import Grid
from mho.simulator.parameters.arguments import check_flag
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.raw_tiles.patches import (
    CHANNELS_LAST,
    ImagePatches,
    Patches,
    are_channels_last,
    images_of,
)
from mho.simulator.state.ordinary import on_host
from mho.simulator.tiles.array import TileModuleArray
from mho.simulator.tiles.grid import forward_together, grid_of, grid_of_tile
from mho.simulator.tiles.periphery import TileWithPeriphery


class _AnalogConvNd(KernelLayer):
    """What convolutions of all ranks have in common.

    Every patch of an image, with all channels of a group, is one input vector of the tile. All
    patches of a batch form one batch of vectors for the product and for the update, images one
    after the other, output positions in row-major order, and elements of a patch as those of the
    weights: channel, then position in the kernel.
    """

    OWN_ENTRIES: ClassVar[tuple[str, ...]] = (
        "analog_module", "use_indexed", "fold_indices", "image_sizes", "input_size", "_patches",
        "_in_core",
    )  # fmt: skip
    use_indexed: bool | None
    """Whether tiles are given images, which they read patch by patch. None: where they can. True:
    the index table is made as well, and tiles that cannot are given what it says. False: never."""

    fold_indices: Tensor | None
    """Index table of the last image, int32 and flat, by row of the weights, then output position:
    0 is a zero of the padding, 1 a one for the column of an analog bias, ``k + 2`` element ``k`` of
    the image ``[C, *sizes]``. None before, or if images are not indexed."""

    image_sizes: list[int] | None
    """Channels, sizes of the last indexed image, sizes of its output."""

    input_size: tuple[int, ...] | None
    """Channels and sizes of the last indexed image."""

    def __init__(
        self,
        arguments: dict[str, Any],
        bias: bool,
        rpu_config: RPUConfigBase | None,
        tile_module_class: type | None,
        use_indexed: bool | None,
    ) -> None:
        """Build the tiles and initialise their weights.

        Args:
            arguments: Arguments of the convolution of torch.
            bias: Whether to add a trained bias.
            rpu_config: Configuration of the tiles.
            tile_module_class: Tile or tile array.
            use_indexed: Whether tiles are given images; None is where they can read them.

        Raises:
            ArgumentError: An argument is invalid.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        is_indexed = None if use_indexed is None else check_flag("use_indexed", use_indexed)
        super().__init__(arguments, bias, rpu_config, tile_module_class)
        self.use_indexed = is_indexed
        self.fold_indices = self.image_sizes = self.input_size = None
        self._in_core: tuple[Any, ImagePatches] | None = None

    def _prepare(self) -> None:
        pairs = self._reversed_padding_repeated_twice
        self._patches = Patches(
            self.kernel_size,
            self.stride,
            self.dilation,
            tuple((pairs[i], pairs[i + 1]) for i in range(len(pairs) - 2, -1, -2)),
            self.padding_mode,
        )

    def _make_tiles(self, rpu_config: Any, tile_module_class: type | None, bias: bool) -> None:
        self._make_tile(self.out_channels, self.in_features, rpu_config, tile_module_class, bias)

    @property
    def in_features(self) -> int:
        """Number of columns of the weights: the elements of a patch of one group."""
        return self.get_tile_size(self.in_channels, self.groups, self.kernel_size)

    @property
    def out_features(self) -> int:
        """Number of rows of the weights: the output channels."""
        return int(self.out_channels)

    @property
    def tensor_view(self) -> tuple[int, ...]:
        """Shape that spreads a vector of all output channels over the output."""
        return (-1, *(1,) * self.RANK)

    def get_tile_size(self, in_channels: int, groups: int, kernel_size: tuple[int, ...]) -> int:
        """Return the number of inputs of a patch.

        Args:
            in_channels: Number of channels of an image.
            groups: Number of groups that they fall into.
            kernel_size: Size of the kernel along each axis.
        """
        return (in_channels // groups) * math.prod(kernel_size)

    def get_image_size(self, size: int, i: int) -> int:
        """Return the size of the output along an axis.

        Args:
            size: Size of an image along it.
            i: Number of the axis.
        """
        return self._patches.out_size(i, size)

    def _kernel_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and files take over: no index table, the next image brings one."""
        made = dict.fromkeys(("fold_indices", "image_sizes", "input_size", "_in_core"))
        return {**self.__dict__, **made}

    def forward(self, x_input: Tensor) -> Tensor:
        """Compute the analog product of every patch.

        Args:
            x_input: Images ``[N, C, *sizes]``, or one image ``[C, *sizes]``.

        Returns:
            Tensor ``[N, out, *sizes]``, or ``[out, *sizes]``; channels last in memory if those of
            the images are.

        Raises:
            InputError: Number of axes or channels, size, dtype or device does not fit; the message
                has the arguments of the layer and, inside a model, its name.
        """
        try:
            images = self._as_batch(x_input)
            output = self._in_one_call(images)
            if output is None:
                sizes = self._patches.out_sizes(tuple(images.shape[2:]))
                is_last = are_channels_last(images)
                output = images_of(self._product(self._rows(images)), sizes, is_last)
        except InputError as error:
            raise_located(error, self)
        return output if x_input.dim() == images.dim() else output.squeeze(0)

    def _in_one_call(self, images: Tensor) -> Tensor | None:
        """Return the output if the core can read all patches out of the images, else None."""
        if self.use_indexed is False or torch.compiler.is_compiling() or images.numel() == 0:
            return None
        if self._in_core is None or self._in_core[0] != images.shape[1:]:
            self._in_core = images.shape[1:], self._image_patches(images)
        patches, padded = self._in_core[1], images
        if self.padding_mode != "zeros":
            padded = self._patches.padded(images)
        grid = self._grid(padded, patches)
        if grid is None:
            return None
        if self.use_indexed:
            self._table(images)
        output = forward_together(grid, padded, self._digital_bias())
        if are_channels_last(images):
            output = output.contiguous(memory_format=CHANNELS_LAST[self.RANK])
        return output

    def _image_patches(self, images: Tensor) -> ImagePatches:
        """Return the patches of images of a size for the core."""
        sizes = tuple(images.shape[2:])
        self._patches.out_sizes(sizes)
        if self.padding_mode == "zeros":
            return ImagePatches(self._patches, self.in_channels, sizes)
        padded = tuple(
            size + sum(around) for size, around in zip(sizes, self._patches.padding, strict=True)
        )
        return ImagePatches(self._patches.without_padding(), self.in_channels, padded)

    def _grid(self, images: Tensor, patches: ImagePatches) -> Grid | None:
        """Return the tiles if they can take images in one call."""
        module: Any = self._modules["analog_module"]
        if type(module) is TileModuleArray:
            return grid_of(module, images, patches) if is_called_alone(module) else None
        if isinstance(module, TileWithPeriphery):
            return grid_of_tile(module, images, patches)
        return None

    def _digital_bias(self) -> Tensor | None:
        """Return the bias that is added to the outputs of the tiles."""
        module: Any = self._modules["analog_module"]
        bias: Tensor | None = module._parameters["bias"]
        return bias

    def _rows(self, images: Tensor) -> Tensor:
        """Return all patches, ``[N, L, groups * in_features]``."""
        if not self.use_indexed:
            return self._patches.rows(images)
        table = self._table(images)
        return self._patches.gathered(images, table.to(images.device))

    def _product(self, rows: Tensor) -> Tensor:
        """Return the outputs of patches, ``[N, L, out]``."""
        output: Tensor = call(self._modules["analog_module"], rows)
        return output

    def _table(self, images: Tensor) -> Tensor:
        """Return the index table of images, without the row of an analog bias."""
        sizes = tuple(images.shape[2:])
        if torch.compiler.is_compiling():  # graphs keep nothing of what is seen only once
            return self._patches.table(self.in_channels, sizes)
        if self.input_size != (self.in_channels, *sizes):
            self.recalculate_indexes(images)
        assert self.fold_indices is not None
        count = self.in_features * self.groups * math.prod(self._patches.out_sizes(sizes))
        return self.fold_indices[:count].view(self.in_features * self.groups, -1)

    @torch.no_grad()
    def recalculate_indexes(self, x_input: Tensor) -> None:
        """Make the index table for images of a size: `fold_indices` and `image_sizes`.

        Layers that read their patches through the table do so by themselves when the size changes.

        Args:
            x_input: Images ``[N, C, *sizes]``, or one image.

        Raises:
            InputError: Number of axes or channels, or size does not fit.
        """
        images = self._as_batch(x_input)
        sizes = tuple(images.shape[2:])
        with on_host():
            table = self._patches.table(self.in_channels, sizes)
            ones = table.new_ones(self._bias_columns(), table.shape[1])
        self.fold_indices = torch.cat([table, ones]).flatten()
        self.image_sizes = [self.in_channels, *sizes, *self._patches.out_sizes(sizes)]
        self.input_size = (self.in_channels, *sizes)

    def _bias_columns(self) -> int:
        return int(bool(getattr(self._analog_module(), "analog_bias", False)))

    def extra_repr(self) -> str:
        """Return the arguments of the layer and the name of the configuration."""
        return super().extra_repr() + (", use_indexed=True" if self.use_indexed else "")
