"""The forward pass of a tile in compiled and exported graphs."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

import mho.simulator.autograd.operators  # noqa: F401  # defines torch.ops.mho
from mho.exceptions import ConfigError, TileError
from mho.simulator.parts import input_range
from mho.simulator.parts.input_range import InputRange
from mho.simulator.raw_tiles.rows import batch_shape, from_rows, to_rows
from mho.simulator.state.names import AnalogTileStateNames as Names

_RUNNING = "running_abs_max"
_NOT_IN_GRAPHS = "tiles on 'wgpu' are not part of graphs; call to_backend('cpu') first"
_PYTHON_NOT_IN_GRAPHS = (
    "tile_class: tiles whose products or updates are written in Python are not part of graphs; use"
    " a tile class of the core, such as AnalogTile"
)


@dataclass
class GraphConstants:
    """Plain values that do not change while the configuration of a tile does not."""

    config: str = ""
    """JSON text of the configuration for the core."""

    sizes: list[int] = field(default_factory=list)
    """Outputs, inputs, and one if there is an analog bias."""

    line_names: str = ""
    """Names of the frozen values of the product, separated by commas."""

    back_names: str = ""
    """Names of the frozen values of the transposed product."""

    range_config: str = ""
    """JSON text of the input range parameters, empty without one."""

    running: bool = False
    """Whether products update a running scale."""


class GraphTile(Protocol):
    """What graphs need of a tile of the core."""

    tile: Any
    input_processing: InputRange
    programming: Any
    modified: Any
    _graph: GraphConstants
    training: bool
    in_size: int
    in_trans: bool
    out_trans: bool
    input_range: Any
    input_range_update_idx: Any
    mapping_scales: Tensor | None
    shared_weights: nn.Parameter | None
    handle_output_bound: bool
    backward_factor: float
    mapping_lr_scale: float
    analog_tile_weights: Tensor
    analog_tile_seed: Tensor
    analog_tile_calls: Tensor
    _token: Tensor

    def get_submodule(self, target: str) -> nn.Module:
        """Return a child by name."""

    def cast_input(self, x: Tensor) -> Tensor:
        """Return the input in the precision of the tile."""

    def traced_forward(self, x_input: Tensor) -> Tensor:
        """Return the output for autograd outside of graphs."""

    def joint_forward(self, x_input: Tensor, is_test: bool = False, ctx: Any = None) -> Tensor:
        """Return the output without autograd."""


def graph_constants(tile: GraphTile) -> GraphConstants:
    """Return the constants of a tile.

    Args:
        tile: Tile; those that do not compute in the core have none.
    """
    raw = tile.tile
    if raw.kernels is None:
        return GraphConstants()
    lines, back = (
        [name for name, _ in tile.get_submodule(group).named_buffers()]
        for group in (Names.FORWARD_LINES, Names.BACKWARD_LINES)
    )
    params = tile.input_processing.parameters()
    return GraphConstants(
        config=raw.config_text,
        sizes=[raw.out_size, raw.in_size, int(raw.analog_bias)],
        line_names=",".join(lines),
        back_names=",".join(back),
        range_config="" if params is None else params.to_json(),
        running=_RUNNING in lines or _RUNNING in back,
    )


def graph_forward(tile: GraphTile, x_input: Tensor) -> Tensor:
    """Return the output before learned scales and digital bias, by operators that can be compiled.

    Args:
        tile: Tile of the core.
        x_input: Inputs, shape `[..., in_size]`, or `[in_size, ...]` with `in_trans`.

    Raises:
        ConfigError: The configuration needs state that compiled graphs cannot change.
        InputError: Wrong number of features or dtype.
    """
    if tile.tile.backend != "cpu" or tile.tile.kernels is None:
        if _is_exporting():
            is_python = tile.tile.kernels is None
            raise TileError(_PYTHON_NOT_IN_GRAPHS if is_python else f"backend: {_NOT_IN_GRAPHS}")
        output: Tensor = _outside_of_graphs(tile, x_input)
        return output
    plan = tile._graph
    is_test = not tile.training
    if plan.running and not is_test:
        raise ConfigError(
            "noise_management: AVERAGE_ABS_MAX follows the data in training and cannot be compiled;"
            " call eval() or do not compile the model"
        )
    x = tile.cast_input(x_input)
    rows = to_rows(x, tile.in_size, tile.in_trans, "x_input")
    modified = None if tile.modified is None else tile.modified.in_use(is_test, None)
    params = tile.input_processing.parameters()
    if params is not None and not is_test:
        input_range.update_range_from_data(
            rows, tile.input_range, tile.input_range_update_idx, params
        )
    shared = tile.shared_weights
    token = (
        tile._token if shared is None and torch.is_grad_enabled() and not _is_exporting() else None
    )
    call = torch.ops.mho.next_call(tile.analog_tile_calls)
    y, _ = torch.ops.mho.mvm(
        rows,
        tile.analog_tile_weights if shared is None else shared,
        token,
        tile.input_range,
        tile.mapping_scales,
        tile.programming.output_factor() if is_test else None,
        tile.analog_tile_seed,
        call,
        list(getattr(tile, Names.FORWARD_LINES).buffers()),
        list(getattr(tile, Names.BACKWARD_LINES).buffers()),
        plan.line_names,
        plan.back_names,
        plan.config,
        plan.sizes,
        [tile.backward_factor, tile.mapping_lr_scale],
        plan.range_config,
        is_test,
        tile.handle_output_bound,
        modified,
    )
    return from_rows(y, batch_shape(x, tile.in_trans), tile.out_trans)


def _eager(tile: GraphTile, x_input: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        return tile.traced_forward(x_input)
    return tile.joint_forward(x_input, not tile.training)


# What `torch.compiler.disable` does, without loading the compiler for those who never compile: it
# takes longer to load than all the rest of torch.
_outside_of_graphs: Any = torch._compile._disable_dynamo(_eager)
_outside_of_graphs._torchdynamo_disable = True
_outside_of_graphs._torchdynamo_disable_msg = f"{_NOT_IN_GRAPHS}. {_PYTHON_NOT_IN_GRAPHS}"


def _is_exporting() -> bool:
    asked = getattr(torch.compiler, "is_exporting", None)  # since torch 2.7
    return bool(asked()) if asked is not None else False
