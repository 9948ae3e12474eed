"""What an evaluation returns."""

import dataclasses
import importlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mho.documented import documented
from mho.evaluation import figures
from mho.evaluation.statistics import half_width as half_width_of
from mho.evaluation.table_text import WIDTH, number_text, table_text
from mho.exceptions import ArgumentError
from mho.simulator.parameters.signatures import checked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FORMAT = 1
_TABLES = ("table", "samples", "layers", "ablation")
_MOST_PROGRAMMINGS = 1_000_000

Row = dict[str, Any]


@documented
@dataclass(repr=False)
class Evaluation:
    """Tables of an evaluation, as plain data: lists of rows, which are dictionaries."""

    table: list[Row] = field(default_factory=list)
    """Of each time and metric: `mean`, interval `low` to `high`, `sd` between programmings,
    `sd_read` between reads of one of them, `sd_programming` without that, `worst` and `best`
    programming, their number `n`."""

    samples: list[Row] = field(default_factory=list)
    """Every value that was measured."""

    layers: list[Row] = field(default_factory=list)
    """Of each layer and time: `error`, `gain`, `residual`, `snr_db`, `clipped_in`, `clipped_out`
    and `propagated`, each with `_low` and `_high`."""

    ablation: list[Row] = field(default_factory=list)
    """What each group of non-idealities costs, positive where it hurts, with intervals of paired
    differences."""

    reference: Row = field(default_factory=dict)
    """Metrics of the reference network."""

    notes: list[str] = field(default_factory=list)
    """What to know about the results."""

    failures: list[Row] = field(default_factory=list)
    """Units that have failed, with their messages."""

    settings: Row = field(default_factory=dict)
    """Arguments of the evaluation."""

    @checked
    def to_pandas(self, which: str = "table") -> Any:
        """Return a table as a `pandas.DataFrame`.

        Args:
            which: `"table"`, `"samples"`, `"layers"` or `"ablation"`.

        Raises:
            ArgumentError: There is no such table.
            ImportError: pandas is not installed.
        """
        if which not in _TABLES:
            raise ArgumentError(f"which: expected one of {_TABLES}, got {which!r}")
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise ImportError(
                "tables of pandas need it; install it with `pip install mho[pandas]`"
            ) from error
        return pandas.DataFrame(getattr(self, which))

    @checked
    def recommend_n(
        self, half_width: float, metric: str | None = None, time: str | None = None
    ) -> int:
        """Return the smallest number of programmings whose interval is as narrow as asked for.

        `t((1 + c) / 2, n - 1) sd / sqrt(n) <= half_width`, with the largest standard deviation of
        the table.

        Args:
            half_width: Half of the width of the interval, in units of the metric.
            metric: Name of the metric, the first one by default.
            time: Time as in the table, all by default.

        Raises:
            ArgumentError: There is no such row, there is no spread to go by, or it would take more
                than a million.
        """
        if not half_width > 0.0:
            raise ArgumentError(f"half_width: expected a positive number, got {half_width}")
        spread = self._spread(metric, time)
        confidence = float(self.settings["confidence"])

        def is_enough(number: int) -> bool:
            return half_width_of(spread, number, confidence) <= half_width

        high = 2
        while not is_enough(high):
            high *= 2
            if high > _MOST_PROGRAMMINGS:
                raise ArgumentError(
                    f"half_width: {half_width} takes more than {_MOST_PROGRAMMINGS} programmings"
                )
        low = high // 2
        while low < high - 1:
            middle = (low + high) // 2
            low, high = (low, middle) if is_enough(middle) else (middle, high)
        return high

    def _spread(self, metric: str | None, time: str | None) -> float:
        name = self._metric(metric)
        rows = [r for r in self.table if r["metric"] == name and time in (None, r["time"])]
        if not rows:
            times = sorted({r["time"] for r in self.table})
            raise ArgumentError(f"time: {time!r} is not in the table; times are {times}")
        known = [r["sd"] for r in rows if not math.isnan(r["sd"])]
        if not known:
            raise ArgumentError(
                "half_width: no standard deviation is known; evaluate at least two programmings"
            )
        return float(max(known))

    def _metric(self, metric: str | None) -> str:
        names = self.metrics()
        if metric is not None and metric not in names:
            raise ArgumentError(f"metric: unknown name {metric!r}; known: {', '.join(names)}")
        return names[0] if metric is None else metric

    def metrics(self) -> list[str]:
        """Return the names of the metrics, in their order."""
        return list(self.settings["directions"])

    @checked
    def save(self, path: str | Path) -> None:
        """Write everything to a file, as JSON.

        NaN and infinities are written as Python's `json` does.

        Args:
            path: Path.
        """
        content = {"format": _FORMAT, **dataclasses.asdict(self)}
        Path(path).write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Evaluation":
        """Return what was saved.

        Args:
            path: Path.

        Raises:
            ArgumentError: The file holds something else.
        """
        try:
            content = json.loads(Path(path).read_text())
        except ValueError as error:
            raise ArgumentError(f"path: {path} holds no evaluation: {error}") from error
        names = [f.name for f in dataclasses.fields(cls)]
        if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
            raise ArgumentError(f"path: {path} holds no evaluation of this version")
        if sorted(content) != sorted(names):
            raise ArgumentError(f"path: {path} holds no evaluation, but {sorted(content)}")
        return cls(**content)

    @checked
    def plot(
        self, kind: str = "drift", axes: "Axes | None" = None, metric: str | None = None
    ) -> "Figure":
        """Draw a table.

        Args:
            kind: `"drift"`: means over time with intervals, dots are programmings, the line is the
                reference. `"layers"`: error of each layer. `"ablation"`: what each group costs.
                `"samples"`: distribution of programmings at each time.
            axes: Axes to draw into, by default those of a new figure.
            metric: Name of the metric, the first one by default; of layers the quantity, `error` by
                default.

        Returns:
            The figure.

        Raises:
            ArgumentError: There is nothing of that kind to draw.
            ImportError: matplotlib is not installed.
        """
        if kind not in figures.KINDS:
            raise ArgumentError(f"kind: expected one of {tuple(figures.KINDS)}, got {kind!r}")
        name = metric if kind == "layers" else self._metric(metric)
        return figures.draw(kind, vars(self), name, axes)

    def __repr__(self) -> str:
        return _text(self)


