"""What convolutions on tiles have in common: one product for each patch of an image."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from mho.exceptions import ArgumentError, InputError, short_traceback
from mho.nn.modules import loading
from mho.nn.modules.base import AnalogLayerBase
from mho.nn.modules.construction import build, weights_follow
from mho.nn.modules.layer_weight import (
    LayerWeight,
    WeightSource,
    io_dtype,
    refuse_assignment,
    refuse_reparametrisation,
)
from mho.nn.modules.location import raise_located
from mho.nn.modules.module_call import call
from mho.nn.modules.patches import Patches, are_channels_last, images_of
from mho.simulator.parameters.arguments import (
    check_flag,
    check_index,
    check_instance,
    check_rpu_config,
    check_size,
    check_tile_module_class,
)
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parts.clipping import unwatched, warning_of_clipping
from mho.simulator.raw_tiles.rows import check_tensor
from mho.simulator.state.ordinary import on_host
from mho.simulator.state.transaction import nobody_sees
from mho.simulator.tiles.analog import SingleRPUConfig
from mho.simulator.tiles.array import TileModuleArray

ConvT = TypeVar("ConvT", bound="_AnalogConvNd")
Sizes = int | tuple[int, ...]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _AnalogConvNd(AnalogLayerBase, _ConvNd):
    """What convolutions of all ranks have in common.

    Every patch of an image, with all channels of a group, is one input vector of the tile. All
    patches of a batch form one batch of vectors for the product and for the update, images one
    after the other, output positions in row-major order, and elements of a patch as those of the
    weights: channel, then position in the kernel.
    """

    OWN_ENTRIES: ClassVar[tuple[str, ...]] = (
        "analog_module", "use_indexed", "fold_indices", "image_sizes", "input_size", "_patches",
    )  # fmt: skip
    DIGITAL: ClassVar[Any]
    """Convolution of torch that the layer stands for."""

    RANK: ClassVar[int]
    """Number of axes of an image, without its channels."""

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
        sizes: tuple[Any, ...],
        bias: bool,
        padding_mode: str,
        rpu_config: RPUConfigBase | None,
        tile_module_class: type | None,
        use_indexed: bool | None = None,
    ) -> None:
        """Build the tiles and initialise their weights.

        Args:
            sizes: Channels in and out, kernel size, stride, padding, dilation, groups, as given.
            bias: Whether to add a trained bias.
            padding_mode: What stands around an image.
            rpu_config: Configuration of the tiles.
            tile_module_class: Tile or tile array.
            use_indexed: Whether patches are read through an index table; None is no.

        Raises:
            ArgumentError: An argument is invalid.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        nn.Module.__init__(self)  # that of torch would allocate and draw digital weights
        arguments = self._checked(sizes)
        bias = check_flag("bias", bias)
        if not isinstance(padding_mode, str) or padding_mode not in _PADDING_MODES:
            raise ArgumentError(
                f"padding_mode: expected one of {', '.join(_PADDING_MODES)}, got {padding_mode!r}"
            )
        rpu_config = SingleRPUConfig() if rpu_config is None else check_rpu_config(rpu_config)
        # torch's own layer, without storage, has all arguments in their normal form.
        digital = self.DIGITAL(*arguments, bias=bias, padding_mode=padding_mode, device="meta")
        self.__dict__.update(
            {name: getattr(digital, name) for name in _ConvNd.__constants__ if name != "bias"}
        )
        self.transposed = digital.transposed
        self._reversed_padding_repeated_twice = digital._reversed_padding_repeated_twice
        pairs = list(digital._reversed_padding_repeated_twice)
        padding = tuple((pairs[i], pairs[i + 1]) for i in range(len(pairs) - 2, -1, -2))
        self._patches = Patches(
            self.kernel_size,
            self.stride,
            self.dilation,
            padding,
            self.padding_mode,
        )
        self.use_indexed = check_flag("use_indexed", use_indexed)
        self.fold_indices = self.image_sizes = self.input_size = None
        config = rpu_config

        build(lambda: self._make_tiles(config, tile_module_class, bias), self.reset_parameters)

    def _checked(self, sizes: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments, if they are valid."""
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups = sizes
        check_size("in_channels", in_channels)
        check_size("out_channels", out_channels)
        check_size("groups", groups)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ArgumentError(f"groups: {groups} of them do not divide {name} = {channels}")
        for name, value in (
            ("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation)
        ):  # fmt: skip
            for one in self._per_axis(name, value):
                check_size(name, one)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ArgumentError(f"padding: expected sizes, 'same' or 'valid', got {padding!r}")
            if padding == "same" and any(s != 1 for s in self._per_axis("stride", stride)):
                raise ArgumentError("padding: 'same' needs stride 1")
        else:
            for one in self._per_axis("padding", padding):
                if check_index("padding", one) < 0:
                    raise ArgumentError(f"padding: expected sizes of 0 or more, got {padding!r}")
        return sizes

    def _per_axis(self, name: str, value: Any) -> Sequence[Any]:
        if not isinstance(value, Sequence):
            return [value]
        if isinstance(value, str) or len(value) != self.RANK:
            raise ArgumentError(f"{name}: expected one size or {self.RANK} of them, got {value!r}")
        return value

    def _make_tiles(self, rpu_config: Any, tile_module_class: type | None, bias: bool) -> None:
        rows, columns = self.out_channels, self.in_features
        chosen: Any = tile_module_class
        if chosen is None and self.groups > 1:
            chosen = getattr(rpu_config, "tile_array_class", None) or TileModuleArray
        elif chosen is None:
            chosen = rpu_config.get_default_tile_module_class(rows, columns)
        check_tile_module_class(chosen)
        self.analog_module: Any
        if self.groups == 1:
            self.analog_module = chosen(rows, columns, rpu_config, bias)
            return
        if not (isinstance(chosen, type) and issubclass(chosen, TileModuleArray)):
            raise ArgumentError(
                f"tile_module_class: a convolution of {self.groups} groups has a tile for each;"
                f" leave it out, or give a class of TileModuleArray, got {chosen!r}"
            )
        columns *= self.groups
        self.analog_module = chosen(rows, columns, rpu_config, bias, groups=self.groups)

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

    @property
    def weight(self) -> LayerWeight:  # type: ignore[override]
        """Logical weights ``[out, in / groups, *kernel_size]``, read from the tiles on demand.

        `torch.nn.init` and other operations in place write through the tiles. Gradients do not
        pass: a penalty on the weights belongs to the tiles, see their configuration.

        Raises:
            ModuleError: On assignment; use `set_weights`.
        """
        return LayerWeight(WeightSource(self, self._analog_module(), self._kernel_shape(), False))

    @property
    def bias(self) -> LayerWeight | None:  # type: ignore[override]
        """Bias ``[out]`` in the same way, true as a condition; None without one."""
        if not self._has_bias():
            return None
        return LayerWeight(WeightSource(self, self._analog_module(), (self.out_channels,), True))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("weight", "bias"):
            # Scripts that move weights between modules hand back what they took.
            if not isinstance(value, LayerWeight) or value._source.layer is not self:
                refuse_assignment(name)
            return
        super().__setattr__(name, value)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter; the logical weights cannot become another one.

        Raises:
            ModuleError: They are handed over, as pruning and weight norm of torch do.
        """
        if isinstance(param, LayerWeight):
            refuse_reparametrisation(name)
        super().register_parameter(name, param)

    def _has_bias(self) -> bool:
        return bool(self._analog_module().use_bias)

    def _kernel_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def _weight_shape(self) -> tuple[int, ...]:
        return self.out_features, self.in_features

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, missing_keys: Any,
        unexpected_keys: Any, error_msgs: list[str],
    ) -> None:  # fmt: skip
        if strict and loading.is_digital_entry(state_dict, prefix):
            error_msgs.append(loading.digital_entry(prefix))
            return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and files take over: no index table, the next image brings one."""
        return {**self.__dict__, "fold_indices": None, "image_sizes": None, "input_size": None}

    @short_traceback
    def set_weights(self, weight: Tensor, bias: Tensor | None = None, **kwargs: Any) -> None:
        """Write the weights of the layer to its tiles.

        Args:
            weight: Weights in logical units, ``[out, in / groups, *kernel_size]`` as in torch, or
                as a matrix ``[out, in_features]``.
            bias: Bias ``[out]``; a digital bias stays as it is without. A layer without one takes
                no notice of it.
            kwargs: ``apply_weight_scaling``, ``realistic``, ``weight_scaling_omega`` as in the
                tile.

        Raises:
            InputError: Shape, type or a value does not fit; nothing is changed.
        """
        if isinstance(weight, Tensor) and tuple(weight.shape) == self._kernel_shape():
            weight = weight.reshape(self._weight_shape())
        super().set_weights(weight, bias, **kwargs)

    def reset_parameters(self) -> None:
        """Draw the weights of a new convolution of torch and write them to the tiles."""
        with on_host(), unwatched():
            digital = self._digital(self._has_bias())
            self.set_weights(digital.weight, digital.bias)

    def _digital(self, bias: bool, **factory: Any) -> _ConvNd:
        """Return a new digital layer with the same arguments."""
        mode = self.padding_mode
        digital: _ConvNd = self.DIGITAL(*_arguments(self), bias=bias, padding_mode=mode, **factory)
        return digital

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

    def _as_batch(self, x_input: Tensor) -> Tensor:
        check_tensor(x_input, "x_input")
        rank = self.RANK
        if x_input.dim() not in (rank + 1, rank + 2):
            raise InputError(
                f"x_input: expected {rank + 2} axes, or {rank + 1} without a batch, got shape"
                f" {tuple(x_input.shape)}"
            )
        images = x_input if x_input.dim() == rank + 2 else x_input.unsqueeze(0)
        if images.shape[1] != self.in_channels:
            raise InputError(
                f"x_input: expected {self.in_channels} channels, got {images.shape[1]}"
                f" (shape {tuple(x_input.shape)})"
            )
        return images

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
        text: str = _ConvNd.extra_repr(self)  # type: ignore[no-untyped-call]
        if self.use_indexed:
            text += ", use_indexed=True"
        return self._with_config_name(text)

    @classmethod
    def from_digital(
        cls: type[ConvT],
        module: Any,
        rpu_config: RPUConfigBase,
        tile_module_class: type | None = None,
    ) -> ConvT:
        """Return an analog layer with the weights of a digital one, on the same device.

        Warns if weights are beyond the bounds of the devices, which clip them. A layer on the meta
        device has no weights yet: its tiles are made on the host, with those of a fresh layer.

        Args:
            module: Digital layer; not changed.
            rpu_config: Configuration of the tiles.
            tile_module_class: As in the constructor.

        Raises:
            ArgumentError: `module` is no such convolution, or as for the constructor.
        """
        check_instance("module", module, cls.DIGITAL)
        settings: dict[str, Any] = {
            "bias": module.bias is not None,
            "padding_mode": module.padding_mode,
            "rpu_config": rpu_config,
            "tile_module_class": tile_module_class,
        }
        make: Any = cls
        layer: ConvT
        if module.weight.is_meta:
            layer = make(*_arguments(module), **settings)
            return layer.train(module.training)
        with weights_follow():
            layer = make(*_arguments(module), **settings)
        layer.train(module.training)
        with warning_of_clipping(), nobody_sees():
            layer.set_weights(module.weight, module.bias)
        return layer.to(module.weight.device, module.weight.dtype)

    @classmethod
    def to_digital(cls, module: Any, realistic: bool = False) -> Any:
        """Return a digital layer with the weights of an analog one, on the device of its tiles.

        Args:
            module: Analog layer; not changed.
            realistic: Estimate the weights from noisy products instead of reading them exactly.

        Raises:
            ArgumentError: `module` is no such layer.
        """
        check_instance("module", module, cls)
        tile = next(module.analog_tiles())
        weight, bias = module.get_weights(realistic=realistic)
        # Without storage nothing is drawn from torch's generator.
        digital = module._digital(bias is not None, device="meta", dtype=io_dtype(tile))
        digital = digital.to_empty(device=tile.device).train(module.training)
        with torch.no_grad():
            digital.weight.copy_(weight.reshape(digital.weight.shape))
            if bias is not None:
                digital.bias.copy_(bias)
        return digital


def _arguments(layer: _ConvNd) -> tuple[Any, ...]:
    """Return the positional arguments of a convolution."""
    return (
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,
        layer.dilation, layer.groups,
    )  # fmt: skip
