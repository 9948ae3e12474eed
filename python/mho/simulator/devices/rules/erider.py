"""Training that follows the symmetry point of its fast device (E-RIDER).

The fast device `P` gets gradients whose sign flips column by column, so what it learns changes fast
while its pull to the symmetry point does not. A slow average `Q` of what is read is therefore the
symmetry point, and what is beyond it the gradient. The visible weight is `W + gamma c (P - S)`,
with the signs `c` and `S`, a copy of `Q` that is renewed when the sign of a column flips. See Xiao,
Li, Wu, Gokmen and Chen, arXiv:2602.21321.
"""

import torch
from torch import Tensor

from mho.simulator.devices.cells.rule_tile import RuleTile
from mho.simulator.devices.rules.tiki_taka import columns


def erider(t: RuleTile) -> None:
    """Train the fast device 0; read one of its columns per sample, and write it to device 1.

    Parameters: `fast_lr`, rate of the fast device; `eta`, rate of the average; `beta`, rate of the
    writing; `chop`, probability of a flip after a read; `gamma`, weight of the fast device. None of
    them is in units of the learning rate of the tile.

    Args:
        t: Tile.
    """
    c, q, s = signs(t), t.state("Q", t.D, t.X), t.state("S", t.D, t.X)
    t.update(0, t.x * c, t.d, t.p["fast_lr"])
    for cols, _ in columns(t):
        v, sign = t.read(0, cols), c[cols, None]
        q[:, cols] += t.p["eta"] * (v.T - q[:, cols])
        t.add(1, cols, t.p["beta"] * sign * (v - s[:, cols].T))
        flips = t.coin(t.p["chop"], len(sign))
        s[:, cols] = torch.where(flips, q[:, cols], s[:, cols])
        c[cols] = torch.where(flips, -c[cols], c[cols])


def erider_weight(t: RuleTile) -> Tensor:
    """Return `W + gamma c (P - S)`.

    Args:
        t: Tile.
    """
    beyond = t.weight(0) - t.state("S", t.D, t.X)
    gamma: float = t.p["gamma"]
    return t.weight(1) + gamma * signs(t) * beyond


def signs(t: RuleTile) -> Tensor:
    """Return the sign of each column, `[X]`.

    Args:
        t: Tile.
    """
    return t.state("c", t.X, init=1)
