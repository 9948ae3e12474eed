"""Names of the cells that combine several devices, at the path where scripts look for them."""

from mho.simulator.devices.cells import *  # noqa: F403
from mho.simulator.devices.cells import __all__ as __all__
