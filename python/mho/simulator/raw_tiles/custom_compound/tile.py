"""Raw tile whose update is a rule in Python between devices of the core."""

from collections.abc import Coroutine, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, ConfigError
from mho.settings import chosen_backend
from mho.simulator.delegation import done_by
from mho.simulator.devices.cells.custom import CustomCompound, compound_of
from mho.simulator.parameters.arguments import check_flags, check_not_negative
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.core.kernels import Kernels
from mho.simulator.raw_tiles.core.tile import AnalogTile as CoreTile
from mho.simulator.raw_tiles.core.tile import CoreTileOwner
from mho.simulator.raw_tiles.custom_compound.device import DEVICES, DeviceTile, device_config
from mho.simulator.raw_tiles.custom_compound.draws import without_draws
from mho.simulator.raw_tiles.custom_compound.hidden import HiddenByName
from mho.simulator.raw_tiles.custom_compound.loading import plan_compound
from mho.simulator.raw_tiles.custom_compound.maintenance import CompoundMaintenance
from mho.simulator.raw_tiles.custom_compound.products import without_devices
from mho.simulator.raw_tiles.custom_compound.rule_state import RULE, RuleState
from mho.simulator.raw_tiles.custom_compound.turn import Turn
from mho.simulator.raw_tiles.custom_compound.view import RuleView
from mho.simulator.raw_tiles.rows import check_pairs, to_float_rows
from mho.simulator.state.header import Steps
from mho.simulator.state.ordinary import on_host, ordinary_tensors
from mho.simulator.state.plan import LoadPlan
from mho.simulator.state.seeds import mixed
from mho.simulator.state.tensor_group import TensorGroup

_INITIAL_RANGE = 0.1


