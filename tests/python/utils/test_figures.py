"""Figures have the axes, lines and values that they promise."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mho.exceptions import ArgumentError, TileError
from mho.nn import AnalogLinear
from mho.simulator.configs import (
    ConstantStepDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
)
from mho.utils import visualization
from mho.utils.visualization import get_tile_for_plotting
from mho.utils.visualization.plotting_tile import pulse_cycles

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

DEVICE = ConstantStepDevice(dw_min=0.02)


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def test_pulse_response_draws_what_it_returns() -> None:
    tile = get_tile_for_plotting(SingleRPUConfig(device=DEVICE), 3)
    trace = visualization.plot_pulse_response(tile, pulse_cycles(5, 20))
    lines = plt.gca().lines
    assert len(lines) == 3
    np.testing.assert_array_equal(np.stack([line.get_ydata() for line in lines], 1), trace[:, :, 0])
    assert "ConstantStepDevice" in plt.gca().get_title()


def test_functions_without_values_return_the_figure() -> None:
    for draw in (
        lambda: visualization.plot_device(DEVICE, n_loops=1),
        lambda: visualization.plot_device_compact(DEVICE),
        lambda: visualization.plot_device_symmetry(DEVICE, n_pulses=20),
        lambda: visualization.plot_response_overview(SingleRPUConfig(device=DEVICE), 1),
        lambda: visualization.plot_weight_drift(n_repeats=2),
    ):
        figure = draw()
        assert isinstance(figure, plt.Figure) and figure is plt.gcf() and figure.axes


def test_pulse_statistics_draw_what_they_return() -> None:
    direction = pulse_cycles(60, 240)
    tile = get_tile_for_plotting(SingleRPUConfig(device=DEVICE), 2)
    trace = visualization.compute_pulse_response(tile, direction)
    nodes, mean, std = visualization.plot_pulse_statistics(trace, direction, False, 7)
    assert (nodes[0], nodes[-1]) == (trace.min(), trace.max())
    assert mean.shape == std.shape == (7, 2, 1)
    np.testing.assert_array_equal(plt.gca().lines[1].get_ydata(), mean[:, 1, 0])
    assert len(plt.gca().collections) == 2
    assert np.nanmax(mean) < 0


def test_overview_has_four_panels() -> None:
    assert visualization.plot_device(DEVICE, w_noise=0.05, n_traces=2) is plt.gcf()
    noisy, exact, up, down = plt.gcf().axes
    assert [len(axes.lines) for axes in plt.gcf().axes] == [2, 2, 2, 2]
    # Five loops of 2 x 60 pulses are fewer than the smallest number shown.
    assert len(noisy.lines[0].get_ydata()) == len(exact.lines[0].get_ydata()) == 1000
    spread = np.std(noisy.lines[0].get_ydata() - exact.lines[0].get_ydata())
    assert spread > 0.04
    assert np.nanmin(up.lines[0].get_ydata()) >= 0 >= np.nanmax(down.lines[0].get_ydata())


def test_overview_keeps_to_one_cycle_of_many_steps() -> None:
    visualization.plot_device(DEVICE, n_steps=300, n_loops=4, n_traces=1)
    assert len(plt.gcf().axes[0].lines[0].get_ydata()) == 2400


def test_compact_figure() -> None:
    figure = visualization.plot_device_compact(DEVICE, n_steps=40, n_loops=3, linestyle=":")
    axes = figure.get_axes()[0]
    assert len(axes.lines) == 3
    assert len(axes.lines[0].get_ydata()) == 240
    assert axes.lines[0].get_linestyle() == ":"
    assert len(axes.child_axes) == 2


def test_compact_figure_in_given_axes() -> None:
    axes = plt.figure().add_subplot()
    found = visualization.plot_device_compact(DEVICE, n_steps=10, n_traces=1, w_init=0.5, axes=axes)
    assert found is axes
    assert len(plt.get_fignums()) == 1
    assert axes.lines[0].get_ydata()[0] > 0.3


def test_symmetry_point_is_reached() -> None:
    equal = {"dw_min_dtod": 0.0, "up_down_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0}
    device = SoftBoundsDevice(dw_min=0.01, up_down=0.3, dw_min_std=0.0, **equal)
    visualization.plot_device_symmetry(device, n_pulses=2000, n_traces=2)
    values = plt.gca().lines[0].get_ydata()
    # The cycle of alternating pulses: what is left of its start after 1000 of them is below 1e-9,
    # and float32 rounds at each pulse by 2**-26, which pulses forget with a rate of 0.028.
    up, down = 1 - 0.01 / 0.6, 1 - 0.007 / 0.6
    assert values[0] == pytest.approx(0.6, abs=1e-6)
    assert values[-1] == pytest.approx((0.01 * down - 0.007) / (1 - up * down), abs=2e-6)


def test_drift_lowers_weights() -> None:
    times = np.array([1.0, 1e4, 1e7])
    visualization.plot_weight_drift(t_inference_list=times, w_inits=np.array([0.0, 0.5, 1.0]))
    axes = plt.gca()
    assert axes.get_xscale() == "log"
    zero, half, one = (line.get_ydata() for line in axes.lines)
    assert np.abs(zero).max() < 0.05
    assert one[0] > one[1] > one[2] > half[2] > 0.1
    assert len(axes.collections) == 3


def test_programming_error_of_an_inference_tile() -> None:
    axes = visualization.plot_programming_error(InferenceRPUConfig(), n_bins=5, label="now")
    now = axes.containers[0].lines[0].get_ydata()
    # PCM devices are programmed with an error of about 1 to 9 % of the largest conductance.
    assert (now > 0.5).all() and (now < 10).all()
    visualization.plot_programming_error(InferenceRPUConfig(), n_bins=5, t_inference=1e6, axes=axes)
    assert (axes.containers[1].lines[0].get_ydata()[[0, -1]] > 2 * now[[0, -1]]).all()
    assert axes.get_legend_handles_labels()[1] == ["now"]


def test_programming_error_of_devices_falls_below_the_tolerance() -> None:
    device = ConstantStepDevice(dw_min=0.002, w_max=1.0, w_min=-1.0, w_max_dtod=0.0, w_min_dtod=0.0)
    targets = np.linspace(-0.8, 0.8, 40, dtype=np.float32).reshape(4, 10)
    axes = visualization.plot_programming_error(
        device, w_init=targets, n_bins=3, tolerance=0.1, max_iter=500
    )
    x, y = axes.containers[0].lines[0].get_data()
    np.testing.assert_allclose(x, [-0.5, 0.5])
    # The loop stops at 10 % of the largest target in the mean, as read with output noise; weights
    # moved at least once, so that the error is far below the 40 % of the start near zero.
    assert (y < 20).all()


def test_programming_error_of_a_model() -> None:
    layer = AnalogLinear(6, 5, rpu_config=InferenceRPUConfig()).eval()
    with pytest.raises(TileError, match="never programmed"):
        visualization.plot_model_programming_error(layer)
    layer.program_analog_weights()
    layer.drift_analog_weights(1e5)
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    axes = visualization.plot_model_programming_error(layer, n_bins=4, label="drifted")
    assert axes.get_xlim() == (-1, 1)
    assert len(axes.containers[0].lines[0].get_xdata()) == 3
    after = layer.state_dict()
    moved = [n for n in state if not torch.equal(state[n], after[n])]
    assert all("calls" in name for name in moved)


def test_errors() -> None:
    with pytest.raises(ArgumentError, match="n_steps"):
        visualization.plot_device_compact(DEVICE, n_steps=0)
    with pytest.raises(ArgumentError, match="n_loops"):
        visualization.plot_device(DEVICE, n_loops=0)
    with pytest.raises(ArgumentError, match="n_pulses"):
        visualization.plot_device_symmetry(DEVICE, n_pulses=0)
    with pytest.raises(ArgumentError, match="n_repeats"):
        visualization.plot_weight_drift(n_repeats=0)
    with pytest.raises(ArgumentError, match="t_inference"):
        visualization.plot_programming_error(DEVICE, t_inference=1.0)
    with pytest.raises(ArgumentError, match="w_range"):
        visualization.plot_programming_error(DEVICE, w_range=(1.0, -1.0))
    with pytest.raises(TileError, match="no analog tiles"):
        visualization.plot_model_programming_error(torch.nn.Linear(1, 1))


def test_matplotlib_is_loaded_late_and_its_absence_explained() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from mho.utils.visualization import plot_weight_drift\n"
        "try:\n    plot_weight_drift()\n"
        "except ImportError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "mho[visualization]" in result.stdout, result.stderr
