"""A tile of the package behind the few functions of ``Subject``."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from mho.simulator.tiles import AnalogTile
from reference.pulses import Array


def tensor(values: ArrayLike) -> torch.Tensor:
    """Return values as torch takes them."""
    return torch.from_numpy(np.array(values, np.float32))


class RealTile:
    """Tile of the package with the configuration ``config``, and with weights of zero."""

    def __init__(self, rows: int, columns: int, config: Any, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.tile = AnalogTile(rows, columns, config)
        self.raw = self.tile.tile
        self.raw.set_weights(torch.zeros(rows, columns))

    def set_weights(self, values: ArrayLike) -> None:
        """Program the raw weight."""
        self.raw.set_weights(tensor(values))

    def set_device(self, k: int, values: ArrayLike) -> None:
        """Set the hidden weight of device ``k``, and nothing else."""
        planes = self.tile.get_hidden_parameters()
        planes[f"hidden_weights_{k}"] = tensor(values)
        self.tile.set_hidden_parameters(planes)

    def choose(self, k: int) -> None:
        """Set the device that is updated and programmed."""
        self.tile.set_hidden_update_index(k)

    def update(self, x: ArrayLike, d: ArrayLike, lr: float) -> None:
        """Do one call of an update."""
        self.raw.set_learning_rate(lr)
        rows, errors = np.atleast_2d(np.asarray(x)), np.atleast_2d(np.asarray(d))
        self.raw.update(tensor(rows), tensor(errors))

    def read(self, name: str) -> Array:
        """Return the weight, a hidden parameter, or a counter, flag or average by name."""
        if name == "weight":
            return np.asarray(self.raw.get_weights().numpy())
        planes = self.tile.get_hidden_parameters()
        if name in planes:
            return np.asarray(planes[name].numpy())
        extra = self.raw.dump_extra()
        if name in ("m_x", "m_d"):
            return np.asarray(extra["input_error_averages"][name == "m_d"])
        if name in ("in_chopper", "out_chopper"):
            return np.asarray(extra[name]) < 0
        value = np.asarray(extra[{"tmp_count_lr": "count_lr"}.get(name, name)])
        return value if name == "current_slice_indices" or value.size > 1 else value[0]
