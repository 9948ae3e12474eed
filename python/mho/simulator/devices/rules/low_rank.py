"""Low-rank Tiki-Taka: the fast part of the weight is a product of two narrow matrices.

The weight is `C + alpha A B` with `A` of `[D, r]` and `B` of `[r, X]`. Gradients go to `A` and `B`
only; now and then their product is written onto `C`, and both start anew. This saves devices: the
fast part has `r (D + X)` of them instead of `D X`.
"""

import math

import torch
from torch import Tensor

from mho.simulator.devices.cells.rule_tile import RuleTile

_A, _B, _C = 0, 1, 2


def low_rank(t: RuleTile) -> None:
    """Train both factors, and write their product onto the last device every `period` samples.

    Parameters: `rank`; `period`, in samples; `alpha`, the weight of the product, also when it is
    written, so that the weight of the tile does not jump; `gain`, of the random start of `B`.

    Args:
        t: Tile.
    """
    due, rank, alpha = t.state("due", 1, dtype=torch.int64), t.p["rank"], t.p["alpha"]
    if t.count > due:
        if due > 0:
            a, b = t.read(_A, slice(None)), t.read(_B, rows=slice(None))
            for q in range(rank):
                t.update(_C, b[q], -a[q], alpha)
        t.program(_A, torch.zeros(t.D, rank))
        t.program(_B, t.p["gain"] * math.sqrt(2 / t.X) * t.normal(rank, t.X))
        due += t.p["period"]
    narrow, wide = t.product(_B, t.x), t.product(_A, t.d, transposed=True)
    t.update(_A, narrow, t.d, t.lr)
    t.update(_B, t.x, wide, t.lr)


def low_rank_weight(t: RuleTile) -> Tensor:
    """Return `C + alpha A B`.

    Args:
        t: Tile.
    """
    alpha: float = t.p["alpha"]
    return t.weight(_C) + alpha * t.weight(_A) @ t.weight(_B)
