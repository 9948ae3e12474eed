"""What converters clip, looked at in the arrays of a copy of a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mho.simulator.parameters.enums import NoiseManagementType
from mho.simulator.parameters.io import IOParameters
from mho.simulator.raw_tiles.torch.tile import TorchSimulatorTile
from mho.simulator.tiles.module import TileModule


@dataclass
class Counted:
    """How many of some values are clipped."""

    clipped: int = 0
    total: int = 0

    def add(self, clipped: int, total: int) -> None:
        """Take values into account."""
        self.clipped += clipped
        self.total += total

    def share(self) -> float:
        """Return the share of clipped values, NaN if there were none."""
        return self.clipped / self.total if self.total else float("nan")


@dataclass
class Clipping:
    """Inputs beyond the input range, or the converter without one, and outputs at the bound."""

    inputs: Counted = field(default_factory=Counted)
    outputs: Counted = field(default_factory=Counted)


@contextmanager
def watched_clipping(tile: TileModule, seen: Clipping) -> Iterator[None]:
    """Count what a tile clips inside of the block.

    What inputs and outputs pass through is replaced on its raw tile by something that counts, and
    tiles with anything replaced do not take the short ways past it.

    Args:
        tile: Tile of a copy.
        seen: Gets the numbers.
    """
    raw: Any = tile.tile
    before = dict(vars(raw))
    name = "product" if isinstance(raw, TorchSimulatorTile) else "run_forward"
    watch = _Watch(tile, seen, raw.enter_range, getattr(raw, name))
    object.__setattr__(raw, "enter_range", watch.enter_range)
    object.__setattr__(raw, name, watch.product if name == "product" else watch.run_forward)
    is_direct = vars(tile).get("_direct")
    vars(tile)["_direct"] = False
    try:
        yield
    finally:
        vars(tile)["_direct"] = is_direct
        for replaced in ("enter_range", name):
            if replaced in before:
                object.__setattr__(raw, replaced, before[replaced])
            else:
                object.__delattr__(raw, replaced)


class _Watch:
    """Stands for the methods of a raw tile, and counts."""

    def __init__(self, tile: TileModule, seen: Clipping, enter_range: Any, product: Any) -> None:
        self._tile, self._seen = tile, seen
        self._enter_range, self._product = enter_range, product

    def enter_range(self, values: Tensor, magnitude: Tensor) -> Tensor:
        """Count inputs beyond the range."""
        clipped = int((values.abs() > magnitude).sum())
        self._seen.inputs.add(clipped, values.numel())
        entered: Tensor = self._enter_range(values, magnitude)
        return entered

    def run_forward(
        self,
        rows: Tensor,
        bias_input: float | None,
        is_test: bool,
        weight: Tensor | None = None,
        want_mask: bool = False,
        factors: Any = None,
        offset: Tensor | None = None,
    ) -> Any:
        """Count outputs at the bound of a tile of the core."""
        self._see_inputs(rows)
        found = self._product(rows, bias_input, is_test, weight, True, factors, offset)
        self._see_outputs(found[0], found[1])
        return found

    def product(self, x: Tensor, weight: Tensor, is_test: bool, want_clipped: bool = False) -> Any:
        """Count outputs at the bound of a tile that computes in torch."""
        self._see_inputs(x)
        found = self._product(x, weight, is_test, True)
        self._see_outputs(found[0], found[1])
        return found

    def _see_inputs(self, rows: Tensor) -> None:
        """Count inputs beyond the converter where there is no range."""
        if self._tile._buffers.get("input_range_update_idx") is not None:  # counted at the range
            return
        io = getattr(self._tile.rpu_config, "forward", None)
        clipped = 0
        if (
            isinstance(io, IOParameters)
            and not io.is_perfect
            and io.noise_management is NoiseManagementType.NONE
            and 0.0 < io.inp_bound < float("inf")
        ):
            clipped = int((rows.abs() > io.inp_bound).sum())
        self._seen.inputs.add(clipped, rows.numel())

    def _see_outputs(self, outputs: Tensor, mask: Tensor | None) -> None:
        clipped = 0 if mask is None else int((mask != 0).sum())
        self._seen.outputs.add(clipped, outputs.numel())
