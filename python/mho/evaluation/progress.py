"""What is shown while an evaluation runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from mho.evaluation.ablation import FULL
from mho.evaluation.collection import Collection
from mho.evaluation.moments import label
from mho.evaluation.statistics import deviation_of, half_width, mean_of
from mho.evaluation.unit import Outcome

Report = Callable[[int, int, dict[str, Any]], Any]
"""A function of the number of finished units, of all, and what one has found."""


@contextmanager
def shown(progress: bool | Report, collection: Collection, total: int) -> Iterator[Any]:
    """Yield a function that is told of every finished unit.

    Args:
        progress: Whether to show a bar, or a function to call.
        collection: Everything found so far.
        total: Number of units.
    """
    if callable(progress):
        report, count = progress, iter(range(1, total + 1))
        yield lambda outcome: report(next(count), total, row_of(outcome))
        return
    with tqdm(total=total, desc="evaluating", unit="unit", disable=not progress) as bar:

        def tell(outcome: Outcome | None) -> None:
            if not bar.disable:
                bar.set_postfix_str(_so_far(collection), refresh=False)
            bar.update()

        yield tell


def row_of(outcome: Outcome | None) -> dict[str, Any]:
    """Return a finished unit as plain data; empty for one that has failed.

    Args:
        outcome: What it has found.
    """
    if outcome is None:
        return {}
    unit = outcome.unit
    return {
        "variant": unit.variant,
        "programming": unit.programming,
        "points": [
            {"time": label(m.point.moment), "read": m.point.read, "values": m.values}
            for m in outcome.measurements
        ],
    }


def _so_far(collection: Collection) -> str:
    """Return the mean of the first metric at the last time, with half of its interval."""
    if collection.names is None:
        return ""
    name, moment = collection.names[0], collection.plan.moments[-1]
    means = list(collection.means(FULL, moment, name).values())
    if not means:
        return ""
    text = f"{name} after {label(moment)}: {mean_of(means):.4g}"
    if len(means) > 1:
        half = half_width(deviation_of(means), len(means), collection.plan.confidence)
        text += f" ± {half:.2g}"
    return text
