"""Tensors and counters of the rule of a compound."""

import json
import math
import numbers
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ConfigError, InputError, StateError
from mho.simulator.parameters.arguments import as_number
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.finite import all_finite
from mho.simulator.state.ordinary import ordinary_tensors
from mho.simulator.state.plan import LoadPlan
from mho.simulator.state.tensor_group import TensorGroup

RULE = "analog_tile_rule"
"""Name of the child of a tile with all of it."""

_COUNT, _LAYOUT, _STATES, _CYCLES = "count", "layout", "states", "cycles"
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float32,
        torch.float64,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    )
}
_LARGEST = 2**62

Layout = dict[str, dict[str, Any]]


class RuleState:
    """What a rule remembers: a child of the tile, so that it is saved and copied with it.

    `count` is the number of samples so far, `states` and `cycles` hold what the rule asked for by
    name. `layout` is JSON text with the names, shapes and types of all of these; it tells whether
    a state that was saved is complete.
    """

    @ordinary_tensors()
    def __init__(self, owner: nn.Module) -> None:
        """Register the state of a rule that was not called yet.

        Args:
            owner: Tile.
        """
        child = TensorGroup()
        child.register_buffer(_COUNT, torch.zeros(1, dtype=torch.int64, device="cpu"))
        child.register_buffer(_LAYOUT, _encoded({_STATES: {}, _CYCLES: {}}))
        for name in (_STATES, _CYCLES):
            child.add_module(name, TensorGroup())
        owner.add_module(RULE, child)
        self.connect(owner)

    def connect(self, owner: nn.Module) -> None:
        """Find the tensors, after the tile was copied.

        Args:
            owner: Tile.
        """
        child = owner.get_submodule(RULE)
        self._own: dict[str, Any] = child._buffers
        self.states: dict[str, Any] = child.get_submodule(_STATES)._buffers
        self.cycles: dict[str, Any] = child.get_submodule(_CYCLES)._buffers
        self._layout: Layout = _decoded(self._own[_LAYOUT])

    @property
    def count(self) -> Tensor:
        """Number of samples so far, int64 `[1]`."""
        count: Tensor = self._own[_COUNT]
        return count

    def state(self, name: str, shape: tuple[int, ...], init: float, dtype: torch.dtype) -> Tensor:
        """Return a tensor, made at the first call; see `RuleTile.state`."""
        found: Tensor | None = self.states.get(name)
        if found is None:
            found = self._made(name, shape, init, dtype)
        elif found.shape != shape or found.dtype is not dtype:
            raise ConfigError(
                f"rule: the state {name!r} has shape {tuple(found.shape)} and {found.dtype} since"
                f" it was first asked for, now {shape} and {dtype} are; give it another name"
            )
        return found

    @ordinary_tensors()
    def _made(self, name: str, shape: tuple[int, ...], init: float, dtype: torch.dtype) -> Tensor:
        self._check_name("state", name)
        if dtype not in _DTYPES.values():
            raise ConfigError(f"rule: state {name!r}: expected {', '.join(_DTYPES)}, got {dtype}")
        if not all(isinstance(size, numbers.Integral) and size > 0 for size in shape):
            raise ConfigError(f"rule: state {name!r}: sizes must be positive, got {shape}")
        made = _filled(name, tuple(map(int, shape)), init, dtype)
        self.states[name] = made
        self._layout[_STATES][name] = [list(made.shape), str(dtype).removeprefix("torch.")]
        self._own[_LAYOUT] = _encoded(self._layout)
        return made

    def cycle(self, name: str, n: int) -> int:
        """Return a counter and advance it; see `RuleTile.cycle`."""
        counter: Tensor | None = self.cycles.get(name)
        if counter is None:
            self._check_name("cycle", name)
            whole = isinstance(n, numbers.Integral) and not isinstance(n, bool)
            if not whole or not 0 < n < _LARGEST:
                raise ConfigError(
                    f"rule: cycle {name!r}: expected a positive integer, got {describe(n)}"
                )
            n = int(n)
            with ordinary_tensors():
                counter = torch.zeros(1, dtype=torch.int64, device="cpu")
            self.cycles[name] = counter
            self._layout[_CYCLES][name] = n
            self._own[_LAYOUT] = _encoded(self._layout)
        elif self._layout[_CYCLES][name] != n:
            raise ConfigError(
                f"rule: the cycle {name!r} has {self._layout[_CYCLES][name]} values since it was"
                f" first asked for, now {n} are; give it another name"
            )
        value = int(counter)
        counter.fill_((value + 1) % n)
        return value

    def length_of(self, name: str) -> int:
        """Return the number of values of a cycle.

        Args:
            name: Its name.
        """
        return int(self._layout[_CYCLES][name])

    def _check_name(self, what: str, name: str) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f"rule: the name of each {what} must be an identifier, got {name!r}")

    def check(self) -> None:
        """Refuse what the rule may not leave behind.

        Raises:
            ConfigError: A state requires gradients or is not finite.
        """
        for name, value in self.states.items():
            if value.requires_grad:
                raise ConfigError(f"rule: the state {name!r} requires gradients; use detach()")
            shape, dtype = self._layout[_STATES][name]
            if list(value.shape) != shape or value.dtype is not _DTYPES[dtype]:
                raise ConfigError(f"rule: the state {name!r} was resized; change it in place")
            if not all_finite(value):
                raise ConfigError(f"rule: the state {name!r} has NaN or infinity")

    def clear(self) -> None:
        """Forget everything."""
        with ordinary_tensors():
            self.states.clear()
            self.cycles.clear()
            self._layout = {_STATES: {}, _CYCLES: {}}
            self._own[_LAYOUT] = _encoded(self._layout)
            self.count.zero_()

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Put everything back, bit for bit, if the block raises."""
        registries = [self._own, self.states, self.cycles]
        kept = [(registry, dict(registry)) for registry in registries]
        values = [(tensor, tensor.clone()) for _, held in kept for tensor in held.values()]
        layout = json.dumps(self._layout)
        try:
            yield
        except BaseException:
            for registry, held in kept:
                registry.clear()
                registry.update(held)
            with torch.no_grad():
                for tensor, value in values:
                    tensor.requires_grad_(False).resize_(value.shape).copy_(value)
            self._layout = json.loads(layout)
            raise

    def plan(self, entries: dict[str, Any], result: LoadPlan) -> None:
        """Check the entries of a rule and take them out of a state.

        Args:
            entries: Entries of the tile without prefix; those of the rule are removed.
            result: Plan of the tile, continued.

        Raises:
            InputError: An entry has the wrong shape or type.
            StateError: A value is impossible, or the entries are not those of the layout.
        """
        given = {
            name.removeprefix(f"{RULE}."): entries.pop(name)
            for name in [name for name in entries if name.startswith(f"{RULE}.")]
        }
        missing = [name for name in (_COUNT, _LAYOUT) if name not in given]
        if missing:
            result.missing += [f"{RULE}.{name}" for name in missing]
            return
        layout = _decoded(given.pop(_LAYOUT))
        count = _number(given.pop(_COUNT), f"{RULE}.{_COUNT}", _LARGEST)
        states, cycles = {}, {}
        for name, (shape, dtype) in layout[_STATES].items():
            key = f"{_STATES}.{name}"
            if key not in given:
                result.missing.append(f"{RULE}.{key}")
            else:
                states[name] = _checked(given.pop(key), f"{RULE}.{key}", shape, _DTYPES[dtype])
        for name, n in layout[_CYCLES].items():
            key = f"{_CYCLES}.{name}"
            if key not in given:
                result.missing.append(f"{RULE}.{key}")
            else:
                cycles[name] = _number(given.pop(key), f"{RULE}.{key}", n - 1)
        result.unexpected += [f"{RULE}.{name}" for name in given]
        result.steps.append(lambda: self._adopt(layout, count, states, cycles))

    def _adopt(
        self,
        layout: Layout,
        count: Tensor,
        states: Mapping[str, Tensor],
        cycles: Mapping[str, Tensor],
    ) -> None:
        for registry, new in ((self.states, states), (self.cycles, cycles)):
            fresh = {}
            for name, value in new.items():
                old: Any = registry.get(name)
                fits = old is not None and old.shape == value.shape and old.dtype is value.dtype
                fresh[name] = old.copy_(value) if fits else value.clone().contiguous()
            registry.clear()
            registry.update(fresh)
        self.count.copy_(count)
        self._layout = layout
        self._own[_LAYOUT] = _encoded(layout)


def _filled(name: str, shape: tuple[int, ...], init: object, dtype: torch.dtype) -> Tensor:
    """Return a tensor of one value, which its type has to hold."""
    value = float(init) if isinstance(init, bool) else as_number(init)
    if not math.isfinite(value):
        raise ConfigError(f"rule: state {name!r}: init must be finite, got {describe(init)}")
    try:
        made = torch.full(shape, value, dtype=dtype, device="cpu")
    except RuntimeError:  # an integer that is too large
        made = None
    exact = made is not None and (dtype.is_floating_point or float(made.flatten()[0]) == value)
    if made is None or not exact or not all_finite(made):
        raise ConfigError(
            f"rule: state {name!r}: init of {describe(init)} is no {dtype}; give another one, or"
            " another dtype"
        )
    return made


def _encoded(layout: Layout) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(layout).encode()), dtype=torch.uint8).clone()


def _decoded(value: object) -> Layout:
    name = f"{RULE}.{_LAYOUT}"
    if not isinstance(value, Tensor) or value.dtype is not torch.uint8 or value.dim() != 1:
        raise InputError(f"{name}: expected a uint8 tensor of one axis")
    try:
        layout = json.loads(bytes(value.cpu().tolist()).decode())
        states, cycles = layout[_STATES], layout[_CYCLES]
        fits = set(layout) == {_STATES, _CYCLES} and all(
            name.isidentifier()
            and dtype in _DTYPES
            and all(type(size) is int and size > 0 for size in shape)
            for name, (shape, dtype) in states.items()
        )
        fits = fits and all(
            name.isidentifier() and type(n) is int and 0 < n < _LARGEST
            for name, n in cycles.items()
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StateError(f"{name}: is damaged: {error}") from error
    if not fits:
        raise StateError(f"{name}: is damaged")
    return {_STATES: states, _CYCLES: cycles}


def _number(value: object, name: str, largest: int) -> Tensor:
    if not isinstance(value, Tensor) or value.dtype is not torch.int64 or value.numel() != 1:
        raise InputError(f"{name}: expected one int64 value")
    if not 0 <= int(value) <= largest:
        raise StateError(f"{name}: expected 0 to {largest}, got {int(value)}")
    return value.detach().reshape(1)


def _checked(value: object, name: str, shape: list[int], dtype: torch.dtype) -> Tensor:
    if not isinstance(value, Tensor) or value.dtype is not dtype or list(value.shape) != shape:
        raise InputError(f"{name}: expected a {dtype} tensor of shape {tuple(shape)}")
    if not all_finite(value):
        raise StateError(f"{name}: values must be finite")
    return value.detach()
