"""One device of a compound: a raw tile of the core of its own, with what a rule does to it."""

import copy
import json
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError, InputError
from mho.simulator.devices.cells.custom import CustomCompound
from mho.simulator.devices.cells.rule_tile import Lines
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters import wire
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.enums import (
    BoundManagementType,
    NoiseManagementType,
    PulseType,
)
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.raw_tiles.core.kernels import check_finite
from mho.simulator.raw_tiles.core.tile import AnalogTile as CoreTile
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.tensor_group import TensorGroup

DEVICES = "analog_tile_devices"
"""Name of the child of a tile with a child for each device."""

DW_MIN = "dw_min"
"""Entry of a device whose hidden parameters contradicted the mean step of its configuration."""

# Trains for numbers of pulses: the number of a crosspoint is exact up to the length of a train, and
# a longer one costs nothing. Few lengths are few specifications.
_SHORTEST_TRAIN = 64


@dataclass(frozen=True)
class DeviceConfig:
    """Configuration of the tile of one device."""

    device: CrosspointDevice
    """Device."""

    text: str
    """JSON text for the core: device, reads as products of both directions, update of the tile."""

    def core_json(self) -> str:
        """Return the text."""
        return self.text


def device_config(cell: CustomCompound, update: UpdateParameters, k: int) -> DeviceConfig:
    """Return the configuration of the tile of one device of a cell.

    Args:
        cell: Cell.
        update: Parameters of the update of the whole tile.
        k: Index of the device.

    Raises:
        ConfigError: A value is invalid; the message names the field.
    """
    device = copy.deepcopy(cell.unit_cell_devices[k])
    vars(device)["construction_seed"] = 0  # that of the cell counts
    reads = copy.copy(cell.transfer_forward)
    vars(reads)["noise_management"] = NoiseManagementType.NONE
    vars(reads)["bound_management"] = BoundManagementType.NONE
    products = reads.to_wire("device.transfer_forward")
    text = wire.dumps(
        {
            "device": device.to_wire(f"device.unit_cell_devices[{k}]"),
            "forward": products,
            "backward": products,
            "update": update.to_wire("update"),
        }
    )
    return DeviceConfig(device, text)


