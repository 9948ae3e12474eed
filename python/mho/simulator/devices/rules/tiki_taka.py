"""Tiki-Taka, versions 1 to 4, as rules for two devices: a fast one, 0, and a slow one, 1.

They do what the cells of the core do, column by column after every sample, and say it in a few
lines each. With `every=1` they do exactly that; with larger blocks, all samples of a call come
first and then all columns that are due. Sources: Gokmen and Haensch, Front. Neurosci. 14:103, 2020
(`ttv1`); Gokmen, Front. Artif. Intell. 4:699148, 2021 (`ttv2`); Rasch et al., Nat. Commun. 15, 2024
(`c_ttv2`, `agad`).
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mho.simulator.devices.cells.rule_tile import RuleTile


def ttv1(t: RuleTile) -> None:
    """Collect gradients on the fast device; add a column of it to the slow one now and then.

    Parameters: `fast_lr`, in units of the learning rate; `period`, in samples.

    Args:
        t: Tile.
    """
    t.update(0, t.x, t.d, t.lr * t.p["fast_lr"])
    for cols, _ in columns(t, t.p["period"]):
        t.add(1, cols, t.lr * t.read(0, cols))


def ttv2(t: RuleTile) -> None:
    """Collect what is read in a digital buffer, and write whole pulses.

    Parameters: `fast_lr`, `bl`, `n`, `forget` (see `fast_rate` and `whole_pulses`).

    Args:
        t: Tile.
    """
    t.update(0, t.x, t.d, fast_rate(t), t.p["bl"])
    for cols, _ in columns(t):
        t.pulses(1, cols, whole_pulses(t, cols, t.lr / t.g[0] * t.read(0, cols)))


def c_ttv2(t: RuleTile) -> None:
    """Flip the sign of columns of the fast device at random, so that its offsets average out.

    Parameters: those of `ttv2`, and `chop`, the probability of a flip after a read.

    Args:
        t: Tile.
    """
    c = t.state("c", t.X, init=1)
    t.update(0, t.x * c, t.d, fast_rate(t), t.p["bl"])
    for cols, _ in columns(t):
        sign = c[cols, None]
        t.pulses(1, cols, whole_pulses(t, cols, t.lr / t.g[0] * sign * t.read(0, cols)))
        c[cols] = torch.where(t.coin(t.p["chop"], len(sign)), -c[cols], c[cols])


def agad(t: RuleTile) -> None:
    """Subtract what a column was in the mean before its sign flipped.

    Parameters: those of `ttv2`, `chop`, the frequency of flips, and `tail`, how much the mean
    favours the last reads before a flip.

    Args:
        t: Tile.
    """
    c, flipped = t.state("c", t.X, init=1), t.state("flip", t.X)
    mean, past = t.state("M", t.D, t.X), t.state("P", t.D, t.X)
    period = max(math.ceil(1 / t.p["chop"]), 2)
    share = min(t.p["tail"] / period, 1.0)
    t.update(0, t.x * c, t.d, fast_rate(t), t.p["bl"])
    for cols, sweep in columns(t):
        v = t.read(0, cols)
        past[:, cols] = torch.where(flipped[cols] > 0, mean[:, cols], past[:, cols])
        signal = c[cols, None] * (v - past[:, cols].T)
        n = whole_pulses(t, cols, t.lr / t.g[0] * signal)
        mean[:, cols] = (1 - share) * mean[:, cols] + share * v.T
        if sweep > period:
            t.pulses(1, cols, n)
        flipped[cols] = float(sweep % period + 1 == period)
        c[cols] *= 1 - 2 * flipped[cols]


def columns(t: RuleTile, period: int = 1) -> Iterator[tuple[slice, int]]:
    """Yield the columns that are due, one every so many samples, and the number of their sweep.

    Args:
        t: Tile.
        period: Samples per column.
    """
    rows = t.x.shape[0] if t.x.dim() == 2 else 1
    number, last = (t.count - rows) // period, t.count // period
    while number < last:
        sweep, first = divmod(number, t.X)
        stop = min(first + last - number, t.X)
        yield slice(first, stop), sweep
        number += stop - first


def fast_rate(t: RuleTile) -> float:
    """Return a rate with which the largest element gets `fast_lr * bl` pulses in the mean.

    Args:
        t: Tile; the largest inputs and errors of its samples are averaged.
    """
    averages, share = t.state("m", 2, dtype=torch.float64), 0.01 / t.B
    for i, values in enumerate((t.x, t.d)):
        mean = float(averages[i])
        for largest in values.abs().amax(-1).reshape(-1).tolist():
            if mean <= 0:
                mean = largest
            elif largest > 0:
                mean = (1 - share) * mean + share * largest
        averages[i] = mean
    scale = float(averages.prod()) or 1.0
    rate: float = t.p["fast_lr"] * t.p["bl"] * t.g[0] / scale
    return rate


def whole_pulses(t: RuleTile, cols: slice, added: Tensor) -> Tensor:
    """Add to columns of the buffer `H`, and take whole pulses out of it, `n` at most.

    Args:
        t: Tile; with `forget`, nothing is left in the buffer of those above its threshold of one.
        cols: Columns.
        added: In pulses, `[lines, D]`.

    Returns:
        Numbers of pulses, `[lines, D]`.
    """
    h, most = t.state("H", t.D, t.X), t.p["n"]
    wanted = h[:, cols].T + added
    n = wanted.trunc().clamp(-most, most)
    left = torch.zeros_like(wanted) if t.p["forget"] else wanted - n
    h[:, cols] = torch.where(n != 0, left, wanted).T
    return n
