"""What convolutions on tiles have in common: one product for each patch of an image."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.exceptions import InputError
from mho.nn.modules.kernel_layer import KernelLayer
from mho.nn.modules.location import raise_located
from mho.nn.modules.module_call import call
from mho.nn.modules.patches import Patches, are_channels_last, images_of
from mho.simulator.parameters.arguments import check_flag
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.state.ordinary import on_host


class _AnalogConvNd(KernelLayer):
    """What convolutions of all ranks have in common.

    Every patch of an image, with all channels of a group, is one input vector of the tile. All
    patches of a batch form one batch of vectors for the product and for the update, images one
    after the other, output positions in row-major order, and elements of a patch as those of the
    weights: channel, then position in the kernel.
    """

    OWN_ENTRIES: ClassVar[tuple[str, ...]] = (
        "analog_module", "use_indexed", "fold_indices", "image_sizes", "input_size", "_patches",
    )  # fmt: skip
    use_indexed: bool
    """Whether patches are read through an index table instead of views of the image."""

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
            use_indexed: Whether patches are read through an index table; None is no.

        Raises:
            ArgumentError: An argument is invalid.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        is_indexed = check_flag("use_indexed", use_indexed)
        super().__init__(arguments, bias, rpu_config, tile_module_class)
        self.use_indexed = is_indexed
        self.fold_indices = self.image_sizes = self.input_size = None

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
        return {**self.__dict__, "fold_indices": None, "image_sizes": None, "input_size": None}

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
            sizes = self._patches.out_sizes(tuple(images.shape[2:]))
            output = images_of(self._product(self._rows(images)), sizes, are_channels_last(images))
        except InputError as error:
            raise_located(error, self)
        return output if x_input.dim() == images.dim() else output.squeeze(0)

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
