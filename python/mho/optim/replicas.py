"""Processes that train one model together, each with a replica of all of its tiles.

What changes the weights of a tile by draws, pulses or diffusion, is done by every process with the
draws of the first one, so that the replicas stay equal bit for bit; noise of products is that of
each process. torch averages gradients of ordinary parameters, and knows nothing of this.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, distributed

_FIRST_PART = 4096
"""Bytes of a message that are sent without knowing how long those of the others are."""

_LENGTH = 8


class CommonStream(NamedTuple):
    """The random stream of a tile that all processes draw from."""

    seeds: list[tuple[Tensor, int]]
    """Seeds of the tile, and what they are in the first process."""

    torch_seed: int | None
    """Seed of torch's generator, for tiles that draw from it; None for all others."""


class Replicas:
    """The processes that hold the replicas of a tile."""

    def __init__(self, group: Any = None) -> None:
        """Remember the processes.

        Args:
            group: Process group of `torch.distributed`, None for that of all processes.
        """
        self.group: Any = distributed.group.WORLD if group is None else group
        self.wrapper: Callable[[], Any] = lambda: None
        """Returns the module of torch that averages the gradients of the model, if it lives."""

    @property
    def size(self) -> int:
        """Number of processes; one if there is no group any more."""
        return distributed.get_world_size(self.group) if distributed.is_initialized() else 1

    @property
    def rank(self) -> int:
        """Number of this process in the group."""
        return distributed.get_rank(self.group)

    @property
    def is_in_join(self) -> bool:
        """Whether processes that run out of data follow the module that averages gradients."""
        wrapper = self.wrapper()
        return wrapper is not None and bool(wrapper._join_config.enable)

    @property
    def device(self) -> torch.device:
        """Where the group takes tensors."""
        if distributed.get_backend(self.group) == "nccl":
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("cpu")

    def tell(self, message: Any) -> list[Any]:
        """Tell all processes something, and return what each of them has told, by rank.

        Args:
            message: What JSON can say.
        """
        text = torch.frombuffer(bytearray(json.dumps(message).encode()), dtype=torch.uint8)
        length = torch.tensor([text.numel()], dtype=torch.int64, device="cpu")
        start = torch.cat([length.view(torch.uint8), text[: _FIRST_PART - _LENGTH]])
        starts = self.exchange([start], [_FIRST_PART] * self.size)
        lengths = [int(part[:_LENGTH].clone().view(torch.int64)) for part in starts]
        kept = [min(n, _FIRST_PART - _LENGTH) for n in lengths]
        rests = [n - m for n, m in zip(lengths, kept, strict=True)]
        ends = self.exchange([text[_FIRST_PART - _LENGTH :]], rests)
        told = zip(starts, kept, ends, strict=True)
        texts = [torch.cat([head[_LENGTH : _LENGTH + n], tail]) for head, n, tail in told]
        return [json.loads(text.numpy().tobytes()) for text in texts]

    def exchange(self, own: list[Tensor], lengths: list[int]) -> list[Tensor]:
        """Hand bytes to all processes, and return those of each of them, by rank.

        Args:
            own: Bytes of this process in parts, uint8 `[n]` each; together they may be fewer than
                its entry of `lengths` says.
            lengths: Number of bytes of each process, known to all of them.
        """
        longest = max(lengths)
        if longest == 0:
            return [torch.empty(0, dtype=torch.uint8, device="cpu") for _ in lengths]
        # Groups exchange tensors of one size only.
        rest = longest - sum(part.numel() for part in own)
        sent = torch.cat([*own, torch.zeros(rest, dtype=torch.uint8, device="cpu")]).to(self.device)
        received = [torch.empty_like(sent) for _ in lengths]
        distributed.all_gather(received, sent, group=self.group)
        return [part[:n].cpu() for part, n in zip(received, lengths, strict=True)]

    def copy_of_first(self, own: Tensor | None, length: int) -> Tensor:
        """Return bytes that the first process hands to all.

        Args:
            own: The bytes, uint8 `[length]`, in the first process.
            length: Their number.
        """
        sent = torch.empty(length, dtype=torch.uint8, device=self.device)
        if own is not None:
            sent.copy_(own)
        if length > 0:
            first = distributed.get_global_rank(self.group, 0)
            distributed.broadcast(sent, first, group=self.group)
        return sent.cpu()

    def is_true_anywhere(self, flag: bool) -> bool:
        """Return whether a flag is set in one of the processes.

        Args:
            flag: That of this process.
        """
        found = torch.tensor([float(flag)], device=self.device)
        distributed.all_reduce(found, distributed.ReduceOp.MAX, group=self.group)
        return bool(found)


class ReplicatedContext(Protocol):
    """What replicas need of a context."""

    analog_tile: Any
    """Tile, with its raw tile as `tile` and the device of its weights as `device`."""

    common_stream: CommonStream | None


def common_stream(context: ReplicatedContext) -> AbstractContextManager[None]:
    """Let a tile draw from the stream that all processes share, inside of the block.

    Without replicas it draws from its own.

    Args:
        context: Context of the tile.
    """
    common = context.common_stream
    return nullcontext() if common is None else _drawing(context.analog_tile, common)


@contextmanager
def _drawing(tile: Any, common: CommonStream) -> Iterator[None]:
    own = [int(seed) for seed, _ in common.seeds]
    # Devices of a compound have seeds that follow from that of the tile.
    follow: Callable[[], None] = getattr(tile.tile, "share_stream", lambda: None)
    _put([(seed, value) for seed, value in common.seeds])
    follow()
    try:
        with _torch_seeded(tile, common.torch_seed):
            yield
    finally:
        _put([(seed, value) for (seed, _), value in zip(common.seeds, own, strict=True)])


def _put(seeds: list[tuple[Tensor, int]]) -> None:
    for seed, value in seeds:
        # Graphs that are to be run backward may hold the seed: its version stays.
        seed.data.fill_(value)


@contextmanager
def _torch_seeded(tile: Any, seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    device = tile.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
