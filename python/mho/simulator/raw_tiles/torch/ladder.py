"""Columns of devices along a resistive wire, read out while input pulses of various lengths last.

Every cell is a pair of devices between its column and two voltages: 0.6 and 0.2 V while a positive
pulse lasts, exchanged while a negative one does, and 0.4 V both when idle. So a pulse of sign `a`
feeds a current source into the node of its cell and changes no conductance:

    G_j = g+_j + g-_j,    G_j V_j = 0.4 G_j + 0.2 a_j (g+_j - g-_j)          in microamperes

Consecutive rows are lumped into segments, one node each, with wires of resistance `r` between them
and half of one at the converter, which holds its end at the read voltage `v`. Seen from a node, all
that lies behind it is a source `J` with a conductance `Y` (Norton), and going one node on is

    J <- J / (1 + r Y) + G V,    Y <- Y / (1 + r Y) + G

Hence the current into the converter is linear in the pulses. With `A_s`, the product of all those
factors from segment `s` on, and `Y` at the converter it is

    I = (0.4 - v) Y + 0.2 sum_j a_j A_s(j) (g+_j - g-_j)

and the charge of all time steps is one product of the *number* of steps that each pulse lasts with
effective conductances `A (g+ - g-)`. No step has to be computed by itself.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_IDLE_VOLTAGE = 0.4
PULSE_VOLTAGE = 0.2
"""By how much a pulse raises one device of a cell and lowers the other one, in volt."""

_MEGAOHM = 1e-6  # of an ohm; currents are in microamperes and conductances in microsiemens


class Ladder(NamedTuple):
    """Columns of one pair of devices per weight, as the converters see them."""

    effective: Tensor
    """What is left of the conductance `g+ - g-` of each cell, shape `[out, rows]`, in
    microsiemens."""

    total: Tensor
    """Conductance of each column, shape `[out]`, in microsiemens."""

    def charge(self, counts: Tensor, steps: int, v_read: float) -> Tensor:
        """Return the charge that the converters collect, in microamperes times steps.

        Args:
            counts: Number of steps that the pulse on each row lasts, with its sign; shape
                `[samples, rows]`.
            steps: Number of all steps; idle cells leak in each.
            v_read: Voltage of the converters.

        Returns:
            Shape `[samples, out]`.
        """
        leak = steps * (_IDLE_VOLTAGE - v_read) * self.total
        return PULSE_VOLTAGE * (counts @ self.effective.mT) + leak


def ladder(plus: Tensor, minus: Tensor, segments: int, wire: float) -> Ladder:
    """Return the columns of pairs of conductances.

    Converters of even columns are behind the last row, those of odd columns before the first.

    Args:
        plus: Conductances for positive weights, shape `[out, rows]`, in microsiemens.
        minus: Those for negative weights.
        segments: Nodes per column; divides the rows.
        wire: Resistance of the wire between two rows, in ohm.
    """
    columns, rows = plus.shape
    per_segment = rows // segments
    r = _MEGAOHM * wire * per_segment
    nodes = (plus + minus).reshape(columns, segments, per_segment).sum(dim=2)
    is_odd = (torch.arange(columns, device=plus.device) % 2 == 1).unsqueeze(1)
    nodes = torch.where(is_odd, nodes.flip(1), nodes)  # from the far end to the converter
    total, kept = nodes[:, 0], []
    for s in range(1, segments):
        kept.append(1.0 / (1.0 + r * total))
        total = total * kept[-1] + nodes[:, s]
    kept.append(1.0 / (1.0 + 0.5 * r * total))
    total = total * kept[-1]
    share = torch.stack(kept, dim=1).flip(1).cumprod(dim=1).flip(1)
    share = torch.where(is_odd, share.flip(1), share)
    effective = (plus - minus) * share.repeat_interleave(per_segment, dim=1)
    return Ladder(effective, total)
