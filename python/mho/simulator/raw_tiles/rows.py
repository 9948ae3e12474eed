"""Conversion between tensors of any rank and the rows that kernels take."""

from typing import Any

import torch
from torch import Tensor

from mho.exceptions import InputError
from mho.simulator.parameters.arguments import is_dense


def check_tensor(value: object, name: str) -> None:
    """Check that a value can be the input of a tile.

    Args:
        value: Candidate.
        name: Name of the argument in messages.

    Raises:
        InputError: It is not a tensor of real numbers with at least one axis.
    """
    if not isinstance(value, Tensor):
        remedy = "use torch.as_tensor"
        if isinstance(value, torch.fx.Proxy):
            remedy = "torch.fx cannot trace tiles: use torch.export, or make their layers leaves"
        raise InputError(f"{name}: expected a tensor, got {type(value).__name__}; {remedy}")
    if value.is_complex():
        raise InputError(
            f"{name}: complex numbers are not supported; pass real and imaginary parts separately"
        )
    if not is_dense(value):
        kind = "nested" if value.is_nested else value.layout
        raise InputError(
            f"{name}: expected a dense tensor with values, got layout {kind} on {value.device};"
            " use to_dense()"
        )
    if value.dim() == 0:
        raise InputError(f"{name}: expected at least one axis, got a scalar; use reshape(1)")


def as_tensor(name: str, value: object) -> Tensor:
    """Return a tensor, or what torch makes one of.

    Args:
        name: Name of the argument in messages.
        value: Tensor, array, number or list.

    Raises:
        InputError: It is none of these, or has no dense values.
    """
    try:
        tensor = value if isinstance(value, Tensor) else torch.as_tensor(value, device="cpu")
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(f"{name}: cannot be made a tensor: {error}") from error
    if not is_dense(tensor) or tensor.is_complex():
        raise InputError(
            f"{name}: expected a dense tensor of real numbers, got {tensor.dtype} of layout"
            f" {tensor.layout} on {tensor.device}"
        )
    return tensor


def check_features(value: Tensor, size: int, features_first: bool, name: str) -> None:
    """Check the number of features of a tensor.

    Args:
        value: Tensor of rank 1 or more.
        size: Expected number of features.
        features_first: Whether features are on the first axis instead of the last.
        name: Name of the argument in messages.

    Raises:
        InputError: The number is another one; the message names both.
    """
    given = value.shape[0 if features_first else -1]
    if given != size:
        where = "first" if features_first else "last"
        raise InputError(
            f"{name}: expected size {size} on the {where} axis, got {given}"
            f" (shape {tuple(value.shape)})"
        )


def check_view(view: tuple[int, ...], size: int, shape: tuple[int, ...]) -> None:
    """Check that a shape spreads a vector over a tensor.

    Args:
        view: Shape that the vector is viewed in.
        size: Length of the vector.
        shape: Shape of the tensor.

    Raises:
        InputError: It does not.
    """
    try:
        spread = torch.empty(size, device="meta").view(view).shape
        fits = tuple(torch.broadcast_shapes(spread, shape)) == shape  # type: ignore[no-untyped-call]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        fits = False
    if not fits:
        raise InputError(
            f"tensor_view: expected a shape that spreads {size} values over shape {shape}, got"
            f" {view!r}"
        )


def check_output_view(
    view: tuple[int, ...], size: int, x: Tensor, in_first: bool, out_first: bool
) -> None:
    """Check that a shape spreads a vector of all outputs over the output for an input.

    Args:
        view: Shape that the vector is viewed in.
        size: Number of outputs.
        x: Inputs.
        in_first: Whether features are on the first axis of the inputs.
        out_first: Whether features are on the first axis of the outputs.

    Raises:
        InputError: It does not, or the inputs are no tensor.
    """
    check_tensor(x, "x_input")
    batch = batch_shape(x, in_first)
    check_view(view, size, (size, *batch) if out_first else (*batch, size))


