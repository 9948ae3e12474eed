"""Residual learning: every device corrects what the coarser ones cannot express.

Devices of few states, `W = sum_k gamma^(n-1-k) w_k`: device 0 is the fine one and gets the
gradients of the whole weight, device `n - 1` the coarse one. Now and then a column of each is read
and added to the next coarser one. It is not reset: `gamma > 0` is the feedback, the fine devices
unlearn what a write has done too much of. Nothing is digital between them. See Li, Wu, Liu, Gokmen
and Chen, arXiv:2510.02516; theory for two devices in arXiv:2502.06309.
"""

import torch
from torch import Tensor

from mho.exceptions import ConfigError
from mho.simulator.devices.cells.rule_tile import RuleTile


def residual(t: RuleTile) -> None:
    """Train the fine device, and transfer along the chain; one call is a mini-batch.

    Device `j` transfers one column every `period * base**j` calls, times
    `rate * growth**(n - 1 - j)`. While there is a warm start, device 0 transfers straight to device
    `warm_start` instead, and the others not at all.

    Parameters: `period`, `base`, `rate`, `growth`; `warm_start`, whether to begin with one; `fast`,
    a factor of the learning rate of the fine device, 1 where it is missing.

    Args:
        t: Tile, with `every=0`.
    """
    t.update(0, t.x, t.d, t.p.get("fast", 1.0) * t.lr)
    last = len(t.g) - 1
    calls = t.state("calls", 1, dtype=torch.int64).add_(1)
    warm = int(warm_start(t))
    for j in range(1 if warm else last):
        if int(calls) % round(t.p["period"] * t.p["base"] ** j) == 0:
            k = t.cycle(f"k{j}", t.X)
            value = t.p["rate"] * t.p["growth"] ** (last - j) * t.read(j, k)
            t.add(warm if warm else j + 1, k, value)


def weights_of_devices(states: float, number: int) -> list[float]:
    """Return what the devices count in the weight, powers of a ratio that fits their steps.

    Best is a ratio a little more than one over the number of states, and one below 1/sqrt(6) is
    stable; what is published lies between 0.1 for 16 states and 0.5 for 4.

    Args:
        states: Steps between the bounds of a device.
        number: Number of devices.
    """
    gamma = min(max(2.5 / states, 0.1), 0.5)
    return [gamma ** (number - 1 - k) for k in range(number)]


def warm_start(t: RuleTile) -> Tensor:
    """Return the device to which device 0 transfers in the warm start, int64 `[1]`; 0 after it.

    Args:
        t: Tile.
    """
    first = len(t.g) - 1 if t.p["warm_start"] else 0
    return t.state("warm_start", 1, init=first, dtype=torch.int64)


def advance_warm_start(t: RuleTile) -> None:
    """Go on to the next finer device in a warm start, or end it; then the chain starts.

    To be called when the loss does not fall any more: for the first switches when its mean over an
    epoch has risen once, later when it has risen twice within five epochs.

    Args:
        t: Tile.

    Raises:
        ConfigError: The rule has no warm start.
    """
    if "warm_start" not in t.p:
        raise ConfigError("device.params: the rule of the tile has no warm start")
    warm_start(t).sub_(1).clamp_(min=0)