class DeviceTile:
    """A device of a compound, on tensors of a module of its own.

    Seed and number of the next call are those of the whole tile.
    """

    def __init__(
        self,
        owner: TensorGroup,
        config: DeviceConfig,
        shape: tuple[int, int],
        analog_bias: bool,
        seed: int,
    ) -> None:
        """Register the state of a fresh device; its weights are zero.

        Args:
            owner: Module that is to own the state.
            config: Configuration.
            shape: Rows and columns.
            analog_bias: Whether the last column is that of a bias.
            seed: Seed of its construction.

        Raises:
            ConfigError: The configuration is invalid; the message names the field.
        """
        rows, columns = shape
        drawn = torch.tensor([seed], dtype=torch.int64, device="cpu")
        self.raw = CoreTile(
            owner, config.core_json(), rows, columns - int(analog_bias), analog_bias, drawn
        )
        # Both belong to the whole tile, whose state has them.
        owner._non_persistent_buffers_set |= {Names.SEED, Names.CALLS}
        self._specs: dict[tuple[str, int], _core.TileSpec] = {}
        self._of: _core.TileSpec | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied; parsed configurations are of this process."""
        return {"raw": self.raw, "_specs": {}, "_of": None}

    def follow(self, config: DeviceConfig) -> None:
        """Follow a new configuration.

        Args:
            config: Configuration, checked.
        """
        self.raw.follow(config)
        self._specs = {}  # the parameters of writes may be others

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        spec = self.raw.spec
        return spec.d_size, spec.x_size

    @property
    def weights(self) -> Tensor:
        """Live visible weights."""
        return self.raw.tensors.weights

    @property
    def granularity(self) -> float:
        """Mean change by one pulse."""
        return self.raw.spec.weight_granularity

    def share_stream(self, seed: int, calls: Tensor) -> None:
        """Draw from a random stream, at the position that others share.

        Args:
            seed: Seed of the device.
            calls: Number of the next call, int64 `[1]`.
        """
        state = self.raw.tensors.state
        if state[Names.CALLS] is not calls:
            state[Names.CALLS] = calls
        state[Names.SEED].fill_(seed)

    def keep_dw_min(self) -> None:
        """Make a mean step that is not that of the configuration part of the state."""
        state, own = self.raw.tensors.state, self.raw.dw_min
        if own is None:
            state.pop(DW_MIN, None)
        else:
            steps = own if isinstance(own, list) else [own]
            state[DW_MIN] = torch.tensor(steps, dtype=torch.float64, device="cpu")

    def spec(self, kind: str, update: UpdateParameters, bl: int) -> _core.TileSpec:
        """Return the parsed configuration with another update.

        Args:
            kind: Name of the update.
            update: Its parameters.
            bl: Length of its trains; 0 keeps that of the parameters.
        """
        parsed = self.raw.parsed
        if self._of is not parsed.spec:
            self._of, self._specs = parsed.spec, {}
        key = (kind, bl)
        found = self._specs.get(key)
        if found is None:
            chosen = replace(update, desired_bl=bl) if bl else update
            text = _with_update(parsed.text, chosen)
            found = self._specs[key] = parsed.parse(text, parsed.dw_min)
        return found

    def pulse(self, spec: _core.TileSpec, x: Tensor, d: Tensor, rate: float) -> None:
        """Update the weights in place; on any error nothing is changed.

        Args:
            spec: Parsed configuration with the update.
            x: Inputs, `[rows, columns]`.
            d: Gradients of the outputs, `[rows, rows of the device]`.
            rate: Learning rate, of any sign.

        Raises:
            ArgumentError: A value is not finite.
        """
        if not math.isfinite(rate):
            raise ArgumentError(f"lr: must be finite, got {rate}")
        if rate == 0.0 or x.shape[0] == 0:
            return
        tensors = self.raw.tensors
        check_finite(tensors.weights)
        _core.update(
            spec, tensors.weights, tensors.devices, x, d if rate > 0.0 else -d, abs(rate),
            tensors.seed, tensors.calls, None, tensors.counts,
        )  # fmt: skip
        tensors.count_write()

    def write(
        self, spec: _core.TileSpec, lines: Sequence[int], values: Tensor, rows: bool, rate: float
    ) -> None:
        """Update lines, one after another.

        Args:
            spec: Parsed configuration with the update.
            lines: Numbers of columns or rows.
            values: What is subtracted, times the rate, `[lines, length]`.
            rows: Whether the lines are rows.
            rate: Learning rate.
        """
        ones = self.one_hot(lines, rows)
        if rows:
            self.pulse(spec, values, ones, rate)
        else:
            self.pulse(spec, ones, values, rate)

    def read(self, lines: Sequence[int] | slice, io: IOParameters, rows: bool) -> Tensor:
        """Return lines as the array shows them, `[lines, length]`.

        Args:
            lines: Numbers of columns or rows.
            io: How they are read.
            rows: Whether the lines are rows.
        """
        if io.is_perfect and io.out_scale == 1.0:
            weights = self.weights.detach()
            chosen = weights if rows else weights.t()
            return chosen[lines].clone(memory_format=torch.contiguous_format)
        numbers = range(*lines.indices(self.lines(rows))) if isinstance(lines, slice) else lines
        return self.product(self.one_hot(numbers, rows), rows)

    def product(self, vectors: Tensor, transposed: bool) -> Tensor:
        """Return the product with vectors, `[rows, outputs]`.

        Args:
            vectors: Inputs, `[rows, inputs]`.
            transposed: Whether the matrix is transposed.
        """
        raw, tensors = self.raw, self.raw.tensors
        if not transposed:
            return raw.kernels.forward(vectors, None, False)[0]
        out = vectors.new_empty(vectors.shape[0], raw.spec.x_size)
        lines = tensors.lines[1] or None
        _core.mvm(
            raw.spec, True, vectors, tensors.weights, out, tensors.seed, tensors.next_call(), False,
            None, lines,
        )  # fmt: skip
        return out

    def lines(self, rows: bool) -> int:
        """Return the number of columns or rows."""
        return self.shape[0 if rows else 1]

    def one_hot(self, lines: Sequence[int] | range, rows: bool) -> Tensor:
        """Return vectors that are one at a line and zero elsewhere, `[lines, number of lines]`."""
        result = torch.zeros(len(lines), self.lines(rows), dtype=torch.float32, device="cpu")
        result[torch.arange(len(lines)), torch.tensor(list(lines), dtype=torch.int64)] = 1.0
        return result

    def chosen(self, cols: Lines | None, rows: Lines | None) -> tuple[list[int], bool, bool]:
        """Return numbers of lines, whether they are rows, and whether it is one by its number.

        Args:
            cols: Columns, or None.
            rows: Rows, or None.

        Raises:
            ArgumentError: None or both are given, or a line does not exist.
        """
        if (cols is None) == (rows is None):
            raise ArgumentError("cols, rows: give one of them")
        given = rows if cols is None else cols
        name, number = ("rows", self.lines(True)) if cols is None else ("cols", self.lines(False))
        if isinstance(given, slice):
            return list(range(*given.indices(number))), cols is None, False
        lines, single = _numbers(name, given)
        for line in lines:
            if not 0 <= line < number:
                raise ArgumentError(f"{name}: expected 0 to {number - 1}, got {line}")
        return lines, cols is None, single

    def values(self, value: object, count: int, rows: bool, name: str) -> Tensor:
        """Return values for lines, `[lines, length]`.

        Args:
            value: One line, or one for each.
            count: Number of lines.
            rows: Whether they are rows.
            name: Name of the argument in messages.

        Raises:
            ArgumentError: A value is not finite.
            InputError: The shape is another one.
        """
        return as_rows(value, self.lines(not rows), name, single=count == 1, count=count)


def _numbers(name: str, given: Any) -> tuple[list[int], bool]:
    """Return numbers of lines, and whether it is one by its number."""
    values: Any = given.tolist() if isinstance(given, (Tensor, np.ndarray)) else given
    single = isinstance(values, numbers.Number)
    try:
        lines: list[Any] = [values] if single else list(values)
    except TypeError:
        lines = [None]
    if any(isinstance(line, (bool, np.bool_)) for line in lines):
        raise ArgumentError(
            f"{name}: expected numbers, got truth values; give those of lines, mask.nonzero()[:, 0]"
        )
    if not all(isinstance(line, numbers.Integral) for line in lines):
        raise ArgumentError(f"{name}: expected numbers of lines, got {describe(given)}")
    return [int(line) for line in lines], single


def as_rows(
    value: object, length: int, name: str, single: bool = True, count: int | None = None
) -> Tensor:
    """Return vectors as contiguous float32 rows.

    Args:
        value: One vector `[length]` where `single` allows it, or `[rows, length]`.
        length: Length of the vectors.
        name: Name of the argument in messages.
        single: Whether one vector is accepted.
        count: Number of vectors; None for any.

    Raises:
        ArgumentError: A value is not finite.
        InputError: It is no tensor of such a shape.
    """
    if not isinstance(value, Tensor):
        raise InputError(f"{name}: expected a tensor, got {describe(value)}")
    rows = value.detach()
    if rows.dim() == 1 and single:
        rows = rows.unsqueeze(0)
    if rows.dim() != 2 or rows.shape[1] != length or count not in (None, rows.shape[0]):
        raise InputError(
            f"{name}: expected shape [{'rows' if count is None else count}, {length}], got"
            f" {tuple(value.shape)}"
        )
    rows = rows.to("cpu", torch.float32).contiguous()
    if not all_finite(rows):
        raise ArgumentError(f"{name}: values must be finite; found NaN or infinity")
    return rows


def exact_train(longest: int) -> UpdateParameters:
    """Return an update with which whole numbers of pulses become exactly so many.

    Args:
        longest: Largest number of pulses.
    """
    length = max(_SHORTEST_TRAIN, 1 << (longest - 1).bit_length())
    kind = PulseType.DETERMINISTIC_IMPLICIT
    return UpdateParameters(pulse_type=kind, desired_bl=length, update_bl_management=True)


def _with_update(text: str, update: UpdateParameters) -> str:
    whole = json.loads(text)
    whole["update"] = update.to_wire("update")
    return wire.dumps(whole)
