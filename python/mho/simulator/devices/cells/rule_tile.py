"""What the rule of a `CustomCompound` sees of its tile, and what it can do there."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

Lines: TypeAlias = int | slice | Sequence[int] | Tensor
"""Numbers of columns or rows: one, a slice, or several in their order."""


class RuleTile(Protocol):
    """A tile as the rule of a `CustomCompound` sees it.

    Every call takes effect at once. All of them together are one transaction of `tile.update`: if
    the rule raises, weights, states, counters and random streams are as before.

    It can be used during the call of the rule only, and the rule returns nothing.

    Devices are named by their index in `unit_cell_devices`. Columns and rows of a call are read and
    written in their order and do not see each other.
    """

    @property
    def x(self) -> Tensor:
        """Inputs since the last call, `[rows, X]`; `[X]` with `every=1`."""

    @property
    def d(self) -> Tensor:
        """Gradients of the outputs since the last call, `[rows, D]`; `[D]` with `every=1`."""

    @property
    def lr(self) -> float:
        """Learning rate of the tile."""

    @property
    def g(self) -> Sequence[float]:
        """Mean change of each device by one pulse, in units of the weight."""

    @property
    def bounds(self) -> Sequence[tuple[float, float]]:
        """Bounds of each device without spreads, `(w_min, w_max)`.

        Of a cell those of its first device, of a one-sided pair those of the difference.
        """

    @property
    def p(self) -> Mapping[str, Any]:
        """`params` of the compound."""

    @property
    def D(self) -> int:
        """Number of rows of the tile, its outputs."""

    @property
    def X(self) -> int:
        """Number of columns of the tile, its inputs with that of an analog bias."""

    @property
    def B(self) -> int:
        """Number of samples in this call of `tile.update`."""

    @property
    def count(self) -> int:
        """Number of samples so far, those of this call of the rule included."""

    def update(
        self, device: int, x: Tensor, d: Tensor, lr: float | Tensor, bl: int | None = None
    ) -> None:
        """Give a device pulses of `-lr d x^T`, one sample after another.

        The pulses are those of `update` of the configuration of the tile.

        Args:
            device: Index.
            x: Inputs of the device, `[columns]` or `[rows, columns]`.
            d: Gradients of its outputs, `[rows of the device]` or `[rows, rows of the device]`.
            lr: Learning rate.
            bl: Length of the trains instead of `desired_bl`.

        Raises:
            ArgumentError: A value is not finite, or a train is longer than 65535.
            InputError: A shape does not fit the device.
        """

    def add(
        self,
        device: int,
        cols: Lines | None = None,
        values: Tensor | None = None,
        *,
        rows: Lines | None = None,
    ) -> None:
        """Write with pulses, so that the lines change by these values in the mean.

        The pulses are those of `transfer_update`, which limits what one write can change.

        Args:
            device: Index.
            cols: Columns.
            values: One line `[length]`, or `[lines, length]`.
            rows: Rows, instead of columns.

        Raises:
            ArgumentError: A line does not exist, or a value is not finite.
            InputError: The shape of the values is another one.
        """

    def pulses(
        self,
        device: int,
        cols: Lines | None = None,
        number: Tensor | None = None,
        *,
        rows: Lines | None = None,
    ) -> None:
        """Give every crosspoint of lines exactly so many pulses, upwards if positive.

        Args:
            device: Index.
            cols: Columns.
            number: Whole numbers, one line `[length]`, or `[lines, length]`.
            rows: Rows, instead of columns.

        Raises:
            ArgumentError: A line does not exist, a number is not whole, or beyond 65535.
            InputError: The shape of the numbers is another one.
        """

    def read(self, device: int, cols: Lines | None = None, *, rows: Lines | None = None) -> Tensor:
        """Return lines as the array shows them, through `transfer_forward`.

        Args:
            device: Index.
            cols: Columns.
            rows: Rows, instead of columns.

        Returns:
            `[length]` for one line given by its number, otherwise `[lines, length]`.

        Raises:
            ArgumentError: A line does not exist.
        """

    def product(self, device: int, values: Tensor, *, transposed: bool = False) -> Tensor:
        """Return the product of a device with vectors, through `transfer_forward`.

        Args:
            device: Index.
            values: Inputs, `[columns]` or `[rows, columns]` of the device.
            transposed: Multiply by the transposed matrix.

        Raises:
            InputError: The shape does not fit the device.
        """

    def weight(self, device: int) -> Tensor:
        """Return a copy of the weights of a device, as no array can show them exactly.

        Args:
            device: Index.
        """

    def program(self, device: int, weight: Tensor) -> None:
        """Set the weights of a device; it clips them to its bounds.

        Args:
            device: Index.
            weight: As `weight` returns it.

        Raises:
            ArgumentError: A value is not finite.
            InputError: The shape is another one.
        """

    def reset(self, device: int, cols: Lines) -> None:
        """Reset columns to the reset value of the device.

        Args:
            device: Index.
            cols: Columns.

        Raises:
            ArgumentError: A column does not exist.
        """

    def state(
        self, name: str, *shape: int, init: float = 0.0, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Return a tensor that belongs to the tile, to be changed in place.

        It is made at the first call with its name, is part of the state dict, and is a hidden
        parameter `rule_<name>` of the tile. Setting the weights of the tile forgets it.

        Args:
            name: Name, an identifier.
            shape: Shape; from the first call on it is always the same.
            init: Value of a new tensor.
            dtype: Its type; from the first call on it is always the same.

        Raises:
            ConfigError: Shape or type are others than before, the name is none, or the type cannot
                hold `init`.
        """

    def cycle(self, name: str, n: int) -> int:
        """Return a counter that starts at 0, and advance it modulo `n`.

        Args:
            name: Name, an identifier.
            n: Number of values; from the first call on it is always the same.

        Raises:
            ConfigError: The number is another one than before, or the name is none.
        """

    def coin(self, p: float, *shape: int) -> Tensor:
        """Return independent draws that are true with a probability.

        Args:
            p: Probability.
            shape: Shape; without one a scalar.
        """

    def normal(self, *shape: int) -> Tensor:
        """Return independent standard normal draws.

        Args:
            shape: Shape; without one a scalar.
        """

    def uniform(self, *shape: int) -> Tensor:
        """Return independent draws, uniform in `[0, 1)`.

        Args:
            shape: Shape; without one a scalar.
        """


Rule: TypeAlias = Callable[[RuleTile], None]
"""What a `CustomCompound` does with the samples of an update."""

WeightHook: TypeAlias = Callable[[RuleTile], Tensor]
"""What the weights of a `CustomCompound` are, `[D, X]`."""
