"""Hidden parameters of a compound: those of its devices and the states of its rule, by name."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, InputError, StateError, TileError
from mho.simulator.parameters.arguments import check_mapping
from mho.simulator.parameters.finite import all_finite
from mho.simulator.raw_tiles.core.tile import AnalogTile as CoreTile
from mho.simulator.raw_tiles.custom_compound.device import DeviceTile
from mho.simulator.raw_tiles.custom_compound.rule_state import RuleState
from mho.simulator.raw_tiles.rows import check_tensor

_WEIGHTS, _RULE = "hidden_weights", "rule_"
_LARGEST = 2**62


class Held(Protocol):
    """Whose parameters they are: the raw tile."""

    devices: list[DeviceTile]
    products: CoreTile
    rule: RuleState

    def changes(self) -> AbstractContextManager[None]:
        """Put everything back if the block raises."""

    def put_together(self) -> None:
        """Compute the weights of the tile from its devices."""


class HiddenByName:
    """All that stands at the crosspoints, and what the rule remembers.

    Names are those of each device with its index, `max_bound_0`, its weights as `hidden_weights_0`,
    and `rule_<name>` for each state.
    """

    def __init__(self, raw: Held) -> None:
        """Work on a raw tile.

        Args:
            raw: Raw tile.
        """
        self._raw = raw

    def named(self) -> "OrderedDict[str, Tensor]":
        """Return copies of all of them, in the shape that each has."""
        found: OrderedDict[str, Tensor] = OrderedDict()
        for k, device in enumerate(self._raw.devices):
            for name, value in device.raw.get_named_hidden_parameters().items():
                found[f"{name}_{k}"] = value
            found[f"{_WEIGHTS}_{k}"] = device.weights.detach().clone()
        for name, value in self._raw.rule.states.items():
            found[f"{_RULE}{name}"] = value.detach().clone()
        return found

    def set_named(self, ordered_parameters: Mapping[str, Tensor]) -> None:
        """Write all of them; weights are clipped to the new bounds.

        Args:
            ordered_parameters: As returned by `named`; an empty mapping changes nothing.

        Raises:
            ArgumentError: A value is not finite, or bounds are crossed; nothing is changed.
            InputError: A shape or type is wrong; nothing is changed.
            TileError: Names or their order are others; nothing is changed.
        """
        if not check_mapping("ordered_parameters", ordered_parameters):
            return
        present = self.named()
        if list(ordered_parameters) != list(present):
            raise TileError(
                f"hidden parameters: expected {list(present)}, got {list(ordered_parameters)}"
            )
        new = {}
        for name, old in present.items():
            value = ordered_parameters[name]
            check_tensor(value, name) if old.dim() else None
            if tuple(value.shape) != tuple(old.shape):
                raise InputError(
                    f"{name}: expected shape {tuple(old.shape)}, got {tuple(value.shape)}"
                )
            new[name] = value.detach().to("cpu", old.dtype)
            if not all_finite(new[name]):
                raise ArgumentError(f"{name}: values must be finite")
        with self._changes_of_planes():
            for k, device in enumerate(self._raw.devices):
                names = device.raw.get_hidden_parameter_names()
                _set_device(device, [new[f"{name}_{k}"] for name in names], new[f"{_WEIGHTS}_{k}"])
            for name, state in self._raw.rule.states.items():
                state.copy_(new[f"{_RULE}{name}"])
            self._raw.put_together()

    @contextmanager
    def _changes_of_planes(self) -> Iterator[None]:
        """Put everything back if the block raises, the planes of devices as well."""
        hidden = [device.raw.tensors.hidden for device in self._raw.devices]
        kept = [{name: value.clone() for name, value in planes.items()} for planes in hidden]
        parsed = [
            (device.raw.parsed, dict(vars(device.raw.parsed))) for device in self._raw.devices
        ]
        with self._raw.changes():
            try:
                yield
            except BaseException:
                for planes, old in zip(hidden, kept, strict=True):
                    planes.clear()
                    planes.update(old)
                for configuration, attributes in parsed:
                    vars(configuration).update(attributes)
                for device in self._raw.devices:
                    device.keep_dw_min()
                raise

    def plane_names(self) -> list[str]:
        """Return the names of those that are as large as the tile."""
        return list(self._large())

    def planes(self) -> Tensor:
        """Return copies of those that are as large as the tile, `[n, out, x_size]`."""
        values = list(self._large().values())
        return torch.stack(values) if values else torch.empty(0, device="cpu")

    def set_planes(self, params: Tensor) -> None:
        """Write those that are as large as the tile.

        Args:
            params: As returned by `planes`.

        Raises:
            ArgumentError: A value is not finite, or bounds are crossed; nothing is changed.
            InputError: Wrong shape; nothing is changed.
        """
        check_tensor(params, "params")
        names = self.plane_names()
        spec = self._raw.products.spec
        shape = (len(names), spec.d_size, spec.x_size)
        if tuple(params.shape) != shape:
            raise InputError(f"params: expected shape {shape}, got {tuple(params.shape)}")
        values = self.named()
        values.update(dict(zip(names, params.detach().to("cpu", torch.float32), strict=True)))
        self.set_named(values)

    def _large(self) -> dict[str, Tensor]:
        spec = self._raw.products.spec
        shape = (spec.d_size, spec.x_size)
        return {
            name: value
            for name, value in self.named().items()
            if tuple(value.shape) == shape and value.dtype is torch.float32
        }

    def pulse_counters(self) -> Tensor:
        """Return the pulses that the devices of the size of the tile got together.

        Empty unless one of them has `count_pulses`; those of each device are in the state.
        """
        spec = self._raw.products.spec
        counts = [
            device.raw.get_pulse_counters()
            for device in self._raw.devices
            if device.shape == (spec.d_size, spec.x_size)
        ]
        counts = [count for count in counts if count.numel()]
        if not counts:
            return torch.empty(0, dtype=torch.int64, device="cpu")
        return torch.stack(counts).sum(0)

    def dump_extra(self) -> dict[str, Any]:
        """Return stream, learning rate and counters as plain values."""
        rule = self._raw.rule
        extra: dict[str, Any] = self._raw.products.dump_extra()
        for name, (tensor, _) in self._counters().items():
            extra[name] = tensor.flatten().tolist()
        extra["rule_count"] = rule.count.tolist()
        return extra

    def load_extra(self, extra: Mapping[str, Any], strict: bool) -> None:
        """Restore what `dump_extra` returned.

        Args:
            extra: Output of `dump_extra`.
            strict: Raise on missing entries.

        Raises:
            TileError: An entry is missing, unknown or unusable; nothing is changed.
        """
        rest = dict(check_mapping("extra", extra))
        new = {}
        count = (self._raw.rule.count, _LARGEST)
        for name, (tensor, largest) in {**self._counters(), "rule_count": count}.items():
            if name not in rest:
                if strict:
                    raise StateError(f"extra: {name} is missing")
                continue
            new[name] = (tensor, _counted(name, rest.pop(name), tensor, largest))
        self._raw.products.load_extra(rest, strict)
        with torch.no_grad():
            for tensor, value in new.values():
                tensor.copy_(value)

    def _counters(self) -> dict[str, tuple[Tensor, int]]:
        """Return counters, and the largest value of each."""
        rule = self._raw.rule
        found = {
            f"rule_cycle_{name}": (value, rule.length_of(name) - 1)
            for name, value in rule.cycles.items()
        }
        for k, device in enumerate(self._raw.devices):
            counts = device.raw.tensors.counts
            if counts is not None:
                found[f"pulse_counters_{k}"] = (counts, _LARGEST)
        return found


def _set_device(device: DeviceTile, planes: list[Tensor], weights: Tensor) -> None:
    """Write the planes of a device, and its weights within the bounds in them."""
    raw = device.raw
    device.weights.copy_(weights)
    if planes:
        raw.set_hidden_parameters(torch.stack(planes))
        device.keep_dw_min()


def _counted(name: str, values: Any, like: Tensor, largest: int) -> Tensor:
    try:
        tensor = torch.tensor(values, device="cpu")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise StateError(f"extra: {name} cannot be read: {error}") from error
    whole = tensor.dtype is torch.int64 and tensor.dim() == 1 and tensor.numel() == like.numel()
    if not whole or bool(((tensor < 0) | (tensor > largest)).any()):
        raise StateError(f"extra: {name}: expected {like.numel()} integers, 0 to {largest}")
    return tensor.view_as(like)
