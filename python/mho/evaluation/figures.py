"""Figures of an evaluation."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mho.evaluation.ablation import FULL
from mho.evaluation.layers import QUANTITIES
from mho.exceptions import ArgumentError
from mho.utils.visualization.backend import check_axes, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe-Ito colours, which stay apart for colour-blind readers.
_BLUE, _RED, _GREY = "#0072B2", "#D55E00", "#666666"
_COLOURS = (_BLUE, _RED, "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#999999")
_BREAK = 1.3
"""Decades between `programmed` and the first time."""

Tables = Mapping[str, Any]


def draw(kind: str, tables: Tables, name: str | None, axes: Any) -> "Figure":
    """Draw a table of an evaluation.

    Args:
        kind: One of `KINDS`.
        tables: What the evaluation holds, by name.
        name: Metric, or quantity of layers.
        axes: Axes to draw into, None for those of a new figure.

    Raises:
        ArgumentError: There is nothing of that kind to draw.
        ImportError: matplotlib is not installed.
    """
    if axes is None:
        _, axes = pyplot().subplots(figsize=(6.4, 4.0), layout="constrained")
    target: Axes = check_axes("axes", axes)
    KINDS[kind](target, tables, name)
    owner: Any = target.figure
    figure: Figure = owner.figure  # of a part of a figure, the whole one
    return figure


def _drift(axes: "Axes", tables: Tables, name: str | None) -> None:
    rows = _of_metric(tables["table"], name)
    times = _Times(axes, rows)
    for group in times.runs(rows):
        x = [times.place(row["seconds"]) for row in group]
        low, high = ([row[bound] for row in group] for bound in ("low", "high"))
        if len(group) > 1:
            axes.fill_between(x, low, high, color=_BLUE, alpha=0.25, linewidth=0)
        else:
            axes.plot(x * 2, [low[0], high[0]], color=_BLUE, alpha=0.4, linewidth=6)
        axes.plot(x, [row["mean"] for row in group], "-", marker="_", color=_BLUE)
    samples = _means(tables["samples"], name)
    axes.plot(
        [times.place(seconds) for seconds, _, _ in samples],
        [value for _, _, value in samples],
        ".",
        color=_BLUE,
        markersize=4,
        alpha=0.5,
        label="programmings",
    )
    if name in tables["reference"]:
        axes.axhline(tables["reference"][name], color=_GREY, linewidth=1, label="reference")
    axes.set_ylabel(str(name))
    axes.legend(frameon=False)


def _samples(axes: "Axes", tables: Tables, name: str | None) -> None:
    rows = _of_metric(tables["table"], name)
    found = _means(tables["samples"], name)
    values = [
        [v for seconds, _, v in found if seconds == row["seconds"] and math.isfinite(v)]
        for row in rows
    ]
    axes.boxplot(values, whis=(0, 100), medianprops={"color": _BLUE})
    for place, points in enumerate(values, 1):
        axes.plot([place] * len(points), points, ".", color=_BLUE, markersize=4, alpha=0.5)
    axes.set_xticks(range(1, len(rows) + 1), [row["time"] for row in rows])
    axes.set_ylabel(str(name))


def _layers(axes: "Axes", tables: Tables, name: str | None) -> None:
    quantity = "error" if name is None else name
    rows = tables["layers"]
    if not rows:
        raise ArgumentError("kind: no errors of layers were measured; use layer_error=256")
    if quantity not in QUANTITIES:
        raise ArgumentError(f"metric: of layers, expected one of {QUANTITIES}, got {name!r}")
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    times = list(dict.fromkeys(row["time"] for row in rows))
    width = 0.8 / len(times)
    for i, time in enumerate(times):
        own = {row["layer"]: row for row in rows if row["time"] == time}
        x = [place - 0.4 + width * (i + 0.5) for place in range(len(layers))]
        y = [own[layer][quantity] for layer in layers]
        bars = [
            [abs(own[layer][f"{quantity}_{bound}"] - own[layer][quantity]) for layer in layers]
            for bound in ("low", "high")
        ]
        colour = _COLOURS[i % len(_COLOURS)]
        axes.bar(x, y, width, yerr=bars, color=colour, label=time, error_kw={"linewidth": 1})
    axes.set_xticks(range(len(layers)), layers, rotation=30 if len(layers) > 4 else 0)
    axes.set_ylabel(quantity)
    axes.legend(frameon=False)


def _ablation(axes: "Axes", tables: Tables, name: str | None) -> None:
    rows = _of_metric(tables["ablation"], name)
    if not rows:
        raise ArgumentError("kind: nothing was left out; use ablation='both'")
    seconds = max((row["seconds"] for row in rows), key=lambda s: -1.0 if s is None else s)
    rows = [row for row in rows if row["seconds"] == seconds]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    groups = list(dict.fromkeys(row["group"] for row in rows))
    for place, kind in enumerate(kinds):
        own = [row for row in rows if row["kind"] == kind]
        y = [groups.index(row["group"]) + 0.2 * (place - 0.5 * (len(kinds) - 1)) for row in own]
        x = [row["value"] for row in own]
        bars = [[abs(row[b] - row["value"]) for row in own] for b in ("low", "high")]
        axes.errorbar(x, y, xerr=bars, fmt="o", color=_COLOURS[place], markersize=4, label=kind)
    axes.axvline(0.0, color=_GREY, linewidth=1)
    axes.set_yticks(range(len(groups)), groups)
    axes.invert_yaxis()
    axes.set_xlabel(f"cost in {name} after {rows[0]['time']}")
    axes.legend(frameon=False)


def _of_metric(rows: list[dict[str, Any]], name: str | None) -> list[dict[str, Any]]:
    return [row for row in rows if row["metric"] == name]


def _means(samples: list[dict[str, Any]], name: str | None) -> list[tuple[Any, int, float]]:
    """Return time, programming and mean over reads of the full model."""
    found: dict[tuple[Any, int], list[float]] = {}
    for row in _of_metric(samples, name):
        if row["variant"] == FULL:
            found.setdefault((row["seconds"], row["programming"]), []).append(row["value"])
    return [(s, p, math.fsum(v) / len(v)) for (s, p), v in found.items()]


class _Times:
    """A logarithmic axis of times, with `programmed` left of a break."""

    def __init__(self, axes: "Axes", rows: list[dict[str, Any]]) -> None:
        known = [row["seconds"] for row in rows if row["seconds"]]
        self._first = math.log10(min(known)) if known else 0.0
        ticks = {self.place(row["seconds"]): row["time"] for row in rows}
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set_xlabel("time since programming")
        left = min(ticks) - 0.3
        axes.set_xlim(left, max(ticks) + 0.3)
        if any(row["seconds"] is None for row in rows) and len(rows) > 1:
            shares = (self.place(None) + 0.5 * _BREAK - left) / (max(ticks) + 0.3 - left)
            for shift in (-0.006, 0.006):
                x = [shares + shift - 0.006, shares + shift + 0.006]
                axes.plot(
                    x, [-0.02, 0.02], transform=axes.transAxes, color="black", clip_on=False,
                    linewidth=1,
                )  # fmt: skip

    def place(self, seconds: float | None) -> float:
        """Return where a time is; zero seconds stand half a decade before the first other time."""
        if seconds is None:
            return self._first - 1.0 - _BREAK
        return math.log10(seconds) if seconds > 0.0 else self._first - 1.0

    @staticmethod
    def runs(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """Return the rows that a line connects."""
        apart = [[row for row in rows if row["seconds"] is None]]
        return [run for run in (*apart, [r for r in rows if r["seconds"] is not None]) if run]


KINDS: dict[str, Callable[["Axes", Tables, str | None], None]] = {
    "drift": _drift,
    "layers": _layers,
    "ablation": _ablation,
    "samples": _samples,
}
