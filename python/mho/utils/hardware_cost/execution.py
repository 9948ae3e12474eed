"""One pass through a model: which layers run, how often, and on what."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mho.nn.data_passes import evaluated
from mho.nn.modules.base import AnalogLayerBase
from mho.nn.noise import same_noise
from mho.simulator.tiles.periphery import TileWithPeriphery
from mho.utils.hardware_cost.digital_work import DigitalCounts, DigitalWork, shape_of


@dataclass
class LayerRun:
    """What a module did in a pass."""

    name: str
    """Full name in the model, empty for the model itself."""

    module: nn.Module
    """The module."""

    calls: int = 0
    """How often it ran."""

    input_shape: list[int] | None = None
    """Shape of its first input, in the first call."""

    output_shape: list[int] | None = None
    """Shape of its first output, in the first call."""

    outputs: int = 0
    """Elements of the outputs of all calls."""

    vectors: dict[str, int] = field(default_factory=dict)
    """Products by name of the tile, for analog layers."""

    digital: DigitalCounts = field(default_factory=DigitalCounts)
    """Operations outside of tiles; nothing for analog layers, whose operations are known."""


def runs_of(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[LayerRun]:
    """Return what the layers of a model do with inputs, in the order of their first calls.

    Layers are analog layers, modules without modules inside, and others as far as they compute
    something themselves. The pass is one of evaluation without gradients; modes, random streams,
    hooks and settings of torch are as before afterwards.

    Args:
        model: Model.
        args: Its arguments.
        kwargs: Arguments by name.
    """
    recorder = _Recorder(model)
    with ExitStack() as stack:
        stack.enter_context(evaluated(model))
        stack.enter_context(same_noise(model, 0))
        stack.enter_context(torch.no_grad())
        stack.enter_context(_no_fused_attention())
        stack.enter_context(_no_compiled_code())
        for handle in recorder.hooks():
            stack.callback(handle.remove)
        stack.enter_context(DigitalWork(recorder.place))
        model(*args, **kwargs)
    return recorder.runs()


def as_written(model: nn.Module) -> nn.Module:
    """Return the model that `torch.compile` has wrapped, or the model itself.

    Args:
        model: Model.
    """
    inner: nn.Module = getattr(model, "_orig_mod", model)
    return inner


def analog_layers(model: nn.Module) -> Iterator[tuple[str, AnalogLayerBase]]:
    """Yield name and layer of the analog layers of a model, each once, without containers.

    Args:
        model: Model.
    """
    for name, module in model.named_modules():
        if is_analog_layer(module):
            yield name, module


def is_analog_layer(module: nn.Module) -> bool:
    """Return whether a module is an analog layer with tiles of its own.

    Args:
        module: Module.
    """
    return isinstance(module, AnalogLayerBase) and not module.IS_CONTAINER


def tiles_of(layer: nn.Module) -> list[tuple[str, TileWithPeriphery]]:
    """Return names within the layer and tiles of a layer.

    Args:
        layer: Analog layer.
    """
    return [(n, m) for n, m in layer.named_modules() if isinstance(m, TileWithPeriphery)]


class _Recorder:
    """Follows the calls of modules by hooks."""

    def __init__(self, model: nn.Module) -> None:
        self._runs: dict[int, LayerRun] = {}
        self._modules = dict(_outside_of_layers(model))
        self._order: list[int] = []
        self._open: list[LayerRun] = []

    def hooks(self) -> Iterator[Any]:
        """Put hooks on modules and tiles, and yield their handles."""
        for name, module in self._modules.items():
            run = self._runs[id(module)] = LayerRun(name, module)
            yield module.register_forward_pre_hook(self._enter, with_kwargs=True)
            yield module.register_forward_hook(self._leave)
            if is_analog_layer(module):
                for tile_name, tile in tiles_of(module):
                    run.vectors[tile_name] = 0
                    yield tile.register_forward_hook(self._counter(run, tile_name))

    def place(self) -> DigitalCounts | None:
        """Return the counts of the module that is running; None inside of analog layers."""
        if not self._open or is_analog_layer(self._open[-1].module):
            return None
        return self._open[-1].digital

    def runs(self) -> list[LayerRun]:
        """Return what ran, as `runs_of` says, and at the end the analog layers that did not."""
        ran = [self._runs[key] for key in self._order]
        idle = [r for r in self._runs.values() if not r.calls and is_analog_layer(r.module)]
        return [run for run in ran if _is_layer(run)] + idle

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        run = self._runs[id(module)]
        if run.calls == 0:
            self._order.append(id(module))
            run.input_shape = shape_of(args) or shape_of(kwargs)
        run.calls += 1
        self._open.append(run)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        run = self._runs[id(module)]
        shape = shape_of(output)
        if run.output_shape is None:
            run.output_shape = shape
        run.outputs += torch.Size(shape or [0]).numel()
        self._open.pop()

    @staticmethod
    def _counter(run: LayerRun, name: str) -> Any:
        def count(tile: Any, args: Any, output: Tensor) -> None:
            run.vectors[name] += output.numel() // tile.out_size

        return count


def _outside_of_layers(module: nn.Module, name: str = "", seen: set[int] | None = None) -> Any:
    """Yield names and modules of a model, but not what is inside of analog layers."""
    seen = set() if seen is None else seen
    if id(module) in seen:
        return
    seen.add(id(module))
    yield name, module
    if is_analog_layer(module):
        return
    for child_name, child in module.named_children():
        yield from _outside_of_layers(child, f"{name}.{child_name}" if name else child_name, seen)


def _is_layer(run: LayerRun) -> bool:
    has_children = next(run.module.children(), None) is not None
    return is_analog_layer(run.module) or not has_children or run.digital != DigitalCounts()


@contextmanager
def _no_fused_attention() -> Iterator[None]:
    """Let torch's attention run as single operations, which can be counted."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _no_compiled_code() -> AbstractContextManager[None]:
    """Let compiled modules run as they were written; torch before 2.6 has no such block."""
    set_stance: Any = getattr(torch.compiler, "set_stance", None)
    # Where nothing was compiled yet, the compiler need not be loaded, which takes seconds.
    if set_stance is None or "torch._dynamo" not in sys.modules:
        return nullcontext()
    block: AbstractContextManager[None] = set_stance("force_eager")
    return block
