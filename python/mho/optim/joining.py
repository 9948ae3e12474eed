"""Uneven numbers of batches: processes that have run out of data follow the steps of the others.

`torch.distributed.algorithms.join.Join` asks each of its members for a hook, which processes
without data call once for every step of those that have some. An optimizer is such a member.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch

from mho.exceptions import ModuleError
from mho.optim.gathering import Member


class JoinSettings(NamedTuple):
    """What `Join` leaves at its members, as it is outside of a block."""

    enable: bool = False
    throw_on_early_termination: bool = False
    is_first_joinable: bool = False


class FollowingHook:
    """What a process without data does for each step of the others."""

    def __init__(self, follow: Callable[[], None]) -> None:
        """Remember what to do.

        Args:
            follow: Takes part in a step.
        """
        self._follow = follow

    def main_hook(self) -> None:
        """Take part in a step of the others."""
        self._follow()

    def post_hook(self, is_last_joiner: bool) -> None:
        """Do nothing: the tiles are equal on all ranks.

        Args:
            is_last_joiner: Whether this process had data longest.
        """


def enter_step(optimizer: Any, members: Iterable[Member]) -> None:
    """Tell processes without data that this one makes a step.

    Args:
        optimizer: Optimizer.
        members: Tiles that processes agree about in the step.

    Raises:
        ModuleError: They would follow the module only, or the optimizer in the wrong order.
    """
    settings = optimizer._join_config
    for member in members:
        replicas = member.context.replicas
        if replicas is None or not replicas.is_in_join:
            continue
        if not settings.enable or settings.is_first_joinable:
            raise ModuleError(
                "join: ranks without data must follow the pulses of the others; use"
                " torch.distributed.algorithms.Join([model, optimizer]) instead of model.join()"
            )
    if settings.enable:
        from torch.distributed.algorithms.join import Join

        Join.notify_join_context(optimizer)


def place_of(members: list[Member]) -> tuple[Any, torch.device]:
    """Return process group and device of an optimizer.

    Args:
        members: Its tiles that have replicas.

    Raises:
        ModuleError: There are none.
    """
    replicas = next((m.context.replicas for m in members), None)
    if replicas is None:
        raise ModuleError(
            "join: the optimizer has no pulsed tiles of a model in DistributedDataParallel, or"
            " after prepare_for_ddp; join the model only"
        )
    return replicas.group, replicas.device
