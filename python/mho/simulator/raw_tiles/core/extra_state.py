"""Plain values of a raw tile of the extension module beside weights and hidden parameters."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, StateError
from mho.simulator.parameters.arguments import check_flag, check_mapping, check_not_negative
from mho.simulator.state.names import AnalogTileStateNames as Names

if TYPE_CHECKING:
    from mho.simulator.raw_tiles.core.tile import NativeSimulatorTile

_DRIFT = "drift."
_DTYPES = {
    "seed": torch.int64,
    "calls": torch.int64,
    "pulse_counters": torch.int64,
    "current_t": torch.float64,
    "t": torch.float64,
    "w0": torch.float32,
    "previous_weights": torch.float32,
}


def dump(raw: "NativeSimulatorTile") -> dict[str, list[Any]]:
    """Return seed, position in the random stream, learning rate, counters and state of drift.

    Args:
        raw: Raw tile.
    """
    extra: dict[str, list[Any]] = {"learning_rate": [raw.learning_rate]}
    if raw.dw_min is not None:
        extra["dw_min"] = [raw.dw_min]
    return extra | {name: value.flatten().tolist() for name, value in _tensors(raw).items()}


def load(raw: "NativeSimulatorTile", extra: Mapping[str, Any], strict: bool) -> None:
    """Restore what `dump` returned.

    Args:
        raw: Raw tile.
        extra: Output of `dump`; names that are absent keep their value.
        strict: Raise on names that this tile has and `extra` has not.

    Raises:
        StateError: An entry is missing, unknown or unusable; nothing is changed.
    """
    check_mapping("extra", extra)
    check_flag("strict", strict)
    present = set(dump(raw))
    unknown = set(extra) - present - _possible(raw)
    missing = present - set(extra) if strict else set()
    if unknown or missing:
        raise StateError(
            f"extra: expected entries {sorted(present)}; missing {sorted(missing)}, unknown"
            f" {sorted(map(str, unknown))}"
        )
    rate, dw_min = (_number(extra, n, getattr(raw, n)) for n in ("learning_rate", "dw_min"))
    sizes = {n: v.numel() for n, v in (_fresh(raw) | _tensors(raw)).items()}
    new = {n: _tensor(n, extra[n], sizes[n]) for n in sizes if n in extra}
    spec = raw.parsed(raw.config_text, dw_min)
    _check_drift(raw, new)
    raw.adopt(raw.config_text, spec, dw_min)
    raw.set_learning_rate(rate)
    _store(raw, new)


def _possible(raw: "NativeSimulatorTile") -> set[str]:
    return set(_fresh(raw)) | ({"dw_min"} if raw.spec.is_pulsed else set())


def _fresh(raw: "NativeSimulatorTile") -> dict[str, Tensor]:
    if not raw.spec.drifts:
        return {}
    return {_DRIFT + name: value for name, value in raw.fresh_drift().items()}


def _tensors(raw: "NativeSimulatorTile") -> dict[str, Tensor]:
    state = raw._state
    tensors = {"seed": state[Names.SEED], "calls": state[Names.CALLS]}
    if state[Names.COUNTS] is not None:
        tensors["pulse_counters"] = state[Names.COUNTS]
    return tensors | {_DRIFT + name: value for name, value in raw._drift.items()}


def _number(extra: Mapping[str, Any], name: str, present: Any) -> Any:
    if name not in extra:
        return present
    try:
        return check_not_negative(name, extra[name][0])
    except (TypeError, IndexError, KeyError, ArgumentError) as error:
        raise StateError(f"extra: {name} cannot be read: {error}") from error


def _tensor(name: str, values: Any, size: int) -> Tensor:
    dtype = _DTYPES[name.removeprefix(_DRIFT)]
    try:
        if any(isinstance(v, (bool, str)) or not math.isfinite(v) for v in values):
            raise ValueError("values must be finite numbers")
        tensor = torch.tensor(values, dtype=dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise StateError(f"extra: {name} cannot be read: {error}") from error
    if tensor.numel() != size:
        raise StateError(f"extra: {name}: expected {size} values, got {tensor.numel()}")
    return tensor


def _check_drift(raw: "NativeSimulatorTile", new: Mapping[str, Tensor]) -> None:
    given = {name for name in new if name.startswith(_DRIFT)}
    if given and given != set(_fresh(raw)):
        raise StateError(f"extra: drift needs all of {sorted(_fresh(raw))}, got {sorted(given)}")


@torch.no_grad()
def _store(raw: "NativeSimulatorTile", new: Mapping[str, Tensor]) -> None:
    if any(name.startswith(_DRIFT) for name in new):
        raw._drift.update(raw.fresh_drift())
    for name, value in _tensors(raw).items():
        if name in new:
            value.copy_(new[name].view_as(value))
