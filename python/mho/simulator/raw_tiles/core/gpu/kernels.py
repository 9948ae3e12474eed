"""Weights of a raw tile in the memory of a graphics processor.

The tensors of the tile module own the state. Before a kernel runs, what was written there since the
last one is uploaded; weights that a kernel changed are brought back when somebody reads them.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor
from torch.nn import Module

from mho import _core
from mho.exceptions import BackendError, InternalError, TileError
from mho.simulator.raw_tiles.core.gpu.mirror import Mirror
from mho.simulator.raw_tiles.core.gpu.watched_buffers import WatchedBuffers
from mho.simulator.raw_tiles.core.parsed import ParsedConfig
from mho.simulator.raw_tiles.core.tensors import CoreTensors
from mho.simulator.state.names import PERSISTENT
from mho.simulator.state.names import AnalogTileStateNames as Names

_ALIVE: "weakref.WeakSet[GpuKernels]" = weakref.WeakSet()
# Tiles of a parent process. They are never dropped, for their driver does not run in this one.
_ABANDONED: list[object] = []


class GpuKernels:
    """Kernels of a graphics processor, with the tile there and what it has seen of the tensors.

    A raw tile has one of them, which is never copied nor saved.
    """

    backend = "wgpu"
    """Where the kernels run."""

    def __init__(self, tensors: CoreTensors, parsed: ParsedConfig, adapter: str | None) -> None:
        """Remember the raw tile; nothing is opened yet.

        Args:
            tensors: Tensors of the raw tile.
            parsed: Its configuration.
            adapter: Number or part of the name of an adapter, None for the default one.
        """
        self._tensors, self._parsed, self.adapter = tensors, parsed, adapter
        self._lock = threading.RLock()
        self._mirror = Mirror(tensors, parsed, adapter)
        self._newer = False
        self._host_call = 0
        self._process = os.getpid()
        _ALIVE.add(self)

    def install(self) -> None:
        """Watch reads of the weights in the buffers of the module.

        Weights that an optimizer of torch trains are a parameter, which is always up to date.
        """
        owner = self._tensors.owner
        watched: list[tuple[Module, str]] = [(self._tensors.group(Names.HIDDEN), PERSISTENT)]
        if self._mirror.shared() is None:
            watched.append((owner, Names.WEIGHTS))
        for module, name in watched:
            module._buffers = WatchedBuffers(module._buffers, name, self.sync_to_host)
        self._tensors.connect(owner)

    def remove(self) -> None:
        """Bring the weights back and stop watching.

        Raises:
            BackendError: The weights cannot be read back.
            TileError: They were changed on both sides.
        """
        self.sync_to_host()
        owner = self._tensors.owner
        for module in (owner, self._tensors.group(Names.HIDDEN)):
            if isinstance(module._buffers, WatchedBuffers):
                module._buffers = dict(module._buffers)
        self._tensors.connect(owner)
        _ALIVE.discard(self)

    def check(self, spec: _core.TileSpec) -> None:
        """Refuse a configuration that cannot be used here; see `Kernels`."""
        _core.gpu_check(spec)

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

    def forward(
        self,
        rows: Tensor,
        bias_input: float | None,
        is_test: bool,
        weight: Tensor | None = None,
        want_mask: bool = False,
        factors: tuple[Tensor, ...] | None = None,
        offset: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, int]:
        """Return a product, its mask and the number of the call; see `Kernels`."""
        tensors, out_size = self._tensors, self._parsed.out_size
        y = rows.new_empty(rows.shape[0], out_size)
        mask = torch.empty_like(y, dtype=torch.uint8) if want_mask else None
        lines = tensors.lines[0] or None
        with self._lock, self._reported(), tensors.numbered() as call:
            tile = self._uploaded(weight)
            tile.mvm(False, rows, y, tensors.seed, call, is_test, bias_input, lines, mask)
            if factors is not None or offset is not None:
                _core.scale_and_offset(y, out_size, factors, offset)
        return y, mask if mask is not None and bool(mask.any()) else None, call

    def backward(
        self, rows: Tensor, y: Tensor, call: int, is_test: bool, weight: Tensor | None
    ) -> None:
        """Compute a transposed product; see `Kernels`."""
        tensors = self._tensors
        lines = tensors.lines[1] or None
        with self._lock, self._reported():
            self._uploaded(weight).mvm(True, rows, y, tensors.seed, call, is_test, None, lines)

    def update(self, x: Tensor, d: Tensor, learning_rate: float, bias_input: float | None) -> None:
        """Update the weights; see `Kernels`."""
        counts = self._tensors.counts
        self._change(
            lambda tile, seed, calls: tile.update(
                x, d, learning_rate, seed, calls, bias_input, counts
            ),
            self._mirror.check_finite,
        )

    def operate(self, name: str, *arguments: float) -> None:
        """Run an operation on the weights; see `Kernels`."""
        self._change(lambda tile, seed, calls: getattr(tile, name)(*arguments, seed, calls))

    def _change(
        self,
        work: Callable[[_core.GpuTile, Tensor, Tensor], None],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        tensors = self._tensors
        with self._lock, self._reported():
            tile = self._uploaded(None)
            check()
            try:
                work(tile, tensors.seed, tensors.calls)
            except BaseException as error:
                # `KeyboardInterrupt` may come when all is done.
                self._newer |= not isinstance(error, Exception)
                raise
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
        return int(self._tensors.calls)


def _before_fork() -> None:
    for kernels in list(_ALIVE):
        kernels.sync_to_host()


def _after_fork_in_child() -> None:
    for kernels in list(_ALIVE):
        # Another thread of the parent may have held the old one.
        kernels._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
