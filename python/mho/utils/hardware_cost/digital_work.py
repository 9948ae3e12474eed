"""Digital operations of a pass through a model, counted where torch computes them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mho.documented import documented

OPERATIONS_PER_ELEMENT = 5
"""Operations of an element of an activation, a norm, a pooling or a softmax."""


@documented
@dataclass
class DigitalCounts:
    """Digital operations."""

    macs: int = 0
    """Multiplications with an addition, of products that stayed digital."""

    additions: int = 0
    """Additions."""

    multiplications: int = 0
    """Multiplications."""

    comparisons: int = 0
    """Comparisons."""

    elements: int = 0
    """Elements of activations, norms, poolings and softmax, 5 operations each."""

    skip_bytes: int = 0
    """Bytes of what is added to the output of another layer, kept until then; one an element."""

    def __add__(self, other: "DigitalCounts") -> "DigitalCounts":
        sums = (getattr(self, f.name) + getattr(other, f.name) for f in fields(self))
        return DigitalCounts(*sums)

    @property
    def operations(self) -> int:
        """All of them; a MAC is two."""
        simple = self.additions + self.multiplications + self.comparisons
        return 2 * self.macs + simple + OPERATIONS_PER_ELEMENT * self.elements


_ADDITIONS = {"add", "sub", "rsub", "sum"}
_MULTIPLICATIONS = {"mul", "div"}
_ELEMENTS = {
    "celu", "elu", "erf", "exp", "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh",
    "leaky_relu", "log", "log_sigmoid_forward", "logaddexp", "mish", "pow", "prelu", "reciprocal",
    "relu", "rsqrt", "sigmoid", "silu", "softplus", "softshrink", "sqrt", "tanh", "threshold",
    "_softmax", "_log_softmax", "_safe_softmax", "clamp", "clamp_min", "maximum", "minimum",
}  # fmt: skip
# Of these the larger one of input and output counts: a pooling looks at all inputs.
_REDUCTIONS = ("norm", "pool", "mean", "var", "max", "min", "amax", "amin", "cumsum", "logsumexp")


class DigitalWork(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operations that torch carries out inside the block."""

    def __init__(self, place: Callable[[], DigitalCounts | None]) -> None:
        """Remember where to count.

        Args:
            place: Returns the counts to add to, None where nothing is counted.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._place = place

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Asked by torch. Nothing is compiled in the block, and loading the compiler takes seconds.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        output = func(*args, **(kwargs or {}))
        place = self._place()
        if place is not None:
            _count(func.overloadpacket.__name__.rstrip("_"), args, output, place)
        return output


def _count(name: str, args: Any, output: Any, place: DigitalCounts) -> None:
    tensors = [a for a in args if isinstance(a, Tensor)]
    first = output if isinstance(output, Tensor) else next(_tensors(output), None)
    if first is None or not tensors or not (first.is_floating_point() or first.is_complex()):
        return
    macs = _macs(name, args, tensors, first)
    if macs is not None:
        place.macs += macs
        if "scaled_dot_product" in name:
            query, key = tensors[:2]
            place.elements += query.numel() // query.shape[-1] * key.shape[-2]
    elif name in _ADDITIONS:
        place.additions += max(first.numel(), tensors[0].numel())
        # Two values of one shape: one of them waited in a buffer.
        if len(tensors) == 2 and tensors[0].shape == tensors[1].shape:
            place.skip_bytes += first.numel()
    elif name in _MULTIPLICATIONS:
        place.multiplications += first.numel()
    elif name in _ELEMENTS:
        place.elements += first.numel()
    elif any(word in name for word in _REDUCTIONS):
        place.elements += max(first.numel(), tensors[0].numel())


def _macs(name: str, args: Any, tensors: list[Tensor], output: Tensor) -> int | None:
    """Return the MACs of an operation, None if it is no product."""
    if name in ("mm", "bmm", "mv", "dot", "linear"):
        return output.numel() * tensors[0].shape[-1]
    if name in ("addmm", "addmv", "baddbmm"):
        return output.numel() * tensors[1].shape[-1]
    if name in ("convolution", "_convolution", "mkldnn_convolution"):
        image, kernel = tensors[:2]
        is_transposed = name != "mkldnn_convolution" and bool(args[6])
        return (image if is_transposed else output).numel() * math.prod(kernel.shape[1:])
    if "scaled_dot_product" in name:
        query, key, value = tensors[:3]
        return query.numel() * key.shape[-2] + output.numel() * value.shape[-2]
    if name == "mkldnn_rnn_layer":
        rows = tensors[0].numel() // tensors[0].shape[-1]
        return rows * (tensors[1].numel() + tensors[2].numel())
    return None


def _tensors(output: Any) -> Any:
    """Yield the tensors of nested tuples and lists."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, list | tuple):
        for part in output:
            yield from _tensors(part)


def shape_of(value: Any) -> list[int] | None:
    """Return the shape of the first tensor of arguments or results, None if there is none.

    Args:
        value: Tensor, or nested tuples, lists and dictionaries of them.
    """
    if isinstance(value, Tensor):
        return None if value.is_nested else list(value.shape)
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return list(value.data.shape)
    parts = value.values() if isinstance(value, dict) else value
    for part in parts if isinstance(parts, list | tuple | type({}.values())) else ():
        found = shape_of(part)
        if found is not None:
            return found
    return None
