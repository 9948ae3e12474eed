"""Rules of a `CustomCompound` that stand in papers, to be used, read and changed."""

from mho.simulator.devices.rules.erider import erider, erider_weight
from mho.simulator.devices.rules.low_rank import low_rank, low_rank_weight
from mho.simulator.devices.rules.residual import advance_warm_start, residual
from mho.simulator.devices.rules.tiki_taka import agad, c_ttv2, ttv1, ttv2
from mho.simulator.devices.rules.zero_shift import zero_shift

__all__ = [
    "advance_warm_start",
    "agad",
    "c_ttv2",
    "erider",
    "erider_weight",
    "low_rank",
    "low_rank_weight",
    "residual",
    "ttv1",
    "ttv2",
    "zero_shift",
]