def to_rows(value: Tensor, size: int, features_first: bool, name: str) -> Tensor:
    """Return a tensor as contiguous rows of features, one per sample.

    Args:
        value: Shape `[..., size]`, or `[size, ...]` with features first.
        size: Number of features.
        features_first: Whether features are on the first axis.
        name: Name of the argument in messages.

    Returns:
        Shape `[samples, size]`; batch axes are flattened in row-major order.

    Raises:
        InputError: `value` does not have `size` features or is no real tensor.
    """
    if not features_first and _are_rows(value, size):
        return value
    check_tensor(value, name)
    check_features(value, size, features_first, name)
    value = resolved(value)
    if features_first:
        value = value.movedim(0, -1)
    elif value.dim() == 2 and value.is_contiguous():
        return value
    return value.reshape(batch_count(value.shape[:-1]), size).contiguous()


def resolved(value: Tensor) -> Tensor:
    """Return a tensor whose memory holds its values.

    Kernels read the memory, which a negated view (the imaginary part of a conjugate) has not
    negated; torch resolves it for operators.

    Args:
        value: Tensor.
    """
    if not torch.compiler.is_compiling() and value.is_neg():
        return value.resolve_neg()
    return value


def to_float_rows(value: Tensor, size: int, features_first: bool, name: str) -> Tensor:
    """Return rows of what a tile gets that computes in float32, checked and without gradients.

    Args:
        value: Tensor with any number of batch axes.
        size: Number of features.
        features_first: Whether features are the first axis.
        name: Name of the argument in messages.

    Raises:
        InputError: No tensor, of another dtype, or with another number of features.
    """
    check_tensor(value, name)
    if value.dtype is not torch.float32:
        raise InputError(f"{name}: expected dtype torch.float32, got {value.dtype}; use .float()")
    return to_rows(value.detach(), size, features_first, name)


def check_pairs(x: Tensor, d: Tensor) -> None:
    """Refuse rows of an update that are no pairs.

    Args:
        x: Rows of inputs.
        d: Rows of gradients of the outputs.

    Raises:
        InputError: Their numbers differ.
    """
    if x.shape[0] != d.shape[0]:
        raise InputError(
            f"d_input: expected as many samples as x_input ({x.shape[0]}), got {d.shape[0]}"
        )


def _are_rows(value: Any, size: int) -> bool:
    """Return whether a value is what `to_rows` returns, as most are."""
    return (
        type(value) is Tensor
        and value.layout is torch.strided
        and value.is_cpu
        and not value.is_nested
        and value.is_floating_point()
        and value.dim() == 2
        and value.shape[1] == size
        and value.is_contiguous()
        and not torch.compiler.is_compiling()
        and not value.is_neg()
    )


def from_rows(rows: Tensor, batch: tuple[int, ...], features_first: bool) -> Tensor:
    """Return rows in the layout of a tensor with batch axes.

    Args:
        rows: Shape `[samples, size]`.
        batch: Sizes of the batch axes.
        features_first: Whether features go on the first axis.
    """
    value = rows if len(batch) == 1 else rows.reshape(*batch, rows.shape[-1])
    return value.movedim(-1, 0) if features_first else value


def outputs_from_rows(rows: Tensor, batch: tuple[int, ...], features_first: bool) -> Tensor:
    """Return fresh rows as the outputs of a tile: a tensor that may be changed in place.

    Autograd refuses that to views made inside of a function or without gradients.

    Args:
        rows: Shape `[samples, size]`, which nobody else has.
        batch: Sizes of the batch axes.
        features_first: Whether features go on the first axis.
    """
    value = from_rows(rows, batch, features_first)
    return value if value is rows else value.data  # the same memory, but no view


def batch_shape(value: Tensor, features_first: bool) -> tuple[int, ...]:
    """Return the sizes of the batch axes of a tensor."""
    return tuple(value.shape[1:] if features_first else value.shape[:-1])


def batch_count(batch: tuple[int, ...] | torch.Size) -> int:
    """Return the number of samples of batch axes."""
    count = 1
    for size in batch:
        count *= size
    return count
