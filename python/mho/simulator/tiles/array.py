"""A layer that is too large for one tile, split over several."""

from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, warn_caller
from mho.simulator.parameters.arguments import check_flag, check_rpu_config, check_size
from mho.simulator.parameters.mapping import MappableRPU, MappingParameter
from mho.simulator.parameters.registry import register_tile_class
from mho.simulator.parts.logical_weights import as_matrix
from mho.simulator.parts.quantized_periphery import RangeFollower
from mho.simulator.raw_tiles.given_values import check_values
from mho.simulator.raw_tiles.rows import check_features, check_output_view, check_tensor
from mho.simulator.state.entries import Entry, check_entry
from mho.simulator.state.ordinary import keep_ordinary, on_host, ordinary_tensors
from mho.simulator.state.transaction import unchanged_on_error
from mho.simulator.tiles.base import TileModuleBase
from mho.simulator.tiles.cut import Cut, split_sizes
from mho.simulator.tiles.editing import SharedView
from mho.simulator.tiles.grid import forward_together, grid_of
from mho.simulator.tiles.module import TileModule


@register_tile_class
@TileModuleBase.register
class TileModuleArray(nn.Module):
    """Grid of tiles whose products are summed over input parts, concatenated over output parts.

    The bias is always digital and added once, whatever `mapping.digital_bias` says.

    With groups, as convolutions have them, the inputs and the outputs fall into as many equal
    blocks, one after the other, and each block of outputs sees its own block of inputs only. Every
    group has tiles of its own.
    """

    supports_indexed = False

    array: nn.ModuleList
    bias: nn.Parameter | None

    @ordinary_tensors()
    def __init__(
        self,
        out_size: int,
        in_size: int,
        rpu_config: MappableRPU,
        bias: bool = False,
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        """Build the tiles.

        Args:
            out_size: Number of outputs.
            in_size: Number of inputs.
            rpu_config: Configuration; `mapping` has the size limits of a tile.
            bias: Whether there is a bias.
            groups: Number of groups; divides both sizes.
            kwargs: Passed to the tiles.

        Raises:
            ArgumentError: A size is not a positive integer, groups do not divide it, or the
                configuration has no mapping.
            ConfigError: The configuration is invalid; the message names the field.
            MemoryError: There is no memory for so many weights.
        """
        super().__init__()
        bias = check_flag("bias", bias)
        self.out_size, self.in_size = (
            check_size("out_size", out_size),
            check_size("in_size", in_size),
        )
        if not isinstance(check_rpu_config(rpu_config), MappableRPU):
            raise ArgumentError(
                "rpu_config: expected a configuration with a mapping, got"
                f" {type(rpu_config).__name__}"
            )
        self.groups = check_size("groups", groups)
        for name, size in (("out_size", out_size), ("in_size", in_size)):
            if size % self.groups:
                raise ArgumentError(f"groups: {self.groups} of them do not divide {name} = {size}")
        columns, rows = in_size // self.groups, out_size // self.groups
        _check_memory(out_size, columns)
        mapping = rpu_config.mapping
        self.in_sizes = split_sizes(columns, mapping.max_input_size)
        self.out_sizes = split_sizes(rows, mapping.max_output_size)
        self._cut = Cut(tuple(self.in_sizes), tuple(self.out_sizes), self.groups)
        cls = rpu_config.tile_class
        self.array = self._cut.build(
            lambda rows, columns: cls(rows, columns, rpu_config, bias=False, **kwargs)
        )
        _warn_of_digital_bias(bias, mapping)
        zeros = torch.zeros(out_size, dtype=torch.float32, device=self.device)
        self.register_parameter("bias", nn.Parameter(zeros) if bias else None)
        self.analog_tile_count = len(self._cut.all_tiles(self.array))

    @property
    def rpu_config(self) -> Any:
        """Copy of the configuration of the tiles; a change of a field is made in all of them."""
        return SharedView(self._cut.all_tiles(self.array)).config

    @property
    def use_bias(self) -> bool:
        """Whether there is a bias."""
        return self.bias is not None

    @property
    def device(self) -> torch.device:
        """Device of the tiles."""
        return self._first().device

    @property
    def is_cuda(self) -> bool:
        """Whether the tiles are on a CUDA device."""
        return self._first().is_cuda

    def _first(self) -> TileModule:
        first: TileModule = self._cut.all_tiles(self.array)[0]
        return first

    def get_split_sizes(self, size: int, split_max_size: int) -> list[int]:
        """Return the sizes of the parts of an axis, nearly equal and larger ones first.

        Args:
            size: Size of the axis.
            split_max_size: Largest part; zero or less is no limit.

        Raises:
            ArgumentError: The size is not a positive integer, or the limit is no integer.
        """
        return split_sizes(size, split_max_size)

    def forward(self, x_input: Tensor, tensor_view: tuple[int, ...] | None = None) -> Tensor:
        """Return the output of the layer.

        Args:
            x_input: Inputs, shape `[..., in_size]`.
            tensor_view: Shape that spreads a vector of all outputs over the output tensor.

        Returns:
            Shape `[..., out_size]`.

        Raises:
            InputError: Wrong number of features, dtype or device, or the shape does not fit.
        """
        check_tensor(x_input, "x_input")
        check_features(x_input, self.in_size, False, "x_input")
        if tensor_view is not None:
            check_output_view(tensor_view, self.out_size, x_input, False, False)
        grid = grid_of(self, x_input) if tensor_view is None else None
        if grid is not None:
            return forward_together(grid, x_input, self._parameters["bias"])
        output = self._cut.product(self.array, x_input, tensor_view)
        return self._finish_output(output, tensor_view)

    def _finish_output(self, output: Tensor, tensor_view: tuple[int, ...] | None) -> Tensor:
        """Return the output of the layer; `output` is the sum over the input parts."""
        if self.bias is None:
            return output
        return output + (self.bias if tensor_view is None else self.bias.view(tensor_view))

    def backward(self, d_input: Tensor) -> Tensor:
        """Return gradients of the inputs, without autograd.

        Args:
            d_input: Gradients of the outputs, shape `[..., out_size]`.

        Returns:
            Shape `[..., in_size]`.

        Raises:
            InputError: Wrong number of features, dtype or device.
        """
        check_tensor(d_input, "d_input")
        check_features(d_input, self.out_size, False, "d_input")
        return self._cut.backward(self.array, d_input.detach())

    def update(self, x_input: Tensor, d_input: Tensor) -> None:
        """Update the weights of all tiles; on any error nothing is changed.

        Args:
            x_input: Inputs of the layer, shape `[..., in_size]`.
            d_input: Gradients of the outputs, shape `[..., out_size]`.

        Raises:
            ArgumentError: A value is not finite.
            InputError: Wrong number of features or samples, dtype or device.
            TileError: The weights follow a gradient that autograd computes.
        """
        for name, value, size in (
            ("x_input", x_input, self.in_size),
            ("d_input", d_input, self.out_size),
        ):
            check_tensor(value, name)
            check_features(value, size, False, name)
        with unchanged_on_error(self._cut.all_tiles(self.array)):
            self._cut.update(self.array, x_input.detach(), d_input.detach())

    def set_learning_rate(self, learning_rate: float | None) -> None:
        """Set the learning rate of the updates of all tiles.

        Args:
            learning_rate: Not negative; None keeps it.
        """
        self._cut.call_all(self.array, "set_learning_rate", learning_rate)

    @ordinary_tensors()
    def _apply(self, fn: Any, recurse: bool = True) -> "TileModuleArray":
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call,no-any-return]

    @ordinary_tensors()
    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        keep_ordinary(self)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        name = prefix + "bias"
        if self.bias is not None and name in state_dict:
            check_entry(name, state_dict[name], Entry(((self.out_size,),)))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def set_weights(self, weight: Tensor, bias: Tensor | None = None, **kwargs: Any) -> None:
        """Write logical weights.

        Args:
            weight: Shape `[out_size, in_size / groups]`, or a kernel as for a tile.
            bias: Shape `[out_size]`; the present one is kept if it is not given.
            kwargs: Passed to the tiles.

        Raises:
            ArgumentError: A value is not finite; nothing is changed.
            InputError: Wrong shape; nothing is changed.
        """
        shape = self._cut.weight_shape
        full = check_values("weight", as_matrix(weight, *shape), shape)
        column = None if bias is None else check_values("bias", bias, (self.out_size,))
        with unchanged_on_error(self._cut.all_tiles(self.array)):
            self._cut.write(self.array, full, **kwargs)
        if column is not None and self.bias is not None:
            self.bias.detach().copy_(column)

    def get_weights(self, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Return copies of the logical weights `[out_size, in_size / groups]` and of the bias.

        Args:
            kwargs: Passed to the tiles.
        """
        bias = None if self.bias is None else self.bias.detach().cpu().clone()
        return self._cut.read(self.array, **kwargs), bias

    def get_pulse_counters(self) -> Tensor:
        """Return how many pulses every crosspoint got, int64 `[2, out_size, in_size / groups]`.

        Raises:
            ConfigError: The devices do not count pulses; the message names the field to set.
            TileError: The tiles have no devices of the core.
            TileModuleError: The tiles cannot tell.
        """
        return self._cut.pulse_counters(self.array)


@register_tile_class
class QuantizedTileModuleArray(TileModuleArray):
    """Grid of tiles with a quantised periphery; bias and summed output are quantised as well.

    The output of a single tile is not quantised again. The quantisers follow the configuration of
    the tiles, and are switched off where that has none.
    """

    @ordinary_tensors()
    def __init__(
        self,
        out_size: int,
        in_size: int,
        rpu_config: MappableRPU,
        bias: bool = False,
        **kwargs: Any,
    ) -> None:
        """Build the tiles and the quantisers; see the base class.

        Args:
            out_size: Number of outputs.
            in_size: Number of inputs.
            rpu_config: Configuration.
            bias: Whether there is a bias.
            kwargs: Passed to the tiles.
        """
        super().__init__(out_size, in_size, rpu_config, bias, **kwargs)
        with on_host():
            self.bias_quantizer = RangeFollower().to(self.device)
            self.act_quantizer = RangeFollower().to(self.device)
        self._follow_config()

    def _follow_config(self) -> None:
        config = self._first().rpu_config
        params = getattr(config.pre_post, "periph_quant", None)
        if params is not None:
            self.bias_quantizer.follow_periphery(params)
        self.act_quantizer.follow_outputs(getattr(config, "act_quant_config", None))

    def _finish_output(self, output: Tensor, tensor_view: tuple[int, ...] | None) -> Tensor:
        self._follow_config()  # cheap where nothing has changed
        if self.bias is not None:
            bias = self.bias_quantizer(self.bias)
            output = output + (bias if tensor_view is None else bias.view(tensor_view))
        if self.analog_tile_count == self.groups:
            return output
        result: Tensor = self.act_quantizer(output)
        return result


_warned: set[str] = set()


def _warn_of_digital_bias(bias: bool, mapping: MappingParameter) -> None:
    """Warn, once, that a bias that was to be a column of the crossbar is digital."""
    name = "mapping.digital_bias"
    if not bias or mapping.digital_bias or name in _warned:
        return
    warn_caller(
        f"{name}: False has no effect on a layer of several tiles, whose bias is digital and added"
        " once; raise mapping.max_input_size and max_output_size for one tile with an analog bias"
    )
    _warned.add(name)


def _check_memory(out_size: int, in_size: int) -> None:
    """Refuse sizes for whose weights there is no memory, before the first of many tiles is built.

    One by one they would be built until the system ends the process.
    """
    try:
        torch.empty(out_size, in_size, dtype=torch.float32, device="cpu")  # given back at once
    except RuntimeError as error:
        raise MemoryError(
            f"out_size, in_size: there is no memory for {out_size} x {in_size} weights"
        ) from error
