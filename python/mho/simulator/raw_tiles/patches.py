"""Patches of images as rows of a matrix, as convolutions take them."""

import math
from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from mho import _core
from mho.exceptions import ArgumentError, InputError
from mho.simulator.parameters.arguments import check_size
from mho.simulator.raw_tiles.rows import check_tensor, resolved

CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
"""Memory format with the channels last, by number of axes of an image."""

# Modes of padding by their name in layers, as `torch.nn.functional.pad` calls them.
_MODES = {mode: mode for mode in ("reflect", "replicate", "circular")} | {"zeros": "constant"}


@dataclass(frozen=True)
class Patches:
    """Where the patches of a convolution lie in its images.

    Rows of one image follow each other as its output positions do, in row-major order. In a row the
    channel varies slowest, then the position in the kernel, in row-major order: the order of the
    weights of the layer.
    """

    kernel_size: tuple[int, ...]
    """Size of the kernel along each axis."""

    stride: tuple[int, ...]
    """Steps between patches along each axis."""

    dilation: tuple[int, ...]
    """Steps between the elements of a patch along each axis."""

    padding: tuple[tuple[int, int], ...]
    """Elements added before and behind each axis."""

    padding_mode: str
    """What is added: `"zeros"`, `"reflect"`, `"replicate"` or `"circular"`."""

    @property
    def rank(self) -> int:
        """Number of axes of an image, without its channels."""
        return len(self.kernel_size)

    def extent(self, axis: int) -> int:
        """Return the length of a patch along an axis, with the gaps of a dilation.

        Args:
            axis: Number of the axis.
        """
        return self.dilation[axis] * (self.kernel_size[axis] - 1) + 1

    def out_size(self, axis: int, size: int) -> int:
        """Return the number of patches along an axis; not positive if none fits.

        Args:
            axis: Number of the axis.
            size: Size of the image along it.
        """
        room = size + sum(self.padding[axis]) - self.extent(axis)
        return room // self.stride[axis] + 1

    def out_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Return the number of patches along every axis.

        Args:
            sizes: Size of the image along every axis.

        Raises:
            InputError: No patch fits into the padded image, or the image is too small for the mode
                of the padding.
        """
        for axis, (size, around) in enumerate(zip(sizes, self.padding, strict=True)):
            padded = size + sum(around)
            if padded < self.extent(axis):
                raise InputError(
                    f"x_input: no kernel fits along axis {axis} of the image: {padded} elements,"
                    f" padding included, for a kernel that extends over {self.extent(axis)}"
                )
            self._check_padding(axis, size, max(around))
        return tuple(self.out_size(axis, size) for axis, size in enumerate(sizes))

    def _check_padding(self, axis: int, size: int, most: int) -> None:
        modes = {"reflect": size - 1, "circular": size, "replicate": most if size else 0}
        largest = modes.get(self.padding_mode, most)
        if most > largest:
            raise InputError(
                f"x_input: {self.padding_mode} padding of {most} needs a larger image, axis {axis}"
                f" has {size} elements"
            )

    def rows(self, images: Tensor) -> Tensor:
        """Return the patches of images, by views of them and one copy.

        Args:
            images: Shape `[N, C, *sizes]`.

        Returns:
            Shape `[N, L, C * kernel elements]` for `L` output positions.

        Raises:
            InputError: No patch fits.
        """
        count, channels = images.shape[:2]
        out_sizes = self.out_sizes(tuple(images.shape[2:]))
        patches = self.padded(images)
        for axis in range(self.rank):
            patches = patches.unfold(2 + axis, self.extent(axis), self.stride[axis])
            patches = patches[..., :: self.dilation[axis]]
        at, inside = range(2, 2 + self.rank), range(2 + self.rank, 2 + 2 * self.rank)
        columns = channels * math.prod(self.kernel_size)
        return patches.permute(0, *at, 1, *inside).reshape(count, math.prod(out_sizes), columns)

    def table(self, channels: int, sizes: tuple[int, ...]) -> Tensor:
        """Return which element of an image stands at which place of its patches.

        Args:
            channels: Number of channels.
            sizes: Size of the image along every axis.

        Returns:
            int32 `[C * kernel elements, L]`: 0 for a zero of the padding, `k + 2` for element `k`
            of the image `[C, *sizes]` in row-major order; 1 is left for a constant one.

        Raises:
            InputError: No patch fits.
        """
        # Doubles count exactly as far as there is memory, and every mode of padding takes them.
        numbers = torch.arange(2, 2 + channels * math.prod(sizes), dtype=torch.float64)
        return self.rows(numbers.view(1, channels, *sizes))[0].t().to(torch.int32)

    def gathered(self, images: Tensor, table: Tensor) -> Tensor:
        """Return what `rows` returns, read through the table of the images.

        Args:
            images: Shape `[N, C, *sizes]`.
            table: Table for their size.
        """
        flat = images.flatten(1)
        constants = flat.new_zeros(flat.shape[0], 1), flat.new_ones(flat.shape[0], 1)
        places = table.t().reshape(-1)
        rows = torch.cat([*constants, flat], dim=1).index_select(1, places)
        return rows.view(flat.shape[0], table.shape[1], table.shape[0])

    def without_padding(self) -> "Patches":
        """Return the same for images that are padded already."""
        return replace(self, padding=((0, 0),) * self.rank, padding_mode="zeros")

    def padded(self, images: Tensor) -> Tensor:
        """Return images with what stands around them.

        Args:
            images: Shape `[N, C, *sizes]`.
        """
        if not any(map(any, self.padding)):
            return images
        reversed_pairs = [size for pair in reversed(self.padding) for size in pair]
        return functional.pad(images, reversed_pairs, _MODES[self.padding_mode])


class ImagePatches:
    """Patches of images of one size as the core reads them, or some of their elements.

    Padding is with zeros.
    """

    def __init__(self, patches: Patches, channels: int, sizes: tuple[int, ...]) -> None:
        """Lay patches over images.

        Args:
            patches: Where they lie.
            channels: Number of channels.
            sizes: Size of the images along every axis.

        Raises:
            InputError: No patch fits.
        """
        self.out_sizes = patches.out_sizes(sizes)
        each = (sizes, patches.kernel_size, patches.stride, patches.dilation, patches.padding)
        axes = [
            (size, kernel, stride, dilation, *around)
            for size, kernel, stride, dilation, around in zip(*each, strict=True)
        ]
        self.core = _core.Patches(channels, axes)
        self.positions, self.first, self.width = self.core.positions, 0, self.core.width
        self._patches = patches

    def columns(self, first: int, width: int) -> "ImagePatches":
        """Return the same with some elements of each patch.

        Args:
            first: The first one.
            width: Number of them.
        """
        if (first, width) == (self.first, self.width):
            return self
        result = copy(self)
        result.first, result.width = first, width
        return result

    def rows(self, images: Tensor) -> Tensor:
        """Return patches as rows, without autograd.

        Args:
            images: Shape `[N, C, *sizes]`, float32, in any layout.

        Returns:
            Shape `[N, positions, width]`.
        """
        rows = self.core.unfold(resolved(images).contiguous(), self.first, self.width)
        return rows.view(images.shape[0], self.positions, self.width)

    def differentiable_rows(self, images: Tensor) -> Tensor:
        """Return the same by operations of torch.

        Args:
            images: Shape `[N, C, *sizes]`.
        """
        return self._patches.rows(images).narrow(2, self.first, self.width)


class ImageTable:
    """Index table of images: which of their elements are the inputs at each output position."""

    def __init__(
        self, indices: Tensor, image_sizes: list[int], columns: int, has_bias: bool
    ) -> None:
        """Check a table.

        Args:
            indices: int32, `[columns (+ 1), positions]` or flat; 0 is a zero, 1 a one, `k + 2`
                element `k` of an image.
            image_sizes: `[C, *sizes, *out_sizes]`.
            columns: Number of inputs at a position.
            has_bias: Whether a row of ones follows.

        Raises:
            ArgumentError: Sizes are no positive integers, or too few.
            InputError: The table does not fit.
        """
        if not isinstance(image_sizes, (list, tuple)) or len(image_sizes) not in (3, 5, 7):
            raise ArgumentError(
                "image_sizes: expected [channels, sizes, sizes of the output] with one to three"
                f" axes, got {image_sizes!r}"
            )
        sizes = [check_size("image_sizes", size) for size in image_sizes]
        rank = len(sizes) // 2
        self.shape, self.out_sizes = tuple(sizes[: 1 + rank]), tuple(sizes[1 + rank :])
        check_tensor(indices, "indices")
        expected = (columns + has_bias) * math.prod(self.out_sizes)
        if indices.dtype is not torch.int32 or indices.numel() != expected:
            raise InputError(
                f"indices: expected int32, {columns + has_bias} columns of"
                f" {math.prod(self.out_sizes)} positions, got {indices.dtype} of"
                f" {indices.numel()} elements"
            )
        table = indices.detach().reshape(columns + has_bias, -1).cpu()
        most = 1 + math.prod(self.shape)
        if int(table.min()) < 0 or int(table.max()) > most:
            raise InputError(f"indices: expected 0 to {most} for images {self.shape}")
        if has_bias and not bool((table[-1] == 1).all()):
            raise InputError("indices: expected ones in the last row, that of the analog bias")
        self._places = table[:columns].t().reshape(-1).contiguous()
        self._columns = columns

    def rows(self, images: Tensor) -> Tensor:
        """Return inputs at all positions, differentiable.

        Args:
            images: Shape `[N, C, *sizes]`.

        Returns:
            Shape `[N, positions, columns]`.

        Raises:
            InputError: The shape is another one.
        """
        check_tensor(images, "x_input")
        if images.dim() < 2 or tuple(images.shape[1:]) != self.shape:
            raise InputError(
                f"x_input: the index table is for images [N, {', '.join(map(str, self.shape))}],"
                f" got shape {tuple(images.shape)}"
            )
        flat = images.flatten(1)
        constants = flat.new_zeros(flat.shape[0], 1), flat.new_ones(flat.shape[0], 1)
        places = self._places.to(flat.device)
        rows = torch.cat([*constants, flat], dim=1).index_select(1, places)
        return rows.view(flat.shape[0], math.prod(self.out_sizes), self._columns)

    def folded(self, rows: Tensor) -> Tensor:
        """Return the gradient of images from that of `rows`.

        Args:
            rows: Shape `[N, positions, columns]`.
        """
        flat = rows.new_zeros(rows.shape[0], 2 + math.prod(self.shape))
        flat.index_add_(1, self._places.to(rows.device), rows.flatten(1))
        return flat[:, 2:].view(rows.shape[0], *self.shape)


def are_channels_last(images: Tensor) -> bool:
    """Return whether the channels of images are next to each other in memory.

    Args:
        images: Shape `[N, C, *sizes]`.
    """
    order = CHANNELS_LAST.get(images.dim() - 2)
    return (
        order is not None
        and not images.is_contiguous()
        # Inside of `torch.func.vmap` torch cannot tell, and images have an axis that is not seen.
        and not torch._C._functorch.is_batchedtensor(images)
        and images.is_contiguous(memory_format=order)
    )


def images_of(rows: Tensor, sizes: tuple[int, ...], channels_last: bool) -> Tensor:
    """Return outputs at all positions as images.

    Args:
        rows: Shape `[N, L, C]`.
        sizes: Size of the images along every axis, `L` in all.
        channels_last: Whether channels stay next to each other in memory.

    Returns:
        Shape `[N, C, *sizes]`.
    """
    images = rows.reshape(rows.shape[0], *sizes, rows.shape[-1]).movedim(-1, 1)
    return images if channels_last else images.contiguous()
