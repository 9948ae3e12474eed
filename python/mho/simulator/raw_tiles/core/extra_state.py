"""Plain values of a raw tile of the core beside weights and hidden parameters."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError, StateError
from mho.simulator.parameters.arguments import check_flag, check_mapping, check_not_negative
from mho.simulator.raw_tiles.core.parsed import ParsedConfig
from mho.simulator.raw_tiles.core.tensors import CoreTensors
from mho.simulator.state.header import Steps

_DRIFT = "drift."


def dump(learning_rate: float, tensors: CoreTensors, parsed: ParsedConfig) -> dict[str, list[Any]]:
    """Return seed, position in the random stream, learning rate, counters and state of drift.

    Of a cell also what it has beside matrices: counters, signs, averages, lines of its reads.

    Args:
        learning_rate: Raw learning rate.
        tensors: Tensors of the raw tile.
        parsed: Its configuration.
    """
    extra: dict[str, list[Any]] = {"learning_rate": [learning_rate]}
    if parsed.dw_min is not None:
        steps = parsed.dw_min
        extra["dw_min"] = steps if isinstance(steps, list) else [steps]
    return extra | {name: value.flatten().tolist() for name, value in _tensors(tensors).items()}


def load(
    learning_rate: float,
    tensors: CoreTensors,
    parsed: ParsedConfig,
    extra: Mapping[str, Any],
    strict: bool,
) -> float:
    """Restore what `dump` returned, and return the learning rate in it.

    Args:
        learning_rate: Present raw learning rate.
        tensors: Tensors of the raw tile.
        parsed: Its configuration.
        extra: Output of `dump`; names that are absent keep their value.
        strict: Raise on names that this tile has and `extra` has not.

    Raises:
        StateError: An entry is missing, unknown or unusable; nothing is changed.
    """
    check_mapping("extra", extra)
    check_flag("strict", strict)
    present = set(dump(learning_rate, tensors, parsed))
    fresh = _fresh(tensors, parsed)
    possible = set(fresh) | ({"dw_min"} if parsed.spec.is_pulsed else set())
    unknown = set(extra) - present - possible
    missing = present - set(extra) if strict else set()
    if unknown or missing:
        raise StateError(
            f"extra: expected entries {sorted(present)}; missing {sorted(missing)}, unknown"
            f" {sorted(map(str, unknown))}"
        )
    rate: float = _number(extra, "learning_rate", learning_rate)
    dw_min: Steps | None = _number(extra, "dw_min", parsed.dw_min)
    if parsed.spec.is_cell and "dw_min" in extra:
        number = len(extra["dw_min"])
        dw_min = [_number({"dw_min": extra["dw_min"][at:]}, "dw_min", 0.0) for at in range(number)]
    known = fresh | _tensors(tensors)
    new = {n: _tensor(n, extra[n], known[n]) for n in known if n in extra}
    spec = parsed.parse(parsed.text, dw_min)
    given = {name for name in new if name.startswith(_DRIFT)}
    if given and given != set(fresh):
        raise StateError(f"extra: drift needs all of {sorted(fresh)}, got {sorted(given)}")
    cell = {name: new.get(name, value) for name, value in tensors.cell.items()}
    _core.check_state(spec, tensors.weights.clone(), tensors.devices | cell)
    parsed.adopt(parsed.text, spec, dw_min)
    _store(tensors, new, spec)
    if tensors.cell:
        # The weights of a cell are a sum with its signs.
        _core.enter_bounds(spec, tensors.weights, tensors.devices)
        tensors.count_write()
    return rate


def _fresh(tensors: CoreTensors, parsed: ParsedConfig) -> dict[str, Tensor]:
    return {_DRIFT + name: value for name, value in tensors.fresh_drift(parsed.spec).items()}


def _tensors(tensors: CoreTensors) -> dict[str, Tensor]:
    found = {"seed": tensors.seed, "calls": tensors.calls}
    if tensors.counts is not None:
        found["pulse_counters"] = tensors.counts
    found |= tensors.cell
    return found | {_DRIFT + name: value for name, value in tensors.drift.items()}


def _number(extra: Mapping[str, Any], name: str, present: Any) -> Any:
    if name not in extra:
        return present
    try:
        return check_not_negative(name, extra[name][0])
    except (TypeError, IndexError, KeyError, ArgumentError) as error:
        raise StateError(f"extra: {name} cannot be read: {error}") from error


def _tensor(name: str, values: Any, like: Tensor) -> Tensor:
    size, dtype = like.numel(), like.dtype
    try:
        if any(isinstance(v, (bool, str)) or not math.isfinite(v) for v in values):
            raise ValueError("values must be finite numbers")
        tensor = torch.tensor(values, dtype=dtype, device="cpu")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise StateError(f"extra: {name} cannot be read: {error}") from error
    if tensor.numel() != size:
        raise StateError(f"extra: {name}: expected {size} values, got {tensor.numel()}")
    return tensor


@torch.no_grad()
def _store(tensors: CoreTensors, new: Mapping[str, Tensor], spec: _core.TileSpec) -> None:
    if any(name.startswith(_DRIFT) for name in new):
        tensors.drift.update(tensors.fresh_drift(spec))
    for name, value in _tensors(tensors).items():
        if name in new:
            value.copy_(new[name].view_as(value))
