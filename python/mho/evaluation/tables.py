"""From measurements to tables."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from mho.evaluation.ablation import (
    FULL,
    LEAVE_ONE_OUT,
    NONE,
    ONE_AT_A_TIME,
    REFERENCE,
    only,
    without,
)
from mho.evaluation.collection import Collection
from mho.evaluation.layers import QUANTITIES
from mho.evaluation.moments import Moment, label
from mho.evaluation.result import Evaluation
from mho.evaluation.statistics import Interval, deviation_of, is_skewed, mean_of, summary
from mho.evaluation.unit import Point, Unit

_ROUNDING = 1e-3
"""Relative difference of a model without any non-ideality from the reference that is no surprise: a
sample at the border of two classes."""

Row = dict[str, Any]


class Tables:
    """The tables of what was found."""

    def __init__(self, collection: Collection) -> None:
        """Look at what was found.

        Args:
            collection: Everything.
        """
        self._all, self._plan = collection, collection.plan

    def evaluation(self, notes: Iterable[str], settings: Row) -> Evaluation:
        """Return all of them.

        Args:
            notes: What to know.
            settings: Arguments.
        """
        names = self._all.names or (self._plan.metric.name,)
        settings["directions"] = {name: self._plan.metric.sign(name) for name in names}
        result = Evaluation(notes=list(dict.fromkeys(notes)), settings=settings)
        for moment in self._plan.moments:
            for name in names:
                result.table.append(self._summary(moment, name, result.notes))
                result.ablation += self._ablation(moment, name)
        result.samples = self._samples(names)
        result.layers = [row for moment in self._plan.moments for row in self._layers(moment)]
        reference = self._all.found.get((REFERENCE, 0), {}).get(Point(None, 0))
        result.reference = {} if reference is None else dict(reference.values)
        result.failures = [
            {"variant": unit.variant, "programming": unit.programming, "error": error}
            for unit, error in self._all.failures
        ]
        result.notes += self._remarks(names, result.reference)
        return result

    def _place(self, moment: Moment) -> Row:
        return {"time": label(moment), "seconds": moment}

    def _summary(self, moment: Moment, name: str, notes: list[str]) -> Row:
        values = self._all.values(FULL, moment, name)
        reads = [values[p] for p in sorted(values)]
        plan = self._plan
        columns = summary(reads, plan.metric.sign(name), plan.interval, plan.confidence)
        means = [mean_of(v) for v in reads]
        if any(not math.isfinite(v) for v in means):
            notes.append(f"{name}: has returned NaN or infinity at {label(moment)!r}")
        elif len(means) > 2 and is_skewed(means):
            notes.append(
                f"{name}: programmings are skewed at {label(moment)!r}, so that intervals cover"
                " less than they say; use 25 programmings or more"
            )
        return {**self._place(moment), "metric": name, **columns}

    def _samples(self, names: tuple[str, ...]) -> list[Row]:
        rows = []
        for unit in self._plan.units():
            if unit.variant == REFERENCE:
                continue
            known = self._all.found.get((unit.variant, unit.programming), {})
            if not known and not self._has_failed(unit):
                continue
            for point in unit.points:
                values = known[point].values if point in known else dict.fromkeys(names, math.nan)
                rows += [
                    {
                        "variant": unit.variant,
                        **self._place(point.moment),
                        "metric": name,
                        "programming": unit.programming,
                        "read": point.read,
                        "value": values[name],
                    }
                    for name in names
                ]
        return rows

    def _has_failed(self, unit: Unit) -> bool:
        own = unit.variant, unit.programming
        return any((u.variant, u.programming) == own for u, _ in self._all.failures)

    def _layers(self, moment: Moment) -> list[Row]:
        found: dict[str, dict[int, dict[str, float]]] = {}
        for number in range(self._plan.programmings):
            known = self._all.found.get((FULL, number), {}).get(Point(moment, 0))
            for layer, quantities in ((known.layers if known else None) or {}).items():
                found.setdefault(layer, {})[number] = quantities
        rows = []
        for layer, own in found.items():
            row: Row = {"layer": layer, **self._place(moment), "n": len(own)}
            for quantity in QUANTITIES:
                values = [own[p][quantity] for p in sorted(own)]
                row[quantity] = mean_of(values)
                low, high = self._interval(values)
                row |= {f"{quantity}_low": low, f"{quantity}_high": high}
            rows.append(row)
        return rows

    def _interval(self, values: Sequence[float]) -> Interval:
        if not values or not all(map(math.isfinite, values)):
            return math.nan, math.nan
        return self._plan.interval(values, self._plan.confidence)

    def _ablation(self, moment: Moment, name: str) -> list[Row]:
        ablation, rows = self._plan.ablation, []
        means = {v: self._all.means(v, moment, name) for v in ablation.variants()}
        sign = self._plan.metric.sign(name)

        def row(kind: str, group: str, differences: dict[int, float]) -> Row:
            values = [sign * differences[p] for p in sorted(differences)]
            low, high = self._interval(values)
            numbers = {"value": mean_of(values), "low": low, "high": high}
            spread = {"sd": deviation_of(values), "n": len(values)}
            place = {**self._place(moment), "metric": name, "kind": kind, "group": group}
            return {**place, **numbers, **spread}

        if LEAVE_ONE_OUT in ablation.kinds:
            rows += [
                row(LEAVE_ONE_OUT, group, _differences(means[without(group)], means[FULL]))
                for group in ablation.groups
            ]
        if ONE_AT_A_TIME in ablation.kinds:
            losses = {g: _differences(means[NONE], means[only(g)]) for g in ablation.hurting}
            rows += [row(ONE_AT_A_TIME, group, losses[group]) for group in losses]
            whole = _differences(means[NONE], means[FULL])
            rest = {
                p: math.fsum([whole[p], *(-loss[p] for loss in losses.values())])
                for p in whole
                if all(p in loss for loss in losses.values())
            }
            rows.append(row("interaction", "interaction", rest))
        return rows

    def _remarks(self, names: tuple[str, ...], reference: Row) -> list[str]:
        """Return what the numbers themselves call for."""
        plan, notes = self._plan, []
        if plan.programmings == 1:
            notes.append("one programming tells nothing about others: intervals are NaN")
        if self._all.failures:
            notes.append(
                f"{len(self._all.failures)} units have failed; tables are of the programmings that"
                " have not"
            )
        if ONE_AT_A_TIME in plan.ablation.kinds and not plan.ablation.own:
            for name in names if reference else ():
                ideal = mean_of(list(self._all.means(NONE, plan.moments[-1], name).values()))
                if abs(ideal - reference[name]) > _ROUNDING * max(abs(reference[name]), 1e-6):
                    notes.append(
                        f"{name}: without all groups it is {ideal:.6g}, and of the reference"
                        f" {reference[name]:.6g}: something beside the groups matters"
                    )
        return notes


def _differences(first: dict[int, float], second: dict[int, float]) -> dict[int, float]:
    """Return first minus second, for the programmings of both."""
    return {p: first[p] - second[p] for p in first if p in second}
