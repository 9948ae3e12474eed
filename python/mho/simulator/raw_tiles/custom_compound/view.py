"""A tile as its rule sees it."""

import numbers
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError, ConfigError, InputError
from mho.simulator.devices.bounds import bounds
from mho.simulator.devices.cells.custom import CustomCompound
from mho.simulator.devices.cells.rule_tile import Lines
from mho.simulator.parameters.arguments import check_index, check_number, check_probability
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.training import MOST_PULSES, UpdateParameters
from mho.simulator.raw_tiles.custom_compound.device import (
    DeviceTile,
    as_rows,
    exact_train,
)
from mho.simulator.raw_tiles.custom_compound.rule_state import RuleState

_DRAWS_PER_ROW = 1 << 12


class Parts(Protocol):
    """What the view of a tile is made of."""

    cell: CustomCompound
    update_parameters: UpdateParameters
    devices: list[DeviceTile]
    rule: RuleState

    @property
    def learning_rate(self) -> float:
        """Learning rate of the tile."""

    @property
    def stream(self) -> tuple[Tensor, Tensor]:
        """Seed and number of the next call."""

    def get_x_size(self) -> int:
        """Return the number of columns."""

    def get_d_size(self) -> int:
        """Return the number of rows."""


class RuleView:
    """What a rule gets: a `RuleTile` during one update, or while weights are put together."""

    _parts: Parts
    _devices: list[DeviceTile]
    _rule: RuleState
    _samples: tuple[Tensor, Tensor] | None
    lr: float
    g: Sequence[float]
    p: Mapping[str, Any]
    D: int
    X: int
    B: int
    count: int

    def __init__(self, parts: Parts, batch: int = 0) -> None:
        """See a tile.

        Args:
            parts: Raw tile.
            batch: Number of samples of the update, 0 outside of updates.
        """
        # Past `__setattr__`, which is for rules.
        vars(self).update(
            _parts=parts,
            _devices=parts.devices,
            _rule=parts.rule,
            _samples=None,
            lr=parts.learning_rate,
            g=tuple(device.granularity for device in parts.devices),
            p=MappingProxyType(parts.cell.params),
            D=parts.get_d_size(),
            X=parts.get_x_size(),
            B=batch,
            count=int(parts.rule.count),
        )

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: what a rule puts here would be lost after the call.

        Args:
            name: Name.
            value: Value.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"rule: t.{name}: cannot be set; take a variable, or t.state({name!r}, ...) for what is"
            " to last"
        )

    def close(self) -> None:
        """End the view: whoever has kept it can change nothing outside of the call of the rule."""
        del self._parts, self._devices, self._rule

    def __getattr__(self, name: str) -> Any:
        """Explain that the view is closed; called for what it has not."""
        if name in ("_parts", "_devices", "_rule"):
            raise ConfigError(
                "rule: the call of the rule is over, and its tile cannot be changed through it any"
                " more; do not keep what the rule was called with"
            )
        what = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(what, name=name, obj=self)

    def show(self, x: Tensor, d: Tensor, count: int) -> None:
        """Show samples to the rule.

        Args:
            x: Inputs.
            d: Gradients of the outputs.
            count: Number of samples so far, with these.
        """
        vars(self).update(_samples=(x, d), count=count)

    @property
    def x(self) -> Tensor:
        """Inputs since the last call; see `RuleTile`."""
        return self._shown()[0]

    @property
    def d(self) -> Tensor:
        """Gradients of the outputs since the last call; see `RuleTile`."""
        return self._shown()[1]

    def _shown(self) -> tuple[Tensor, Tensor]:
        if self._samples is None:
            raise ConfigError("weight: there are no samples outside of updates")
        return self._samples

    @property
    def bounds(self) -> Sequence[tuple[float, float]]:
        """Configured bounds of each device; see `RuleTile`."""
        return tuple(map(bounds, self._parts.cell.unit_cell_devices))

    def update(
        self, device: int, x: Tensor, d: Tensor, lr: float | Tensor, bl: int | None = None
    ) -> None:
        """Give a device pulses of `-lr d x^T`; see `RuleTile`."""
        one = self._device(device)
        rows, columns = one.shape
        inputs, errors = as_rows(x, columns, "x"), as_rows(d, rows, "d")
        if inputs.shape[0] != errors.shape[0]:
            raise InputError(f"x, d: as many rows, got {inputs.shape[0]} and {errors.shape[0]}")
        length = 0 if bl is None else _length(bl)
        spec = one.spec("update", self._parts.update_parameters, length)
        one.pulse(spec, inputs, errors, check_number("lr", lr))

    def add(
        self,
        device: int,
        cols: Lines | None = None,
        values: Tensor | None = None,
        *,
        rows: Lines | None = None,
    ) -> None:
        """Write with pulses; see `RuleTile`."""
        one = self._device(device)
        lines, are_rows, _ = one.chosen(cols, rows)
        update = self._parts.cell.transfer_update
        # At this rate the line itself always fires, whatever the management.
        rate = one.granularity * update.desired_bl
        wanted = one.values(values, len(lines), are_rows, "values")
        one.write(one.spec("write", update, 0), lines, wanted.div(-rate), are_rows, rate)

    def pulses(
        self,
        device: int,
        cols: Lines | None = None,
        number: Tensor | None = None,
        *,
        rows: Lines | None = None,
    ) -> None:
        """Give every crosspoint of lines exactly so many pulses; see `RuleTile`."""
        one = self._device(device)
        lines, are_rows, _ = one.chosen(cols, rows)
        wanted = one.values(number, len(lines), are_rows, "number")
        if not torch.equal(wanted, wanted.round()):
            raise ArgumentError("number: numbers of pulses must be whole; use round() or trunc()")
        most = float(wanted.abs().max()) if wanted.numel() else 0.0
        if most == 0.0:
            return
        if most > MOST_PULSES:
            raise ArgumentError(
                f"number: expected at most {MOST_PULSES} pulses in one call, got {most:.0f}"
            )
        longest = int(most)
        update = exact_train(longest)
        spec = one.spec("pulses", update, update.desired_bl)
        one.write(spec, lines, wanted.neg(), are_rows, one.granularity)

    def read(self, device: int, cols: Lines | None = None, *, rows: Lines | None = None) -> Tensor:
        """Return lines as the array shows them; see `RuleTile`."""
        one = self._device(device)
        given = rows if cols is None else cols
        if isinstance(given, slice) and (cols is None or rows is None):
            return one.read(given, self._parts.cell.transfer_forward, cols is None)
        lines, are_rows, single = one.chosen(cols, rows)
        found = one.read(lines, self._parts.cell.transfer_forward, are_rows)
        return found[0] if single else found

    def product(self, device: int, values: Tensor, *, transposed: bool = False) -> Tensor:
        """Return the product of a device with vectors; see `RuleTile`."""
        one = self._device(device)
        vectors = as_rows(values, one.lines(transposed), "values")
        found = one.product(vectors, transposed)
        return found[0] if values.dim() == 1 else found

    def weight(self, device: int) -> Tensor:
        """Return a copy of the weights of a device; see `RuleTile`."""
        return self._device(device).weights.detach().clone()

    def program(self, device: int, weight: Tensor) -> None:
        """Set the weights of a device; see `RuleTile`."""
        self._device(device).raw.set_weights(weight)

    def reset(self, device: int, cols: Lines) -> None:
        """Reset columns; see `RuleTile`."""
        one = self._device(device)
        for line in one.chosen(cols, None)[0]:
            one.raw.reset_columns(line, 1)

    def state(
        self, name: str, *shape: int, init: float = 0.0, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Return a tensor that belongs to the tile; see `RuleTile`."""
        return self._rule.state(name, shape, init, dtype)

    def cycle(self, name: str, n: int) -> int:
        """Return a counter and advance it; see `RuleTile`."""
        return self._rule.cycle(name, n)

    def coin(self, p: float, *shape: int) -> Tensor:
        """Return draws that are true with a probability; see `RuleTile`."""
        return self.uniform(*shape) < check_probability("p", p)

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal draws; see `RuleTile`."""
        out, (seed, calls) = _room(shape), self._parts.stream
        _core.pulse_noise(out, out.shape[1], seed, _core.next_call(calls), 0)
        return _shaped(out, shape)

    def uniform(self, *shape: int) -> Tensor:
        """Return uniform draws; see `RuleTile`."""
        out, (seed, calls) = _room(shape), self._parts.stream
        _core.uniform_weights(out, 0.0, 1.0, seed, calls)
        return _shaped(out, shape)

    def _device(self, index: int) -> DeviceTile:
        number = len(self._devices)
        if not 0 <= check_index("device", index) < number:
            raise ArgumentError(f"device: expected 0 to {number - 1}, got {index}")
        return self._devices[index]


def _length(bl: Any) -> int:
    """Return the length of trains."""
    whole = isinstance(bl, numbers.Integral) and not isinstance(bl, bool)
    if not whole or not 1 <= int(bl) <= MOST_PULSES:
        raise ArgumentError(
            f"bl: expected a length of trains, 1 to {MOST_PULSES}, or None, got {describe(bl)}"
        )
    return int(bl)


def _room(shape: tuple[int, ...]) -> Tensor:
    """Return room for draws, in rows: their position is that of a crosspoint."""
    number = 1
    for size in shape:
        if not isinstance(size, numbers.Integral) or size < 0:
            raise ArgumentError(f"shape: expected sizes, got {shape}")
        number *= int(size)
    rows = -(-number // _DRAWS_PER_ROW) or 1
    columns = min(number, _DRAWS_PER_ROW) or 1
    return torch.empty(rows, columns, dtype=torch.float32, device="cpu")


def _shaped(draws: Tensor, shape: tuple[int, ...]) -> Tensor:
    number = 1
    for size in shape:
        number *= size
    return draws.flatten()[:number].reshape(shape)
