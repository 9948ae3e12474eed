"""Weights of a raw tile in the memory of a graphics processor.

The tensors of the tile module own the state. Before a kernel runs, what was written there since the
last one is uploaded; weights that a kernel changed are brought back when somebody reads them.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mho import _core
from mho.exceptions import BackendError, InternalError, TileError
from mho.simulator.raw_tiles.core.gpu.mirror import Mirror
from mho.simulator.raw_tiles.core.gpu.watched_buffers import ResidentBuffers, peek
from mho.simulator.state.names import PERSISTENT
from mho.simulator.state.names import AnalogTileStateNames as Names

if TYPE_CHECKING:
    from mho.simulator.raw_tiles.core.native_core import NativeCore

_ALIVE: "weakref.WeakSet[Resident]" = weakref.WeakSet()
# Tiles of a parent process. They are never dropped, for their driver does not run in this one.
_ABANDONED: list[object] = []


class Resident:
    """The tile on the graphics processor that belongs to a raw tile, and what it has seen."""

    def __init__(self, owner: nn.Module, raw: "NativeCore", adapter: str | None) -> None:
        """Remember the tile; nothing is opened yet.

        Args:
            owner: Module that owns the state.
            raw: Raw tile.
            adapter: Number or part of the name of an adapter, None for the default one.
        """
        self._owner, self._raw, self.adapter = owner, raw, adapter
        self._lock = threading.RLock()
        self._mirror = Mirror(owner, raw, adapter)
        self._newer = False
        self._host_call = 0
        self._process = os.getpid()
        _ALIVE.add(self)

    def install(self) -> None:
        """Watch reads of the weights in the buffers of the module."""
        hidden = self._owner.get_submodule(Names.HIDDEN)
        for module, name in ((self._owner, Names.WEIGHTS), (hidden, PERSISTENT)):
            module._buffers = ResidentBuffers(module._buffers, name, self.sync_to_host)
        self._raw.connect(self._owner)

    def remove(self) -> None:
        """Bring the weights back and stop watching.

        Raises:
            BackendError: The weights cannot be read back.
            TileError: They were changed on both sides.
        """
        self.sync_to_host()
        for module in (self._owner, self._owner.get_submodule(Names.HIDDEN)):
            module._buffers = dict(module._buffers)
        self._raw.connect(self._owner)
        _ALIVE.discard(self)

    def open(self) -> None:
        """Build the tile on the graphics processor and upload the state.

        Raises:
            BackendError: There is no such adapter, or too little memory.
            ConfigError: The tile has an option that the backend cannot do; the message names it.
        """
        with self._lock:
            self._uploaded(None)

    @property
    def is_newer(self) -> bool:
        """Whether the weights on the graphics processor are newer than those of the host."""
        return self._newer

    def sync_to_host(self) -> None:
        """Bring back weights that are newer on the graphics processor.

        Raises:
            BackendError: They cannot be read back; the last copy of the host is the state from now
                on.
            TileError: They were changed on both sides.
        """
        if not self._newer:
            return
        with self._lock, self._reported():
            if not self._newer:
                return
            self._check_process()
            self._check_one_side()
            self._read_back()

    @contextmanager
    def on_host(self, replaces_all: bool = False) -> Iterator[None]:
        """Work on the weights in the tensors of the host; they are uploaded anew afterwards.

        Args:
            replaces_all: Nothing of the old weights is used, so they are not brought back.
        """
        with self._lock:
            if replaces_all:
                self._newer = False
            self.sync_to_host()
            try:
                yield
            finally:
                # Kernels write through pointers, which the versions of tensors do not see.
                self._mirror.forget()

    def product(
        self,
        backward: bool,
        rows: Tensor,
        y: Tensor,
        call: int,
        is_test: bool,
        bias_input: float | None,
        weight: Tensor | None,
        mask: Tensor | None,
    ) -> None:
        """Compute a product; arguments as those of the kernel.

        Args:
            backward: Whether it is the transposed one.
            rows: Inputs, shape `[batch, lines]`.
            y: Outputs, written.
            call: Number of the call.
            is_test: Evaluation mode.
            bias_input: Input of the analog bias column.
            weight: Weights to take instead of the own ones.
            mask: Set where the output was clipped, uint8.

        Raises:
            BackendError: The graphics processor failed; as for `update`.
        """
        with self._lock, self._reported():
            lines = self._raw._lines[backward] or None
            self._uploaded(weight).mvm(
                backward, rows, y, self._raw._seed(), call, is_test, bias_input, lines, mask
            )

    def update(self, x: Tensor, d: Tensor, bias_input: float | None) -> None:
        """Apply an update; arguments as those of the raw tile.

        Args:
            x: Inputs, shape `[batch, in]`.
            d: Gradients of the outputs, shape `[batch, out]`.
            bias_input: Input of the analog bias column.

        Raises:
            BackendError: The graphics processor failed; the weights are as before if it still
                answers, otherwise the last copy of the host is the state from now on.
        """
        raw = self._raw
        counts = peek(raw._state, Names.COUNTS)
        self._change(
            lambda tile, seed, call: tile.update(
                x, d, raw.learning_rate, seed, call, bias_input, counts
            )
        )

    def operate(self, name: str, *arguments: Any) -> None:
        """Run an operation on the weights.

        Args:
            name: Name of the method of the tile on the graphics processor.
            arguments: What it takes before seed and call.

        Raises:
            BackendError: As for `update`.
        """
        self._change(lambda tile, seed, call: getattr(tile, name)(*arguments, seed, call))

    def _change(self, work: Callable[[_core.GpuTile, Tensor, int], None]) -> None:
        raw = self._raw
        with self._lock, self._reported():
            tile = self._uploaded(None)
            with raw.numbered() as call:
                work(tile, raw._seed(), call)
            self._newer = True
            if self._mirror.shared() is not None:
                # An optimizer of torch reads and writes these weights on the host.
                self.sync_to_host()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (BackendError, InternalError) as error:
            # A failed update has put the weights back; after a panic nothing is known.
            rescued = self._rescued(isinstance(error, BackendError))
            raise type(error)(f"{error}; {rescued}") from error

    def _rescued(self, readable: bool) -> str:
        """Return to weights that are known, after a failure; tells which those are."""
        if self._newer and readable and not self._mirror.was_written():
            with suppress(BackendError):
                self._read_back()
        lost, self._newer = self._newer, False
        self._mirror.drop()
        if not lost:
            return "the weights on the host are up to date"
        return (
            f"the weights are now those that the host had at call {self._host_call} (the tile is at"
            f" call {self._calls()})"
        )

    def _uploaded(self, weight: Tensor | None) -> _core.GpuTile:
        """Return the tile with everything that the host has written."""
        self._check_process()
        self._check_one_side()
        if self._mirror.replaces_weights(weight):
            self.sync_to_host()
            self._host_is_current()
        return self._mirror.upload(weight)

    def _read_back(self) -> None:
        self._mirror.read_back()
        self._host_is_current()

    def _check_one_side(self) -> None:
        if self._newer and self._mirror.was_written():
            raise TileError(
                "backend: weights were changed on the host while the graphics processor had newer"
                " ones; read them (get_weights) before you change them, or write all of them"
                " (set_weights)"
            )

    def _check_process(self) -> None:
        if self._process == os.getpid():
            return
        lost, self._newer = self._newer, False
        _ABANDONED.append(self._mirror.tile)
        self._mirror.drop()
        self._process = os.getpid()
        if lost:
            raise BackendError(
                "backend: a forked process cannot read weights that its parent has on the graphics"
                f" processor; the weights are now those of call {self._host_call}"
            )

    def _host_is_current(self) -> None:
        self._newer, self._host_call = False, self._calls()

    def _calls(self) -> int:
        calls: Tensor = peek(self._raw._state, Names.CALLS)
        return int(calls)


def _before_fork() -> None:
    for resident in list(_ALIVE):
        resident.sync_to_host()


def _after_fork_in_child() -> None:
    for resident in list(_ALIVE):
        # Another thread of the parent may have held the old one.
        resident._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
