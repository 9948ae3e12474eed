"""The tensors of a model as they are saved: each once, ties and derived buffers noted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError
from mho.nn.saving.tensor_file import METADATA, can_hold
from mho.nn.selection import places
from mho.simulator.parameters.checking import describe
from mho.simulator.tiles.module import TileModule

_PLAIN = (Tensor, nn.Parameter)


@dataclass(frozen=True)
class Values:
    """Tensors of a model."""

    tensors: dict[str, Tensor]
    """By name, as in ``state_dict()``."""

    tied: dict[str, str]
    """Names that are left out because another one has the very tensor, and that one."""

    buffers: list[str]
    """Names of buffers that are in no ``state_dict``: models compute them when they are built."""


def values_of(model: nn.Module) -> Values:
    """Return the tensors of a model.

    Modules that a model has several times are listed under their first names.

    Args:
        model: Model.

    Raises:
        ArgumentError: A tensor cannot be saved; the message names it.
    """
    again = tuple(f"{name}." for name in _further_names(model))
    entries = {n: v for n, v in model.state_dict().items() if not (again and n.startswith(again))}
    derived = {name: value for name, value in _derived(model) if name not in entries}
    for name, value in {**entries, **derived}.items():
        _check(name, value)
    tensors: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[Any, str] = {}
    for name, value in entries.items():
        known = first.setdefault(_place(name, value), name)
        if known == name:
            tensors[name] = value
        else:
            tied[name] = known
    return Values({**tensors, **derived}, tied, list(derived))


def _further_names(model: nn.Module) -> list[str]:
    """Return the names of modules other than their first ones."""
    first = {id(module): name for name, module in model.named_modules()}
    return [p.name for p in places(model, "", ()) if p.name != first[id(p.module)]]


def _derived(module: nn.Module, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the buffers outside of tiles that `state_dict` leaves out."""
    for path, part in _outside_of_tiles(module, name, set()):
        for buffer in sorted(part._non_persistent_buffers_set):
            value = part._buffers.get(buffer)
            if value is not None:
                yield f"{path}.{buffer}" if path else buffer, value


def _outside_of_tiles(
    module: nn.Module, name: str, seen: set[int]
) -> Iterator[tuple[str, nn.Module]]:
    if id(module) in seen or isinstance(module, TileModule):
        return
    seen.add(id(module))
    yield name, module
    for child_name, child in module._modules.items():
        if child is not None:
            yield from _outside_of_tiles(
                child, f"{name}.{child_name}" if name else child_name, seen
            )


def _check(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise ArgumentError(
            f"model: {name!r} of its state is {describe(value)}, no tensor, and cannot be saved"
        )
    if name == METADATA:
        raise ArgumentError(f"model: {name!r} cannot be saved, files have that name for themselves")
    if value.is_meta:
        raise ArgumentError(f"model: {name!r} is on the meta device and has no values")
    if type(value) not in _PLAIN or value.layout is not torch.strided or not can_hold(value):
        raise ArgumentError(
            f"model: {name!r} is {type(value).__name__} of {value.dtype}, {value.layout}; only"
            " plain, dense tensors can be saved (gather shards first, dequantise weights)"
        )


def _place(name: str, value: Tensor) -> Any:
    """Return what is equal for tensors that are one and the same."""
    if value.numel() == 0:
        return name
    return value.device, value.data_ptr(), value.dtype, value.shape, value.stride()
