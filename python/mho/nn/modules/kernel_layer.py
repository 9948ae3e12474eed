"""What layers with kernels have in common: arguments as those of torch, weights in tiles."""

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
    check_assignment,
    io_dtype,
    refuse_reparametrisation,
)
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
from mho.simulator.state.entries import Entry, check_entry
from mho.simulator.state.ordinary import on_host
from mho.simulator.state.transaction import nobody_sees
from mho.simulator.tiles.analog import SingleRPUConfig
from mho.simulator.tiles.array import TileModuleArray

KernelT = TypeVar("KernelT", bound="KernelLayer")
Sizes = int | tuple[int, ...]


class KernelLayer(AnalogLayerBase, _ConvNd):
    """Layer with the arguments of a convolution of torch, and its weights in tiles."""

    DIGITAL: ClassVar[Any]
    """Convolution of torch that the layer stands for."""

    RANK: ClassVar[int]
    """Number of axes of an image, without its channels."""

    ARGUMENTS: ClassVar[tuple[str, ...]] = (
        "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups",
        "padding_mode",
    )  # fmt: skip
    """Arguments of that convolution, but for the bias."""

    PADDING_MODES: ClassVar[tuple[str, ...]] = ("zeros", "reflect", "replicate", "circular")
    """What may stand around an image."""

    def __init__(
        self,
        arguments: dict[str, Any],
        bias: bool,
        rpu_config: RPUConfigBase | None,
        tile_module_class: type | None,
    ) -> None:
        """Build the tiles and initialise their weights.

        Args:
            arguments: Arguments of the convolution of torch.
            bias: Whether to add a trained bias.
            rpu_config: Configuration of the tiles.
            tile_module_class: Tile or tile array.

        Raises:
            ArgumentError: An argument is invalid.
            ConfigError: A value of the configuration is invalid; the message names the field.
            MemoryError: There is no memory for so many weights.
        """
        nn.Module.__init__(self)  # that of torch would allocate and draw digital weights
        self._check(**arguments)
        bias = check_flag("bias", bias)
        config = SingleRPUConfig() if rpu_config is None else check_rpu_config(rpu_config)
        # torch's own layer, without storage, has all arguments in their normal form.
        try:
            digital = self.DIGITAL(**arguments, bias=bias, device="meta")
        except (RuntimeError, OverflowError) as error:  # torch cannot count so many weights
            raise MemoryError(f"{type(self).__name__}: {error}") from error
        self.__dict__.update({name: getattr(digital, name) for name in _ConvNd.__constants__})
        self.transposed = digital.transposed
        self._reversed_padding_repeated_twice = digital._reversed_padding_repeated_twice
        self._prepare()
        build(lambda: self._make_tiles(config, tile_module_class, bias), self.reset_parameters)

    def _prepare(self) -> None:
        """Derive what the arguments decide."""

    def _make_tiles(self, rpu_config: Any, tile_module_class: type | None, bias: bool) -> None:
        """Make the tiles."""
        raise NotImplementedError

    def _make_tile(
        self, rows: int, columns: int, rpu_config: Any, tile_module_class: Any, bias: bool
    ) -> None:
        """Make `analog_module`: a tile or an array, with tiles for each group.

        Args:
            rows: Number of outputs of all groups.
            columns: Number of inputs of one group.
            rpu_config: Configuration.
            tile_module_class: As in the constructor.
            bias: Whether the tiles, or the array, have a bias.

        Raises:
            ArgumentError: There are groups, and the class is not one of arrays.
        """
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

    def _check(
        self, *, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any,
        dilation: Any, groups: int, padding_mode: str, output_padding: Any = 0,
    ) -> None:  # fmt: skip
        """Refuse invalid arguments."""
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
            self._check_not_negative("padding", padding)
        self._check_not_negative("output_padding", output_padding)
        if not isinstance(padding_mode, str) or padding_mode not in self.PADDING_MODES:
            raise ArgumentError(
                f"padding_mode: expected one of {', '.join(self.PADDING_MODES)},"
                f" got {padding_mode!r}"
            )

    def _check_not_negative(self, name: str, value: Any) -> None:
        for one in self._per_axis(name, value):
            if check_index(name, one) < 0:
                raise ArgumentError(f"{name}: expected sizes of 0 or more, got {value!r}")

    def _per_axis(self, name: str, value: Any) -> Sequence[Any]:
        if not isinstance(value, Sequence):
            return [value]
        if isinstance(value, str) or len(value) != self.RANK:
            raise ArgumentError(f"{name}: expected one size or {self.RANK} of them, got {value!r}")
        return value

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
            check_assignment(self, name, value)
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
        """Return the shape of the weights of torch's layer."""
        raise NotImplementedError

    def _weight_shape(self) -> tuple[int, ...]:
        shape = self._kernel_shape()
        return shape[0], math.prod(shape[1:])

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, missing_keys: Any,
        unexpected_keys: Any, error_msgs: list[str],
    ) -> None:  # fmt: skip
        if strict and loading.is_digital_entry(state_dict, prefix):
            error_msgs.append(loading.digital_entry(prefix))
            return
        name = f"{prefix}bias"
        if self._parameters.get("bias") is not None and name in state_dict:
            check_entry(name, state_dict[name], Entry(((self.out_channels,),)))
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

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
        digital: _ConvNd = self.DIGITAL(**self._arguments(self), bias=bias, **factory)
        return digital

    @classmethod
    def _arguments(cls, layer: Any) -> dict[str, Any]:
        """Return the arguments of an analog or digital layer."""
        return {name: getattr(layer, name) for name in cls.ARGUMENTS}

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

    def extra_repr(self) -> str:
        """Return the arguments of the layer and the name of the configuration."""
        text: str = _ConvNd.extra_repr(self)  # type: ignore[no-untyped-call]
        return self._with_config_name(text)

    @classmethod
    def from_digital(
        cls: type[KernelT],
        module: Any,
        rpu_config: RPUConfigBase,
        tile_module_class: type | None = None,
    ) -> KernelT:
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
            **cls._arguments(module),
            "bias": module.bias is not None,
            "rpu_config": rpu_config,
            "tile_module_class": tile_module_class,
        }
        make: Any = cls
        layer: KernelT
        if module.weight.is_meta:
            layer = make(**settings)
            return layer.train(module.training).to(dtype=module.weight.dtype)
        with weights_follow():
            layer = make(**settings)
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
