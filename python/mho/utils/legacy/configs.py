"""Configurations of aihwkit as those of mho: classes, fields and choices have the same names."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
from torch import Tensor

from mho.exceptions import ConfigError, StateError
from mho.simulator.parameters import enums, json_text, registry
from mho.simulator.parameters.checking import join
from mho.utils.legacy.calls import ArrayShell
from mho.utils.legacy.inert import Budget, Name, Record, is_scalar, name_of

_CHARACTERS_OF_NUMBER = 64
"""What a number of an array counts for: it becomes an object first, then text."""

_SCALE_FAST_LR = False
"""Versions without the field keep `fast_lr` as it is, whatever the rate of the optimizer."""


def is_config(value: object) -> bool:
    """Return whether a value of a pickle is a configuration, or a part of one, of aihwkit.

    Args:
        value: Any value of a pickle.
    """
    if not isinstance(value, Record) or not value.name.is_of_aihwkit or value.args:
        return False
    return value.name.module.startswith(("aihwkit.simulator.", "aihwkit.inference."))


def is_choice(value: object) -> bool:
    """Return whether a value of a pickle is a member of an enumeration.

    Args:
        value: Any value of a pickle.
    """
    return isinstance(value, Record) and bool(value.args or "_name_" in value.attributes)


def as_config(value: object, where: str, budget: Budget) -> Any:
    """Return a configuration of mho with the classes and fields of one of aihwkit.

    Args:
        value: Pickled configuration or noise model, or one of mho already.
        where: Name in messages.
        budget: Of all configurations of a checkpoint.

    Raises:
        ConfigError: mho has no such class, field or choice, or refuses a value; the message names
            it.
        StateError: It is something else.
    """
    found = _described(value)
    if not isinstance(found, Record):
        raise StateError(f"{where}: is no configuration of aihwkit but {type(value).__name__}")
    try:
        return json_text.loads(json.dumps(_wire(found, "", budget)), object)
    except (ConfigError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


def as_choice(value: Record, path: str) -> Enum:
    """Return the member of an enumeration of mho that a pickle names.

    Args:
        value: Pickled member.
        path: Name in messages.

    Raises:
        ConfigError: mho has no such choice.
    """
    kind = vars(enums).get(value.name.qualname)
    if not (isinstance(kind, type) and issubclass(kind, Enum)):
        raise ConfigError(f"{path}: mho has no choice {value.name.qualname}")
    wanted = value.args[0] if value.args else value.attributes.get("_name_")
    if isinstance(wanted, Record) and wanted.args:  # a number and a class
        wanted = wanted.args[0]
    for member in kind:
        if wanted == (member.value if value.args else member.name):
            return member
    raise ConfigError(f"{path}: {value.name.qualname} of mho has no {wanted!r}")


def _wire(value: Any, path: str, budget: Budget) -> Any:
    """Return a value as the text of configurations has it (see `json_text.py`)."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if is_scalar(value):
        budget.take(len(value) if isinstance(value, (str, bytes)) else 1)
        return value
    with budget:
        value = _described(value)
        if isinstance(value, (list, tuple)):
            items = [_wire(item, f"{path}[{i}]", budget) for i, item in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        if isinstance(value, dict):
            pairs = ((_wire(k, path, budget), join(path, name_of(k)), v) for k, v in value.items())
            return {"dict": [[key, _wire(v, place, budget)] for key, place, v in pairs]}
        if isinstance(value, Record) and not is_choice(value):
            return _object(value, path, budget)
        return _leaf(value, path, budget)


def _leaf(value: Any, path: str, budget: Budget) -> dict[str, Any]:
    if isinstance(value, Record):
        member = as_choice(value, path)
        return {"enum": [type(member).__name__, member.name]}
    if isinstance(value, Name):
        return _class(value, path)
    if isinstance(value, ArrayShell):
        value = value.array
    if isinstance(value, (np.ndarray, Tensor)):
        budget.take(_CHARACTERS_OF_NUMBER * math.prod(value.shape))
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, Tensor):
        return {"tensor": value.tolist(), "dtype": str(value.dtype).removeprefix("torch.")}
    raise ConfigError(f"{path}: {type(value).__name__} has no place in a configuration")


