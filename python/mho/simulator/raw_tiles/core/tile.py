"""Raw tiles of the core."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from mho import _core
from mho.exceptions import ConfigError
from mho.settings import adapter_name, check_backend, chosen_backend, get_adapter
from mho.simulator.delegation import done_by
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.arguments import check_flag, check_flags, check_not_negative
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.core import extra_state, loading
from mho.simulator.raw_tiles.core.gpu.kernels import GpuKernels
from mho.simulator.raw_tiles.core.hidden import HiddenParameters
from mho.simulator.raw_tiles.core.indices import MatrixIndices
from mho.simulator.raw_tiles.core.kernels import HostKernels, Kernels
from mho.simulator.raw_tiles.core.lines import LineValues
from mho.simulator.raw_tiles.core.maintenance import Maintenance
from mho.simulator.raw_tiles.core.parsed import ParsedConfig
from mho.simulator.raw_tiles.core.python_device import PythonDevice, custom_device
from mho.simulator.raw_tiles.core.tensors import DEVICE, CoreTensors
from mho.simulator.raw_tiles.given_values import named_values
from mho.simulator.raw_tiles.rows import batch_shape, check_pairs, from_rows, to_float_rows
from mho.simulator.state.header import Steps
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.ordinary import ordinary_tensors
from mho.simulator.state.plan import LoadPlan
from mho.simulator.state.transaction import nobody_sees

BACKENDS = ("cpu", "wgpu")
"""Where tiles of the core can run."""

_INITIAL_LEARNING_RATE = 0.1
_INITIAL_RANGE = 0.1

# What is composed again; it is neither copied nor pickled.
_COMPOSED = ("kernels", "hidden", "lines", "maintenance", "indices")

_RawT = TypeVar("_RawT", bound="CoreTile")


class CoreTileOwner(Protocol):
    """What a raw tile needs of the module that owns its state, beside being a module."""

    rpu_config: Any
    """Configuration."""

    out_size: int
    """Number of outputs."""

    in_size: int
    """Number of inputs."""

    analog_bias: bool
    """Whether there is a column for a bias."""


class CoreTile(SimulatorTile):
    """Raw tile whose products, updates and devices are those of the core.

    It owns nothing but the learning rate: all tensors belong to the module around it. It is made of
    objects with one task each, and they share the first two:

    * `tensors`: where the tensors are;
    * `parsed`: the configuration as the core takes it;
    * `kernels`: what computes, on the host or on a graphics processor;
    * `hidden`, `lines`, `maintenance`: devices, frozen values per line, operations on the weights;
    * `indices`: table by which calls read images;
    * `python`: the device if it is one written in Python, None if the tile may not have one.
    """

    known_backends = BACKENDS

    kernels: Kernels
    hidden: HiddenParameters
    lines: LineValues
    maintenance: Maintenance

    adapter: str | None = None
    """Number or part of the name of the adapter of `"wgpu"`, None for the default one."""

    def __init__(
        self,
        owner: nn.Module,
        config_text: str,
        out_size: int,
        in_size: int,
        analog_bias: bool,
        seed: Tensor,
        python_devices: bool = False,
    ) -> None:
        """Register the state of a fresh tile as buffers of a module and draw it.

        Args:
            owner: Module that owns the state.
            config_text: JSON text of the configuration.
            out_size: Number of outputs.
            in_size: Number of inputs without that of an analog bias.
            analog_bias: Whether the last column is a bias.
            seed: Seed of all random numbers of the tile, int64 `[1]`.
            python_devices: Whether the device may be one written in Python.

        Raises:
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        self.parsed = ParsedConfig(config_text, out_size, in_size, analog_bias)
        self.learning_rate = _INITIAL_LEARNING_RATE
        self.tensors = CoreTensors(owner, self.parsed.spec, seed)
        self.indices = MatrixIndices(self)
        self.python = PythonDevice(self.tensors, self.parsed) if python_devices else None
        self._use(HostKernels(self.tensors, self.parsed))
        with nobody_sees():
            self.set_weights_uniform_random(-_INITIAL_RANGE, _INITIAL_RANGE)

    @classmethod
    def create(cls: type[_RawT], owner: CoreTileOwner, *, python_devices: bool = False) -> _RawT:
        """Return a fresh raw tile for a module; draws one seed from torch's generator.

        Its kernels go where the configuration or `mho.set_backend` says, when it follows the
        configuration for the first time.

        Args:
            owner: Module that is to own the state.
            python_devices: Whether the device may be one written in Python.

        Raises:
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        config: RPUConfigBase = owner.rpu_config
        if not python_devices:
            _refuse_python_device(config, owner)
        text = config.core_json()
        with ordinary_tensors():
            seed = torch.randint(0, 2**63 - 1, (1,), dtype=torch.int64, device="cpu")
        assert isinstance(owner, nn.Module)
        raw = cls(
            owner, text, owner.out_size, owner.in_size, owner.analog_bias, seed, python_devices
        )
        raw.backend, raw.adapter = chosen_backend(config.runtime.backend)
        return raw

    def _use(self, kernels: Kernels) -> None:
        """Compute with other kernels from now on."""
        self.kernels = kernels
        self.hidden = HiddenParameters(self.tensors, self.parsed, kernels)
        self.lines = LineValues(self.tensors, self.parsed)
        self.maintenance = Maintenance(self.tensors, self.parsed, kernels)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled; a copy starts on the host and is to be connected."""
        return {name: value for name, value in self.__dict__.items() if name not in _COMPOSED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, to be connected with its owner."""
        self.__dict__.update(state)
        self.indices = MatrixIndices(self)
        self._use(HostKernels(self.tensors, self.parsed))

    def __repr__(self) -> str:
        """Return kind and size."""
        return self.get_brief_info()

    def __str__(self) -> str:
        """Return a summary of several lines."""
        return self.get_info()

    @property
    def spec(self) -> _core.TileSpec:
        """Parsed configuration."""
        return self.parsed.spec

    @property
    def config_text(self) -> str:
        """JSON text of the configuration for the core."""
        return self.parsed.text

    @property
    def core_text(self) -> str | None:  # type: ignore[override]
        """The same, None if the device takes its steps in Python; see the base class."""
        in_python = self.python is not None and self.python.device is not None
        return None if in_python else self.parsed.text

    @property
    def out_size(self) -> int:
        """Number of outputs."""
        return self.parsed.out_size

    @property
    def in_size(self) -> int:
        """Number of inputs without that of an analog bias."""
        return self.parsed.in_size

    @property
    def analog_bias(self) -> bool:
        """Whether the last column is a bias."""
        return self.parsed.analog_bias

    @property
    def dw_min(self) -> Steps | None:  # type: ignore[override]
        """Mean step of the devices; see the base class."""
        return self.parsed.dw_min

    def connect(self, owner: nn.Module) -> None:
        """Find the state in the module that owns it; see the base class."""
        self.tensors.connect(owner)

    def follow(self, config: Any) -> None:
        """Follow a new configuration; nothing is opened before the first use.

        Raises:
            ConfigError: A device in Python draws something that cannot be hidden parameters, or the
                backend cannot have such a device.
        """
        loading.follow_text(self.tensors, self.parsed, config.core_json())
        if self.kernels.backend != self.backend:
            self.check(config)
            kernels = self._kernels_on(self.backend, self.adapter)
            kernels.install()
            self._use(kernels)
        if self.python is not None:
            self.python.follow(config)

    def check(self, config: Any) -> None:
        """Refuse a device in Python in a tile or on a backend without any; see the base class."""
        text = config.core_json()
        spec = self.parsed.parse(text, self.parsed.dw_min_for(text))
        self.kernels.check(spec)
        self.lines.check(spec)
        if self.python is None:
            _refuse_python_device(config, self.tensors.owner)
        if self.backend == "wgpu":
            _refuse_python_steps(config)

    def check_edit(self, config: Any) -> None:
        """Refuse an edit that asks for devices, or for none; see the base class."""
        loading.check_edit(self.parsed, config)

    def open_backend(self) -> None:
        """Open the backend of a fresh tile; see the base class."""
        self.kernels.open()

    def to_backend(self, backend: str, adapter: int | str | None = None) -> None:
        """Run the kernels elsewhere from now on; see the base class."""
        name = adapter_name(adapter) or get_adapter()
        if check_backend(backend) != "wgpu":
            name = None
        if (backend, name) != (self.kernels.backend, self.kernels.adapter):
            if backend == "wgpu":
                _refuse_python_steps(self.tensors.owner.rpu_config)
            self.kernels.sync_to_host()
            kernels = self._kernels_on(backend, name)
            kernels.open()
            self.kernels.remove()
            kernels.install()
            self._use(kernels)
        self.backend, self.adapter = backend, name

    def _kernels_on(self, backend: str, adapter: str | None) -> Kernels:
        if backend == "wgpu":
            return GpuKernels(self.tensors, self.parsed, adapter)
        return HostKernels(self.tensors, self.parsed)

    def entries(self, config: Any) -> list[str]:
        """Return the names of its entries; see the base class."""
        groups = [Names.HIDDEN, Names.FORWARD_LINES, Names.BACKWARD_LINES, Names.DRIFT]
        if self.spec.is_cell:
            groups.append(Names.CELL)
        if self.python is not None:
            groups.append(DEVICE)
        single = [Names.WEIGHTS, Names.SEED, Names.CALLS, Names.COUNTS]
        return [*single, *(f"{group}.*" for group in groups)]

    def plan(
        self,
        entries: dict[str, Any],
        saved: Any,
        config: Any,
        saved_dw_min: Steps | None = None,
        foreign: bool = False,
        only_present: bool = False,
    ) -> LoadPlan:
        """Check its entries of a state; see the base class.

        The state of a torch tile has weights and no random stream: the tile keeps its own.
        """
        result = loading.plan(
            self.tensors,
            self.parsed,
            self.kernels,
            entries,
            saved,
            config,
            saved_dw_min,
            foreign,
            only_present,
        )
        if self.python is not None:
            self.python.plan(entries, config, only_present, result)
        return result

    def dump_extra(self) -> dict[str, Any]:
        """Return seed, position in the random stream, learning rate, counters and drift state."""
        return extra_state.dump(self.learning_rate, self.tensors, self.parsed)

    def load_extra(self, extra: dict[str, Any], strict: bool = False) -> None:
        """Restore what `dump_extra` returned.

        Args:
            extra: Output of `dump_extra`.
            strict: Raise on missing entries.

        Raises:
            TileError: An entry is missing, unknown or unusable; nothing is changed.
        """
        self.learning_rate = extra_state.load(
            self.learning_rate, self.tensors, self.parsed, extra, strict
        )

    def forward(
        self,
        x_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        is_test: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return outputs; see the base class."""
        bias, in_trans, out_trans, is_test = check_flags(
            bias=bias, in_trans=in_trans, out_trans=out_trans, is_test=is_test
        )
        rows = to_float_rows(x_input, self.spec.x_size - int(bias), in_trans, "x_input")
        y = self.run_forward(rows, 1.0 if bias else None, is_test)[0]
        return from_rows(y, batch_shape(x_input, in_trans), out_trans)

    def backward(
        self,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return gradients of the inputs without those of an analog bias; see the base class."""
        _, in_trans, out_trans = check_flags(bias=bias, in_trans=in_trans, out_trans=out_trans)
        rows = to_float_rows(d_input, self.spec.d_size, in_trans, "d_input")
        with self.numbered() as call:
            y = self.run_backward(rows, call)
        return from_rows(y, batch_shape(d_input, in_trans), out_trans)

    def update(
        self,
        x_input: Tensor,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> None:
        """Update the weights; see the base class. On any error nothing is changed.

        Raises:
            ArgumentError: A value is not finite.
            InputError: Wrong number of features or samples, dtype or device.
        """
        bias, in_trans, out_trans = check_flags(bias=bias, in_trans=in_trans, out_trans=out_trans)
        x = to_float_rows(x_input, self.spec.x_size - int(bias), in_trans, "x_input")
        d = to_float_rows(d_input, self.spec.d_size, out_trans, "d_input")
        self.run_update(x, d, 1.0 if bias else None)

    def run_forward(
        self,
        rows: Tensor,
        bias_input: float | None,
        is_test: bool,
        weight: Tensor | None = None,
        want_mask: bool = False,
        factors: tuple[Tensor, ...] | None = None,
        offset: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, int]:
        """Return the product of a batch of rows; see the base class."""
        return self.kernels.forward(rows, bias_input, is_test, weight, want_mask, factors, offset)

    def enter_range(self, values: Tensor, magnitude: Tensor) -> Tensor:
        """Return inputs clipped to a range and divided by it; see the base class."""
        return _core.enter_range(values.contiguous(), float(magnitude))

    def run_backward(
        self, rows: Tensor, call: int, is_test: bool = False, weight: Tensor | None = None
    ) -> Tensor:
        """Return the transposed product of a batch of rows; see the base class."""
        y = rows.new_empty(rows.shape[0], self.parsed.in_size)
        self.kernels.backward(rows, y, call, is_test, weight)
        return y

    def run_update(self, x: Tensor, d: Tensor, bias_input: float | None) -> None:
        """Update the weights in place; see the base class. On any error nothing is changed.

        Raises:
            ArgumentError: A value is not finite.
            InputError: The shapes do not match.
        """
        check_pairs(x, d)
        if self.learning_rate == 0.0 or x.shape[0] == 0:
            return
        if self.python is not None and self.python.takes_steps:
            self.python.update(x, d, self.learning_rate, bias_input)
        else:
            self.kernels.update(x, d, self.learning_rate, bias_input)

    has_matrix_indices = done_by("indices", MatrixIndices.has_matrix_indices)
    set_matrix_indices = done_by("indices", MatrixIndices.set_matrix_indices)
    forward_indexed = done_by("indices", MatrixIndices.forward_indexed)
    backward_indexed = done_by("indices", MatrixIndices.backward_indexed)
    update_indexed = done_by("indices", MatrixIndices.update_indexed)

    def next_call(self) -> int:
        """Advance the position in the random stream and return it."""
        return self.tensors.next_call()

    def numbered(self) -> AbstractContextManager[int]:
        """Return a context with the number of a new call; a call that raises has not been one."""
        return self.tensors.numbered()

    def on_host(self, replaces_all: bool = False) -> AbstractContextManager[None]:
        """Return a context in which weights are read and written in the tensors of the host."""
        return self.kernels.on_host(replaces_all)

    def changed_objects(self) -> list[object]:
        """Return the objects whose attributes calls replace; see the base class."""
        python = [] if self.python is None else [self.python]
        return [self, self.parsed, self.tensors, *python]

    def has_bias_column(self) -> bool:
        """Return whether the last column is an analog bias."""
        return self.parsed.analog_bias

    def get_learning_rate(self) -> float:
        """Return the raw learning rate."""
        return self.learning_rate

    def set_learning_rate(self, learning_rate: float | None) -> None:
        """Set the raw learning rate; None is ignored.

        Raises:
            ArgumentError: It is negative or not finite.
        """
        if learning_rate is not None:
            self.learning_rate = check_not_negative("learning_rate", learning_rate)

    def live_weights(self) -> Tensor:
        """Return the live raw weights, shape `[out, x_size]`."""
        return self.tensors.weights

    def get_weights(self, as_ref: bool = False) -> Tensor:
        """Return the raw weights, shape `[out, x_size]`; see the base class."""
        weights = self.tensors.weights
        return weights if check_flag("as_ref", as_ref) else weights.detach().clone()

    set_weights = done_by("maintenance", Maintenance.set_weights)
    set_weights_uniform_random = done_by("maintenance", Maintenance.set_weights_uniform_random)
    clip_weights = done_by("maintenance", Maintenance.clip_weights)
    remap_weights = done_by("maintenance", Maintenance.remap_weights)

    run_modifier = done_by("maintenance", Maintenance.run_modifier)

    decay_weights = done_by("maintenance", Maintenance.decay_weights)
    diffuse_weights = done_by("maintenance", Maintenance.diffuse_weights)
    reset_columns = done_by("maintenance", Maintenance.reset_columns)

    def drift_weights(self, time_since_last_call: float = 1.0) -> None:
        """Let the weights drift by a power law; see `Maintenance.drift_weights`."""
        self.maintenance.drift_weights(time_since_last_call)

    def after_step(self, config: Any) -> bool:
        """Let the weights diffuse and decay if the devices do; returns whether they changed."""
        device = getattr(config, "device", None)
        if not isinstance(device, CrosspointDevice):
            return False
        diffuses, decays = device.requires_diffusion(), device.requires_decay()
        if diffuses:
            self.diffuse_weights()
        if decays:
            self.decay_weights()
        return diffuses or decays

    def get_hidden_parameter_names(self) -> list[str]:
        """Return the names of all hidden parameters, those of a device in Python last."""
        return self.hidden.names()

    def get_hidden_parameters(self) -> Tensor:
        """Return all hidden parameters, shape `[n, out, x_size]`, or empty."""
        return self.hidden.get()

    def set_hidden_parameters(self, params: Tensor) -> None:
        """Write all hidden parameters and bring the weights into the new bounds.

        Args:
            params: Shape `[n, out, x_size]` in the order of `get_hidden_parameter_names`.

        Raises:
            ArgumentError: A value is not finite, or bounds are crossed; nothing is changed.
            InputError: Wrong shape; nothing is changed.
        """
        self.hidden.set(params)

    get_hidden_update_index = done_by("hidden", HiddenParameters.get_hidden_update_index)
    set_hidden_update_index = done_by("hidden", HiddenParameters.set_hidden_update_index)

    def get_pulse_counters(self) -> Tensor:
        """Return the pulse counters; see the base class. Empty unless devices `count_pulses`."""
        counts = self.tensors.counts
        return torch.empty(0, dtype=torch.int64, device="cpu") if counts is None else counts.clone()

    def get_forward_parameters(self) -> dict[str, Tensor]:
        """Return the frozen values per line of the product; empty tensors for those not in use."""
        return self.lines.get(False)

    def set_forward_parameters(
        self, dic: Mapping[str, Tensor] | None = None, **kwargs: Tensor
    ) -> None:
        """Write frozen values per line of the product; see the base class."""
        self.lines.set(False, named_values(dic, kwargs))

    def get_backward_parameters(self) -> dict[str, Tensor]:
        """Return the frozen values per line of the transposed product."""
        return self.lines.get(True)

    def set_backward_parameters(
        self, dic: Mapping[str, Tensor] | None = None, **kwargs: Tensor
    ) -> None:
        """Write frozen values per line of the transposed product; see the base class."""
        self.lines.set(True, named_values(dic, kwargs))

    def get_x_size(self) -> int:
        """Return the number of columns, with that of an analog bias."""
        return self.spec.x_size

    def get_d_size(self) -> int:
        """Return the number of rows."""
        return self.spec.d_size

    def get_brief_info(self) -> str:
        """Return kind, device and size in one line."""
        kind = "RPUPulsed" if self.spec.is_pulsed else "RPUSimple"
        own = None if self.python is None else self.python.device
        device = self.spec.device if own is None else type(own).__name__
        return f"{kind}<float>[{device}]({self.spec.d_size},{self.spec.x_size})"

    def get_info(self) -> str:
        """Return kind, size, learning rate and hidden parameters in several lines."""
        hidden = ", ".join(self.get_hidden_parameter_names()) or "none"
        return (
            f"{self.get_brief_info()}\n  rows: {self.spec.d_size}, columns: {self.spec.x_size}\n"
            f"  learning rate: {self.learning_rate:g}\n"
            f"  weight granularity: {self.spec.weight_granularity:g}\n  hidden parameters: {hidden}"
        )

    def set_verbosity_level(self, level: int) -> None:
        """Ignore the level: the core prints nothing.

        Args:
            level: Accepted for compatibility.
        """

    def get_meta_parameters(self) -> str:
        """Return the configuration of the tile as JSON text."""
        return self.spec.config


class AnalogTile(CoreTile):
    """Raw tile with a device, and with non-idealities of the products."""


class FloatingPointTile(CoreTile):
    """Raw tile that computes exactly."""


def _refuse_python_device(config: Any, owner: object) -> None:
    if custom_device(config) is not None:
        raise ConfigError(
            f"device: {type(owner).__name__} has no devices written in Python; use AnalogTile"
        )


def _refuse_python_steps(config: Any) -> None:
    device = custom_device(config)
    if device is not None:
        raise ConfigError(
            f"device: {type(device).__name__} takes its steps in Python, which the backend 'wgpu'"
            " cannot; use 'cpu'"
        )
