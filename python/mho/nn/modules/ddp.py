"""Models with analog layers in several processes.

torch averages gradients of parameters over processes (`DistributedDataParallel`), which is all that
inference tiles need, beside noise of their own. Pulsed tiles have no gradient: analog optimizers
gather what all processes have recorded, and each process makes the same pulses. Both need tiles
that know the processes. So the constructor of the wrapper is wrapped here, in place: a model in it
is always prepared, and pulsed tiles that nobody synchronises do not come apart without a word.
"""

import inspect
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mho.exceptions import ModuleError
from mho.nn.modules.replication import NamedTiles, replicate
from mho.optim.context import AnalogContext
from mho.optim.place_in_model import layer_of
from mho.simulator.parameters.signatures import checked
from mho.simulator.tiles.module import TileModule

_PER_PROCESS = ("analog_ctx", "analog_tile_weights", "analog_tile_seed", "analog_tile_calls")
_IGNORE = "_ddp_params_and_buffers_to_ignore"


@checked
def prepare_for_ddp(module: nn.Module, process_group: Any = None) -> nn.Module:
    """Prepare a model for training by several processes, each with a share of every batch.

    `torch.nn.parallel.DistributedDataParallel` does this by itself when it wraps a model. Call it
    for models of pulsed tiles alone, which need no wrapper, and for pulsed tiles in models that
    others shard or synchronise.

    If a process group is initialised, all processes call it together. The tiles get the state of
    the first process, and noise of their own: every rank moves to its own random streams. The first
    one keeps its streams, and a state that any of them saves is loaded by all. Torch tiles draw
    from the generator of torch: seed it differently on every rank.

    Without a group it does what does not need one: the wrapper will leave out what is synchronised
    otherwise.

    Args:
        module: Model.
        process_group: Processes that train it, a group of `torch.distributed`; None for all.

    Returns:
        The module.

    Raises:
        ArgumentError: It is no module.
        ModuleError: A class of tiles does not support it; nothing is changed. Or the tiles of the
            processes are not the same ones; they keep their states.
    """
    _prepare(module, process_group)
    return module


def _prepare(module: nn.Module, group: Any, copies_state: bool = True) -> None:
    tiles = _named_tiles(module)
    for name, tile in tiles:
        if not tile.supports_ddp:
            raise ModuleError(
                f"tile {name!r}: {type(tile).__name__} says that several processes cannot train it"
                " together (supports_ddp)"
            )
    if _in_process_group():
        once = {id(tile): (name, tile) for name, tile in tiles}
        replicate(list(once.values()), group, copies_state)
    if not hasattr(type(module), _IGNORE):  # analog modules compute the list when they are asked
        present = getattr(module, _IGNORE, [])
        names = ignored_names(module)
        setattr(module, _IGNORE, [*present, *(name for name in names if name not in present)])


def ignored_names(module: nn.Module) -> list[str]:
    """Return what torch must not synchronise.

    The weights of inference tiles are synchronised through ``shared_weights``, which has the same
    storage. Of pulsed tiles all buffers are equal on all ranks, but for the position of the noise.

    Args:
        module: Root.

    Returns:
        Full names of parameters and buffers.
    """
    found = []
    for name, tile in _named_tiles(module):
        is_pulsed = tile.trained_parameter() is None
        buffers = [entry for entry, _ in tile.named_buffers()] if is_pulsed else []
        for entry in dict.fromkeys((*_PER_PROCESS, *buffers)):
            found.append(f"{name}.{entry}" if name else entry)
    return found


def _named_tiles(module: nn.Module) -> NamedTiles:
    return [
        (name, part)
        for name, part in module.named_modules(remove_duplicate=False)
        if isinstance(part, TileModule)
    ]


def _in_process_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _preparing(init: Callable[..., None]) -> Callable[..., None]:
    """Return the constructor of the wrapper with preparation of the tiles in the model."""
    signature = inspect.signature(init)

    @wraps(init)
    def __init__(self: Any, module: Any, *args: Any, **kwargs: Any) -> None:
        tiles = _named_tiles(module) if isinstance(module, nn.Module) else []
        _check_owned(module, tiles)
        if tiles and _in_process_group():
            given = signature.bind(self, module, *args, **kwargs).arguments
            mesh = given.get("device_mesh")
            group = given.get("process_group") if mesh is None else mesh.get_group(mesh_dim=0)
            _check_parameters(module)
            _prepare(module, group, given.get("init_sync", True))
        init(self, module, *args, **kwargs)
        for _, tile in tiles:
            if tile.analog_ctx.replicas is not None:
                tile.analog_ctx.replicas.wrapper = weakref.ref(self)

    __init__.prepares_tiles = True  # type: ignore[attr-defined]
    return __init__


def _check_owned(module: Any, tiles: NamedTiles) -> None:
    """Refuse contexts without their tiles, which are handed over where torch wraps parameters."""
    owned = {id(tile) for _, tile in tiles}
    for parameter in module.parameters() if isinstance(module, nn.Module) else ():
        if isinstance(parameter, AnalogContext) and id(parameter.analog_tile) not in owned:
            raise ModuleError(
                f"{layer_of(parameter.analog_tile)}: has no gradient that could be averaged; wrap"
                " the model itself in DistributedDataParallel"
            )


def _check_parameters(module: nn.Module) -> None:
    """Refuse a model without gradients, with what to do instead."""
    trained = [p for p in module.parameters() if p.requires_grad]
    if trained and all(isinstance(p, AnalogContext) for p in trained):
        raise ModuleError(
            "DistributedDataParallel: all weights are pulsed, there are no gradients to average."
            " Call prepare_for_ddp(model), and train the model as it is: the optimizer gathers what"
            " all ranks have recorded"
        )


if not hasattr(DistributedDataParallel.__init__, "prepares_tiles"):
    DistributedDataParallel.__init__ = _preparing(DistributedDataParallel.__init__)  # type: ignore[method-assign]
