"""Optimisation of how weights are programmed into pairs of devices."""

from mho.inference.converter.wpo.loss import (
    downsample_weight_distribution,
    loss_fxn,
    loss_rpu_config,
    loss_weights,
    shuffle_weights,
)
from mho.inference.converter.wpo.optimizer import WeightProgrammingOptimizer, stop_criterion
from mho.inference.converter.wpo.programme import (
    denormalize,
    partition_parameters,
    reformat_x_g,
    span_of_remaining_pairs,
)

__all__ = [
    "WeightProgrammingOptimizer",
    "denormalize",
    "downsample_weight_distribution",
    "loss_fxn",
    "loss_rpu_config",
    "loss_weights",
    "partition_parameters",
    "reformat_x_g",
    "shuffle_weights",
    "span_of_remaining_pairs",
    "stop_criterion",
]
