"""What ported scripts ask of the compiled core: CUDA support, raw tiles and device parameters."""

from mho.simulator.rpu_base import cuda, devices, tiles

__all__ = ["cuda", "devices", "tiles"]
