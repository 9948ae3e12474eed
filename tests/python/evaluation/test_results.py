"""What a result is as text, file, table of pandas and figure."""

import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mho
from evaluation_cases import batches, inference_config, outputs, two_layers
from mho.evaluation import Evaluation
from mho.exceptions import ArgumentError


@pytest.fixture(scope="module")
def result() -> Evaluation:
    return mho.evaluate(
        two_layers(inference_config()), batches(), outputs, times=["programmed", 0, "1 h", "1 y"],
        n_programmings=3, n_reads=2, layer_error=6, ablation={"drift": None, "adc": None},
        progress=False,
    )  # fmt: skip


def test_text(result: Evaluation) -> None:
    lines = repr(result).splitlines()
    assert max(map(len, lines)) <= 100
    assert "for this trained network and this test set" in repr(result)
    assert "3 programmings, 2 reads each" in lines[0] and "95 % interval (t)" in lines[1]
    year = next(line.split() for line in lines if line.startswith("1 y"))
    assert float(year[2]) == pytest.approx(result.table[-1]["mean"], rel=1e-3)
    assert any(line.startswith("reference: outputs ") for line in lines)
    assert any("cost (1 y), positive where it hurts" in line for line in lines)


def test_long_texts_end_somewhere() -> None:
    row = {"time": "1 h", "metric": "m" * 200, "mean": 1.0}
    settings = {
        "n_programmings": 1, "n_reads": 1, "confidence": 0.95, "interval": "t",
        "directions": {"m" * 200: 1.0, "n": 1.0},
    }  # fmt: skip
    text = repr(Evaluation(table=[row], settings=settings, notes=["a" * 300, "b " * 200]))
    assert max(map(len, text.splitlines())) <= 100


def test_files(result: Evaluation, tmp_path: Path) -> None:
    """Everything comes back, also what is not finite; nothing is pickled."""
    path = tmp_path / "result.json"
    result.save(path)
    loaded = Evaluation.load(path)
    assert repr(loaded) == repr(result)
    assert {k: repr(v) for k, v in vars(loaded).items()} == {
        k: repr(v) for k, v in vars(result).items()
    }
    content = json.loads(path.read_text())
    for text in ("nothing", "3", "{}", json.dumps({**content, "more": 1})):
        path.write_text(text)
        with pytest.raises(ArgumentError, match=r"path: .* holds no evaluation"):
            Evaluation.load(path)


def test_plain_data(result: Evaluation) -> None:
    """No tensors and no objects: what JSON has."""

    def check(value: Any) -> None:
        if isinstance(value, dict):
            assert all(type(name) is str for name in value)
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                check(item)
        else:
            assert value is None or type(value) in (str, int, float, bool), value

    check(vars(result))


def test_pandas(result: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = ModuleType("pandas")
    fake.DataFrame = lambda rows: ("frame", rows)
    monkeypatch.setitem(sys.modules, "pandas", fake)
    for name in ("table", "samples", "layers", "ablation"):
        assert result.to_pandas(name) == ("frame", getattr(result, name))
    with pytest.raises(ArgumentError, match="which"):
        result.to_pandas("notes")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install mho\[pandas\]"):
        result.to_pandas()


def test_real_pandas(result: Evaluation) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed: pip install mho[pandas]")
    frame = result.to_pandas("samples")
    assert len(frame) == len(result.samples) and frame["value"].dtype == float


@pytest.fixture
def pyplot() -> Any:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    found = pytest.importorskip("matplotlib.pyplot")
    yield found
    found.close("all")


@pytest.mark.parametrize("kind", ["drift", "samples", "layers", "ablation"])
def test_figures(result: Evaluation, kind: str, pyplot: Any) -> None:
    """A new figure, or given axes; both are returned as the figure, and can be drawn."""
    figure = result.plot(kind)
    assert isinstance(figure, pyplot.Figure)
    figure.canvas.draw()
    mine, axes = pyplot.subplots()
    assert result.plot(kind, axes=axes) is mine
    assert axes.has_data()


def test_figure_of_drift(result: Evaluation, pyplot: Any) -> None:
    """Means at the logarithm of their times, before them a break and what was programmed."""
    (axes,) = result.plot().axes
    lines = [line for line in axes.lines if len(line.get_xdata()) == 3]
    (line,) = [one for one in lines if one.get_linestyle() == "-"]
    x, y = line.get_xdata(), line.get_ydata()
    assert list(y) == [row["mean"] for row in result.table[1:]]
    assert list(x[1:]) == pytest.approx([math.log10(3600.0), math.log10(31536000.0)])
    assert x[0] < x[1]  # zero seconds have no logarithm
    dots = [one for one in axes.lines if one.get_label() == "programmings"]
    assert len(dots[0].get_xdata()) == 4 * 3
    assert next(iter(axes.get_xticklabels())).get_text() == "programmed"


def test_refused_figures(result: Evaluation, pyplot: Any) -> None:
    with pytest.raises(ArgumentError, match="kind: expected one of"):
        result.plot("all")
    with pytest.raises(ArgumentError, match="metric: unknown name 'f1'"):
        result.plot(metric="f1")
    with pytest.raises(ArgumentError, match="metric: of layers"):
        result.plot("layers", metric="f1")
    bare = Evaluation(table=result.table, settings=result.settings)
    with pytest.raises(ArgumentError, match="use layer_error"):
        bare.plot("layers")
    with pytest.raises(ArgumentError, match="use ablation"):
        bare.plot("ablation")


def test_evaluation_of_one_moment_can_be_drawn(pyplot: Any) -> None:
    for times in (["programmed"], [0], ["1 h"]):
        small = mho.evaluate(
            two_layers(inference_config()), batches(), outputs, times=times, n_programmings=1,
            progress=False,
        )  # fmt: skip
        small.plot().canvas.draw()


def test_figures_without_matplotlib(result: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install mho\[visualization\]"):
        result.plot()
