"""Transposed convolutions: one product for each element of an image, outputs overlap."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvTransposeNd

from mho.exceptions import AnalogBiasConfigError, ArgumentError, InputError, short_traceback
from mho.nn.conversion_table import register_analog
from mho.nn.modules.kernel_layer import KernelLayer, Sizes
from mho.nn.modules.location import raise_located
from mho.nn.modules.module_call import call
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parts.logical_weights import as_matrix
from mho.simulator.raw_tiles.given_values import check_values
from mho.simulator.raw_tiles.patches import CHANNELS_LAST, are_channels_last

_MOST_ELEMENTS = 2**60


class _AnalogConvTransposeNd(KernelLayer):
    """What transposed convolutions of all ranks have in common.

    All channels of a group at one position of an image are one input vector of the tile, whose
    outputs are the kernel at that position for all output channels. Where kernels overlap they are
    added digitally, and the bias is added digitally to the sum.
    """

    OWN_ENTRIES: ClassVar[tuple[str, ...]] = ("analog_module",)
    ARGUMENTS: ClassVar[tuple[str, ...]] = (*KernelLayer.ARGUMENTS, "output_padding")
    PADDING_MODES: ClassVar[tuple[str, ...]] = ("zeros",)

    def _check(self, **arguments: Any) -> None:
        super()._check(**arguments)
        if isinstance(arguments["padding"], str):
            raise ArgumentError(
                f"padding: expected sizes, got {arguments['padding']!r}; transposed convolutions"
                " have no padding by name"
            )
        given = (arguments[name] for name in ("output_padding", "stride", "dilation"))
        each = (
            value if isinstance(value, (list, tuple)) else [value] * self.RANK for value in given
        )
        for padding, stride, dilation in zip(*each, strict=True):
            if padding >= max(stride, dilation):
                raise ArgumentError(
                    f"output_padding: expected less than stride or dilation, got {padding}"
                )

    def _make_tiles(self, rpu_config: Any, tile_module_class: type | None, bias: bool) -> None:
        if bias and not getattr(getattr(rpu_config, "mapping", None), "digital_bias", True):
            raise AnalogBiasConfigError(
                "mapping.digital_bias: the outputs of a tile overlap, and the bias can only be"
                " added digitally; set it to True, or bias=False"
            )
        rows, columns = self.out_channels * math.prod(self.kernel_size), self.in_channels
        self._make_tile(rows, columns // self.groups, rpu_config, tile_module_class, False)
        zeros = torch.zeros(self.out_channels, dtype=torch.float32, device=self.device)
        # Not registered by name: the class has a property of that name.
        self._parameters["bias"] = nn.Parameter(zeros) if bias else None

    @property
    def bias(self) -> nn.Parameter | None:  # type: ignore[override]
        """Digital bias ``[out]``, None without one."""
        return self._parameters["bias"]

    @property
    def device(self) -> torch.device:
        """Device of the tiles."""
        found: torch.device = self.analog_module.device
        return found

    def _analog_module(self) -> Any:
        return self

    def _has_bias(self) -> bool:
        return self._parameters["bias"] is not None

    def _kernel_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    @short_traceback
    def set_weights(self, weight: Tensor, bias: Tensor | None = None, **kwargs: Any) -> None:
        """Write the weights of the layer to its tiles.

        Args:
            weight: Weights in logical units, ``[in, out / groups, *kernel_size]`` as in torch, or
                the same as a matrix with ``in`` rows.
            bias: Bias ``[out]``; the present one is kept without. A layer without one takes no
                notice of it.
            kwargs: ``apply_weight_scaling``, ``realistic``, ``weight_scaling_omega`` as in the
                tile.

        Raises:
            InputError: Shape, type or a value does not fit; nothing is changed.
        """
        shape = self._weight_shape()
        matrix = check_values("weight", as_matrix(weight, *shape), shape)
        column = None if bias is None else check_values("bias", bias, (self.out_channels,))
        blocks = matrix.view(self.groups, -1, shape[1]).transpose(1, 2)
        self.analog_module.set_weights(blocks.reshape(-1, blocks.shape[2]), **kwargs)
        own = self._parameters["bias"]
        if column is not None and own is not None:
            own.detach().copy_(column)

    def get_weights(self, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Return the weights of the layer.

        Args:
            kwargs: ``apply_weight_scaling`` and ``realistic`` as in the tile.

        Returns:
            Copies of the weights ``[in, out / groups * kernel elements]`` and of the bias ``[out]``
            or None, on CPU.
        """
        bias = self._parameters["bias"]
        matrix: Tensor = self.analog_module.get_weights(**kwargs)[0]
        blocks = matrix.view(self.groups, -1, matrix.shape[1]).transpose(1, 2)
        weight = blocks.reshape(self._weight_shape())
        return weight, None if bias is None else bias.detach().cpu().clone()

    @short_traceback
    def get_pulse_counters(self) -> Tensor:
        """Return how many pulses every crosspoint of the layer got since it was built.

        Returns:
            int64 ``[2, out * kernel elements, in / groups]``, as the crosspoints are in the tiles;
            index 0 has pulses down, index 1 those up.

        Raises:
            ConfigError: The devices do not count pulses; the message names the field to set.
            TileError: The tiles have no devices of the core.
        """
        counters: Tensor = self.analog_module.get_pulse_counters()
        return counters

    def forward(self, x_input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Compute the analog product of every element, and add up what overlaps.

        Args:
            x_input: Images ``[N, C, *sizes]``, or one image ``[C, *sizes]``.
            output_size: Size of the output, where stride leaves a choice; it takes the place of
                ``output_padding``.

        Returns:
            Tensor ``[N, out, *sizes]``, or ``[out, *sizes]``; channels last in memory if those of
            the images are.

        Raises:
            InputError: Number of axes or channels, a size, dtype or device does not fit; the
                message has the arguments of the layer and, inside a model, its name.
        """
        try:
            images = self._as_batch(x_input)
            extra = self._extra(x_input, output_size)
            sizes = tuple(images.shape[2:])
            full = [
                (size - 1) * self.stride[axis]
                + self.dilation[axis] * (self.kernel_size[axis] - 1)
                + 1
                for axis, size in enumerate(sizes)
            ]
            for axis, size in enumerate(full):
                if sizes[axis] < 1 or size + extra[axis] - 2 * self._pad(axis) < 1:
                    raise InputError(f"x_input: image or output has no element along axis {axis}")
            if math.prod(full) * self.out_channels >= _MOST_ELEMENTS:
                raise InputError(f"x_input: an output of sizes {full} has too many elements")
            rows = images.flatten(2).transpose(1, 2)
            columns = call(self._modules["analog_module"], rows)
            output = _added_up(
                columns, sizes, tuple(full), self.kernel_size, self.stride, self.dilation
            )
            around = [
                (-self._pad(axis), extra[axis] - self._pad(axis)) for axis in range(self.RANK)
            ]
            output = functional.pad(output, [size for pair in reversed(around) for size in pair])
        except InputError as error:
            raise_located(error, self)
        bias = self._parameters["bias"]
        if bias is not None:
            output = output + bias.view(-1, *(1,) * self.RANK)
        if are_channels_last(images):
            output = output.contiguous(memory_format=CHANNELS_LAST[self.RANK])
        return output if x_input.dim() == images.dim() else output.squeeze(0)

    def _pad(self, axis: int) -> int:
        return int(self.padding[axis])

    def _extra(self, x_input: Tensor, output_size: list[int] | None) -> tuple[int, ...]:
        """Return how many elements are added behind each axis of the output."""
        if output_size is None:
            return self.output_padding
        derive: Any = _ConvTransposeNd._output_padding
        place = self.stride, self.padding, self.kernel_size, self.RANK, self.dilation
        try:
            extra: list[int] = derive(self, x_input, output_size, *place)
        except (ValueError, TypeError) as error:
            raise InputError(f"output_size: {error}") from error
        return tuple(extra)


def _added_up(
    columns: Tensor,
    sizes: tuple[int, ...],
    full: tuple[int, ...],
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """Return the sum of the kernels at all positions.

    Args:
        columns: Shape ``[N, positions, C * kernel elements]``.
        sizes: Number of positions along each axis.
        full: Size of the result along each axis.
        kernel_size: Size of the kernel.
        stride: Steps between the positions.
        dilation: Steps between the elements of the kernel.

    Returns:
        Shape ``[N, C, *full]``.
    """
    count, rank = columns.shape[0], len(sizes)
    channels = columns.shape[2] // math.prod(kernel_size)
    if count == 0:
        # Nothing is added up, and the graph goes on.
        return columns.sum() + columns.new_zeros(0, channels, *full)
    values = columns.transpose(1, 2)
    if rank == 1:
        kernel = {"dilation": (1, *dilation), "stride": (1, *stride)}
        return functional.fold(values, (1, *full), (1, *kernel_size), **kernel).squeeze(2)
    last = {"dilation": dilation[-2:], "stride": stride[-2:]}
    if rank == 2:
        return functional.fold(values, full, kernel_size, **last)
    # The last two axes first, for each element of the first axis and of its kernel.
    depth, first = sizes[0], kernel_size[0]
    values = values.reshape(count, channels, first, -1, depth, math.prod(sizes[1:]))
    values = values.permute(0, 4, 1, 2, 3, 5).reshape(count * depth, -1, math.prod(sizes[1:]))
    planes = functional.fold(values, full[1:], kernel_size[1:], **last)
    area = math.prod(full[1:])
    planes = planes.view(count, depth, channels, first, area).permute(0, 2, 3, 1, 4)
    # Planes are rows of an image with the first axis as the other one.
    planes = planes.reshape(count, channels * first, depth * area)
    kernel = {"dilation": (dilation[0], 1), "stride": (stride[0], 1)}
    volume = functional.fold(planes, (full[0], area), (first, 1), **kernel)
    return volume.view(count, channels, *full)


@register_analog(nn.ConvTranspose1d)
class AnalogConvTranspose1d(_AnalogConvTransposeNd):
    """1d transposed convolution: one analog product for each element of an image.

    With the same torch seed the initial logical weights are those of `torch.nn.ConvTranspose1d`,
    limited only by the bounds of the devices, and exactly as many random numbers are drawn from
    torch's generator.
    """

    DIGITAL = nn.ConvTranspose1d
    RANK = 1

    @short_traceback
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
    ) -> None:
        """Build the tiles and initialise their weights.

        Args:
            in_channels: Channels of an image.
            out_channels: Channels of the output.
            kernel_size: Size of the kernel, one number or one for each axis.
            stride: Steps between the places of the kernel in the output.
            padding: Elements taken off both sides of each axis of the output.
            output_padding: Elements added to the output behind each axis.
            groups: Number of groups of channels; each has tiles of its own.
            bias: Whether to add a trained bias, always digitally.
            dilation: Steps between the elements of the kernel.
            padding_mode: ``"zeros"``.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` by default; each gets a
                copy.
            tile_module_class: Tile or tile array; by default the configuration chooses by size,
                and groups are an array.

        Raises:
            AnalogBiasConfigError: There is a bias, and ``mapping.digital_bias`` is False.
            ArgumentError: A size, the number of groups or the padding is invalid, or
                ``rpu_config`` is not an instance of a configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        arguments = {
            "in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size,
            "stride": stride, "padding": padding, "output_padding": output_padding,
            "groups": groups, "dilation": dilation, "padding_mode": padding_mode,
        }  # fmt: skip
        super().__init__(arguments, bias, rpu_config, tile_module_class)


@register_analog(nn.ConvTranspose2d)
class AnalogConvTranspose2d(_AnalogConvTransposeNd):
    """2d transposed convolution: one analog product for each element of an image.

    With the same torch seed the initial logical weights are those of `torch.nn.ConvTranspose2d`,
    limited only by the bounds of the devices, and exactly as many random numbers are drawn from
    torch's generator.
    """

    DIGITAL = nn.ConvTranspose2d
    RANK = 2

    @short_traceback
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
    ) -> None:
        """Build the tiles and initialise their weights.

        Args:
            in_channels: Channels of an image.
            out_channels: Channels of the output.
            kernel_size: Size of the kernel, one number or one for each axis.
            stride: Steps between the places of the kernel in the output.
            padding: Elements taken off both sides of each axis of the output.
            output_padding: Elements added to the output behind each axis.
            groups: Number of groups of channels; each has tiles of its own.
            bias: Whether to add a trained bias, always digitally.
            dilation: Steps between the elements of the kernel.
            padding_mode: ``"zeros"``.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` by default; each gets a
                copy.
            tile_module_class: Tile or tile array; by default the configuration chooses by size,
                and groups are an array.

        Raises:
            AnalogBiasConfigError: There is a bias, and ``mapping.digital_bias`` is False.
            ArgumentError: A size, the number of groups or the padding is invalid, or
                ``rpu_config`` is not an instance of a configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        arguments = {
            "in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size,
            "stride": stride, "padding": padding, "output_padding": output_padding,
            "groups": groups, "dilation": dilation, "padding_mode": padding_mode,
        }  # fmt: skip
        super().__init__(arguments, bias, rpu_config, tile_module_class)


@register_analog(nn.ConvTranspose3d)
class AnalogConvTranspose3d(_AnalogConvTransposeNd):
    """3d transposed convolution: one analog product for each element of an image.

    With the same torch seed the initial logical weights are those of `torch.nn.ConvTranspose3d`,
    limited only by the bounds of the devices, and exactly as many random numbers are drawn from
    torch's generator.
    """

    DIGITAL = nn.ConvTranspose3d
    RANK = 3

    @short_traceback
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
    ) -> None:
        """Build the tiles and initialise their weights.

        Args:
            in_channels: Channels of an image.
            out_channels: Channels of the output.
            kernel_size: Size of the kernel, one number or one for each axis.
            stride: Steps between the places of the kernel in the output.
            padding: Elements taken off both sides of each axis of the output.
            output_padding: Elements added to the output behind each axis.
            groups: Number of groups of channels; each has tiles of its own.
            bias: Whether to add a trained bias, always digitally.
            dilation: Steps between the elements of the kernel.
            padding_mode: ``"zeros"``.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` by default; each gets a
                copy.
            tile_module_class: Tile or tile array; by default the configuration chooses by size,
                and groups are an array.

        Raises:
            AnalogBiasConfigError: There is a bias, and ``mapping.digital_bias`` is False.
            ArgumentError: A size, the number of groups or the padding is invalid, or
                ``rpu_config`` is not an instance of a configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        arguments = {
            "in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size,
            "stride": stride, "padding": padding, "output_padding": output_padding,
            "groups": groups, "dilation": dilation, "padding_mode": padding_mode,
        }  # fmt: skip
        super().__init__(arguments, bias, rpu_config, tile_module_class)
