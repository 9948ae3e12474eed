"""Kernels of the core on the tensors of a raw tile."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError
from mho.simulator.parameters.finite import all_finite
from mho.simulator.raw_tiles.core.parsed import ParsedConfig
from mho.simulator.raw_tiles.core.tensors import CoreTensors
from mho.simulator.state.names import AnalogTileStateNames as Names

GridTile = tuple[
    _core.TileSpec,
    Tensor,
    int,
    Tensor,
    Tensor,
    Tensor | int,
    dict[str, Tensor] | None,
    Tensor | None,
    tuple[Tensor, ...] | None,
]
"""A tile of a grid: specification, inputs, their first column, weights, seed, counter or number of
the call, frozen values per line, mask, factors."""


class Kernels(Protocol):
    """What computes with the tensors of a raw tile; they own its state wherever that is done."""

    @property
    def backend(self) -> str:
        """Where the kernels run."""

    @property
    def adapter(self) -> str | None:
        """Number or part of the name of the adapter, None for the default one or without any."""

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
        """Return the product of a batch of rows, where it is clipped, and the number of the call.

        A call that raises has not been one.

        Args:
            rows: Inputs, shape `[batch, in]`, contiguous float32.
            bias_input: Input of the analog bias column, None without one.
            is_test: Evaluation mode.
            weight: Weights to take instead of the own ones.
            want_mask: Also tell which outputs were clipped: uint8, None if none was.
            factors: Of the outputs, one after another, shape `[1]` or `[out]` each.
            offset: Added to the outputs at last, shape `[out]`.

        Raises:
            BackendError: The graphics processor failed; as for `update`.
        """

    def backward(
        self, rows: Tensor, y: Tensor, call: int, is_test: bool, weight: Tensor | None
    ) -> None:
        """Compute the transposed product of a batch of rows.

        Args:
            rows: Gradients of the outputs, shape `[batch, out]`, contiguous float32.
            y: Gradients of the inputs, written.
            call: Number of the forward call.
            is_test: Evaluation mode.
            weight: Weights to take instead of the own ones.

        Raises:
            BackendError: The graphics processor failed; as for `update`.
        """

    def update(self, x: Tensor, d: Tensor, learning_rate: float, bias_input: float | None) -> None:
        """Update the weights in place; on any error nothing is changed.

        Args:
            x: Inputs, shape `[batch, in]`.
            d: Gradients of the outputs, shape `[batch, out]`.
            learning_rate: Raw learning rate.
            bias_input: Input of the analog bias column, None without one.

        Raises:
            ArgumentError: A value is not finite.
            BackendError: The graphics processor failed; the weights are as before if it still
                answers, otherwise the last copy of the host is the state from now on.
        """

    def operate(self, name: str, *arguments: float) -> None:
        """Run an operation on the weights, where they are.

        Args:
            name: Its name in the core.
            arguments: What it takes before seed and call.

        Raises:
            BackendError: As for `update`.
        """

    def on_host(self, replaces_all: bool = False) -> AbstractContextManager[None]:
        """Return a context in which weights are read and written in the tensors of the host.

        Args:
            replaces_all: Nothing of the old weights is used.
        """

    def check(self, spec: _core.TileSpec) -> None:
        """Refuse a configuration that cannot be used here.

        Args:
            spec: Configuration.

        Raises:
            ConfigError: It has an option that the backend cannot do; the message names both.
        """

    def open(self) -> None:
        """Make the backend ready, so that what it cannot do is refused at once.

        Raises:
            BackendError: There is no such adapter, or too little memory.
            ConfigError: The tile has an option that the backend cannot do; the message names it.
        """

    def install(self) -> None:
        """Become the kernels of the tile."""

    def sync_to_host(self) -> None:
        """Bring back weights that are newer than those in the tensors.

        Raises:
            BackendError: They cannot be read back; the last copy of the host is the state from now
                on.
            TileError: They were changed on both sides.
        """

    def remove(self) -> None:
        """Bring the weights back and be the kernels of the tile no longer.

        Raises:
            BackendError: The weights cannot be read back.
            TileError: They were changed on both sides.
        """


class HostKernels:
    """Kernels that work in the tensors themselves."""

    backend = "cpu"
    """Where the kernels run."""

    adapter: str | None = None
    """The host has no adapters."""

    def __init__(self, tensors: CoreTensors, parsed: ParsedConfig) -> None:
        """Work on the state of a raw tile.

        Args:
            tensors: Its tensors.
            parsed: Its configuration.
        """
        self._tensors, self._parsed = tensors, parsed

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
        tensors = self._tensors
        state = tensors.state
        return _core.forward(
            self._parsed.spec, rows, state[Names.WEIGHTS] if weight is None else weight,
            state[Names.SEED], state[Names.CALLS], is_test, bias_input, tensors.lines[0] or None,
            want_mask, factors, offset,
        )  # fmt: skip

    def in_grid(
        self,
        backward: bool,
        rows: Tensor,
        column: int,
        weight: Tensor | None,
        call: int | None = None,
        mask: Tensor | None = None,
        factors: tuple[Tensor, ...] | None = None,
    ) -> GridTile:
        """Return the part of the tile in a product of several tiles, see `_core.forward_grid`.

        Args:
            backward: Whether the product is the transposed one.
            rows: Inputs of this tile or of all, contiguous float32, shape `[batch, columns]`.
            column: The first one that is an input of this tile.
            weight: Weights to take instead of the own ones.
            call: Number of the call; None for the next one.
            mask: Set where the output was clipped, uint8; None if nobody wants to know.
            factors: As for `forward`.
        """
        tensors = self._tensors
        state = tensors.state
        return (
            self._parsed.spec, rows, column, state[Names.WEIGHTS] if weight is None else weight,
            state[Names.SEED], state[Names.CALLS] if call is None else call,
            tensors.lines[backward] or None, mask, factors,
        )  # fmt: skip

    def backward(
        self, rows: Tensor, y: Tensor, call: int, is_test: bool, weight: Tensor | None
    ) -> None:
        """Compute a transposed product; see `Kernels`."""
        tensors = self._tensors
        state = tensors.state
        _core.mvm(
            self._parsed.spec, True, rows, state[Names.WEIGHTS] if weight is None else weight,
            y, state[Names.SEED], call, is_test, None, tensors.lines[1] or None,
        )  # fmt: skip

    def update(self, x: Tensor, d: Tensor, learning_rate: float, bias_input: float | None) -> None:
        """Update the weights in place; see `Kernels`."""
        tensors = self._tensors
        _core.update(
            self._parsed.spec, tensors.weights, tensors.devices, x, d, learning_rate,
            tensors.seed, tensors.calls, bias_input, tensors.counts,
        )  # fmt: skip
        tensors.count_write()

    def operate(self, name: str, *arguments: float) -> None:
        """Run an operation of the core on the weights; see `Kernels`."""
        tensors, operation = self._tensors, getattr(_core, name)
        weight, seed, calls = tensors.weights, tensors.seed, tensors.calls
        operation(self._parsed.spec, weight, tensors.devices, *arguments, seed, calls)
        tensors.count_write()

    def on_host(self, replaces_all: bool = False) -> AbstractContextManager[None]:
        """Return a context that does nothing: the tensors have the weights."""
        return nullcontext()

    def check(self, spec: _core.TileSpec) -> None:
        """Accept every configuration."""

    def open(self) -> None:
        """Do nothing: the host is always there."""

    def install(self) -> None:
        """Do nothing: there is nothing to prepare."""

    def sync_to_host(self) -> None:
        """Do nothing: no weights are newer than those in the tensors."""

    def remove(self) -> None:
        """Do nothing: the state is in the tensors."""


def check_finite(weights: Tensor) -> None:
    """Refuse to update weights that are not finite.

    Args:
        weights: Raw weights.

    Raises:
        ArgumentError: One is NaN or infinite.
    """
    if all_finite(weights):
        return
    raise ArgumentError("weights: values must be finite; found NaN or infinity")
