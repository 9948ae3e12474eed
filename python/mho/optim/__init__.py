"""Optimizers that also update the weights of analog tiles."""

from mho.optim.analog_optimizer import AnalogAdam, AnalogOptimizer, AnalogSGD

__all__ = ["AnalogAdam", "AnalogOptimizer", "AnalogSGD"]
