"""Changes that loading makes: all are checked before the first one is made.

torch loads a model module by module and tells none of them when it has finished, so whether all
tiles fit is known at the end of `load_state_dict` of the root only. That is a plain module as often
as an analog one; so the method of torch is wrapped here, in place, and tiles are changed after it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from torch import Tensor, nn

from mho.simulator.state.ordinary import ordinary_tensors


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
        with ordinary_tensors():
            for step in self.steps:
                step()


_deferred: ContextVar[list[LoadPlan] | None] = ContextVar("deferred", default=None)


@contextmanager
def deferred_commits() -> Iterator[None]:
    """Change no tile inside the block; make all changes after it, unless it raises.

    A block inside of another one leaves the changes to that.
    """
    if _deferred.get() is not None:
        yield
        return
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


def load_with_tile(
    load: Callable[..., None],
    present: Mapping[str, Tensor],
    state_dict: Mapping[str, Any],
    prefix: str,
    local_metadata: Mapping[str, Any],
    *reports: Any,
) -> None:
    """Load a module inside of a tile when the tile is changed, and in place.

    Args:
        load: What torch loads the module with, `nn.Module._load_from_state_dict`.
        present: Its state, by names with prefix.
        state_dict: State to load.
        prefix: Prefix of the module.
        local_metadata: As `load` gets it.
        reports: What else `load` gets: whether to report names, and the lists to do so in.
    """
    metadata = {k: v for k, v in local_metadata.items() if k != "assign_to_params_buffers"}
    # What fits is exchanged for what is there: nothing changes, and the reports are those of torch.
    same = {
        name: present[name] if name in present and _fits(present[name], value) else value
        for name, value in state_dict.items()
    }
    load(same, prefix, metadata, *reports)
    commit(LoadPlan(steps=[lambda: load(state_dict, prefix, metadata, False, [], [], [])]))


def _fits(present: Tensor, value: Any) -> bool:
    return isinstance(value, Tensor) and value.shape == present.shape


def _deferring(load: Callable[..., Any]) -> Callable[..., Any]:
    """Return `load_state_dict` of torch with changes of tiles at its end."""

    @wraps(load)
    def load_state_dict(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with deferred_commits():
            return load(self, *args, **kwargs)

    load_state_dict.defers_tiles = True  # type: ignore[attr-defined]
    return load_state_dict


if not hasattr(nn.Module.load_state_dict, "defers_tiles"):
    nn.Module.load_state_dict = _deferring(nn.Module.load_state_dict)  # type: ignore[method-assign]
