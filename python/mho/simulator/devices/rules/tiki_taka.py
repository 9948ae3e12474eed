"""Tiki-Taka, versions 1 to 4, as rules for two devices: a fast one, 0, and a slow one, 1.

They do what the cells of the core do, column by column after every sample, and say it in a few
lines each: `every=1`. Sources: Gokmen and Haensch, Front. Neurosci. 14:103, 2020 (`ttv1`); Gokmen,
Front. Artif. Intell. 4:699148, 2021 (`ttv2`); Rasch et al., Nat. Commun. 15, 2024 (`c_ttv2`,
`agad`).
"""

import math

import torch
from torch import Tensor

from mho.simulator.devices.cells.rule_tile import RuleTile


def ttv1(t: RuleTile) -> None:
    """Collect gradients on the fast device; add a column of it to the slow one now and then.

    Parameters: `fast_lr`, in units of the learning rate; `every`, in samples.

    Args:
        t: Tile.
    """
    t.update(0, t.x, t.d, t.lr * t.p["fast_lr"])
    if t.count % t.p["every"] == 0:
        k = t.cycle("k", t.X)
        t.add(1, k, t.lr * t.read(0, k))


def ttv2(t: RuleTile) -> None:
    """Collect what is read in a digital buffer, and write whole pulses.

    Parameters: `fast_lr`, `bl`, `n`, `forget` (see `fast_rate` and `whole_pulses`).

    Args:
        t: Tile.
    """
    t.update(0, t.x, t.d, fast_rate(t), int(t.p["bl"]))
    k, h = t.cycle("k", t.X), t.state("H", t.D, t.X)
    t.pulses(1, k, whole_pulses(t, k, h[:, k] + t.lr / t.g[0] * t.read(0, k)))


def c_ttv2(t: RuleTile) -> None:
    """Flip the sign of columns of the fast device at random, so that its offsets average out.

    Parameters: those of `ttv2`, and `chop`, the probability of a flip after a read.

    Args:
        t: Tile.
    """
    c, h = t.state("c", t.X, init=1), t.state("H", t.D, t.X)
    t.update(0, t.x * c, t.d, fast_rate(t), int(t.p["bl"]))
    k = t.cycle("k", t.X)
    t.pulses(1, k, whole_pulses(t, k, h[:, k] + t.lr / t.g[0] * c[k] * t.read(0, k)))
    c[k] = torch.where(t.coin(t.p["chop"]), -c[k], c[k])


def agad(t: RuleTile) -> None:
    """Subtract what a column was in the mean before its sign flipped.

    Parameters: those of `ttv2`, `chop`, the frequency of flips, and `tail`, how much the mean
    favours the last reads before a flip.

    Args:
        t: Tile.
    """
    c, flip = t.state("c", t.X, init=1), t.state("flip", t.X)
    h, mean, past = (t.state(name, t.D, t.X) for name in ("H", "M", "P"))
    period = max(math.ceil(1 / t.p["chop"]), 2)
    t.update(0, t.x * c, t.d, fast_rate(t), int(t.p["bl"]))
    k, sweep = t.cycle("k", t.X), (t.count - 1) // t.X
    v = t.read(0, k)
    past[:, k] = torch.where(flip[k] > 0, mean[:, k], past[:, k])
    n = whole_pulses(t, k, h[:, k] + t.lr / t.g[0] * c[k] * (v - past[:, k]))
    share = min(t.p["tail"] / period, 1.0)
    mean[:, k] = (1 - share) * mean[:, k] + share * v
    if sweep > period:
        t.pulses(1, k, n)
    flip[k] = float(sweep % period + 1 == period)
    c[k] *= 1 - 2 * flip[k]


def fast_rate(t: RuleTile) -> float:
    """Return a rate with which the largest element gets `fast_lr * bl` pulses in the mean.

    Args:
        t: Tile; `t.x` and `t.d` are one sample or several.
    """
    largest, share = t.state("m", 2), 0.01 / t.B
    for i, v in enumerate((t.x, t.d)):
        for row in v.reshape(-1, v.shape[-1]):
            a = row.abs().max()
            if largest[i] <= 0:
                largest[i] = a
            elif a > 0:
                largest[i] += share * (a - largest[i])
    scale = float(largest.prod())
    return t.p["fast_lr"] * t.p["bl"] * t.g[0] / (scale if scale > 0 else 1.0)


def whole_pulses(t: RuleTile, k: int, wanted: Tensor) -> Tensor:
    """Take whole pulses, `n` at most, out of what a column of the buffer `H` is to be.

    Args:
        t: Tile.
        k: Column.
        wanted: New values of the column, in pulses; with `forget` nothing is left of those above
            the threshold of one.

    Returns:
        Numbers of pulses.
    """
    h, most = t.state("H", t.D, t.X), t.p["n"]
    n = wanted.trunc().clamp(-most, most)
    left = torch.zeros_like(wanted) if t.p["forget"] else wanted - n
    h[:, k] = torch.where(n != 0, left, wanted)
    return n
