"""Figures of devices, of programmed weights and of unit cells in training.

The functions draw with matplotlib, which is loaded at the first figure and needs no display:
`pip install mho[visualization]`. Those that only compute work without it.
"""

from mho.utils.visualization.devices import (
    plot_device,
    plot_device_compact,
    plot_device_symmetry,
    plot_pulse_response,
    plot_pulse_statistics,
    plot_response_overview,
)
from mho.utils.visualization.plotting_tile import estimate_n_steps, get_tile_for_plotting
from mho.utils.visualization.programming import (
    plot_model_programming_error,
    plot_programming_error,
    plot_weight_drift,
)
from mho.utils.visualization.response import compute_pulse_response, compute_pulse_statistics
from mho.utils.visualization.transfer import TransferTrace, compute_transfer, plot_transfer

__all__ = [
    "TransferTrace",
    "compute_pulse_response",
    "compute_pulse_statistics",
    "compute_transfer",
    "estimate_n_steps",
    "get_tile_for_plotting",
    "plot_device",
    "plot_device_compact",
    "plot_device_symmetry",
    "plot_model_programming_error",
    "plot_programming_error",
    "plot_pulse_response",
    "plot_pulse_statistics",
    "plot_response_overview",
    "plot_transfer",
    "plot_weight_drift",
]
