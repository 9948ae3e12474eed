"""The autograd function of tiles, at the path where scripts look for it."""

from mho.optim.context import AnalogContext
from mho.simulator.autograd.function import AnalogFunction

__all__ = ["AnalogContext", "AnalogFunction"]
