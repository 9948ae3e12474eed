"""Raw simulator tiles of the extension module."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ConfigError, InputError
from mho.settings import adapter_name, check_backend, get_adapter
from mho.simulator.devices.custom import CustomPulsedDevice
from mho.simulator.raw_tiles.base import named_values
from mho.simulator.raw_tiles.core import extra_state, loading
from mho.simulator.raw_tiles.core.gpu.kernels import Resident
from mho.simulator.raw_tiles.core.native_weights import NativeWeights
from mho.simulator.raw_tiles.rows import batch_shape, check_tensor, from_rows, to_rows
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.plan import LoadPlan


class NativeSimulatorTile(NativeWeights):
    """Raw tile of the extension module with the interface of simulator tiles."""

    def __repr__(self) -> str:
        """Return kind and size."""
        return self.get_brief_info()

    def __str__(self) -> str:
        """Return a summary of several lines."""
        return self.get_info()

    def forward(
        self,
        x_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        is_test: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return outputs; see the base class.

        Raises:
            InputError: Wrong number of features, dtype or device.
        """
        rows = self._rows(x_input, self.spec.x_size - int(bias), in_trans, "x_input")
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
        """Return gradients of the inputs without those of an analog bias; see the base class.

        Raises:
            InputError: Wrong number of features, dtype or device.
        """
        rows = self._rows(d_input, self.spec.d_size, in_trans, "d_input")
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
        x = self._rows(x_input, self.spec.x_size - int(bias), in_trans, "x_input")
        d = self._rows(d_input, self.spec.d_size, out_trans, "d_input")
        self.run_update(x, d, 1.0 if bias else None)

    def get_weights(self, as_ref: bool = False) -> Tensor:
        """Return the raw weights, shape `[out, x_size]`; see the base class."""
        return self.live_weights() if as_ref else self.live_weights().detach().clone()

    @property
    def kernels(self) -> "NativeSimulatorTile":  # type: ignore[override]
        """Kernels of the core."""
        return self

    def follow(self, config: Any) -> None:
        """Follow a new configuration; nothing is opened before the first use.

        Frozen values per line that the old and the new configuration draw differently are drawn
        anew, from the seed of the tile; others stay what they are.
        """
        self.follow_text(config.core_json())
        if self.backend == "wgpu" and self.resident is None:
            self._refuse_python(config)
            self.resident = Resident(self._owner, self, self.adapter)
            self.resident.install()

    def open_backend(self) -> None:
        """Open the backend of a fresh tile; see the base class."""
        if self.resident is not None:
            self.resident.open()

    def to_backend(self, backend: str, adapter: int | str | None = None) -> None:
        """Run the kernels elsewhere from now on; see the base class."""
        name = adapter_name(adapter) or get_adapter()
        if check_backend(backend) == "wgpu":
            self._to_gpu(name)
        elif self.resident is not None:
            self.resident.remove()
            self.resident = None
        self.backend, self.adapter = backend, name if backend == "wgpu" else None

    def _to_gpu(self, adapter: str | None) -> None:
        if self.resident is not None and self.resident.adapter == adapter:
            return
        self._refuse_python(self._owner.rpu_config)
        if self.resident is not None:
            self.resident.sync_to_host()
        new = Resident(self._owner, self, adapter)
        new.open()
        if self.resident is not None:
            self.resident.remove()
        new.install()
        self.resident = new

    def check(self, config: Any) -> None:
        """Refuse what this raw tile cannot do where it is with a ConfigError naming the field.

        Args:
            config: Configuration of the tile.
        """
        text = config.core_json()
        spec = self.parsed(text, self.dw_min_for(text))
        if self.backend == "wgpu":
            self._refuse_python(config)
            _core.gpu_check(spec)

    def _refuse_python(self, config: Any) -> None:
        device = getattr(config, "device", None)
        if isinstance(device, CustomPulsedDevice):
            raise ConfigError(
                f"device: {type(device).__name__} takes its steps in Python, which the backend"
                " 'wgpu' cannot; use 'cpu'"
            )

    def entries(self, config: Any) -> list[str]:
        """Return the names of its entries; see the base class."""
        groups = (Names.HIDDEN, Names.FORWARD_LINES, Names.BACKWARD_LINES, Names.DRIFT)
        single = [Names.WEIGHTS, Names.SEED, Names.CALLS, Names.COUNTS]
        return [*single, *(f"{group}.*" for group in groups)]

    def plan(
        self,
        entries: dict[str, Any],
        saved: Any,
        config: Any,
        saved_dw_min: float | None = None,
        foreign: bool = False,
        only_present: bool = False,
    ) -> LoadPlan:
        """Check its entries of a state; see the base class.

        The state of a torch tile has weights and no random stream: the tile keeps its own.
        """
        return loading.plan(
            self._owner, self, entries, saved, config, saved_dw_min, foreign, only_present
        )

    def after_step(self, config: Any) -> bool:
        """Let the weights diffuse and decay if the devices do; returns whether they changed."""
        device = getattr(config, "device", None)
        diffuses = getattr(device, "diffusion", 0.0) > 0.0
        decays = getattr(device, "lifetime", 0.0) > 0.0
        if diffuses:
            self.diffuse_weights()
        if decays:
            self.decay_weights()
        return diffuses or decays

    def get_forward_parameters(self) -> dict[str, Tensor]:
        """Return the frozen values per line of the product; empty tensors for those not in use."""
        return self.get_lines(False)

    def set_forward_parameters(
        self, dic: Mapping[str, Tensor] | None = None, **kwargs: Tensor
    ) -> None:
        """Write frozen values per line of the product; see the base class."""
        self.set_lines(False, named_values(dic, kwargs))

    def get_backward_parameters(self) -> dict[str, Tensor]:
        """Return the frozen values per line of the transposed product."""
        return self.get_lines(True)

    def set_backward_parameters(
        self, dic: Mapping[str, Tensor] | None = None, **kwargs: Tensor
    ) -> None:
        """Write frozen values per line of the transposed product; see the base class."""
        self.set_lines(True, named_values(dic, kwargs))

    def dump_extra(self) -> dict[str, Any]:
        """Return seed, position in the random stream, learning rate, counters and drift state."""
        return extra_state.dump(self)

    def load_extra(self, extra: dict[str, Any], strict: bool = False) -> None:
        """Restore what `dump_extra` returned.

        Args:
            extra: Output of `dump_extra`.
            strict: Raise on missing entries.

        Raises:
            TileError: An entry is missing, unknown or unusable; nothing is changed.
        """
        extra_state.load(self, extra, strict)

    def get_brief_info(self) -> str:
        """Return kind, device and size in one line."""
        kind = "RPUPulsed" if self.spec.is_pulsed else "RPUSimple"
        return f"{kind}<float>[{self.spec.device}]({self.spec.d_size},{self.spec.x_size})"

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

    def _rows(self, value: Tensor, size: int, features_first: bool, name: str) -> Tensor:
        check_tensor(value, name)
        if value.dtype is not torch.float32:
            raise InputError(
                f"{name}: expected dtype torch.float32, got {value.dtype}; use .float()"
            )
        return to_rows(value.detach(), size, features_first, name)


class AnalogTile(NativeSimulatorTile):
    """Raw tile with a device, and with non-idealities of the products."""


class FloatingPointTile(NativeSimulatorTile):
    """Raw tile that computes exactly."""
