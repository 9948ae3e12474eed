"""Activation checkpointing: a recomputed pass repeats the calls of the first one.

`torch.utils.checkpoint` runs a function a second time in the backward pass, to have what it did not
keep. The second run must have the noise of the first one and leave no trace in the tiles: number of
the call, input range and running scales are those of the first run while a recorded call is
repeated, and as before afterwards.

torch does not tell modules that they are recomputed, and offers no place to keep something between
both runs of a reentrant checkpoint. So its classes are wrapped here, in place, which reaches every
user of them: `CheckpointFunction` (reentrant) and the hook and the frame of the other kind.
"""

import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils import checkpoint

from mho.exceptions import TileError
from mho.simulator.parts.input_range import InputRange
from mho.simulator.parts.quantized_periphery import RangeFollower
from mho.simulator.state.names import AnalogTileStateNames as Names

_RUNNING = "running_abs_max"


class RepeatableTile(Protocol):
    """What repeating a call needs of a tile."""

    input_processing: InputRange
    _buffers: dict[str, Tensor | None]

    def modules(self) -> Iterator[nn.Module]:
        """Yield the tile and everything in it."""


class _Region:
    """Calls of tiles in a checkpointed function, in their order, with what they found."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[[], Any], list[Tensor]]] = []


class _Pass:
    """A run of the function of a region in this thread: the first one, or a repetition."""

    def __init__(self, region: _Region, repeats: bool) -> None:
        self.region, self.repeats, self._next = region, repeats, 0

    def next(self, tile: RepeatableTile | None) -> list[Tensor]:
        """Return what the call that is repeated now had found.

        Args:
            tile: Tile; None for one in a compiled graph, which does not know it.
        """
        position, self._next = self._next, self._next + 1
        calls = self.region.calls
        if position >= len(calls) or calls[position][0]() is not tile:
            raise TileError(
                "checkpoint: the function calls analog layers in another order when it is"
                " recomputed; their noise cannot be repeated"
            )
        return calls[position][1]


class _Passes(threading.local):
    """Passes that are open in a thread, innermost last; None stands for a call of a tile."""

    def __init__(self) -> None:
        self.stack: list[_Pass | None] = []


_PASSES = _Passes()
OPEN_PASSES: list[_Pass] = []
"""Passes that are open in any thread. Empty where nothing is checkpointed, which is cheap to ask
for in every call."""


def is_in_pass() -> bool:
    """Return whether a checkpointed function runs in this thread, outside of calls of tiles."""
    return bool(_PASSES.stack) and _PASSES.stack[-1] is not None


@contextmanager
def _open(region: _Region, repeats: bool) -> Iterator[None]:
    opened = _begin(region, repeats)
    try:
        yield
    finally:
        _end(opened)


def _begin(region: _Region, repeats: bool) -> _Pass:
    opened = _Pass(region, repeats)
    _PASSES.stack.append(opened)
    OPEN_PASSES.append(opened)
    return opened


def _end(opened: _Pass) -> None:
    # Not always the innermost one: torch ends the pass of a function that raised when its generator
    # is collected.
    OPEN_PASSES.remove(opened)
    if opened in _PASSES.stack:
        _PASSES.stack.remove(opened)


@contextmanager
def call_in_pass(tile: RepeatableTile) -> Iterator[None]:
    """Run a call of a tile as part of the open passes: record it, or repeat a recorded one.

    While it repeats, no other thread may call the tile.

    Args:
        tile: Tile.

    Raises:
        TileError: The call is not the one that was made in the first pass.
    """
    recording, repeated = _place(tile)
    present = [value.detach().clone() for value in _changed_by_calls(tile)]
    found = present if repeated is None else repeated
    for region in recording:
        region.calls.append((weakref.ref(tile), found))
    _PASSES.stack.append(None)
    try:
        if repeated is not None:
            _write(tile, repeated)
        yield
    finally:
        if repeated is not None:
            _write(tile, present)
        _PASSES.stack.pop()


def number_in_pass(advance: Callable[[], Tensor]) -> Tensor:
    """Return the number of a call in a compiled graph: a new one, or that of the first pass.

    Graphs repeat nothing else; what follows the data in them is refused, see `operators`.

    Args:
        advance: Advances the position in the random stream and returns it.

    Raises:
        TileError: The call is not one that was made in the first pass.
    """
    recording, repeated = _place(None)
    number = advance() if repeated is None else repeated[0].clone()
    for region in recording:
        region.calls.append((_nobody, [number.clone()]))
    return number


def _nobody() -> None:
    """Stand for the tile of a call in a compiled graph."""


def _place(tile: RepeatableTile | None) -> tuple[list[_Region], list[Tensor] | None]:
    """Return the regions that record a call, and what it had found if it repeats another one."""
    recording: list[_Region] = []
    for opened in reversed(_PASSES.stack):
        assert opened is not None  # tiles do not call tiles
        if opened.repeats:
            return recording, opened.next(tile)
        recording.append(opened.region)
    return recording, None


def _changed_by_calls(tile: RepeatableTile) -> list[Tensor]:
    """Return the tensors that decide about a call beside weights and input, and change with it."""
    # Of tiles made of several arrays each one counts its calls.
    counters = [module._buffers.get(Names.CALLS) for module in tile.modules()]
    lines = [module._modules.get(Names.FORWARD_LINES) for module in tile.modules()]
    candidates = (
        *counters,
        tile._buffers.get("input_range_update_idx"),
        *(None if group is None else group._buffers.get(_RUNNING) for group in lines),
        *(value for module in tile.modules() for value in _ranges_of(module)),
        tile.input_processing.value(),
    )
    return [value for value in candidates if value is not None]


def _ranges_of(module: nn.Module) -> list[Tensor]:
    """Return what a quantiser changes while it follows the data."""
    return module.changed_by_calls() if isinstance(module, RangeFollower) else []


@torch.no_grad()
def _write(tile: RepeatableTile, values: list[Tensor]) -> None:
    range_ = tile.input_processing.value()
    for tensor, value in zip(_changed_by_calls(tile), values, strict=True):
        # Autograd may hold the range, which has its own value again when it is asked for.
        is_held = tensor is range_ or tensor.requires_grad
        (tensor.data if is_held else tensor).copy_(value)


_warned: list[bool] = []


def warn_if_recomputed() -> None:
    """Warn once about a call of a tile in a backward pass, unless a checkpoint of torch made it."""
    if not _warned and not _PASSES.stack[:-1]:
        _warned.append(True)
        warnings.warn(
            "an analog layer is called in a backward pass and draws new noise; if that recomputes a"
            " forward pass, gradients are those of other noise: use torch.utils.checkpoint",
            stacklevel=4,
        )


class _Repeated:
    """A function whose first call is recorded, and repeated by later ones."""

    def __init__(self, function: Callable[..., Any], region: _Region, is_recorded: bool) -> None:
        self._function, self._region, self._is_recorded = function, region, is_recorded

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        repeats, self._is_recorded = self._is_recorded, True
        with _open(self._region, repeats):
            return self._function(*args, **kwargs)


def _wrap_reentrant() -> None:
    original: Any = checkpoint.CheckpointFunction.forward

    def forward(ctx: Any, run_function: Callable[..., Any], *args: Any) -> Any:
        return original(ctx, _Repeated(run_function, _Region(), False), *args)

    function: Any = checkpoint.CheckpointFunction
    function.forward = staticmethod(forward)


def _wrap_other() -> None:
    # As torch types them they take no other methods.
    frame_class: Any = checkpoint._CheckpointFrame
    hook_class: Any = checkpoint._checkpoint_hook
    new_frame, new_hook = frame_class.__init__, hook_class.__init__
    enter, leave = hook_class.__enter__, hook_class.__exit__

    def init_frame(self: Any, recompute_fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._mho_region = region = _Region()
        new_frame(self, _Repeated(recompute_fn, region, True), *args, **kwargs)

    def init_hook(self: Any, frame: Any) -> None:
        new_hook(self, frame)
        self._mho_region = frame._mho_region

    def enter_hook(self: Any) -> Any:
        self._mho_pass = _begin(self._mho_region, False)
        return enter(self)

    def leave_hook(self: Any, *args: Any) -> Any:
        _end(self._mho_pass)
        return leave(self, *args)

    frame_class.__init__ = init_frame
    hook_class.__init__ = init_hook
    hook_class.__enter__ = enter_hook
    hook_class.__exit__ = leave_hook


_wrap_reentrant()
_wrap_other()
