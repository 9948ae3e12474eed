"""Cell whose update is a function in Python."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, ClassVar

from mho.exceptions import ConfigError
from mho.simulator.devices.cells.checks import (
    require,
    require_one_each,
    require_pulsed,
    require_steps,
)
from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters import functions
from mho.simulator.parameters.checking import describe, join
from mho.simulator.parameters.enums import PulseType
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_config_class, registered_config_classes
from mho.simulator.parameters.training import UpdateParameters

Size = int | str


@register_config_class
@dataclass
class CustomCompound(UnitCell):
    """Devices, and a rule in Python that says what an update does with them.

    The rule is a function of one argument, a
    [`RuleTile`][mho.simulator.devices.cells.rule_tile.RuleTile]: it sees the samples of the update,
    reads and writes devices, and has tensors and counters of its own, all of which are part of the
    state of the tile. See `docs/custom_rules.md`.

    The weight of the tile is a sum over the devices (`gamma_vec`), or what the function `weight`
    returns. Setting the weights of a tile writes them to the last device, sets all others to zero
    and forgets states and counters of the rule.
    """

    free_fields: ClassVar[tuple[str, ...]] = ("params",)
    """Fields that may be changed while a tile lives, as no others of a device."""

    rule: Callable[..., Any] | None = None
    """Function at the top level of a module, or an object that can be called, of a registered
    class. Called with a `RuleTile`."""

    every: int = 1
    """Samples per call of the rule; zero calls it once for all samples of an update."""

    shapes: dict[int, tuple[Size, Size]] = field(default_factory=dict, metadata={"hide_if": {}})
    """Rows and columns of devices that are not as large as the tile, by their index; numbers, or
    `"D"` and `"X"`, those of the tile."""

    gamma_vec: list[float] = field(default_factory=list, metadata={"hide_if": []})
    """Weight of each device in the sum; empty gives all of it to the last one."""

    weight: Callable[..., Any] | None = None
    """Function that returns the weights of the tile instead of that sum, `[D, X]`; called with a
    `RuleTile` after every update."""

    params: dict[str, bool | int | float] = field(default_factory=dict, metadata={"hide_if": {}})
    """Numbers that the rule finds as `t.p`. Those of a tile, `tile.rpu_config.device.params`, may
    be changed and act from the next update on."""

    transfer_forward: IOParameters = field(default_factory=IOParameters)
    """How the rule reads; noise and bound management do not act."""

    transfer_update: UpdateParameters = field(default_factory=UpdateParameters)
    """How the rule writes values."""

    allow_unsaved: bool = False
    """Accept lambdas and functions inside of functions, although a state cannot say which they
    are: it is read where a tile with the very same source, and the same captured values, was built
    before."""

    def check_for_tile(self, path: str = "device") -> None:
        """Check all that a tile needs, and make the functions known to texts that name them.

        Args:
            path: Prefix of the field names in messages.

        Raises:
            ConfigError: A field is unknown, has the wrong type or an impossible value.
        """
        self.check(path)
        number = len(self.unit_cell_devices)
        self._check_devices(path)
        for k, device in enumerate(self.unit_cell_devices):
            name = join(path, f"unit_cell_devices[{k}]")
            require_pulsed(device, name)
            device.to_wire(name)
            require_steps(device, name)
            why = "must be positive: rules count pulses in steps of their devices"
            require(not device.flows(), name, "dw_min", why)
        require(self.every >= 0, path, "every", f"must not be negative, got {self.every}")
        require(self.rule is not None, path, "rule", "is missing; give a function of one argument")
        self._check_function("rule", path)
        if self.weight is not None:
            self._check_function("weight", path)
        self._check_shapes(path)
        require_one_each(self.gamma_vec, number, path, "gamma_vec")
        last = self.gamma_vec[-1] if self.gamma_vec else 1.0
        why = "the last device takes the weights that are set: its value must not be zero"
        require(last != 0.0, path, "gamma_vec", why)
        self.transfer_forward.to_wire(join(path, "transfer_forward"))
        self.transfer_update.to_wire(join(path, "transfer_update"))
        why = "cannot write without pulses; choose another type"
        none = (PulseType.NONE, PulseType.NONE_WITH_DEVICE)
        require(self.transfer_update.pulse_type not in none, path, "transfer_update", why)
        for function in (self.rule, self.weight):
            if isinstance(function, FunctionType):
                functions.register_function(function)

    def to_wire(self, path: str = "") -> dict[str, Any]:
        """Refuse: no tile of the core alone can have such a cell.

        Args:
            path: Prefix of the field names in messages.

        Raises:
            ConfigError: Always, with what to do.
        """
        raise ConfigError(
            f"{path or 'device'}: the rule of {type(self).__name__} is in Python, which needs an"
            " AnalogTile that was built with it; it can neither stand in a cell nor come into a"
            " living tile. Build a new AnalogTile"
        )

    def check_update(self, update: UpdateParameters) -> None:
        """Refuse updates of the tile without pulses, which pass over the rule.

        Args:
            update: Parameters of the update.

        Raises:
            ConfigError: The type of pulses is `NONE` or `NONE_WITH_DEVICE`.
        """
        super().check_update(update)
        if update.pulse_type is PulseType.NONE:
            raise ConfigError(
                f"update.pulse_type: without pulses the rule of {type(self).__name__} would not"
                " be used; for exact updates use SingleRPUConfig"
            )

    def calc_weight_granularity(self) -> float:
        """Return the change of the last device by one pulse, in units of the weight.

        Raises:
            ConfigError: The cell has no devices.
        """
        self._check_devices("")
        return self.unit_cell_devices[-1].calc_weight_granularity()

    def gammas(self) -> list[float]:
        """Return the weight of each device in the sum."""
        return list(self.gamma_vec) or [0.0] * (len(self.unit_cell_devices) - 1) + [1.0]

    def shape_of(self, k: int, rows: int, columns: int) -> tuple[int, int]:
        """Return rows and columns of a device.

        Args:
            k: Its index.
            rows: Rows of the tile.
            columns: Columns of the tile.
        """
        named = {"D": rows, "X": columns}
        first, second = (
            named[size] if isinstance(size, str) else size for size in self.shapes.get(k, "DX")
        )
        return first, second

    def _check_function(self, name: str, path: str) -> None:
        function: Any = getattr(self, name)
        cls = type(function)
        if not isinstance(function, FunctionType):
            known = registered_config_classes().get(cls.__name__) is cls
            why = (
                f"expected a function, or an object of a registered class, got {describe(function)}"
            )
            require(known and callable(function), path, name, why)
        why = (
            f"{function} has no name by which a state could find it; define it at the top level of"
            " a module, put numbers into params, or set allow_unsaved=True"
        )
        require(self.allow_unsaved or functions.is_storable(function), path, name, why)
        why = f"expected a function of one argument, the tile, got {name}{_signature(function)}"
        require(_takes_one(function), path, name, why)

    def _check_shapes(self, path: str) -> None:
        number = len(self.unit_cell_devices)
        for k, shape in self.shapes.items():
            name = f"shapes[{k}]"
            require(0 <= k < number - 1, path, name, "there must be such a device before the last")
            fits = len(shape) == 2 and all(
                size in ("D", "X") if isinstance(size, str) else _is_size(size) for size in shape
            )
            why = f"expected rows and columns, positive numbers or 'D' and 'X', got {shape}"
            require(fits, path, name, why)
            square = shape == ("D", "X") or not self.gamma_vec or self.gamma_vec[k] == 0.0
            why = "a device of another shape cannot be part of the sum; give it no weight there"
            require(square or self.weight is not None, path, name, why)


def _signature(function: Any) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):
        return "(...)"


def _takes_one(function: Any) -> bool:
    """Return whether a function can be called with one argument; true where nobody can tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True


def _is_size(size: object) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and size > 0


def compound_of(config: Any) -> CustomCompound:
    """Return the cell of a configuration.

    Args:
        config: Configuration of a tile.

    Raises:
        ConfigError: It is no `CustomCompound`.
    """
    cell: CrosspointDevice | None = getattr(config, "device", None)
    if not isinstance(cell, CustomCompound):
        raise ConfigError(
            f"device: the tile has a rule in Python, which {type(cell).__name__} has none of; build"
            " a new tile"
        )
    return cell
