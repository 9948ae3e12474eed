"""Changes that loading makes: all are checked before the first one is made."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch


@dataclass
class LoadPlan:
    """Checked changes of one tile, not made yet."""

    missing: list[str] = field(default_factory=list)
    """Names of absent entries, without prefix."""

    unexpected: list[str] = field(default_factory=list)
    """Names of entries that the tile has no use for, without prefix."""

    steps: list[Callable[[], None]] = field(default_factory=list)
    """Changes in their order; none of them can fail."""

    def commit(self) -> None:
        """Make the changes."""
        with torch.no_grad():
            for step in self.steps:
                step()


_deferred: ContextVar[list[LoadPlan] | None] = ContextVar("deferred", default=None)


@contextmanager
def deferred_commits() -> Iterator[None]:
    """Change no tile inside the block; make all changes after it, unless it raises."""
    plans: list[LoadPlan] = []
    token = _deferred.set(plans)
    try:
        yield
    finally:
        _deferred.reset(token)
    for plan in plans:
        plan.commit()


def commit(plan: LoadPlan) -> None:
    """Make the changes of one tile, at the end of the block of `deferred_commits` if inside one.

    Args:
        plan: Checked changes.
    """
    plans = _deferred.get()
    if plans is None:
        plan.commit()
    else:
        plans.append(plan)
