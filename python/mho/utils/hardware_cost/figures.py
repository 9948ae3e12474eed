"""Figures of counts and costs of layers."""

from typing import Any

from mho.exceptions import ArgumentError
from mho.utils.hardware_cost.counts import LayerCounts
from mho.utils.hardware_cost.quantity import Quantity, with_prefix
from mho.utils.hardware_cost.report import CostReport
from mho.utils.hardware_cost.text import shortened
from mho.utils.visualization.backend import pyplot

KINDS = ("energy", "latency", "area", "utilisation")
# Share of the longest bar from which a digital layer has one.
_LEAST = 0.005
_LABELS = {"energy": "energy (J)", "latency": "latency (s)", "area": "area (mm²)"}
# Okabe-Ito colours, which stay apart for colour-blind readers.
_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000",
    "#999999",
)  # fmt: skip


def plot_layers(kind: str, counts: list[LayerCounts], cost: CostReport | None) -> Any:
    """Return a figure with a bar for each layer, first layers on top.

    Energies are stacked by what draws them, with a line from the low to the high value of their
    sum.

    Args:
        kind: `"energy"`, `"latency"`, `"area"` or `"utilisation"`.
        counts: Counts of the layers.
        cost: Costs; only utilisation does without.

    Raises:
        ArgumentError: It is another kind, or there are no such costs.
        ImportError: matplotlib is not installed.
    """
    if kind not in KINDS:
        raise ArgumentError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    bars = _bars(kind, counts, cost)
    figure, axes = pyplot().subplots(
        figsize=(6.4, 1.2 + 0.28 * max(4, len(bars))), layout="constrained"
    )
    names: dict[str, str] = {}
    for row, (_, parts, whole) in enumerate(bars):
        left = 0.0
        for name, value in parts.items():
            is_new = name not in names
            colour = names.setdefault(name, _COLOURS[len(names) % len(_COLOURS)])
            axes.barh(row, value, left=left, color=colour, label=name if is_new else None)
            left += value
        if whole is not None and whole.low < whole.high:
            axes.plot([whole.low, whole.high], [row, row], color="black", linewidth=1.0)
    axes.set_yticks(range(len(bars)), [shortened(name, 32) for name, *_ in bars])
    axes.invert_yaxis()
    axes.set_xlabel(_LABELS.get(kind, "used share of the tiles (%)"))
    if kind in ("energy", "latency"):
        unit = "J" if kind == "energy" else "s"
        axes.xaxis.set_major_formatter(lambda value, _: with_prefix(max(0.0, value), unit))
        axes.set_xlabel(kind)
    if len(names) > 1:
        axes.legend(frameon=False, fontsize="small", loc="lower right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def _label(counts: LayerCounts) -> str:
    return f"{counts.name} {counts.layer_class}".strip()


_Bar = tuple[str, dict[str, float], Quantity | None]


def _bars(kind: str, counts: list[LayerCounts], cost: CostReport | None) -> list[_Bar]:
    """Return name, parts and sum of each layer that has something to show."""
    if kind == "utilisation":
        return [(_label(c), {"used": 100.0 * c.utilisation}, None) for c in counts if c.tiles]
    if cost is None or getattr(cost, kind) is None:
        raise ArgumentError(
            f"kind: there is no {kind}; choose hardware whose table has it"
            if cost is None
            else f"kind: the table {cost.table.name} has no {kind}"
        )
    bars: list[_Bar] = []
    largest = max(getattr(layer, kind).value for layer in cost.layers)
    for count, layer in zip(counts, cost.layers, strict=True):
        quantity: Quantity = getattr(layer, kind)
        if not count.tiles and quantity.value <= _LEAST * largest:
            continue
        name = _label(count)
        if kind == "energy":
            parts = {n.replace("_", " "): q.value for n, q in (layer.parts or {}).items()}
            bars.append((name, parts, quantity))
        else:
            scale = 1e6 if kind == "area" else 1.0
            bars.append((name, {kind: quantity.value * scale}, quantity * scale))
    return bars
