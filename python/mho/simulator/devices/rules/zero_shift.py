"""Zero-shifting before training: pulses up and down bring a device to its symmetry point.

There both directions have the same size, and there alone does a device that collects gradients
forget towards its offset instead of away from it. See Kim et al., arXiv:1907.10228.
"""

import torch

from mho.simulator.devices.cells.rule_tile import RuleTile
from mho.simulator.devices.rules.tiki_taka import columns, fast_rate, whole_pulses

_MEAN_OF = 20


def zero_shift(t: RuleTile) -> None:
    """Spend the first calls on pulses in turn, remember where they lead, then do as `ttv2`.

    Parameters: those of `ttv2`, and `shifts`, the number of pulses for each crosspoint, one per
    call; `ln(1/delta) / (g kappa)` bring it up to the share `delta` of its distance, with `kappa`
    the slope of the difference of both directions, `1/w_max` for soft bounds.

    Args:
        t: Tile.
    """
    shifts, reference = t.p["shifts"], t.state("R", t.D, t.X)
    done = t.state("shifted", 1, dtype=torch.int64)
    if done < shifts:
        done += 1
        sign = 1.0 if done % 2 else -1.0
        t.pulses(0, slice(None), sign * reference.new_ones(t.X, t.D))
        if done > shifts - _MEAN_OF:
            reference += t.read(0, slice(None)).T / min(_MEAN_OF, shifts)
        return
    t.update(0, t.x, t.d, fast_rate(t), t.p["bl"])
    for cols, _ in columns(t):
        signal = t.read(0, cols) - reference[:, cols].T
        t.pulses(1, cols, whole_pulses(t, cols, t.lr / t.g[0] * signal))
