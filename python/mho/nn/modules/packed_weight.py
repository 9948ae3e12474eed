"""Weights of several layers as one tensor, as modules of torch have them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mho.nn.modules.layer_weight import LayerWeight, WeightSource


class _PackedSource(WeightSource):
    """Reads and writes what several layers have, one below the other."""

    def __init__(self, parts: list[Tensor]) -> None:
        """Remember the parts; nothing is read.

        Args:
            parts: Weights or biases of layers, one of which is analog at least.
        """
        first = next(part._source for part in parts if isinstance(part, LayerWeight))
        shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
        super().__init__(first.layer, first.module, shape, first.is_bias)
        self._parts = parts

    def contexts(self) -> Iterator[Tensor]:
        """Yield the parameters of all parts; see the base class."""
        for part in self._parts:
            yield from part._source.contexts() if isinstance(part, LayerWeight) else (part,)

    def read(self) -> Tensor:
        """Return a copy of all values; see the base class."""
        parts = [p._source.read() if isinstance(p, LayerWeight) else p for p in self._parts]
        return torch.cat([part.detach() for part in parts])

    def write(self, values: Tensor) -> None:
        """Write the values of each part; see the base class."""
        with torch.no_grad():
            start = 0
            for part in self._parts:
                part.copy_(values[start : start + len(part)])
                start += len(part)
        self._written, self._read_back = values.clone(), self.read()


def packed(layers: list[Any], name: str) -> Tensor | None:
    """Return weights or biases of layers as one tensor, None if there are none.

    Args:
        layers: Linear layers, analog or digital.
        name: ``"weight"`` or ``"bias"``.
    """
    parts = [getattr(layer, name) for layer in layers]
    if any(part is None for part in parts):
        return None
    if any(isinstance(part, LayerWeight) for part in parts):
        return LayerWeight(_PackedSource(parts))
    return torch.cat(parts)
