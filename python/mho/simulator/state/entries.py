"""Entries of a saved state that are single tensors: what they may look like, and writing them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mho.exceptions import InputError, StateError
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.finite import all_finite
from mho.simulator.state.ordinary import ordinary_tensors


@dataclass
class Entry:
    """What a digital entry of a state may look like."""

    shapes: tuple[tuple[int, ...], ...]
    """Accepted shapes."""

    required: bool = True
    """Whether a state without it is incomplete."""

    positive: bool = False
    """Whether only positive values make sense."""


def check_entry(name: str, value: object, entry: Entry) -> Tensor:
    """Return the tensor of an entry, detached.

    Args:
        name: Name of the entry in messages.
        value: What the state has under that name.
        entry: What it may look like.

    Raises:
        InputError: It is no floating-point tensor, or of another shape.
        StateError: A value is not finite, or not positive where it must be, or there are none.
    """
    check_readable({name: value})
    if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
        raise InputError(f"{name}: expected a floating-point tensor, got {describe_value(value)}")
    if tuple(value.shape) not in entry.shapes:
        shapes = " or ".join(str(shape) for shape in entry.shapes)
        raise InputError(f"{name}: expected shape {shapes}, got {tuple(value.shape)}")
    if not all_finite(value) or (entry.positive and not bool((value > 0.0).all())):
        raise StateError(
            f"{name}: values must be finite{' and positive' if entry.positive else ''}"
        )
    return value.detach()


def refuse_nested(entries: Mapping[str, Any]) -> None:
    """Refuse nested tensors, which cannot even be asked for their shape.

    Args:
        entries: Entries of a state.

    Raises:
        InputError: There is one.
    """
    for name, value in entries.items():
        if isinstance(value, Tensor) and value.is_nested:
            raise InputError(f"{name}: expected an ordinary tensor, got a nested one")


def check_readable(entries: Mapping[str, Any]) -> None:
    """Refuse tensors whose values cannot be read where they are.

    Args:
        entries: Entries of a state.

    Raises:
        InputError: One is nested or sparse.
        StateError: One is on the meta device.
    """
    refuse_nested(entries)
    for name, value in entries.items():
        if not isinstance(value, Tensor):
            continue
        if value.is_meta:
            raise StateError(
                f"{name}: is on the meta device and has no values; load the state to the CPU"
                " (torch.load with map_location='cpu')"
            )
        if value.layout is not torch.strided:
            raise InputError(f"{name}: expected a dense tensor, got {value.layout}; use to_dense()")


def describe_value(value: object) -> str:
    """Return type and shape of a value for messages.

    Args:
        value: Anything.
    """
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)}"
    return describe(value)


def check_module_entries(module: nn.Module, prefix: str, entries: Mapping[str, object]) -> None:
    """Check the entries that a module of torch is going to load itself.

    Args:
        module: Module.
        prefix: Prefix of its entries.
        entries: Entries by name; absent ones are torch's to report.

    Raises:
        InputError: One is no tensor of real numbers, has another shape or is not finite.
        StateError: One has no values.
    """
    for name, present in module.state_dict(prefix=prefix).items():
        if name not in entries:
            continue
        value = entries[name]
        check_readable({name: value})
        shape = tuple(present.shape)
        if not isinstance(value, Tensor) or tuple(value.shape) != shape or value.is_complex():
            raise InputError(
                f"{name}: expected a tensor of shape {shape}, got {describe_value(value)}"
            )
        if not all_finite(value):
            raise InputError(f"{name}: values must be finite; found NaN or infinity")


class TensorOwner(Protocol):
    """Module by what it registers tensors in."""

    _buffers: dict[str, Tensor | None]
    _parameters: dict[str, nn.Parameter | None]


@ordinary_tensors()
def assign(module: TensorOwner, name: str, value: Tensor) -> None:
    """Write a parameter or buffer in place if it has that shape, else register it as a buffer.

    Args:
        module: Owner.
        name: Name of the parameter or buffer.
        value: New values.
    """
    old: Tensor | None = module._parameters.get(name)
    if old is None:
        old = module._buffers.get(name)
    if old is not None and old.shape == value.shape:
        old.detach().copy_(value)  # unlike a write to `.data`, autograd knows of it
    elif module._parameters.get(name) is not None:
        module._parameters[name].data = value.clone().to(module._parameters[name].dtype)  # type: ignore[union-attr]
    else:
        module._buffers[name] = value.detach().clone()
