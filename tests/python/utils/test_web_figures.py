"""Figures for dark pages: colours, files, and which devices."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mho.simulator.configs import ConstantStepDevice
from mho.simulator.presets import PCMPresetUnitCell
from mho.utils import visualization_web as web

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import to_rgb  # noqa: E402


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def test_dark_figure() -> None:
    figure = web.plot_device_compact_web(ConstantStepDevice(dw_min=0.05), n_traces=7)
    (axes,) = figure.get_axes()
    colors = [line.get_color() for line in axes.lines]
    assert colors == [web.WEB_COLORS[i % len(web.WEB_COLORS)] for i in range(7)]
    for panel in (axes, *axes.child_axes):
        assert sum(to_rgb(panel.get_facecolor())) < 0.5
        assert sum(to_rgb(panel.title.get_color())) > 2.5


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "DEVICES", (ConstantStepDevice(dw_min=0.1),))
    web.save_plots_for_web(tmp_path, "png")
    assert [file.name for file in tmp_path.iterdir()] == ["ConstantStepDevice.png"]
    assert plt.get_fignums() == []


def test_devices_are_presets_of_different_kinds() -> None:
    kinds = {type(device) for device in web.DEVICES}
    assert len(kinds) == len(web.DEVICES) == 6
    assert PCMPresetUnitCell in kinds