class CustomCompoundTile(SimulatorTile):
    """Raw tile of a `CustomCompound`.

    The products are those of a raw tile of the core without devices, whose weights are put together
    from the devices after every change. Each device is a raw tile of the core of its own, on a
    child of the tile. All of them draw from one random stream.
    """

    adapter: str | None = None
    """Such tiles are on the host."""

    def __init__(self, owner: CoreTileOwner) -> None:
        """Register the state of a fresh tile and draw it; draws one seed from torch's generator.

        Args:
            owner: Module that is to own the state.

        Raises:
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        config: Any = owner.rpu_config
        assert isinstance(owner, nn.Module)
        compound_of(config).check_for_tile()
        self._follow_cell(config)
        _refuse_backend(chosen_backend(config.runtime.backend)[0])
        with ordinary_tensors():
            seed = torch.randint(0, 2**63 - 1, (1,), dtype=torch.int64, device="cpu")
        text = without_devices(config).core_json()
        sizes = owner.out_size, owner.in_size, owner.analog_bias
        self.products = CoreTile(owner, text, *sizes, seed)
        self.devices: list[DeviceTile] = []
        group = TensorGroup()
        for k in range(len(self.cell.unit_cell_devices)):
            child = TensorGroup()
            group.add_module(str(k), child)
            self.devices.append(self._fresh_device(child, k, int(seed), owner.analog_bias))
        owner.add_module(DEVICES, group)
        self.rule = RuleState(owner)
        self._compose()
        self.set_weights_uniform_random(-_INITIAL_RANGE, _INITIAL_RANGE)

    def _fresh_device(self, owner: TensorGroup, k: int, seed: int, analog_bias: bool) -> DeviceTile:
        shape = self.cell.shape_of(k, self.products.spec.d_size, self.products.spec.x_size)
        config = device_config(self.cell, self.update_parameters, k)
        has_bias = analog_bias and shape[1] == self.products.spec.x_size
        construction = mixed(self.cell.construction_seed or seed, k)
        return DeviceTile(owner, config, shape, has_bias, construction)

    def _follow_cell(self, config: Any) -> None:
        self.cell: CustomCompound = compound_of(config)
        self.update_parameters: UpdateParameters = config.update
        self.cell.check_update(config.update)

    def _compose(self) -> None:
        self.turn = Turn()
        self.hidden = HiddenByName(self)
        self.maintenance = CompoundMaintenance(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled, to be connected."""
        composed = ("turn", "hidden", "maintenance")
        return {name: value for name, value in self.__dict__.items() if name not in composed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, to be connected with its owner."""
        self.__dict__.update(state)
        self._compose()

    def __repr__(self) -> str:
        """Return kind and size."""
        return self.get_brief_info()

    @property
    def learning_rate(self) -> float:
        """Raw learning rate."""
        return self.products.learning_rate

    @property
    def kernels(self) -> Kernels:  # type: ignore[override]
        """Kernels of the products."""
        return self.products.kernels

    @property
    def config_text(self) -> str:
        """JSON text of the configuration of the products for the core."""
        return self.products.config_text

    @property
    def out_size(self) -> int:
        """Number of outputs."""
        return self.products.out_size

    @property
    def in_size(self) -> int:
        """Number of inputs without that of an analog bias."""
        return self.products.in_size

    @property
    def analog_bias(self) -> bool:
        """Whether the last column is a bias."""
        return self.products.analog_bias

    @property
    def stream(self) -> tuple[Tensor, Tensor]:
        """Seed and number of the next call, int64 `[1]` each."""
        return self.products.tensors.seed, self.products.tensors.calls

    def connect(self, owner: nn.Module) -> None:
        """Find the state in the module that owns it; see the base class."""
        self.products.connect(owner)
        for k, device in enumerate(self.devices):
            device.raw.connect(owner.get_submodule(f"{DEVICES}.{k}"))
        self.rule.connect(owner)
        self.share_stream()

    def share_stream(self) -> None:
        """Let all devices draw from the stream of the tile."""
        seed, calls = self.stream
        for k, device in enumerate(self.devices):
            device.share_stream(mixed(int(seed), k), calls)

    def follow(self, config: Any) -> None:
        """Follow a new configuration; see the base class."""
        self._follow_cell(config)
        self.products.follow(without_devices(config))
        for k, device in enumerate(self.devices):
            device.follow(device_config(self.cell, self.update_parameters, k))

    def check(self, config: Any) -> None:
        """Refuse what it cannot do; see the base class."""
        cell = compound_of(config)
        cell.check_for_tile()
        cell.check_update(config.update)
        _refuse_backend(config.runtime.backend or self.backend)
        self.products.check(without_devices(config))
        number = len(self.devices)
        if len(cell.unit_cell_devices) != number:
            raise ConfigError(
                f"device.unit_cell_devices: the tile has {number} devices, not"
                f" {len(cell.unit_cell_devices)}; build a new tile"
            )
        for k, device in enumerate(self.devices):
            device.raw.check(device_config(cell, config.update, k))

    def check_edit(self, config: Any) -> None:
        """Refuse an edit that asks for other devices; see the base class."""
        self.products.check_edit(without_devices(config))

    def entries(self, config: Any) -> list[str]:
        """Return the names of its entries; see the base class."""
        own = self.products.entries(without_devices(config))
        return [*own, f"{DEVICES}.*", f"{RULE}.*"]

    def plan(
        self,
        entries: dict[str, Any],
        saved: Any,
        config: Any,
        saved_dw_min: Steps | None = None,
        foreign: bool = False,
        only_present: bool = False,
    ) -> LoadPlan:
        """Check its entries of a state; see the base class."""
        self.turn.check()
        return plan_compound(self, entries, saved, config, only_present)

    def dump_extra(self) -> dict[str, Any]:
        """Return what is no matrix of a device: stream, learning rate, counters."""
        return self.hidden.dump_extra()

    def load_extra(self, extra: dict[str, Any], strict: bool = False) -> None:
        """Restore what `dump_extra` returned.

        Args:
            extra: Output of `dump_extra`.
            strict: Raise on missing entries.

        Raises:
            TileError: An entry is missing, unknown or unusable; nothing is changed.
        """
        self.hidden.load_extra(extra, strict)

    def update(
        self,
        x_input: Tensor,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> None:
        """Let the rule act on samples; see the base class. On any error nothing is changed.

        Raises:
            ArgumentError: A value is not finite.
            ConfigError: The rule does what it may not.
            InputError: Wrong number of features or samples, dtype or device.
        """
        bias, in_trans, out_trans = check_flags(bias=bias, in_trans=in_trans, out_trans=out_trans)
        x = to_float_rows(x_input, self.get_x_size() - int(bias), in_trans, "x_input")
        d = to_float_rows(d_input, self.get_d_size(), out_trans, "d_input")
        self.run_update(x, d, 1.0 if bias else None)

    def run_update(self, x: Tensor, d: Tensor, bias_input: float | None) -> None:
        """Let the rule act on samples; see `update`."""
        rows = x.shape[0]
        check_pairs(x, d)
        if self.learning_rate == 0.0 or rows == 0:
            return
        if not all_finite(x, d):
            raise ArgumentError("x_input, d_input: values must be finite; found NaN or infinity")
        if bias_input is not None:
            x = torch.cat([x, x.new_full((rows, 1), bias_input)], 1)
        without_draws(self.changes, lambda: self._apply_rule(x, d))

    def _apply_rule(self, given_x: Tensor, given_d: Tensor) -> None:
        rule: Any = self.cell.rule
        # Copies: a rule may work in place, and the samples may be shown to it once more.
        x, d, rows = given_x.clone(), given_d.clone(), given_x.shape[0]
        with self._shown(rows) as view:
            before, every = view.count, self.cell.every or rows
            for start in range(0, rows, every):
                end = min(start + every, rows)
                if every == 1 and self.cell.every == 1:
                    view.show(x[start], d[start], before + end)
                else:
                    view.show(x[start:end], d[start:end], before + end)
                _refuse_result("rule", rule(view))
        self.rule.count.fill_(before + rows)
        self.rule.check()
        self.put_together()

    @contextmanager
    def _shown(self, batch: int = 0) -> Iterator[RuleView]:
        """Return a context with a view of the tile, which ends with it."""
        view = RuleView(self, batch)
        try:
            yield view
        finally:
            view.close()

    def run_rule(self, function: Any) -> None:
        """Let a function act on the tile as its rule does, but without samples.

        It is one transaction: on any error nothing is changed.

        Args:
            function: Function of a `RuleTile`.

        Raises:
            ArgumentError: It is no function.
            ConfigError: The function does what a rule may not.
        """
        if not callable(function) or isinstance(function, (type, nn.Module)):
            what = describe(function)
            raise ArgumentError(f"function: expected a function of a RuleTile, got {what}")
        without_draws(self.changes, lambda: self._apply(function))

    def _apply(self, function: Any) -> None:
        with self._shown() as view:
            _refuse_result("function", function(view))
        self.rule.check()
        self.put_together()

    @contextmanager
    def changes(self) -> Iterator[None]:
        """Put weights, states, counters and stream back, bit for bit, if the block raises.

        Raises:
            ConfigError: The rule of the tile is being called.
        """
        with self.turn.taken(), torch.no_grad(), on_host(), ExitStack() as stack:
            self.share_stream()
            stack.enter_context(self.products.tensors.undone_on_error())
            for device in self.devices:
                stack.enter_context(device.raw.tensors.undone_on_error())
            stack.enter_context(self.rule.undone_on_error())
            yield

    def put_together(self) -> None:
        """Compute the weights of the tile from its devices.

        Raises:
            ConfigError: `weight` of the cell returns something that cannot be the weights.
        """
        weights: Tensor = self.products.tensors.weights
        if self.cell.weight is not None:
            hook: Any = self.cell.weight
            with self._shown() as view:
                value = hook(view)
            _check_weights(value, tuple(weights.shape))
            weights.copy_(value)
            return
        first = True
        for gamma, device in zip(self.cell.gammas(), self.devices, strict=True):
            if gamma == 0.0:
                continue
            if first:
                weights.copy_(device.weights).mul_(gamma)
            else:
                weights.add_(device.weights, alpha=gamma)
            first = False

    def numbered(self) -> AbstractContextManager[int]:
        """Return a context with the number of a new call; a call that raises has not been one."""
        return self.products.numbered()

    def changed_objects(self) -> list[object]:
        """Return the objects whose attributes calls replace; see the base class."""
        devices = [item for device in self.devices for item in device.raw.changed_objects()]
        return [self, self.rule, *self.products.changed_objects(), *devices]

    def after_step(self, config: Any) -> bool:
        """Let the weights diffuse and decay if devices do; returns whether they changed."""
        diffuses = config.device.requires_diffusion()
        decays = config.device.requires_decay()
        if diffuses:
            self.diffuse_weights()
        if decays:
            self.decay_weights()
        return bool(diffuses or decays)

    def get_brief_info(self) -> str:
        """Return kind, rule and size in one line."""
        rule: Any = self.cell.rule
        name = getattr(rule, "__name__", type(rule).__name__)
        return f"CustomCompound<float>[{name}]({self.get_d_size()},{self.get_x_size()})"

    def set_learning_rate(self, learning_rate: float | None) -> None:
        """Set the raw learning rate; None is ignored.

        Raises:
            ArgumentError: It is negative or not finite.
        """
        if learning_rate is not None:
            rate = check_not_negative("learning_rate", learning_rate)
            self.products.set_learning_rate(rate)

    forward = done_by("products", CoreTile.forward)
    backward = done_by("products", CoreTile.backward)
    run_forward = done_by("products", CoreTile.run_forward)
    run_backward = done_by("products", CoreTile.run_backward)
    enter_range = done_by("products", CoreTile.enter_range)
    has_bias_column = done_by("products", CoreTile.has_bias_column)
    get_learning_rate = done_by("products", CoreTile.get_learning_rate)
    get_weights = done_by("products", CoreTile.get_weights)
    get_x_size = done_by("products", CoreTile.get_x_size)
    get_d_size = done_by("products", CoreTile.get_d_size)
    get_forward_parameters = done_by("products", CoreTile.get_forward_parameters)
    set_forward_parameters = done_by("products", SimulatorTile.set_forward_parameters)
    get_backward_parameters = done_by("products", CoreTile.get_backward_parameters)
    set_backward_parameters = done_by("products", SimulatorTile.set_backward_parameters)
    get_meta_parameters = done_by("products", CoreTile.get_meta_parameters)

    set_weights = done_by("maintenance", CompoundMaintenance.set_weights)
    set_weights_uniform_random = done_by(
        "maintenance", CompoundMaintenance.set_weights_uniform_random
    )
    clip_weights = done_by("maintenance", CompoundMaintenance.clip_weights)
    remap_weights = done_by("maintenance", CompoundMaintenance.remap_weights)
    decay_weights = done_by("maintenance", CompoundMaintenance.decay_weights)
    diffuse_weights = done_by("maintenance", CompoundMaintenance.diffuse_weights)
    drift_weights = done_by("maintenance", CompoundMaintenance.drift_weights)
    reset_columns = done_by("maintenance", CompoundMaintenance.reset_columns)

    get_hidden_parameter_names = done_by("hidden", HiddenByName.plane_names)
    get_hidden_parameters = done_by("hidden", HiddenByName.planes)
    set_hidden_parameters = done_by("hidden", HiddenByName.set_planes)
    get_named_hidden_parameters = done_by("hidden", HiddenByName.named)
    set_named_hidden_parameters = done_by("hidden", HiddenByName.set_named)
    get_pulse_counters = done_by("hidden", HiddenByName.pulse_counters)


def _refuse_result(name: str, result: object) -> None:
    """Refuse what a rule returns: nobody uses it, and a generator has not even begun."""
    if result is not None:
        if isinstance(result, Coroutine):
            result.close()
        raise ConfigError(
            f"{name}: returned {describe(result)}; a rule writes with the methods of t, such as"
            " t.update and t.program, and returns nothing"
        )


def _refuse_backend(backend: str) -> None:
    if backend != "cpu":
        raise ConfigError(
            f"device: the rule of a CustomCompound is in Python, which the backend {backend!r}"
            " cannot; use 'cpu'"
        )


def _check_weights(value: object, shape: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor):
        raise ConfigError(f"weight: must return a tensor, got {type(value).__name__}")
    if tuple(value.shape) != shape or not value.dtype.is_floating_point:
        raise ConfigError(
            f"weight: must return real numbers of shape {shape}, got {value.dtype} of shape"
            f" {tuple(value.shape)}"
        )
    if not all_finite(value):
        raise ConfigError("weight: must return finite numbers, got NaN or infinity")
