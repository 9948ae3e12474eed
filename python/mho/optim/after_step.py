"""What follows a step of any optimizer: the work of the tiles, and buffers that follow it.

Weights of inference tiles are trained by any optimizer of torch, and `clip`, `remap` and the
devices are to act after each of its steps. So a hook of torch on the steps of all optimizers is set
here. Analog optimizers do the same work themselves, for pulsed tiles too.

Frozen tiles belong to no optimizer, but training through them is hardware-aware as well: adapters
on a frozen base are to see another chip in each mini-batch. So tiles with modified weights hear of
the steps of all optimizers.

Remapping is a change of representation: what multiplies a parameter multiplies the buffers in which
an optimizer collects its gradients, and the gradient itself.
"""

import itertools
import weakref
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from mho.exceptions import ModuleError
from mho.optim.context import AnalogContext, context_of
from mho.optim.gathering import Member, Round, needs_agreement
from mho.optim.place_in_model import layer_of

# Powers of the factor of a parameter in the buffers of the optimizers of torch: of its unit are
# sums of steps, of the square of that sums of squared ones.
_POWERS = {
    "grad": 1,
    "momentum_buffer": 1,
    "exp_avg": 1,
    "exp_avg_sq": 2,
    "max_exp_avg_sq": 2,
    "exp_inf": 1,
    "square_avg": 2,
    "grad_avg": 1,
    "sum": 2,
    "acc_delta": 2,
    "prev": 1,
    "ax": 1,
}


class SteppedTile(Protocol):
    """What optimizers do with a tile after a step."""

    def post_update_step(self) -> Iterable[tuple[nn.Parameter, Tensor]] | None:
        """Do the work; returns parameters and what it multiplied them by."""


class ModifiedTile(Protocol):
    """What steps that train other weights do with a tile."""

    training: bool
    analog_ctx: AnalogContext

    @property
    def modified(self) -> Any:
        """Part that draws the weights of passes in training, by ``after_step``."""


_TICKS = itertools.count(1)
_STARTED: "weakref.WeakKeyDictionary[Optimizer, int]" = weakref.WeakKeyDictionary()
_DONE: "weakref.WeakKeyDictionary[Any, int]" = weakref.WeakKeyDictionary()
# By optimizer: its parameters, by identity, and the tiles found for them.
_FOUND: "weakref.WeakKeyDictionary[Optimizer, tuple[Any, list[weakref.ref[Any]]]]"
_FOUND = weakref.WeakKeyDictionary()


_MODIFIED: "weakref.WeakSet[Any]" = weakref.WeakSet()


def hears_of_all_steps(tile: ModifiedTile) -> None:
    """Let a tile draw its modified weights after steps of all optimizers as long as it is frozen.

    Args:
        tile: Tile of the core whose configuration modifies weights in training.
    """
    _MODIFIED.add(tile)


def _draw_for_frozen(started: int) -> None:
    for tile in tuple(_MODIFIED):
        if tile.training and not tile.analog_ctx.requires_grad and _DONE.get(tile, 0) <= started:
            tile.modified.after_step()


def work_of(tile: SteppedTile, optimizer: Optimizer) -> None:
    """Do what follows a step in a tile, and let the buffers of the optimizer follow.

    Args:
        tile: Tile.
        optimizer: Optimizer that made the step.
    """
    _DONE[tile] = next(_TICKS)
    for parameter, factor in tile.post_update_step() or ():
        # Not by index, which would make an entry. A gradient is kept where it is not cleared.
        buffers = {**(optimizer.state.get(parameter) or {}), "grad": parameter.grad}
        _multiply(buffers, parameter, factor)


@torch.no_grad()
def _multiply(buffers: dict[str, Any], parameter: nn.Parameter, factor: Tensor) -> None:
    for name, power in _POWERS.items():
        value = buffers.get(name)
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            value.mul_(factor.to(value) ** power)


def _tiles_of(optimizer: Optimizer) -> list[Any]:
    """Return the tiles whose weights an optimizer of torch trains."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    identity = tuple(map(id, parameters))
    known = _FOUND.get(optimizer)
    if known is None or known[0] != identity:
        trained = [p for p in parameters if not isinstance(p, AnalogContext)]
        contexts = [context for context in map(context_of, trained) if context is not None]
        known = identity, [weakref.ref(context.analog_tile) for context in contexts]
        _FOUND[optimizer] = known
    return [tile for tile in (reference() for reference in known[1]) if tile is not None]


def _before_any_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    if not torch.compiler.is_compiling():
        _check_is_whole(optimizer)
        _check_follows_gradients(optimizer)
        _STARTED[optimizer] = next(_TICKS)


def _check_is_whole(optimizer: Optimizer) -> None:
    """Refuse optimizers of which each process has a part: the work of a tile is that of all."""
    if type(optimizer).__name__ != "ZeroRedundancyOptimizer":  # importing it takes long
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    context = next((one for one in map(context_of, parameters) if one is not None), None)
    if context is not None:
        raise ModuleError(
            f"{layer_of(context.analog_tile)}: ZeroRedundancyOptimizer gives each rank other layers"
            " to step, but analog ones are stepped on all ranks; use the optimizer itself, or give"
            " it digital layers only"
        )


def _check_follows_gradients(optimizer: Optimizer) -> None:
    """Refuse an optimizer that writes parameters without a gradient, as pulsed weights are."""
    if not isinstance(optimizer, torch.optim.LBFGS):
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    pulsed = next((p for p in parameters if isinstance(p, AnalogContext)), None)
    if pulsed is not None:
        raise ModuleError(
            f"{layer_of(pulsed.analog_tile)}: LBFGS moves all parameters along one line, and pulsed"
            " weights cannot be written to; give it the other parameters only, and the contexts to"
            " an AnalogSGD"
        )


def _after_any_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    # The step of an optimizer may itself be compiled, then nothing can be asked for here.
    if torch.compiler.is_compiling():
        return
    skipped = getattr(optimizer, "found_inf", None)  # fused optimizers are called nevertheless
    if skipped is not None and float(skipped) != 0.0:
        return
    started = _STARTED.get(optimizer, 0)
    # Unless an optimizer that this one is made of has done it in this very step.
    found = [] if getattr(optimizer, "steps_tiles", False) else _tiles_of(optimizer)
    tiles = [tile for tile in found if _DONE.get(tile, 0) <= started]
    together = [one for one in (tile.analog_ctx for tile in tiles) if needs_agreement(one)]
    if together:
        Round().agree([Member(one, 0.0, 1.0) for one in together])
    for tile in tiles:
        work_of(tile, optimizer)
    if _MODIFIED:
        _draw_for_frozen(started)


register_optimizer_step_pre_hook(_before_any_step)
register_optimizer_step_post_hook(_after_any_step)
