"""Compact figures of preset devices for pages with a dark background."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.signatures import checked
from mho.simulator.presets.compounds import PCMPresetUnitCell
from mho.simulator.presets.devices import (
    CapacitorPresetDevice,
    EcRamPresetDevice,
    IdealizedPresetDevice,
    ReRamESPresetDevice,
    ReRamSBPresetDevice,
)
from mho.utils.visualization.backend import check_axes, pyplot
from mho.utils.visualization.devices import plot_device_compact

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DEVICES",
    "WEB_COLORS",
    "plot_device_compact_web",
    "save_plots_for_web",
    "set_dark_style",
]

# The bright half of the Okabe-Ito colours, which stay apart for colour-blind readers.
WEB_COLORS: Sequence[str] = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7")
"""Colours of the traces, in turn."""

DEVICES: Sequence[CrosspointDevice] = (
    IdealizedPresetDevice(),
    CapacitorPresetDevice(),
    EcRamPresetDevice(),
    ReRamESPresetDevice(),
    ReRamSBPresetDevice(),
    PCMPresetUnitCell(),
)
"""Devices that `save_plots_for_web` draws."""

_FRONT, _BACK = "#F4F4F4", "#161616"


def set_dark_style(axes: "Axes") -> None:
    """Give axes and their insets light lines and text on a dark ground.

    Args:
        axes: Axes to change; None takes the current ones.

    Raises:
        ArgumentError: They are something else.
    """
    axes = check_axes("axes", axes)
    axes.set_facecolor(_BACK)
    axes.tick_params(colors=_FRONT, which="both")
    for spine in axes.spines.values():
        spine.set_color(_FRONT)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(_FRONT)
    for index, line in enumerate(axes.lines):
        line.set_color(WEB_COLORS[index % len(WEB_COLORS)])
    for inset in axes.child_axes:
        set_dark_style(cast("Axes", inset))


@checked
def plot_device_compact_web(
    device: CrosspointDevice,
    w_noise: float = 0.0,
    n_steps: int | None = None,
    n_traces: int = 3,
) -> "Figure":
    """Plot the pulse response of a device in one dark panel.

    Args:
        device: As for `plot_device_compact`.
        w_noise: As for `plot_device_compact`.
        n_steps: As for `plot_device_compact`.
        n_traces: As for `plot_device_compact`.

    Returns:
        The new figure.

    Raises:
        ArgumentError: As `plot_device_compact`.
        ConfigError: As `plot_device_compact`.
        ImportError: matplotlib is not installed.
    """
    figure: Figure = pyplot().figure(figsize=(12, 4), facecolor=_BACK)
    axes = figure.add_subplot()
    plot_device_compact(device, w_noise, n_steps, n_traces, axes=axes)
    set_dark_style(axes)
    return figure


@checked
def save_plots_for_web(path: str | Path = Path("/tmp"), file_format: str = "svg") -> None:
    """Draw every device of `DEVICES` into a file with the name of its class.

    Args:
        path: Folder; it must exist.
        file_format: Ending of the files, a format of matplotlib.

    Raises:
        ConfigError: A device cannot be built; files of those before it are written.
        ImportError: matplotlib is not installed.
        OSError: The folder cannot be written.
    """
    plt = pyplot()
    for device in DEVICES:
        figure = plot_device_compact_web(copy.deepcopy(device))
        plt.savefig(Path(path) / f"{type(device).__name__}.{file_format}")
        plt.close(figure)
