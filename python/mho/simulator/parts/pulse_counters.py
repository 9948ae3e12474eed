"""What is said where pulses are not counted."""

from torch import Tensor

from mho.exceptions import ConfigError


def counted(counts: Tensor, device: object) -> Tensor:
    """Return pulse counters of a raw tile.

    Args:
        counts: Pulse counters, empty without any.
        device: Device of the configuration.

    Raises:
        ConfigError: There are none; the message names the field to set.
    """
    if counts.numel() > 0:
        return counts
    name = type(device).__name__
    raise ConfigError(
        f"device.count_pulses: pulses of this tile are not counted; build it with"
        f" {name}(count_pulses=True)"
        if hasattr(device, "count_pulses")
        else f"device: {name} has no pulses to count; use a pulsed device with count_pulses=True"
    )
