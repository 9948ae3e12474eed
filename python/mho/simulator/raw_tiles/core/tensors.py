"""Where the tensors of a raw tile of the core are: in the module that owns it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mho import _core
from mho.exceptions import TileError
from mho.simulator.state.names import PERSISTENT
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.ordinary import ordinary_tensors
from mho.simulator.state.tensor_group import TensorGroup, as_tensor
from mho.simulator.state.transaction import is_seen

# As torch types them; entries that are None do not occur here.
Buffers = dict[str, Any]

DEVICE = "analog_tile_device"
"""Name of the child of a tile with the hidden parameters that a device in Python adds."""

_GROUPS = (Names.HIDDEN, Names.FORWARD_LINES, Names.BACKWARD_LINES, Names.DRIFT)

_WEIGHTS, _EXPONENTS = "hidden_weights", "drift_nu"


class CoreTensors:
    """State of a raw tile: buffers of the module that owns it.

    Weights, hidden parameters, frozen values per line, what drift remembers and the position in the
    random stream belong to that module, so that every way of copying, saving or moving modules
    works on them. Here are its dictionaries, not the tensors: they see every replacement of a
    buffer and cost one lookup.
    """

    owner: nn.Module
    """Module that owns the tensors."""

    state: Buffers
    """Its own buffers: weights, seed, number of the next call, pulse counters."""

    hidden: Buffers
    """Hidden parameters but those that equal a constant of the configuration, `[out, x_size]`; of a
    cell also the weights of its devices and its buffers."""

    cell: Buffers
    """What a cell has beside matrices: counters, signs, averages, frozen values of its reads."""

    added: Buffers
    """Hidden parameters that a device in Python adds, `[out, x_size]`; empty without one."""

    drift: Buffers
    """What drift remembers; empty before its first call."""

    lines: tuple[Buffers, Buffers]
    """Frozen values per line of the product and of the transposed one."""

    @ordinary_tensors()
    def __init__(self, owner: nn.Module, spec: _core.TileSpec, seed: Tensor) -> None:
        """Register the state of a fresh tile and draw its devices and lines; weights are zero.

        Args:
            owner: Module that owns the state.
            spec: Configuration.
            seed: Seed of all random numbers of the tile, int64 `[1]`.
        """
        owner.register_buffer(
            Names.WEIGHTS, torch.zeros(spec.d_size, spec.x_size, dtype=torch.float32, device="cpu")
        )
        owner.register_buffer(Names.SEED, seed)
        owner.register_buffer(Names.CALLS, torch.zeros(1, dtype=torch.int64, device="cpu"))
        owner.register_buffer(Names.COUNTS, _no_counts(spec))
        for name in (*_GROUPS, *((Names.CELL,) if spec.is_cell else ())):
            owner.add_module(name, TensorGroup())
        self.connect(owner)
        self._construct(spec, int(seed))

    def connect(self, owner: nn.Module) -> None:
        """Find the dictionaries, after the module was copied or has got other ones.

        Args:
            owner: Module that owns the state.
        """
        self.owner = owner
        self.state = owner._buffers
        self.hidden = self.group(Names.HIDDEN)._buffers
        self.cell = self.group(Names.CELL)._buffers if Names.CELL in owner._modules else {}
        self.drift = self.group(Names.DRIFT)._buffers
        self.lines = (
            self.group(Names.FORWARD_LINES)._buffers,
            self.group(Names.BACKWARD_LINES)._buffers,
        )
        self.added = self.group(DEVICE)._buffers if DEVICE in owner._modules else {}

    def _construct(self, spec: _core.TileSpec, seed: int) -> None:
        shape = (spec.d_size, spec.x_size)
        names = [name for name in spec.hidden_names if spec.hidden_constant(name) is None]
        if spec.visible_name is not None:
            names.remove(spec.visible_name)
        hidden = {name: torch.empty(shape, dtype=torch.float32, device="cpu") for name in names}
        cell = fresh_entries(spec)
        spec.construct_into(seed, self.weights, hidden | cell)
        self.group(Names.HIDDEN).hold(hidden)
        if spec.is_cell:
            self.group(Names.CELL).hold(cell)
        for backward, name in enumerate((Names.FORWARD_LINES, Names.BACKWARD_LINES)):
            lines = spec.construct_lines(bool(backward), seed)
            self.group(name).replace({k: as_tensor(v, (-1,)) for k, v in lines.items()})

    def __getstate__(self) -> dict[str, Any]:
        """Return the dictionaries; the module that has them is connected again."""
        return {name: value for name, value in self.__dict__.items() if name != "owner"}

    def group(self, name: str) -> TensorGroup:
        """Return a child of the module with tensors of one kind.

        Args:
            name: Name of the child.
        """
        child = self.owner.get_submodule(name)
        assert isinstance(child, TensorGroup)
        return child

    @property
    def weights(self) -> Tensor:
        """Live raw weights, float32 `[out, x_size]`."""
        return _present(self.state, Names.WEIGHTS)

    @property
    def seed(self) -> Tensor:
        """Seed of all random numbers of the tile, int64 `[1]`."""
        return _present(self.state, Names.SEED)

    @property
    def calls(self) -> Tensor:
        """Position in the random stream, the number of the next call, int64 `[1]`."""
        return _present(self.state, Names.CALLS)

    @property
    def devices(self) -> Buffers:
        """What stands at the crosspoints beside the weights: all of it, by name."""
        return {**self.hidden, **self.cell} if self.cell else self.hidden

    @property
    def counts(self) -> Tensor | None:
        """Pulse counters, int64 `[2, out, x_size]`; None unless pulses are counted."""
        counts: Tensor | None = self.state[Names.COUNTS]
        return counts

    def count_write(self) -> None:
        """Tell autograd that a kernel wrote the weights, through a pointer that it does not see."""
        weights = self.weights
        if not weights.is_inference():
            torch.autograd.graph.increment_version(weights)

    def next_call(self) -> int:
        """Advance the position in the random stream and return it."""
        return _core.next_call(self.calls)

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Put back what pulses, writing and drift change, bit for bit, if the block raises.

        For changes in several steps, between any two of which Python may raise `KeyboardInterrupt`.
        """
        if not is_seen():
            yield
            return
        changed = [self.state[name] for name in (Names.WEIGHTS, Names.CALLS, Names.COUNTS)]
        changed += self.devices.values() if self.cell else [self.hidden.get(PERSISTENT)]
        changed += self.drift.values()
        saved = [(tensor, tensor.detach().clone()) for tensor in changed if tensor is not None]
        drift = dict(self.drift)
        try:
            yield
        except BaseException:
            with torch.no_grad():
                for tensor, value in saved:
                    tensor.copy_(value)
            self.drift.clear()
            self.drift.update(drift)
            raise

    @contextmanager
    def numbered(self) -> Iterator[int]:
        """Number a call; a call that raises has not been one."""
        call = self.next_call()
        try:
            yield call
        except BaseException:
            self.forget_call(call)
            raise

    def forget_call(self, call: int) -> None:
        """Go back in the random stream, unless another thread has gone on.

        Args:
            call: Number of the call that raised.
        """
        calls = self.calls
        if int(calls) == call:
            calls.fill_(call - 1)

    def plane(self, name: str, spec: _core.TileSpec) -> Tensor:
        """Return a copy of a hidden parameter of the core, float32 `[out, x_size]`.

        Args:
            name: Its name.
            spec: Configuration.
        """
        stored: Tensor | None = self.hidden.get(name)
        if name == spec.visible_name:
            stored = self.weights
        if stored is not None:
            return stored.detach().clone()
        constant = spec.hidden_constant(name)
        value = 0.0 if constant is None else constant
        return torch.full((spec.d_size, spec.x_size), value, dtype=torch.float32, device="cpu")

    @ordinary_tensors()
    def store_planes(self, planes: Mapping[str, Tensor], spec: _core.TileSpec) -> None:
        """Hold the given hidden planes and no others, except constants of the configuration.

        Args:
            planes: Values of all hidden parameters, shape `[out, x_size]` each.
            spec: Configuration.
        """
        for name in [name for name in self.hidden if name not in planes]:
            del self.hidden[name]  # of the device before
        for name, value in planes.items():
            if name == spec.visible_name:
                self.weights.copy_(value)
                continue
            if _of_drift(name) and name.removeprefix(_EXPONENTS) not in spec.drifting:
                self.hidden.pop(name, None)  # without drift there are no exponents
                continue
            constant = spec.hidden_constant(name)
            if constant is not None and bool((value == constant).all()):
                self.hidden.pop(name, None)
            elif (old := self.hidden.get(name)) is not None:
                old.copy_(value)
            else:
                self.hidden[name] = value.detach().clone().contiguous()

    @ordinary_tensors()
    def add_plane(self, name: str, value: Tensor) -> None:
        """Hold a hidden parameter beside those of the core.

        Args:
            name: Its name.
            value: Values, float32 `[out, x_size]`.
        """
        if DEVICE not in self.owner._modules:
            child = TensorGroup()
            self.owner.add_module(DEVICE, child)
            self.added = child._buffers
        old: Tensor | None = self.added.get(name)
        if old is None:
            self.added[name] = value.clone()
        else:
            old.copy_(value)

    def store_cell(self, entries: Mapping[str, Tensor]) -> None:
        """Hold what a cell has beside matrices, and nothing of another cell.

        Args:
            entries: Its entries by name; empty for a single device.
        """
        if not entries:
            self.owner._modules.pop(Names.CELL, None)
            self.cell = {}
            return
        if Names.CELL not in self.owner._modules:
            self.owner.add_module(Names.CELL, TensorGroup())
        self.group(Names.CELL).replace(entries)
        self.cell = self.group(Names.CELL)._buffers

    def drop_added(self) -> None:
        """Forget all hidden parameters beside those of the core."""
        if DEVICE in self.owner._modules:
            del self.owner._modules[DEVICE]  # what a tile is made of refuses to be deleted
            self.added = {}

    @ordinary_tensors()
    def fresh_drift(self, spec: _core.TileSpec) -> Buffers:
        """Return what drift remembers before its first call.

        Args:
            spec: Configuration.
        """
        drift: Buffers = {}
        for ending in spec.drifting:
            shown: Any = self.hidden.get(f"{_WEIGHTS}{ending}", self.weights)
            acting: Any = self.hidden.get(f"{PERSISTENT}{ending}", shown)
            drift[f"current_t{ending}"] = torch.zeros(1, dtype=torch.float64, device="cpu")
            drift[f"t{ending}"] = torch.zeros(acting.shape, dtype=torch.float64, device="cpu")
            drift[f"w0{ending}"] = acting.detach().clone()
            drift[f"previous_weights{ending}"] = acting.detach().clone()
        return drift


def fresh_entries(spec: _core.TileSpec) -> Buffers:
    """Return what a cell has beside matrices, before it is constructed.

    Args:
        spec: Configuration.
    """
    return {
        name: torch.ones(length, dtype=getattr(torch, dtype), device="cpu")
        if dtype == "int8"
        else torch.zeros(length, dtype=getattr(torch, dtype), device="cpu")
        for name, dtype, length in spec.cell_entries
    }


def _of_drift(name: str) -> bool:
    return name.startswith(_EXPONENTS)


def _no_counts(spec: _core.TileSpec) -> Tensor | None:
    if not spec.counts_pulses:
        return None
    return torch.zeros(2, spec.d_size, spec.x_size, dtype=torch.int64, device="cpu")


def _present(buffers: Buffers, name: str) -> Tensor:
    value: Tensor | None = buffers[name]
    if value is None:
        raise TileError(f"{name}: the tile has lost this buffer; do not assign None to it")
    return value
