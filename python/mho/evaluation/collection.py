"""From measurements to tables."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mho.evaluation.ablation import (
    FULL,
    LEAVE_ONE_OUT,
    NONE,
    ONE_AT_A_TIME,
    REFERENCE,
    Ablation,
    only,
    without,
)
from mho.evaluation.layers import QUANTITIES
from mho.evaluation.metrics import Metric
from mho.evaluation.moments import Moment, label
from mho.evaluation.result import Evaluation
from mho.evaluation.statistics import (
    Interval,
    deviation_of,
    is_skewed,
    mean_of,
    summary,
)
from mho.evaluation.unit import Measurement, Outcome, Point, Unit
from mho.exceptions import ArgumentError, ConfigError

_ROUNDING = 1e-3
"""Relative difference of a model without any non-ideality from the reference that is no surprise: a
sample at the border of two classes."""

ToInterval = Callable[[Sequence[float], float], Interval]
Row = dict[str, Any]


@dataclass
class Plan:
    """What is asked for."""

    moments: list[Moment]
    programmings: int
    reads: int
    metric: Metric
    ablation: Ablation
    confidence: float
    interval: ToInterval
    has_reference: bool
    layer_rows: int

    def units(self) -> list[Unit]:
        """Return everything to do, variant after variant, the reference first."""
        points = tuple(Point(moment, read) for moment in self.moments for read in range(self.reads))
        found = [Unit(REFERENCE, 0, (Point(None, 0),))] if self.has_reference else []
        variants = self.ablation.variants()
        return found + [
            Unit(variant, number, points)
            for variant in variants
            for number in range(self.programmings)
        ]


@dataclass
class Collection:
    """Everything that was found so far."""

    plan: Plan
    allow_mixed: bool = False
    found: dict[tuple[str, int], dict[Point, Measurement]] = field(default_factory=dict)
    failures: list[tuple[Unit, str]] = field(default_factory=list)
    names: tuple[str, ...] | None = None
    """Names of the metrics, once known."""
    machine: str | None = None

    def add(self, outcome: Outcome) -> None:
        """Take a finished unit into account.

        Args:
            outcome: What it has found.

        Raises:
            ArgumentError: The metric has returned other names than before.
            ConfigError: It was done on another kind of machine than the others.
        """
        unit = outcome.unit
        if self.machine not in (None, outcome.machine) and not self.allow_mixed:
            raise ConfigError(
                f"workers: results are from machines of several kinds, {self.machine!r} and"
                f" {outcome.machine!r}, whose bits differ; use machines of one kind, or"
                " allow_mixed=True"
            )
        self.machine = outcome.machine
        for measurement in outcome.measurements:
            names = tuple(measurement.values)
            if self.names is not None and set(names) != set(self.names):
                raise ArgumentError(
                    f"metric: has returned {sorted(names)} for programming {unit.programming} of"
                    f" {unit.variant!r}, and {sorted(self.names)} before"
                )
            self.names = self.names or names
        known = self.found.setdefault((unit.variant, unit.programming), {})
        known.update({m.point: m for m in outcome.measurements})

    def fail(self, unit: Unit, error: Exception) -> None:
        """Note that a unit has failed.

        Args:
            unit: Unit.
            error: Why.
        """
        self.failures.append((unit, f"{type(error).__name__}: {error}"))

    def missing(self) -> list[Unit]:
        """Return what is left to do, without measurements that are there."""
        left = []
        for unit in self.plan.units():
            known = self.found.get((unit.variant, unit.programming), {})
            points = tuple(p for p in unit.points if not self._has(unit.variant, known.get(p)))
            if points:
                left.append(unit._replace(points=points))
        return left

    def _has(self, variant: str, measurement: Measurement | None) -> bool:
        if measurement is None:
            return False
        wants_layers = self.plan.layer_rows and variant == FULL and measurement.point.read == 0
        return not wants_layers or measurement.layers is not None

    def values(self, variant: str, moment: Moment, name: str) -> dict[int, list[float]]:
        """Return the values of all reads, by programming; those that are not whole are left out.

        Args:
            variant: Variant.
            moment: Time.
            name: Metric.
        """
        points = [Point(moment, read) for read in range(self.plan.reads)]
        found = {}
        for number in range(self.plan.programmings):
            known = self.found.get((variant, number), {})
            if all(point in known for point in points):
                found[number] = [known[point].values[name] for point in points]
        return found

    def means(self, variant: str, moment: Moment, name: str) -> dict[int, float]:
        """Return means over reads, by programming."""
        return {p: mean_of(v) for p, v in self.values(variant, moment, name).items()}

    def evaluation(self, notes: Iterable[str], settings: Row) -> Evaluation:
        """Return all tables.

        Args:
            notes: What to know.
            settings: Arguments.
        """
        names = self.names or (self.plan.metric.name,)
        settings["directions"] = {name: self.plan.metric.sign(name) for name in names}
        result = Evaluation(notes=list(dict.fromkeys(notes)), settings=settings)
        for moment in self.plan.moments:
            for name in names:
                result.table.append(self._summary(moment, name, result.notes))
                result.ablation += self._ablation(moment, name)
        result.samples = self._samples(names)
        result.layers = [row for moment in self.plan.moments for row in self._layers(moment)]
        reference = self.found.get((REFERENCE, 0), {}).get(Point(None, 0))
        result.reference = {} if reference is None else dict(reference.values)
        result.failures = [
            {"variant": unit.variant, "programming": unit.programming, "error": error}
            for unit, error in self.failures
        ]
        result.notes += self._remarks(names, result.reference)
        return result

    def _place(self, moment: Moment) -> Row:
        return {"time": label(moment), "seconds": moment}

    def _summary(self, moment: Moment, name: str, notes: list[str]) -> Row:
        values = self.values(FULL, moment, name)
        reads = [values[p] for p in sorted(values)]
        plan = self.plan
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
        for unit in self.plan.units():
            if unit.variant == REFERENCE:
                continue
            known = self.found.get((unit.variant, unit.programming), {})
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
        return any((u.variant, u.programming) == own for u, _ in self.failures)

    def _layers(self, moment: Moment) -> list[Row]:
        found: dict[str, dict[int, dict[str, float]]] = {}
        for number in range(self.plan.programmings):
            known = self.found.get((FULL, number), {}).get(Point(moment, 0))
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
        return self.plan.interval(values, self.plan.confidence)

    def _ablation(self, moment: Moment, name: str) -> list[Row]:
        ablation, rows = self.plan.ablation, []
        means = {v: self.means(v, moment, name) for v in ablation.variants()}
        sign = self.plan.metric.sign(name)

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
        plan, notes = self.plan, []
        if plan.programmings == 1:
            notes.append("one programming tells nothing about others: intervals are NaN")
        if self.failures:
            notes.append(
                f"{len(self.failures)} units have failed; tables are of the programmings that have"
                " not"
            )
        if ONE_AT_A_TIME in plan.ablation.kinds and not plan.ablation.own:
            for name in names if reference else ():
                ideal = mean_of(list(self.means(NONE, plan.moments[-1], name).values()))
                if abs(ideal - reference[name]) > _ROUNDING * max(abs(reference[name]), 1e-6):
                    notes.append(
                        f"{name}: without all groups it is {ideal:.6g}, and of the reference"
                        f" {reference[name]:.6g}: something beside the groups matters"
                    )
        return notes


def _differences(first: dict[int, float], second: dict[int, float]) -> dict[int, float]:
    """Return first minus second, for the programmings of both."""
    return {p: first[p] - second[p] for p in first if p in second}