def _text(result: Evaluation) -> str:
    settings = result.settings
    lines = [
        f"{settings['n_programmings']} programmings, {settings['n_reads']} reads each",
        f"low, high: {100 * settings['confidence']:g} % interval ({settings['interval']}) for the"
        " mean over programmings,",
        "for this trained network and this test set, not for other test samples or training seeds",
        "",
        table_text(result.table, _columns(result)),
    ]
    if result.reference:
        known = ", ".join(f"{name} {number_text(v)}" for name, v in result.reference.items())
        lines += ["", f"reference: {known}"]
    if result.ablation:
        last = result.table[-1]["time"]
        rows = [row for row in result.ablation if row["time"] == last]
        columns = ["group", *_several(result), "kind", "value", "low", "high", "sd"]
        lines += ["", f"cost ({last}), positive where it hurts:", table_text(rows, columns)]
    if result.layers:
        columns = ["layer", "time", "error", "gain", "residual", "snr_db", "propagated"]
        lines += ["", table_text(result.layers, columns)]
    for note in [*result.notes, *(f"failed: {_failure(row)}" for row in result.failures)]:
        lines += ["", *_wrapped(f"note: {note}")]
    return "\n".join(lines)


def _columns(result: Evaluation) -> list[str]:
    read = ["sd_read", "sd_programming"] if result.settings["n_reads"] > 1 else []
    return ["time", *_several(result), "mean", "low", "high", "sd", *read, "worst", "best"]


def _several(result: Evaluation) -> list[str]:
    """Return the column of the metric, if there are several."""
    return ["metric"] if len(result.metrics()) > 1 else []


def _failure(row: Row) -> str:
    return f"{row['variant']}, programming {row['programming']}: {row['error']}"


def _wrapped(text: str) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) >= WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word[:WIDTH]
    return [*lines, line]
