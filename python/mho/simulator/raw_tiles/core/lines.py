"""Frozen values per line of the products of a raw tile of the core."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError
from mho.simulator.parameters.finite import all_finite
from mho.simulator.raw_tiles.core.parsed import ParsedConfig
from mho.simulator.raw_tiles.core.tensors import Buffers, CoreTensors
from mho.simulator.raw_tiles.given_values import as_vector
from mho.simulator.state.tensor_group import as_tensor


class LineValues:
    """What converters and lines of a tile have been drawn as, once for all products."""

    def __init__(self, tensors: CoreTensors, parsed: ParsedConfig) -> None:
        """Work on the state of a raw tile.

        Args:
            tensors: Its tensors.
            parsed: Its configuration.
        """
        self._tensors, self._parsed = tensors, parsed

    def get(self, backward: bool) -> dict[str, Tensor]:
        """Return copies of the values; empty tensors for those that are not used.

        Args:
            backward: Of the transposed product.
        """
        lines = self._tensors.lines[backward]
        return {
            name: value.detach().clone()
            if (value := lines.get(name)) is not None
            else torch.empty(0, device="cpu")
            for name in self._parsed.spec.line_names(backward)
        }

    def check(self, spec: _core.TileSpec) -> None:
        """Refuse a configuration whose values of the lines cannot be drawn.

        Args:
            spec: Configuration, parsed.

        Raises:
            ConfigError: A value is beyond float32.
        """
        for backward in (False, True):
            spec.construct_lines(backward, int(self._tensors.seed))

    def redrawn(self, spec: _core.TileSpec, backward: bool) -> dict[str, Tensor]:
        """Return the values with another configuration.

        What both configurations draw alike stays what it is; the rest is drawn anew, from the seed
        of the tile.

        Args:
            spec: Configuration, parsed.
            backward: Of the transposed product.
        """
        seed, present = int(self._tensors.seed), self._tensors.lines[backward]
        old = self._parsed.spec.construct_lines(backward, seed)
        lines = {}
        for name, values in spec.construct_lines(backward, seed).items():
            drawn = as_tensor(values, (-1,))
            same = name in old and torch.equal(as_tensor(old[name], (-1,)), drawn)
            lines[name] = present[name] if same and name in present else drawn
        return lines

    def set(self, backward: bool, values: Mapping[str, Tensor]) -> None:
        """Write values.

        Args:
            backward: Of the transposed product.
            values: Some or all of what `get` returns.

        Raises:
            ArgumentError: Unknown name, wrong length or a value that is not finite; nothing is
                changed.
        """
        lines, spec = self._tensors.lines[backward], self._parsed.spec
        new = {name: _checked(name, value, lines, spec, backward) for name, value in values.items()}
        for name, value in new.items():
            if value.numel() > 0:
                lines[name].copy_(value)


def _checked(
    name: str, value: Tensor, lines: Buffers, spec: _core.TileSpec, backward: bool
) -> Tensor:
    names = spec.line_names(backward)
    if name not in names:
        raise ArgumentError(f"{name}: unknown parameter; known: {', '.join(names)}")
    old = lines.get(name)
    length = 0 if old is None else old.numel()
    flat = as_vector(name, value)
    if flat.numel() != length:
        raise ArgumentError(f"{name}: expected {length} values, got {flat.numel()}")
    if not all_finite(flat):
        raise ArgumentError(f"{name}: values must be finite")
    return flat
