"""The weights that programming aims at."""

from typing import Any

from torch import Tensor

from mho.simulator.parts.base import Part
from mho.simulator.state.entries import Entry, assign
from mho.simulator.state.ordinary import ordinary_tensors

_NAME = "reference_combined_weights"


class ReferenceWeights(Part):
    """Keeps the raw weights, `[out, x_size]`, as they were at the first programming."""

    def register(self) -> None:
        """Register the state of a fresh tile, which was not programmed."""
        self._tile.register_buffer(_NAME, None)

    def entries(self, config: Any) -> dict[str, Entry]:
        """Return the entry of the reference; see the base class."""
        tile = self._tile
        matrix = (tile.out_size, tile.in_size + int(tile.analog_bias))
        return {_NAME: Entry((matrix,), required=False)}

    def store(self, name: str, value: Tensor | None) -> None:
        """Take over the reference; see the base class."""
        if value is None:
            self.forget()
        else:
            assign(self._tile, name, value)

    def is_kept(self) -> bool:
        """Return whether the weights have been programmed and not changed since."""
        # Not by the attribute, which is slow: this is asked after every optimizer step.
        return self._tile._buffers[_NAME] is not None

    @ordinary_tensors()
    def aim(self, from_reference: bool) -> Tensor:
        """Return what to aim at, and keep it.

        Args:
            from_reference: Aim at what was aimed at before, if there is such a thing; otherwise at
                the present weights.
        """
        kept = self._tile._buffers[_NAME]
        if kept is None or not from_reference:
            kept = self._tile._buffers[_NAME] = self._tile.tile.get_weights()
        return kept

    def forget(self) -> None:
        """Drop what belongs to earlier weights."""
        self._tile._buffers[_NAME] = None
