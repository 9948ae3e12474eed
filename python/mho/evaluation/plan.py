"""What an evaluation is to measure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mho.evaluation.ablation import REFERENCE, Ablation
from mho.evaluation.metrics import Metric
from mho.evaluation.moments import Moment
from mho.evaluation.statistics import Interval
from mho.evaluation.unit import Point, Unit

ToInterval = Callable[[Sequence[float], float], Interval]
"""Returns the interval of the mean of values, with a confidence."""


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