def _described(value: Any) -> Any:
    """Return the description of a live object, and other values as they are.

    Results of `load_checkpoint` have objects of mho. States that `torch.load` has read have those
    of aihwkit where it is installed, and where `mho.compat` stands for it objects of mho with the
    attributes of aihwkit.
    """
    kind = value if isinstance(value, type) else type(value)
    name = Name(kind.__module__, kind.__qualname__)
    is_tile = registry.registered_tile_classes().get(kind.__name__) is kind
    if not (name.is_of_aihwkit or is_tile or registry.is_config_class(kind)):
        return _described_choice(value, name) if isinstance(value, Enum) else value
    if isinstance(value, type):
        return name
    if isinstance(value, Enum):
        return _described_choice(value, name)
    record = Record(name)
    record.attributes.update(vars(value))
    return record


def _described_choice(member: Enum, name: Name) -> Record:
    record = Record(name)
    record.attributes["_name_"] = member.name
    return record


def _object(value: Record, path: str, budget: Budget) -> dict[str, Any]:
    name = value.name.qualname
    if value.name.is_of_aihwkit:
        _known(value.name, path)
    attributes = _without_scratch(name, value.attributes)
    if "fast_lr" in attributes:
        attributes.setdefault("scale_fast_lr", _SCALE_FAST_LR)
    params = {key: _wire(item, join(path, key), budget) for key, item in attributes.items()}
    return {"type": name, "params": params}


def _without_scratch(name: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes but those that have no effect in aihwkit."""
    kept = dict(attributes)
    kept.pop("_range_estimator_to_params", None)  # a table, the same in every object
    if name.endswith("ConductanceConverter") and kept.get("scale_ratio", 0) is None:
        del kept["scale_ratio"]
    if name == "ReRamWan2022NoiseModel":
        kept.pop("prog_coeff_g_max_reference", None)  # is set and never read
    if name == "ReRamCMONoiseModel" and kept.get("coeff_g_max_reference") == kept.get("g_max"):
        kept.pop("coeff_g_max_reference", None)  # mho has one number for both
    return kept


def _class(value: Name, path: str) -> dict[str, str]:
    if value.qualname in registry.registered_tile_classes():
        return {"tile": value.qualname}
    _known(value, path)
    return {"class": value.qualname}


def _known(name: Name, path: str) -> None:
    if name.qualname in registry.registered_config_classes():
        return
    place = f"{path}: " if path else ""
    raise ConfigError(f"{place}mho has no class {name.qualname}, which aihwkit has as {name}")


def differences(mine: Any, other: Any, path: str = "") -> Iterator[str]:
    """Yield what differs between two configurations, as texts that name the field.

    Args:
        mine: Configuration of the model.
        other: Configuration of the checkpoint.
        path: Prefix of the names.
    """
    if isinstance(mine, list) and isinstance(other, list) and len(mine) == len(other):
        for at, pair in enumerate(zip(mine, other, strict=True)):
            yield from differences(*pair, f"{path}[{at}]")
    elif type(mine) is not type(other) and not _are_alike(mine, other):
        yield f"{path or 'rpu_config'}: {_shown(mine)} in the model, {_shown(other)} in the file"
    elif (names := _fields(mine)) is not None:
        for name in names:
            # Where the kernels run is a matter of this machine.
            if join(path, name) != "runtime.backend":
                yield from differences(getattr(mine, name), getattr(other, name), join(path, name))
    elif not _same(mine, other):
        yield f"{path}: {_shown(mine)} in the model, {_shown(other)} in the file"


def _are_alike(mine: Any, other: Any) -> bool:
    """Return whether values of different types are compared as such, since they mean the same."""
    return any(
        isinstance(mine, kinds) and isinstance(other, kinds) for kinds in (list, dict, (int, float))
    )


def _fields(value: Any) -> Iterable[str] | None:
    kind: Any = type(value)
    if is_dataclass(kind):
        return [field.name for field in fields(kind)]
    if hasattr(kind, "check_values"):  # noise models and the like are no dataclasses
        return sorted(vars(value))
    return None


def _same(mine: Any, other: Any) -> bool:
    if isinstance(mine, (Tensor, np.ndarray)):
        return mine.shape == other.shape and bool((mine == other).all())
    return bool(mine == other)


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return value.name
    is_plain = value is None or isinstance(value, (bool, int, float, str))
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return repr(value) if is_plain else type(value).__name__
