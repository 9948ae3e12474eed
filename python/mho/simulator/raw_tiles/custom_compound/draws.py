"""Rules draw from the stream of their tile: torch's generator is refused.

A resumed run could not repeat what they drew from it. The generator is that of the process, so
other threads may draw from it at the same time, which is none of the rule's business.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mho.exceptions import ConfigError


class _Drawn(Exception):
    """The state of the generator is another one."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses operations of this thread that draw from torch's generator; dozens of µs for each."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation that does not draw."""
        given = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and given.get("generator") is None:
            raise _refusal()
        return func(*args, **given)


def without_draws(
    transaction: Callable[[], AbstractContextManager[None]], work: Callable[[], None]
) -> None:
    """Do work that may not draw from torch's generator; if it raises, nothing has changed.

    Where the generator has moved and there are other threads, the work is undone and done once more
    while its operations are watched.

    Args:
        transaction: Returns a context that puts everything back if its block raises.
        work: Work of a rule.

    Raises:
        ConfigError: It draws, or seeds the generator, which is as before unless other threads use
            it as well.
    """
    alone = threading.active_count() == 1
    before, seed = torch.get_rng_state(), torch.initial_seed()
    try:
        with transaction():
            work()
            if not torch.equal(before, torch.get_rng_state()):
                raise _Drawn
        return
    except _Drawn:
        # Seeding is no operation that could be watched; other threads draw, but hardly seed.
        if alone or torch.initial_seed() != seed:
            torch.set_rng_state(before)
            raise _refusal() from None
    except BaseException:
        if alone:
            torch.set_rng_state(before)
        raise
    with transaction(), _Watch():  # type: ignore[no-untyped-call]
        work()


def _refusal() -> ConfigError:
    return ConfigError(
        "rule: draws from torch's generator, or seeds it, and could not be repeated; use"
        " t.uniform, t.normal or t.coin"
    )
