"""What scripts do with measured devices, with nothing but the import changed."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mho.simulator.configs.devices import PiecewiseStepDevice
from mho.utils.visualization import plot_device_compact


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def test_device_of_measured_steps(tmp_path: Path) -> None:
    """Steps of a measurement are fitted by nodes, and the measurement is drawn on the figure.

    The conductances are those of a device whose steps fall by half to either bound: what the
    device does without noise is the measurement, up to the straight lines between nodes.
    """
    up = [-0.5]
    for _ in range(200):
        up.append(up[-1] + 0.01 * (0.75 - 0.5 * up[-1]))
    file = tmp_path / "pulses.csv"
    np.savetxt(file, np.column_stack([np.arange(201), 20.0 + 10.0 * np.array(up)]), delimiter=",")

    data = np.genfromtxt(file, delimiter=",")
    weights = (data[:, 1] - 20.0) / 10.0
    steps = np.diff(weights)
    nodes = np.linspace(-0.5, 0.5, 11)
    fitted = np.polyval(np.polyfit(weights[:-1], steps, 3), nodes)
    scale = fitted[len(nodes) // 2]
    device = PiecewiseStepDevice(
        w_min=-0.5, w_max=0.5, w_min_dtod=0.0, w_max_dtod=0.0, dw_min=float(scale), dw_min_std=0.0,
        dw_min_dtod=0.0, up_down_dtod=0.0, piecewise_up=list(fitted / scale),
        piecewise_down=list(fitted[::-1] / scale),
    )  # fmt: skip
    figure = plot_device_compact(device, n_steps=200, n_traces=1, n_loops=1, use_cuda=False)
    axes = figure.get_axes()[0]
    trace = axes.lines[0].get_ydata()[:200]
    axes.plot(weights)
    assert axes.lines[-1].get_ydata()[0] == -0.5
    # The cubic fit of steps that are linear in the weight is exact; the trace begins after a pulse.
    inside = weights[1:] < 0.5
    assert np.abs(trace - weights[1:])[inside].max() < 1e-4
