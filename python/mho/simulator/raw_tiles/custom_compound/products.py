"""What the products of a compound are computed with: its weights, without any device."""

import copy
from typing import Any

from mho.simulator.devices.ideal import IdealDevice


def without_devices(config: Any) -> Any:
    """Return the configuration of the products of a tile.

    Args:
        config: Configuration of a tile with a compound.
    """
    new = copy.copy(config)
    vars(new)["device"] = IdealDevice()  # past the check of changes: the copy has no owner
    return new
