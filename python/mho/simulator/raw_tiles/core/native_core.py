"""State and kernels of a raw tile of the extension module, on tensors that a tile module owns."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from mho import _core, pending
from mho.exceptions import ArgumentError, ConfigError, InputError, TileError
from mho.simulator.parameters.arguments import check_not_negative
from mho.simulator.raw_tiles.base import SimulatorTile, as_vector
from mho.simulator.raw_tiles.core.gpu.kernels import Resident
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.tensor_group import TensorGroup, as_tensor

# As torch types them; entries that are None do not occur here.
Buffers = dict[str, Any]

BACKENDS = ("cpu", "wgpu")
"""Where tiles of the core can run."""

_INITIAL_LEARNING_RATE = 0.1
_INITIAL_RANGE = 0.1


class NativeCore(SimulatorTile):
    """Raw tile of the extension module.

    It owns nothing but the learning rate: weights, device planes, frozen line values and the
    position in the random stream are buffers of the tile module, so that every way of copying,
    saving or moving modules works on them.
    """

    known_backends = BACKENDS

    adapter: str | None = None
    """Number or part of the name of the adapter of `"wgpu"`, None for the default one."""

    resident: Resident | None = None
    """The tile on the graphics processor, None if kernels run on the host."""

    def __init__(
        self,
        owner: nn.Module,
        config_text: str,
        out_size: int,
        in_size: int,
        analog_bias: bool,
        seed: Tensor,
    ) -> None:
        """Register the state of a fresh tile as buffers of a module and draw it.

        Args:
            owner: Module that owns the state.
            config_text: JSON text of the configuration.
            out_size: Number of outputs.
            in_size: Number of inputs without that of an analog bias.
            analog_bias: Whether the last column is a bias.
            seed: Seed of all random numbers of the tile, int64 `[1]`.

        Raises:
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        self.out_size, self.in_size, self.analog_bias = out_size, in_size, analog_bias
        self.config_text = config_text
        self.dw_min: float | None = None
        self.spec = spec = self._parse(config_text)
        self.learning_rate = _INITIAL_LEARNING_RATE
        owner.register_buffer(
            Names.WEIGHTS, torch.zeros(spec.d_size, spec.x_size, dtype=torch.float32, device="cpu")
        )
        owner.register_buffer(Names.SEED, seed)
        owner.register_buffer(Names.CALLS, torch.zeros(1, dtype=torch.int64))
        owner.register_buffer(Names.COUNTS, self.no_counts())
        for name in (Names.HIDDEN, Names.FORWARD_LINES, Names.BACKWARD_LINES, Names.DRIFT):
            owner.add_module(name, TensorGroup())
        self.connect(owner)
        self._construct(owner, int(seed))
        self.set_weights_uniform_random(-_INITIAL_RANGE, _INITIAL_RANGE)

    def connect(self, owner: nn.Module) -> None:
        """Find the state in the module that owns it; see the base class."""
        self._owner = owner
        # The dictionaries, not the tensors: they see every replacement of a buffer and cost one
        # lookup.
        self._state: Buffers = owner._buffers
        self._hidden: Buffers = owner.get_submodule(Names.HIDDEN)._buffers
        self._drift: Buffers = owner.get_submodule(Names.DRIFT)._buffers
        self._lines: tuple[Buffers, Buffers] = (
            owner.get_submodule(Names.FORWARD_LINES)._buffers,
            owner.get_submodule(Names.BACKWARD_LINES)._buffers,
        )

    def _construct(self, owner: nn.Module, seed: int) -> None:
        shape = (self.spec.d_size, self.spec.x_size)
        planes = self.spec.construct(seed)
        hidden = {k: as_tensor(v, shape) for k, v in planes.items() if not isinstance(v, float)}
        _planes(owner, Names.HIDDEN).replace(hidden)
        for backward, name in enumerate((Names.FORWARD_LINES, Names.BACKWARD_LINES)):
            lines = self.spec.construct_lines(bool(backward), seed)
            _planes(owner, name).replace({k: as_tensor(v, (-1,)) for k, v in lines.items()})

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the parsed configuration as text."""
        state = dict(self.__dict__)
        del state["spec"], state["_owner"]
        state.pop("resident", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, to be connected with its owner."""
        self.__dict__.update(state)
        self.spec = self._parse(self.config_text, self.dw_min)

    def parsed(self, config_text: str, dw_min: float | None = None) -> _core.TileSpec:
        """Return a configuration parsed for the sizes of this tile.

        Args:
            config_text: JSON text.
            dw_min: Mean step of the devices instead of that in the text.

        Raises:
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        if config_text == self.config_text and dw_min == self.dw_min:
            return self.spec
        return self._parse(config_text, dw_min)

    def _parse(self, config_text: str, dw_min: float | None = None) -> _core.TileSpec:
        columns = self.in_size + int(self.analog_bias)
        try:
            return _core.TileSpec(config_text, self.out_size, columns, self.analog_bias, dw_min)
        except ConfigError as error:
            raise _readable(error) from error

    def adopt(self, config_text: str, spec: _core.TileSpec, dw_min: float | None = None) -> None:
        """Use another configuration from now on.

        Args:
            config_text: JSON text.
            spec: The same, parsed.
            dw_min: Mean step that it was parsed with instead of that in the text.
        """
        self.config_text, self.spec, self.dw_min = config_text, spec, dw_min

    def follow_text(self, config_text: str) -> None:
        """Use another configuration from now on, and draw the values per line that it changes.

        Args:
            config_text: JSON text, checked.
        """
        if config_text == self.config_text:
            return
        dw_min = self.dw_min_for(config_text)
        spec = self.parsed(config_text, dw_min)
        lines = [self.redrawn_lines(spec, bool(backward)) for backward in (0, 1)]
        self.adopt(config_text, spec, dw_min)
        for name, values in zip((Names.FORWARD_LINES, Names.BACKWARD_LINES), lines, strict=True):
            _planes(self._owner, name).replace(values)

    def dw_min_for(self, config_text: str) -> float | None:
        """Return the own mean step of the devices, which belongs to no others.

        Args:
            config_text: JSON text of a configuration.
        """
        if self.dw_min is None or device_of(config_text) != device_of(self.config_text):
            return None
        return self.dw_min

    def redrawn_lines(self, spec: _core.TileSpec, backward: bool) -> dict[str, Tensor]:
        """Return the frozen values per line with another configuration.

        Args:
            spec: Configuration, parsed.
            backward: Of the transposed product.
        """
        seed, present = int(self._seed()), self._lines[backward]
        old = self.spec.construct_lines(backward, seed)
        lines = {}
        for name, values in spec.construct_lines(backward, seed).items():
            drawn = as_tensor(values, (-1,))
            same = name in old and torch.equal(as_tensor(old[name], (-1,)), drawn)
            lines[name] = present[name] if same and name in present else drawn
        return lines

    def no_counts(self) -> Tensor | None:
        """Return pulse counters at zero, int64 `[2, out, x_size]`; None unless pulses count."""
        if not self.spec.counts_pulses:
            return None
        return torch.zeros(2, self.spec.d_size, self.spec.x_size, dtype=torch.int64)

    def has_bias_column(self) -> bool:
        """Return whether the last column is an analog bias."""
        return self.analog_bias

    def live_weights(self) -> Tensor:
        """Return the live raw weights, shape `[out, x_size]`."""
        return _present(self._state, Names.WEIGHTS)

    def on_host(self, replaces_all: bool = False) -> AbstractContextManager[None]:
        """Return a context in which weights are read and written in the tensors of the host.

        Args:
            replaces_all: Nothing of the old weights is used.
        """
        return nullcontext() if self.resident is None else self.resident.on_host(replaces_all)

    def next_call(self) -> int:
        """Advance the position in the random stream and return it."""
        return _core.next_call(_present(self._state, Names.CALLS))

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
        calls = _present(self._state, Names.CALLS)
        if int(calls) == call:
            calls.fill_(call - 1)

    def run_forward(
        self,
        rows: Tensor,
        bias_input: float | None,
        is_test: bool,
        weight: Tensor | None = None,
        want_mask: bool = False,
    ) -> tuple[Tensor, Tensor | None, int]:
        """Return the product of a batch of rows; see the base class."""
        state = self._state
        y = rows.new_empty(rows.shape[0], self.out_size)
        mask = torch.empty_like(y, dtype=torch.uint8) if want_mask else None
        call = self.next_call()
        try:
            if self.resident is not None:
                self.resident.product(False, rows, y, call, is_test, bias_input, weight, mask)
                return y, mask, call
            _core.mvm(
                self.spec, False, rows, state[Names.WEIGHTS] if weight is None else weight, y,
                state[Names.SEED], call, is_test, bias_input, self._lines[0] or None, mask,
            )  # fmt: skip
        except BaseException:
            self.forget_call(call)
            raise
        return y, mask, call

    def plain(self, rows: Tensor, is_test: bool) -> Tensor:
        """Return what `run_forward` does for the own weights without bias column and mask.

        Args:
            rows: Inputs, shape `[batch, in]`, contiguous float32.
            is_test: Evaluation mode.
        """
        if self.resident is not None:
            return self.run_forward(rows, None, is_test)[0]
        state = self._state
        y = rows.new_empty(rows.shape[0], self.out_size)
        call = _core.next_call(state[Names.CALLS])
        try:
            _core.mvm(
                self.spec, False, rows, state[Names.WEIGHTS], y, state[Names.SEED],
                call, is_test, None, self._lines[0] or None,
            )  # fmt: skip
        except BaseException:
            self.forget_call(call)
            raise
        return y

    def run_backward(
        self, rows: Tensor, call: int, is_test: bool = False, weight: Tensor | None = None
    ) -> Tensor:
        """Return the transposed product of a batch of rows; see the base class."""
        state = self._state
        y = rows.new_empty(rows.shape[0], self.in_size)
        if self.resident is not None:
            self.resident.product(True, rows, y, call, is_test, None, weight, None)
            return y
        _core.mvm(
            self.spec, True, rows, state[Names.WEIGHTS] if weight is None else weight, y,
            state[Names.SEED], call, is_test, None, self._lines[1] or None, None,
        )  # fmt: skip
        return y

    def run_update(self, x: Tensor, d: Tensor, bias_input: float | None) -> None:
        """Update the weights in place with pairs of rows; on any error nothing is changed.

        Args:
            x: Inputs, shape `[batch, in]`.
            d: Gradients of the outputs, shape `[batch, out]`.
            bias_input: Input of the analog bias column, None without one.

        Raises:
            ArgumentError: A value is not finite.
            InputError: The shapes do not match.
        """
        if x.shape[0] != d.shape[0]:
            raise InputError(
                f"d_input: expected as many samples as x_input ({x.shape[0]}), got {d.shape[0]}"
            )
        if self.learning_rate != 0.0 and x.shape[0] > 0:
            self._check_finite()
            self._update(x, d, bias_input)

    def _check_finite(self) -> None:
        if self.resident is not None:
            return  # to look at them would bring them back
        weights = self.live_weights()
        # A sum is NaN if a value is, and takes a tenth of the time of looking at each; it may be
        # infinite for finite values.
        if math.isfinite(weights.sum().item()) or bool(torch.isfinite(weights).all()):
            return
        raise ArgumentError("weights: values must be finite; found NaN or infinity")

    def _update(self, x: Tensor, d: Tensor, bias_input: float | None) -> None:
        if self.resident is not None:
            self.resident.update(x, d, bias_input)
            return
        call = self.next_call()
        try:
            _core.update(
                self.spec, self.live_weights(), self._hidden, x, d, self.learning_rate,
                self._seed(), call, bias_input, self._state[Names.COUNTS],
            )  # fmt: skip
        except BaseException:
            self.forget_call(call)
            raise

    def store_planes(self, planes: Mapping[str, Tensor]) -> None:
        """Hold the given hidden planes except those that equal a constant of the configuration.

        Args:
            planes: Values of all hidden parameters, shape `[out, x_size]` each.
        """
        for name, value in planes.items():
            if name == "drift_nu" and not self.spec.drifts:
                continue  # without drift there are no exponents
            constant = self.spec.hidden_constant(name)
            if constant is not None and bool((value == constant).all()):
                self._hidden.pop(name, None)
            elif (old := self._hidden.get(name)) is not None:
                old.copy_(value)
            else:
                self._hidden[name] = value.detach().clone().contiguous()

    def get_lines(self, backward: bool) -> dict[str, Tensor]:
        """Return copies of the frozen values per line; empty tensors for those that are not used.

        Args:
            backward: Of the transposed product.
        """
        lines = self._lines[backward]
        return {
            name: torch.empty(0) if (value := lines.get(name)) is None else value.detach().clone()
            for name in self.spec.line_names(backward)
        }

    def set_lines(self, backward: bool, values: Mapping[str, Tensor]) -> None:
        """Write frozen values per line.

        Args:
            backward: Of the transposed product.
            values: Some or all of what `get_lines` returns.

        Raises:
            ArgumentError: Unknown name, wrong length or a value that is not finite; nothing is
                changed.
        """
        lines = self._lines[backward]
        new = {
            name: _line(name, value, lines, self.spec, backward) for name, value in values.items()
        }
        for name, value in new.items():
            if value.numel() > 0:
                lines[name].copy_(value)

    def get_x_size(self) -> int:
        """Return the number of columns, with that of an analog bias."""
        return self.spec.x_size

    def get_d_size(self) -> int:
        """Return the number of rows."""
        return self.spec.d_size

    def get_learning_rate(self) -> float:
        """Return the raw learning rate."""
        return self.learning_rate

    def set_learning_rate(self, learning_rate: float | None) -> None:
        """Set the raw learning rate.

        Args:
            learning_rate: Finite and not negative; None is ignored.

        Raises:
            ArgumentError: It is negative or not finite.
        """
        if learning_rate is not None:
            self.learning_rate = check_not_negative("learning_rate", learning_rate)

    def _seed(self) -> Tensor:
        return _present(self._state, Names.SEED)

    def _plane(self, name: str) -> Tensor:
        stored: Tensor | None = self._hidden.get(name)
        if stored is not None:
            return stored.detach().clone()
        constant = self.spec.hidden_constant(name)
        value = 0.0 if constant is None else constant
        return torch.full((self.out_size, self.spec.x_size), value, dtype=torch.float32)


def _readable(error: ConfigError) -> ConfigError:
    """Return an error that names a device or choice which the core lacks, without its grammar."""
    found = re.match(r"([\w.\[\]]+): unknown variant `(\w+)`", str(error))
    return ConfigError(f"{found[1]}: {pending.message(found[2])}") if found else error


def device_of(config_text: str) -> object:
    """Return the device in the JSON text of a configuration."""
    return json.loads(config_text)["device"]


def _present(buffers: Buffers, name: str) -> Tensor:
    value: Tensor | None = buffers[name]
    if value is None:
        raise TileError(f"{name}: the tile has lost this buffer; do not assign None to it")
    return value


def _planes(owner: nn.Module, name: str) -> TensorGroup:
    child = owner.get_submodule(name)
    assert isinstance(child, TensorGroup)
    return child


def _line(name: str, value: Tensor, lines: Buffers, spec: _core.TileSpec, backward: bool) -> Tensor:
    names = spec.line_names(backward)
    if name not in names:
        raise ArgumentError(f"{name}: unknown parameter; known: {', '.join(names)}")
    old = lines.get(name)
    length = 0 if old is None else old.numel()
    flat = as_vector(name, value)
    if flat.numel() != length:
        raise ArgumentError(f"{name}: expected {length} values, got {flat.numel()}")
    if not bool(torch.isfinite(flat).all()):
        raise ArgumentError(f"{name}: values must be finite")
    return flat
