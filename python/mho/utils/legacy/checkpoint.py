"""What a checkpoint of aihwkit holds, as far as mho has a meaning for it."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from mho.exceptions import StateError
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.utils.legacy.calls import ArrayShell
from mho.utils.legacy.configs import as_choice, as_config, is_choice, is_config
from mho.utils.legacy.files import File, read
from mho.utils.legacy.inert import (
    Budget,
    Name,
    Record,
    children_of,
    is_module,
    is_scalar,
    name_of,
    tensors_of,
)

STATE = Names.ANALOG_STATE_NAME
_WALKS = 10  # large models have many configurations, each of some fifty objects

DRIFT_PARAMETERS = "drift_noise_parameters"
PROGRAMMED = (
    "programmed_weights", "reference_combined_weights", DRIFT_PARAMETERS, "drift_baseline",
)  # fmt: skip
"""What pickled models have of programming and drift, and state dictionaries lack."""

_FIELDS = (
    Names.VERSION, Names.WEIGHTS, Names.HIDDEN_PARAMETERS, Names.HIDDEN_PARAMETER_NAMES,
    Names.CLASS, Names.LR, Names.RPU_CONFIG, Names.EXTRA, *PROGRAMMED,
)  # fmt: skip


def load_checkpoint(file: File) -> Any:
    """Return the content of a file that a script with aihwkit has written by `torch.save`.

    Nothing in the file is executed, aihwkit need not be installed, and tensors come to the host.
    Configurations, noise models and choices become those of mho. A pickled model becomes its state
    dictionary, with the state of programming and drift in the entries `analog_tile_state`. Objects
    of other classes are left as descriptions of themselves, which nothing reads.

    Args:
        file: Path, or binary file that can be sought.

    Returns:
        What was saved: the state of a model for `load_aihwkit_state_dict`, that of an optimizer for
        `load_aihwkit_optimizer_state`, a configuration, or a dictionary with these and numbers.

    Raises:
        ArgumentError: `file` is neither a path nor a file.
        ConfigError: mho lacks a class, field or choice of a configuration, or refuses a value; the
            message names it.
        OSError: The file cannot be read.
        StateError: The file is damaged, or was not written by `torch.save`, or names or calls
            something that no checkpoint needs; the message names it.
    """
    return _Resolver().resolve(read(file), "")


def read_rpu_configs(source: Any) -> dict[str, RPUConfigBase]:
    """Return the configurations of all tiles in a checkpoint of aihwkit.

    Args:
        source: Path or binary file, or what `load_checkpoint` returned of it.

    Returns:
        Configurations by the names of the tiles, such as `"0.analog_module"`; empty if there are
        no tiles.

    Raises:
        ConfigError: mho lacks a class, field or choice, or refuses a value; the message names it.
        StateError: As for `load_checkpoint`, or there is no state of a model.
    """
    state = state_of_model(source)
    return {
        tile: state[f"{tile}.{STATE}".lstrip(".")][Names.RPU_CONFIG] for tile in tiles_in(state)
    }


def tiles_in(state: Mapping[str, Any]) -> list[str]:
    """Return the names of the tiles in a state; that of a tile alone is empty.

    Args:
        state: State of a model.
    """
    names = [name for name in state if _is_tile(name) and not _is_inner(name)]
    return [name.removesuffix(STATE).removesuffix(".") for name in names]


def _is_tile(name: str) -> bool:
    return name == STATE or name.endswith(f".{STATE}")


def _is_inner(name: str) -> bool:
    """Return whether a state is that of an array of a transfer tile, whose configuration counts."""
    return name.endswith((f"tile.grad_tile.{STATE}", f"tile.weight_tile.{STATE}"))


def state_of_model(source: Any) -> "OrderedDict[str, Any]":
    """Return the state dictionary of a model, whose configurations are those of mho.

    Args:
        source: Path or binary file, or a dictionary that `load_checkpoint` returned.

    Raises:
        StateError: It is something else, such as a dictionary with the state under a key.
    """
    state = source if isinstance(source, dict) else load_checkpoint(source)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise StateError(
            f"state: expected the state dictionary of a model, got {type(state).__name__}"
        )
    inner = [name for name, value in state.items() if _is_state(value)]
    if inner:
        raise StateError(
            f"state: is a dictionary with states inside; take one, such as"
            f" load_checkpoint(file)[{inner[0]!r}]"
        )
    old = [name for name in state if _is_old(name)]
    if old:
        raise StateError(
            f"{old[0]}: was written by aihwkit before 0.8; load it there with"
            " aihwkit.utils.legacy.convert_legacy_checkpoint and save it again"
        )
    result = OrderedDict(state)
    if hasattr(state, "_metadata"):
        result._metadata = state._metadata  # type: ignore[attr-defined]
    budget = Budget(_WALKS)
    for name, value in state.items():
        if _is_tile(name):
            result[name] = _checked(value, name, budget)
    return result


def _checked(value: Any, name: str, budget: Budget) -> dict[str, Any]:
    if not isinstance(value, dict) or Names.RPU_CONFIG not in value:
        raise StateError(f"{name}: expected the state of a tile, a dictionary with its rpu_config")
    if _is_inner(name):
        return value
    return {**value, Names.RPU_CONFIG: as_config(value[Names.RPU_CONFIG], name, budget)}


def _is_state(value: Any) -> bool:
    """Return whether a value is the state of a whole model: names of entries lead to tensors."""
    if not isinstance(value, dict) or Names.RPU_CONFIG in value or not value:
        return False
    names = [name for name in value if isinstance(name, str)]
    return any(name.endswith(STATE) for name in names) or (
        len(names) == len(value) and all(isinstance(item, torch.Tensor) for item in value.values())
    )


def _is_old(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last.startswith(f"{STATE}_") or last.startswith("analog_ctx_")


_DTYPES = {str(d): d for d in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}


class _Resolver:
    """Gives what was read the meaning that it has for mho."""

    def __init__(self) -> None:
        self._budget, self._of_configs = Budget(), Budget(_WALKS)
        self._objects: dict[int, Any] = {}
        """What objects have become, by the identity of their descriptions."""

    def resolve(self, value: Any, path: str) -> Any:
        """Return a value with everything inside of it."""
        if is_scalar(value):
            return value
        with self._budget:
            if isinstance(value, (list, tuple)):
                self._budget.take(len(value))
                if type(value) is list and all(map(is_scalar, value)):
                    return value
                items = [self.resolve(v, f"{path}[{i}]") for i, v in enumerate(value)]
                return items if isinstance(value, list) else tuple(items)
            if isinstance(value, dict):
                result = type(value)(self._entries(value, path))
                if isinstance(value, OrderedDict):  # versions of modules
                    result.__dict__.update(value.__dict__)
                return result
            if isinstance(value, Record):
                if id(value) not in self._objects:
                    self._objects[id(value)] = self._object(value, path)
                return self._objects[id(value)]
            if isinstance(value, ArrayShell):
                return value.array
            return _DTYPES.get(str(value), value) if isinstance(value, Name) else value

    def _object(self, value: Record, path: str) -> Any:
        if is_module(value):
            state: OrderedDict[str, Any] = OrderedDict()
            self._add(value, "", state)
            return state
        if is_choice(value):
            return as_choice(value, path)
        if not is_config(value):
            return value
        return as_config(value, path or "rpu_config", self._of_configs)

    def _entries(self, value: dict[Any, Any], path: str) -> Iterator[tuple[Any, Any]]:
        is_inner = _is_inner(path)
        for key, item in value.items():
            is_left = is_inner and key == Names.RPU_CONFIG
            place = f"{path}.{name_of(key)}".lstrip(".")
            self._budget.take(len(place))
            yield key, item if is_left else self.resolve(item, place)

    def _add(self, module: Record, prefix: str, state: "OrderedDict[str, Any]") -> None:
        with self._budget:
            for name, value in tensors_of(module):
                self._budget.take(len(prefix) + len(str(name)))
                if value is not None:
                    state[f"{prefix}{name}"] = self.resolve(value, f"{prefix}{name}")
            for name, child in children_of(module):
                self._add(child, f"{prefix}{name}.", state)
            if Names.RPU_CONFIG in module.attributes and module.name.is_of_aihwkit:
                found = {n: v for n, v in module.attributes.items() if n in _FIELDS}
                state[f"{prefix}{STATE}"] = self.resolve(found, f"{prefix}{STATE}")
