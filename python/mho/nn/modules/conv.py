"""Convolutions whose products are computed by crossbars."""

from torch import nn

from mho.exceptions import short_traceback
from mho.nn.conversion_table import register_analog
from mho.nn.modules.conv_nd import _AnalogConvNd
from mho.nn.modules.kernel_layer import Sizes
from mho.simulator.parameters.base import RPUConfigBase


@register_analog(nn.Conv1d)
class AnalogConv1d(_AnalogConvNd):
    """1d convolution: one analog product for each patch.

    With the same torch seed the initial logical weights are those of `torch.nn.Conv1d`, limited
    only by the bounds of the devices, and exactly as many random numbers are drawn from torch's
    generator.
    """

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
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
        use_indexed: bool | None = None,
    ) -> None:
        """Build the tiles and initialise their weights.

        Args:
            in_channels: Channels of an image.
            out_channels: Channels of the output.
            kernel_size: Size of the kernel, one number or one for each axis.
            stride: Steps between patches.
            padding: Elements added on both sides of each axis, ``"valid"`` for none, or ``"same"``
                for as many as the output needs to have the size of the image.
            dilation: Steps between the elements of a patch.
            groups: Number of groups of channels; each has tiles of its own.
            bias: Whether to add a trained bias; the mapping of the configuration says where. That
                of a layer with groups or on an array of tiles is digital.
            padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` by default; each gets a
                copy.
            tile_module_class: Tile or tile array; by default the configuration chooses by size,
                and groups are an array.
            use_indexed: Whether tiles are given images, which those of the core read patch by
                patch. None is where they can; True makes the table `fold_indices` as well, and
                gives other tiles what it says; False copies all patches.

        Raises:
            ArgumentError: A size, the number of groups or the padding is invalid, or
                ``rpu_config`` is not an instance of a configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        arguments = {
            "in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size,
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
            "padding_mode": padding_mode,
        }  # fmt: skip
        super().__init__(arguments, bias, rpu_config, tile_module_class, use_indexed)


@register_analog(nn.Conv2d)
class AnalogConv2d(_AnalogConvNd):
    """2d convolution: one analog product for each patch.

    With the same torch seed the initial logical weights are those of `torch.nn.Conv2d`, limited
    only by the bounds of the devices, and exactly as many random numbers are drawn from torch's
    generator.
    """

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
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
        use_indexed: bool | None = None,
    ) -> None:
        """Build the tiles and initialise their weights.

        Args:
            in_channels: Channels of an image.
            out_channels: Channels of the output.
            kernel_size: Size of the kernel, one number or one for each axis.
            stride: Steps between patches.
            padding: Elements added on both sides of each axis, ``"valid"`` for none, or ``"same"``
                for as many as the output needs to have the size of the image.
            dilation: Steps between the elements of a patch.
            groups: Number of groups of channels; each has tiles of its own.
            bias: Whether to add a trained bias; the mapping of the configuration says where. That
                of a layer with groups or on an array of tiles is digital.
            padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` by default; each gets a
                copy.
            tile_module_class: Tile or tile array; by default the configuration chooses by size,
                and groups are an array.
            use_indexed: Whether tiles are given images, which those of the core read patch by
                patch. None is where they can; True makes the table `fold_indices` as well, and
                gives other tiles what it says; False copies all patches.

        Raises:
            ArgumentError: A size, the number of groups or the padding is invalid, or
                ``rpu_config`` is not an instance of a configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        arguments = {
            "in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size,
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
            "padding_mode": padding_mode,
        }  # fmt: skip
        super().__init__(arguments, bias, rpu_config, tile_module_class, use_indexed)


@register_analog(nn.Conv3d)
class AnalogConv3d(_AnalogConvNd):
    """3d convolution: one analog product for each patch.

    With the same torch seed the initial logical weights are those of `torch.nn.Conv3d`, limited
    only by the bounds of the devices, and exactly as many random numbers are drawn from torch's
    generator.
    """

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
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
        use_indexed: bool | None = None,
    ) -> None:
        """Build the tiles and initialise their weights.

        Args:
            in_channels: Channels of an image.
            out_channels: Channels of the output.
            kernel_size: Size of the kernel, one number or one for each axis.
            stride: Steps between patches.
            padding: Elements added on both sides of each axis, ``"valid"`` for none, or ``"same"``
                for as many as the output needs to have the size of the image.
            dilation: Steps between the elements of a patch.
            groups: Number of groups of channels; each has tiles of its own.
            bias: Whether to add a trained bias; the mapping of the configuration says where. That
                of a layer with groups or on an array of tiles is digital.
            padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` by default; each gets a
                copy.
            tile_module_class: Tile or tile array; by default the configuration chooses by size,
                and groups are an array.
            use_indexed: Whether tiles are given images, which those of the core read patch by
                patch. None is where they can; True makes the table `fold_indices` as well, and
                gives other tiles what it says; False copies all patches.

        Raises:
            ArgumentError: A size, the number of groups or the padding is invalid, or
                ``rpu_config`` is not an instance of a configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        arguments = {
            "in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size,
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
            "padding_mode": padding_mode,
        }  # fmt: skip
        super().__init__(arguments, bias, rpu_config, tile_module_class, use_indexed)
