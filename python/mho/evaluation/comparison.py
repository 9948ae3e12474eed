"""Differences between evaluations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from mho.documented import documented
from mho.evaluation.ablation import FULL
from mho.evaluation.result import Evaluation
from mho.evaluation.statistics import mean_of, t_interval, welch
from mho.evaluation.table_text import table_text
from mho.exceptions import ArgumentError
from mho.simulator.parameters.signatures import checked


@documented
@dataclass(repr=False)
class Comparison:
    """Differences of pairs of evaluations."""

    table: list[dict[str, Any]] = field(default_factory=list)
    """Of each pair, time and metric: `difference` (second minus first) with the interval `low` to
    `high`, and whether programmings were `paired`."""

    def __repr__(self) -> str:
        columns = ["first", "second", "time", "metric", "difference", "low", "high", "paired"]
        return table_text(self.table, columns)


@checked
def compare(evaluations: Mapping[str, Evaluation], confidence: float = 0.95) -> Comparison:
    """Return differences between evaluations, with intervals.

    Differences are paired by programming where seeds agree, since all that is drawn with equal
    names of tiles and times is equal then; otherwise intervals are those of Welch. They are for
    these networks and this test set, over programmings.

    Args:
        evaluations: At least two, by name.
        confidence: Between 0 and 1.

    Raises:
        ArgumentError: There are fewer than two, or two have no time and metric in common.
    """
    if len(evaluations) < 2:
        raise ArgumentError(f"evaluations: expected two or more, got {len(evaluations)}")
    if not 0.0 < confidence < 1.0:
        raise ArgumentError(f"confidence: expected a number between 0 and 1, got {confidence}")
    found = Comparison()
    for first, second in combinations(evaluations, 2):
        rows = _rows(evaluations[first], evaluations[second], confidence)
        if not rows:
            raise ArgumentError(
                f"evaluations: {first!r} and {second!r} have no time and metric in common"
            )
        found.table += [{"first": first, "second": second, **row} for row in rows]
    return found


def _rows(first: Evaluation, second: Evaluation, confidence: float) -> list[dict[str, Any]]:
    ours, theirs = _values(first), _values(second)
    same_seed = first.settings["seed"] == second.settings["seed"]
    rows = []
    for place, values in ours.items():
        others = theirs.get(place)
        if others is None:
            continue
        common = sorted(values.keys() & others.keys())
        paired = same_seed and len(common) > 1
        if paired:
            differences = [others[p] - values[p] for p in common]
            difference, interval = mean_of(differences), t_interval(differences, confidence)
        else:
            samples = list(values.values()), list(others.values())
            difference = mean_of(samples[1]) - mean_of(samples[0])
            interval = welch(*samples, confidence)
        time, seconds, metric = place
        rows.append(
            {
                "time": time,
                "seconds": seconds,
                "metric": metric,
                "difference": difference,
                "low": interval[0],
                "high": interval[1],
                "paired": paired,
            }
        )
    return rows


def _values(result: Evaluation) -> dict[tuple[str, Any, str], dict[int, float]]:
    """Return the means over reads by programming, by time and metric."""
    reads: dict[tuple[str, Any, str], dict[int, list[float]]] = {}
    for row in result.samples:
        if row["variant"] == FULL:
            place = row["time"], row["seconds"], row["metric"]
            reads.setdefault(place, {}).setdefault(row["programming"], []).append(row["value"])
    return {
        place: {p: mean_of(values) for p, values in own.items()} for place, own in reads.items()
    }
