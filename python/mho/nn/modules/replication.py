"""Replicas of tiles in several processes: one state, and random streams of each process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import AihwkitException, ModuleError
from mho.optim.replicas import Replicas
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.streams import streams_of
from mho.simulator.tiles.module import TileModule

NamedTiles = list[tuple[str, TileModule]]

# By how much the seeds of a tile are those of the first process; copies of the tile have it too.
_SHIFT = "seed_shift"


def replicate(tiles: NamedTiles, group: Any, copies_state: bool = True) -> None:
    """Make tiles replicas of those of the first process; all processes call it.

    Args:
        tiles: Names and tiles of a model, in the same order everywhere.
        group: Process group, None for that of all processes.
        copies_state: Whether to copy the state of the first process to all.

    Raises:
        ModuleError: The tiles of the processes differ in kind or size, or a state does not fit.
    """
    all_ = Replicas(group)
    if all_.size > 1 and copies_state:
        _copy_states(tiles, all_)
    for _, tile in tiles:
        separate_streams(tile, all_.rank)
        # Each its own: parts of a model may be wrapped by themselves.
        before, now = tile.analog_ctx.replicas, Replicas(group)
        if before is not None:
            now.wrapper = before.wrapper
        tile.analog_ctx.replicas = now
        tile.analog_ctx.common_stream = None
        tile.analog_ctx.batches_seen_everywhere = 0.0


def separate_streams(tile: TileModule, rank: int) -> None:
    """Give a tile the random streams of a process: those of the first one, with other seeds.

    States are those of the first process: what any process saves has its seeds, and what is loaded
    is taken as a state of it.

    Args:
        tile: Tile.
        rank: Number of the process.
    """
    known = vars(tile).get(_SHIFT)
    if known is None:
        # The public names of these hooks are younger than torch 2.4.
        saving: Any = tile._register_state_dict_hook
        loading: Any = tile._register_load_state_dict_pre_hook
        saving(_with_seeds_of_first)
        loading(_with_own_seeds, with_module=True)
    vars(tile)[_SHIFT] = rank
    for seed, _ in streams_of(tile):
        seed.add_(rank - (known or 0))


def _with_seeds_of_first(
    tile: nn.Module, state: dict[str, Any], prefix: str, _: dict[str, Any]
) -> None:
    _shift(state, prefix, -vars(tile)[_SHIFT])


def _with_own_seeds(tile: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    _shift(state, prefix, vars(tile)[_SHIFT])


def _shift(state: dict[str, Any], prefix: str, number: int) -> None:
    """Exchange the seeds of a tile in a state for others."""
    for name, value in state.items() if number else ():
        if name.startswith(prefix) and name.endswith(Names.SEED) and isinstance(value, Tensor):
            state[name] = value + number


def _copy_states(tiles: NamedTiles, replicas: Replicas) -> None:
    """Load the state of each tile of the first process in all others, or in none of them."""
    kinds = [[name, type(tile).__name__, tile.out_size, tile.in_size] for name, tile in tiles]
    for rank, other in enumerate(replicas.tell(kinds)):
        if other != kinds:
            raise ModuleError(
                f"the analog tiles of rank {rank} are not those of rank {replicas.rank}: names,"
                f" classes and sizes must be the same on all ranks, got {_first(other, kinds)}"
            )
    is_first = replicas.rank == 0
    states = [tile.state_dict() if is_first else {} for _, tile in tiles]
    told = replicas.tell([_described(state) for state in states])[0]
    received = [_received(*one, replicas) for one in zip(states, told, strict=True)]
    problem = None if is_first else _misfit(tiles, received)
    for rank, one in enumerate(replicas.tell(problem)):
        if one is not None:
            raise ModuleError(f"rank {rank} cannot take the state of rank 0: {one}")
    if not is_first:
        for (_, tile), state in zip(tiles, received, strict=True):
            with _taking_configuration(tile):
                tile.load_state_dict(state)


def _misfit(tiles: NamedTiles, states: list[dict[str, Any]]) -> str | None:
    """Return why tiles cannot load states, None if they can."""
    for (name, tile), state in zip(tiles, states, strict=True):
        try:
            with _taking_configuration(tile):
                missing, unexpected = tile.check_state_dict(state)
        except AihwkitException as error:
            return f"{name}: {error}"
        if missing or unexpected:
            return f"{name}: missing {missing}, unexpected {unexpected}"
    return None


@contextmanager
def _taking_configuration(tile: TileModule) -> Iterator[None]:
    """Adopt the configuration of a state inside of the block, whatever else is chosen."""
    chosen = tile.load_rpu_config
    tile.load_rpu_config = True
    try:
        yield
    finally:
        tile.load_rpu_config = chosen


def _first(other: list[Any], kinds: list[Any]) -> str:
    pairs = zip(other, kinds, strict=False)
    found = next(((a, b) for a, b in pairs if a != b), (len(other), len(kinds)))
    return f"{found[0]} and {found[1]}"


Described = list[tuple[str, list[int], str]]
"""Name, shape and dtype of each entry of a state."""


def _described(state: dict[str, Tensor]) -> Described:
    return [(name, list(v.shape), str(v.dtype).removeprefix("torch.")) for name, v in state.items()]


def _received(state: dict[str, Tensor], described: Described, replicas: Replicas) -> dict[str, Any]:
    """Return the state of a tile of the first process."""
    own = [value.detach().cpu().contiguous().reshape(-1) for value in state.values()]
    sizes = []
    for _, shape, name in described:
        dtype: torch.dtype = getattr(torch, name)
        sizes.append((dtype, shape, torch.Size(shape).numel() * dtype.itemsize))
    bytes_ = torch.cat([value.view(torch.uint8) for value in own]) if own else None
    content = replicas.copy_of_first(bytes_, sum(size for _, _, size in sizes))
    parts = torch.split(content, [size for _, _, size in sizes])
    return {
        name: part.clone().view(dtype).reshape(shape)
        for (name, _, _), part, (dtype, shape, _) in zip(described, parts, sizes, strict=True)
    }
