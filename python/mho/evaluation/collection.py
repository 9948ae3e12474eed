"""What the units of an evaluation have found so far."""

from dataclasses import dataclass, field

from mho.evaluation.ablation import FULL
from mho.evaluation.moments import Moment
from mho.evaluation.plan import Plan
from mho.evaluation.statistics import mean_of
from mho.evaluation.unit import Measurement, Outcome, Point, Unit
from mho.exceptions import ArgumentError, ConfigError


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
