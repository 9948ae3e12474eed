"""Figures of unit cells in training show what their tiles held."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from cells_for_tests import CELLS
from mho.exceptions import ArgumentError, TileError
from mho.nn import AnalogLinear
from mho.simulator.configs import SingleRPUConfig
from mho.simulator.tiles import AnalogTile
from mho.utils.visualization import compute_transfer, plot_transfer

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def made(name: str) -> AnalogTile:
    torch.manual_seed(0)
    tile = AnalogTile(5, 7, CELLS[name]())
    tile.tile.set_learning_rate(0.1)
    return tile


def stepper(tile: AnalogTile) -> object:
    return tile.update(torch.ones(2, 7), torch.full((2, 5), 0.5))


@pytest.mark.parametrize("name", sorted(CELLS))
def test_traces_are_what_the_tile_holds(name: str) -> None:
    tile, points = made(name), [(0, 1), (4, 6)]
    start = tile.get_hidden_parameters()
    trace = compute_transfer(tile, lambda: stepper(tile), 6, points)
    end = tile.get_hidden_parameters()
    assert trace.crosspoints == points
    assert trace.planes.keys() == {
        k for k in end if k.startswith(("hidden", "buff", "run", "past"))
    }
    for key, values in trace.planes.items():
        assert values.shape == (7, 2)
        for at, (row, column) in enumerate(points):
            assert values[0, at] == float(start[key][row, column])
            assert values[-1, at] == float(end[key][row, column])
    weights = tile.tile.get_weights()
    assert trace.weights[-1].tolist() == [float(weights[p]) for p in points]
    assert (trace.choppers is not None) == ("in_chopper" in tile.tile.dump_extra())


@pytest.mark.parametrize("name", ["chopped", "chopped_rows"])
def test_signs_are_those_of_rows_and_columns(name: str) -> None:
    tile = made(name)
    trace = compute_transfer(tile, lambda: stepper(tile), 40, [(1, 2), (3, 5)])
    assert trace.choppers is not None and set(np.unique(trace.choppers)) == {-1.0, 1.0}
    signs = tile.tile.dump_extra()["in_chopper"]
    expected = [signs[2], signs[5]] if name == "chopped" else [signs[1], signs[3]]
    assert trace.choppers[-1].tolist() == expected


def test_figure() -> None:
    layer = AnalogLinear(7, 5, rpu_config=CELLS["dynamic"]())
    tile = layer.analog_module
    tile.tile.set_learning_rate(0.1)
    figure = plot_transfer(layer, lambda: stepper(tile), 30)
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert labels[:2] == ["device 0", "device 1"] and labels[-1] == "weight"
    assert {"buffer", "running mean", "past mean"} <= set(labels)
    assert all(len(axis.lines) == 4 for axis in figure.axes)


def test_refused() -> None:
    tile = made("transfer")
    with pytest.raises(ArgumentError, match="crosspoints"):
        compute_transfer(tile, lambda: stepper(tile), 2, [(5, 0)])
    with pytest.raises(ArgumentError, match="crosspoints"):
        compute_transfer(tile, lambda: stepper(tile), 2, [])
    for bad in ([1, 2], [(1, None)], [(1, 2, 3)], [("a", 0)]):
        with pytest.raises(ArgumentError, match="crosspoints"):
            compute_transfer(tile, lambda: stepper(tile), 2, bad)
    with pytest.raises(ArgumentError, match="n_steps"):
        compute_transfer(tile, lambda: stepper(tile), 0)
    with pytest.raises(TileError, match="unit cells"):
        compute_transfer(AnalogLinear(3, 2, rpu_config=SingleRPUConfig()), lambda: None, 2)
