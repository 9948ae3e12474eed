"""Named tensors of one kind of tile state."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mho.simulator.state.ordinary import ordinary_tensors


class TensorGroup(nn.Module):
    """Holds named buffers; the tile around it loads and checks them."""

    @ordinary_tensors()
    def replace(self, planes: Mapping[str, Tensor]) -> None:
        """Hold exactly the given tensors, writing in place where a buffer of that shape exists.

        Args:
            planes: New values by name.
        """
        for name in [name for name in self._buffers if name not in planes]:
            del self._buffers[name]
        for name, value in planes.items():
            old = self._buffers.get(name)
            if old is not None and old.shape == value.shape:
                old.copy_(value)
            else:
                self.register_buffer(name, value.detach().clone())

    def hold(self, planes: Mapping[str, Tensor]) -> None:
        """Hold the given tensors themselves beside those that are there.

        Args:
            planes: Tensors that belong to nobody else, by name.
        """
        for name, value in planes.items():
            self.register_buffer(name, value)

    def items(self) -> list[tuple[str, Tensor]]:
        """Return names and tensors."""
        return [(name, value) for name, value in self._buffers.items() if value is not None]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        # The tile has read these entries together with the configuration that gives them their
        # meaning.
        return


def as_tensor(values: bytearray, shape: tuple[int, ...]) -> Tensor:
    """Return values of the core as a tensor of its own."""
    return torch.frombuffer(values, dtype=torch.float32).reshape(shape)
