"""Which noise a model draws: the same one for comparisons, another one in every worker.

What `torch.manual_seed` repeats: all that is drawn from torch's generators, which is the seed of
every tile that is built afterwards, the noise of torch and custom tiles, and what noise models draw
when weights are programmed or drift. The noise of tiles of the core is a function of their seed and
of the number of their calls, which are part of their state: it is repeated by loading a state.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError
from mho.simulator.parameters.arguments import check_index
from mho.simulator.parameters.signatures import checked
from mho.simulator.state.ordinary import ordinary_tensors
from mho.simulator.state.seeds import mixed
from mho.simulator.state.streams import Stream, streams_of
from mho.simulator.tiles.module import TileModule


@checked
@contextmanager
def same_noise(model: nn.Module, seed: int) -> Iterator[None]:
    """Let all tiles of a model draw the noise of a seed inside the block.

    For paired comparisons: every block with the same seed and the same calls gives the same noise,
    on tiles of every kind, and on another model with the same layers too. Afterwards all random
    streams, those of torch included, go on as if nothing had been drawn. Streams that
    processes share are those of this process alone inside the block. Change configurations before
    the block.

    Args:
        model: Any module.
        seed: Seed, an integer that is not negative.

    Raises:
        ArgumentError: `model` is no module, or `seed` no such integer.
    """
    tiles = _tiles(model)
    if check_index("seed", seed) < 0:
        raise ArgumentError(f"seed: expected an integer >= 0, got {seed}")
    devices = {p.device for p in (*model.parameters(), *model.buffers()) if p.is_cuda}
    streams = list(map(streams_of, tiles))
    kept = [[_exchanged(stream) for stream in own] for own in streams]
    with torch.random.fork_rng(devices=[device.index for device in devices]):
        torch.manual_seed(mixed(seed, 0))
        for i, own in enumerate(streams):
            for k, (of_seed, calls) in enumerate(own):
                of_seed.fill_(_apart(mixed(seed, i + 1), k))
                calls.fill_(0)
        try:
            yield
        finally:
            for own, before in zip(streams, kept, strict=True):
                for stream, values in zip(own, before, strict=True):
                    _put_back(stream, values)


@checked
def fork_noise(model: nn.Module, worker: int) -> None:
    """Give a worker random streams of its own, in its process.

    A forked process has copies of all streams and would draw the noise of its parent and of the
    other workers; one that is spawned shares them, for torch hands tensors to it in shared memory.
    Call it there once, or hand `functools.partial(mho.fork_noise, model)` to a `DataLoader` as
    `worker_init_fn`. The streams depend on those at the start of the process and on the number of
    the worker only, and no other process shares them.

    Args:
        model: Any module.
        worker: Number of the worker, not negative; each has another one.

    Raises:
        ArgumentError: `model` is no module, or `worker` no such integer.
    """
    tiles = _tiles(model)
    if check_index("worker", worker) < 0:
        raise ArgumentError(f"worker: expected an integer >= 0, got {worker}")
    drawn = int(torch.randint(0, 2**63 - 1, (1,), dtype=torch.int64, device="cpu"))
    torch.manual_seed(mixed(drawn, worker + 1))
    for tile in tiles:
        for stream in streams_of(tile):
            _exchanged(stream)
            stream[0].fill_(mixed(int(stream[0]), worker + 1))


def _tiles(model: nn.Module) -> list[TileModule]:
    return [module for module in model.modules() if isinstance(module, TileModule)]


def _apart(seed: int, number: int) -> int:
    """Return the seed of one of several streams of a tile; the first one has that of the tile."""
    return mixed(seed, number - 1) if number else seed


@ordinary_tensors()
def _exchanged(stream: Stream) -> list[Tensor]:
    """Give a stream memory of its own, with the same values, and return what it had before."""
    before = [value.data for value in stream]
    for value in stream:
        value.data = value.data.clone()
    return before


@ordinary_tensors()
def _put_back(stream: Stream, before: list[Tensor]) -> None:
    for value, data in zip(stream, before, strict=True):
        value.data = data
