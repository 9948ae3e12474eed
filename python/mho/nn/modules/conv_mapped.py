"""Convolutions that are split over arrays of tiles by whole channels."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mho.exceptions import (
    AnalogBiasConfigError,
    ConfigError,
    ModuleError,
    short_traceback,
)
from mho.nn.conversion_table import register_analog
from mho.nn.modules.conv_nd import _AnalogConvNd
from mho.nn.modules.kernel_layer import Sizes
from mho.simulator.autograd.grid import Grid
from mho.simulator.parameters.arguments import check_tile_module_class
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.mapping import MappableRPU
from mho.simulator.parts.logical_weights import as_matrix
from mho.simulator.raw_tiles.given_values import check_values
from mho.simulator.raw_tiles.patches import ImagePatches
from mho.simulator.state.transaction import unchanged_on_error
from mho.simulator.tiles.cut import Cut, split_sizes
from mho.simulator.tiles.grid import grid_of
from mho.simulator.tiles.quantized_inference_torch import QuantizedTorchInferenceTile


class _AnalogConvNdMapped(_AnalogConvNd):
    """What convolutions of all ranks on arrays of tiles have in common.

    A tile has all elements of the kernel for some input channels, and some output channels. The
    outputs of input parts are summed digitally, and the bias is digital.
    """

    OWN_ENTRIES: ClassVar[tuple[str, ...]] = (
        *_AnalogConvNd.OWN_ENTRIES, "array", "in_sizes", "out_sizes", "_cut",
    )  # fmt: skip

    array: nn.ModuleList
    """Tiles by input part, those of the first group of channels first, then by output part."""

    in_sizes: list[int]
    """Number of input channels of each input part of a group."""

    out_sizes: list[int]
    """Number of output channels of each output part of a group."""

    def _make_tiles(self, rpu_config: Any, tile_module_class: type | None, bias: bool) -> None:
        if not isinstance(rpu_config, MappableRPU):
            raise _no_mapping(rpu_config)
        rpu_config.check()
        mapping = rpu_config.mapping
        if bias and not mapping.digital_bias:
            raise AnalogBiasConfigError(
                "mapping.digital_bias: the outputs of several tiles are summed, and the bias can"
                " only be added digitally; set it to True, or bias=False"
            )
        kernel = self.get_tile_size(1, 1, self.kernel_size)
        if 0 < mapping.max_input_size < kernel:
            raise ModuleError(
                f"mapping.max_input_size: {mapping.max_input_size} inputs of a tile are fewer than"
                f" the {kernel} elements of the kernel, which is not split; raise it, or use the"
                " layer that is not mapped"
            )
        self.in_sizes = split_sizes(
            self.in_channels // self.groups, mapping.max_input_size // kernel
        )
        self.out_sizes = split_sizes(self.out_channels // self.groups, mapping.max_output_size)
        columns = tuple(channels * kernel for channels in self.in_sizes)
        self._cut = Cut(columns, tuple(self.out_sizes), self.groups)
        make: Any = rpu_config.tile_class if tile_module_class is None else tile_module_class
        check_tile_module_class(make)
        is_one = len(self.in_sizes) == len(self.out_sizes) == 1
        if _is_quantised(make) and (bias or not is_one):
            raise ConfigError(
                f"tile_class: {make.__name__} has a quantised periphery, but {type(self).__name__}"
                " sums its tiles and adds its bias with all bits; use the layer that is not mapped,"
                " whose array of tiles quantises both"
            )
        self.array = self._cut.build(lambda rows, cols: make(rows, cols, rpu_config, bias=False))
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
        found: torch.device = self._cut.all_tiles(self.array)[0].device
        return found

    def _analog_module(self) -> Any:
        return self

    def _has_bias(self) -> bool:
        return self._parameters["bias"] is not None

    def _grid(self, images: Tensor, patches: ImagePatches) -> Grid | None:
        return grid_of(self, images, patches)

    def _digital_bias(self) -> Tensor | None:
        return self._parameters["bias"]

    def _product(self, rows: Tensor) -> Tensor:
        output = self._cut.product(self.array, rows)
        bias = self._parameters["bias"]
        return output if bias is None else output + bias

    @short_traceback
    def set_weights(self, weight: Tensor, bias: Tensor | None = None, **kwargs: Any) -> None:
        """Write the weights of the layer to its tiles.

        Args:
            weight: Weights in logical units, ``[out, in / groups, *kernel_size]`` as in torch, or
                as a matrix ``[out, in_features]``.
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
        with unchanged_on_error(self._cut.all_tiles(self.array)):
            self._cut.write(self.array, matrix, **kwargs)
        own = self._parameters["bias"]
        if column is not None and own is not None:
            own.detach().copy_(column)

    def get_weights(self, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Return the weights of the layer.

        Args:
            kwargs: ``apply_weight_scaling`` and ``realistic`` as in the tile.

        Returns:
            Copies of the weights ``[out, in_features]`` and of the bias ``[out]`` or None, on CPU.
        """
        bias = self._parameters["bias"]
        weight = self._cut.read(self.array, **kwargs)
        return weight, None if bias is None else bias.detach().cpu().clone()

    @short_traceback
    def get_pulse_counters(self) -> Tensor:
        """Return how many pulses every crosspoint of the layer got since it was built.

        Returns:
            int64 ``[2, out, in_features]``; index 0 has pulses down, index 1 those up.

        Raises:
            ConfigError: The devices do not count pulses; the message names the field to set.
            TileError: The tiles have no devices of the core.
        """
        return self._cut.pulse_counters(self.array)

    @classmethod
    def from_digital(
        cls, module: Any, rpu_config: RPUConfigBase, tile_module_class: type | None = None
    ) -> Any:
        """Return an analog layer with the weights of a digital one, on the same device.

        Args:
            module: Digital layer; not changed.
            rpu_config: Configuration of the tiles.
            tile_module_class: As in the constructor.

        Raises:
            ArgumentError: `module` is no such convolution, or as for the constructor.
            ConfigError: The configuration has no mapping to tiles.
        """
        if isinstance(rpu_config, RPUConfigBase) and not isinstance(rpu_config, MappableRPU):
            raise _no_mapping(rpu_config)
        return super().from_digital(module, rpu_config, tile_module_class)


def _is_quantised(tile_class: Any) -> bool:
    return isinstance(tile_class, type) and issubclass(tile_class, QuantizedTorchInferenceTile)


def _no_mapping(rpu_config: Any) -> ConfigError:
    return ConfigError(
        f"mapping: {type(rpu_config).__name__} has none; layers that are split over tiles need a"
        " configuration that is a MappableRPU"
    )


@register_analog(nn.Conv1d, mapped=True)
class AnalogConv1dMapped(_AnalogConvNdMapped):
    """1d convolution on tiles that are no larger than the mapping allows, cut by channels."""

    DIGITAL = nn.Conv1d
    RANK = 1

    @short_traceback
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        rpu_config: MappableRPU | None = None,
        tile_module_class: type | None = None,
        use_indexed: bool | None = None,
    ) -> None:
        """Build the tiles and initialise their weights.

        Args:
            in_channels: As for `AnalogConv1d`, and so all others.
            out_channels: Channels of the output.
            kernel_size: Size of the kernel.
            stride: Steps between patches.
            padding: Elements added on both sides of each axis, ``"valid"`` or ``"same"``.
            dilation: Steps between the elements of a patch.
            groups: Number of groups of channels.
            bias: Whether to add a trained bias, always digitally.
            padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` by default; its mapping has
                the largest sizes of a tile.
            tile_module_class: Class of the tiles; by default that of the configuration.
            use_indexed: Whether tiles are given images.

        Raises:
            AnalogBiasConfigError: There is a bias, and ``mapping.digital_bias`` is False.
            ArgumentError: A size, the number of groups or the padding is invalid, or
                ``rpu_config`` is not an instance of a configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
            ModuleError: The kernel of one channel does not fit on a tile.
        """
        arguments = {
            "in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size,
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
            "padding_mode": padding_mode,
        }  # fmt: skip
        super().__init__(arguments, bias, rpu_config, tile_module_class, use_indexed)


@register_analog(nn.Conv2d, mapped=True)
class AnalogConv2dMapped(_AnalogConvNdMapped):
    """2d convolution on tiles that are no larger than the mapping allows, cut by channels."""

    DIGITAL = nn.Conv2d
    RANK = 2

    @short_traceback
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        rpu_config: MappableRPU | None = None,
        tile_module_class: type | None = None,
        use_indexed: bool | None = None,
    ) -> None:
        """Build the tiles and initialise their weights.

        Args:
            in_channels: As for `AnalogConv2d`, and so all others.
            out_channels: Channels of the output.
            kernel_size: Size of the kernel.
            stride: Steps between patches.
            padding: Elements added on both sides of each axis, ``"valid"`` or ``"same"``.
            dilation: Steps between the elements of a patch.
            groups: Number of groups of channels.
            bias: Whether to add a trained bias, always digitally.
            padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` by default; its mapping has
                the largest sizes of a tile.
            tile_module_class: Class of the tiles; by default that of the configuration.
            use_indexed: Whether tiles are given images.

        Raises:
            AnalogBiasConfigError: There is a bias, and ``mapping.digital_bias`` is False.
            ArgumentError: A size, the number of groups or the padding is invalid, or
                ``rpu_config`` is not an instance of a configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
            ModuleError: The kernel of one channel does not fit on a tile.
        """
        arguments = {
            "in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size,
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
            "padding_mode": padding_mode,
        }  # fmt: skip
        super().__init__(arguments, bias, rpu_config, tile_module_class, use_indexed)


@register_analog(nn.Conv3d, mapped=True)
class AnalogConv3dMapped(_AnalogConvNdMapped):
    """3d convolution on tiles that are no larger than the mapping allows, cut by channels."""

    DIGITAL = nn.Conv3d
    RANK = 3

    @short_traceback
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        rpu_config: MappableRPU | None = None,
        tile_module_class: type | None = None,
        use_indexed: bool | None = None,
    ) -> None:
        """Build the tiles and initialise their weights.

        Args:
            in_channels: As for `AnalogConv3d`, and so all others.
            out_channels: Channels of the output.
            kernel_size: Size of the kernel.
            stride: Steps between patches.
            padding: Elements added on both sides of each axis, ``"valid"`` or ``"same"``.
            dilation: Steps between the elements of a patch.
            groups: Number of groups of channels.
            bias: Whether to add a trained bias, always digitally.
            padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` by default; its mapping has
                the largest sizes of a tile.
            tile_module_class: Class of the tiles; by default that of the configuration.
            use_indexed: Whether tiles are given images.

        Raises:
            AnalogBiasConfigError: There is a bias, and ``mapping.digital_bias`` is False.
            ArgumentError: A size, the number of groups or the padding is invalid, or
                ``rpu_config`` is not an instance of a configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
            ModuleError: The kernel of one channel does not fit on a tile.
        """
        arguments = {
            "in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size,
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
            "padding_mode": padding_mode,
        }  # fmt: skip
        super().__init__(arguments, bias, rpu_config, tile_module_class, use_indexed)
