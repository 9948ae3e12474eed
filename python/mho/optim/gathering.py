"""What processes agree on before a step, and the pairs of all of them.

Before a step every process tells what it is about to do with each tile. Where they agree, each gets
the pairs of all, in the same order, and makes the very same update; where one of them cannot, or
they would do different things, all raise and none has changed anything.

The order is that of one process with all samples: first pair of each process by rank, second pair
of each process by rank, and so on. So it is that of one batch whose samples stand on the first axis
and are cut between the processes in the order of their ranks.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mho import exceptions
from mho.exceptions import AihwkitException, ModuleError
from mho.optim.context import AnalogContext, Pair
from mho.optim.place_in_model import layer_of
from mho.optim.replicas import CommonStream, Replicas
from mho.optim.trace import rows_of
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.state.streams import Stream, streams_of

_CHUNK = 2**26
"""Most bytes of a process in one exchange, unless a single tile has more: all processes keep those
of all."""

_ALIGNED = 8
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

Entry = dict[str, Any]
"""What a process tells of a tile."""


class Member(NamedTuple):
    """A tile in a step, and what is to be done with its pairs."""

    context: AnalogContext
    rate: float
    """Learning rate."""

    factor: float
    """On the gradients of the outputs."""


def is_pulsed_together(context: AnalogContext) -> bool:
    """Return whether processes gather the pairs of a tile.

    Args:
        context: Context of the tile.
    """
    return not context.use_torch_update and _has_replicas(context)


def needs_agreement(context: AnalogContext) -> bool:
    """Return whether processes agree about a tile before each step.

    That is one that moves by pairs, or whose devices diffuse, or whose input range follows data.
    Every process finds the same.

    Args:
        context: Context of the tile.
    """
    if not _has_replicas(context):
        return False
    if not context.use_torch_update:
        return True
    # At the end of a block of `join` torch copies weights and ranges from one process to all, and
    # in the block those without data would not answer here.
    is_joined = context.replicas is not None and context.replicas.is_in_join
    return not is_joined and (_diffuses(context.analog_tile) or _range_moves(context))


def check_all_have_replicas(contexts: Iterable[AnalogContext]) -> None:
    """Refuse to step some tiles together and others alone, which would come apart.

    Args:
        contexts: Contexts of all tiles of an optimizer.

    Raises:
        ModuleError: A pulsed tile has no replicas in other processes.
    """
    for context in contexts:
        if not context.use_torch_update and context.replicas is None:
            raise ModuleError(
                f"{layer_of(context.analog_tile)}: is not that of all ranks, as other layers of the"
                " optimizer are; call prepare_for_ddp(model) after the last change of the model"
            )


def _has_replicas(context: AnalogContext) -> bool:
    return context.replicas is not None and context.replicas.size > 1


def _diffuses(tile: Any) -> bool:
    device = getattr(tile.rpu_config, "device", None)
    return isinstance(device, CrosspointDevice) and device.requires_diffusion()


class Round:
    """The agreement of all processes about one step."""

    def __init__(self) -> None:
        """Begin; nothing is told yet."""
        self.is_over = False

    def fail(self, members: list[Member], error: Exception) -> None:
        """Tell the others that there will be no step here, unless that time is over.

        Args:
            members: Tiles that the round is about.
            error: Why.
        """
        if self.is_over:
            return
        self.is_over = True
        kept = any(member.context.has_gradient() for member in members)
        message = {"error": [type(error).__name__, str(error)], "keeps": kept}
        for replicas in _groups(members):
            # What went wrong is told by the error itself.
            with suppress(Exception):
                replicas.tell(message)

    def agree(
        self, members: list[Member], is_joined: bool = False, divides_by_active: bool = False
    ) -> list[Member]:
        """Gather the pairs of all processes, and agree on streams and ranges.

        The contexts have the pairs of all processes afterwards. The gradients of outputs are
        divided by the number of processes, as torch does with gradients of parameters.

        Args:
            members: Tiles, in the same order everywhere.
            is_joined: Whether this process has run out of data and follows the others.
            divides_by_active: Whether to divide by the number of those that have not.

        Returns:
            The members, with rate and factor of the processes that have data.

        Raises:
            AihwkitException: Another process has failed, with the class of its error; nothing is
                changed, and what it has dropped is dropped here.
            ModuleError: The processes are about to do different things; nothing is changed.
        """
        # What raises here can still be told.
        shares = [_own_share(member) for member in members]
        self.is_over = True
        agreed: dict[int, Member] = {}
        for replicas in _groups(members):
            own = [share for share in shares if _is_in(replicas, share.member)]
            for member in _agree(replicas, own, is_joined, divides_by_active):
                agreed[id(member.context)] = member
        return [agreed[id(member.context)] for member in members]


class OwnShare(NamedTuple):
    """What this process has for a tile."""

    member: Member
    streams: list[Stream]
    """Random streams of the tile."""

    pairs: list[Pair]
    """Pairs that the others have not got yet."""

    entry: Entry


def _groups(members: list[Member]) -> list[Replicas]:
    """Return one of the replicas of each process group; parts of a model may have several."""
    found = [member.context.replicas for member in members]
    return list({id(one.group): one for one in found if one is not None}.values())


def _is_in(replicas: Replicas, member: Member) -> bool:
    own = member.context.replicas
    return own is not None and own.group is replicas.group


def _agree(
    replicas: Replicas, own: list[OwnShare], is_joined: bool, divides_by_active: bool
) -> list[Member]:
    members = [share.member for share in own]
    told = replicas.tell({"joined": is_joined, "tiles": [share.entry for share in own]})
    _check_failures(told, members)
    active = [rank for rank, one in enumerate(told) if not one["joined"]]
    tiles = [one["tiles"] for one in told]
    _check_equal(tiles, active, members)
    divisor = len(active) if divides_by_active else replicas.size
    for i, share in enumerate(own):
        _follow_streams(share, [entries[i] for entries in tiles])
        _follow_ranges(share.member.context, [entries[i] for entries in tiles])
    _gather(replicas, members, tiles, [share.pairs for share in own], divisor)
    first = tiles[active[0]]
    return [
        member._replace(rate=entry["rate"], factor=entry["factor"])
        for member, entry in zip(members, first, strict=True)
    ]


def _check_failures(told: list[Any], members: list[Member]) -> None:
    for rank, one in enumerate(told):
        if "error" not in one:
            continue
        name, message = one["error"]
        if not one["keeps"]:
            for member in members:
                member.context.clear_pairs()
        kind: Any = getattr(exceptions, name, None)
        is_known = isinstance(kind, type) and issubclass(kind, AihwkitException)
        what = message if is_known else f"{name}: {message}"
        raise (kind if is_known else ModuleError)(f"rank {rank}: {what}. No rank has made the step")


def _check_equal(tiles: list[list[Entry]], active: list[int], members: list[Member]) -> None:
    """Refuse what would let the replicas come apart; every process finds the same."""
    counts = [len(entries) for entries in tiles]
    if len(set(counts)) > 1:
        raise ModuleError(
            f"the optimizers of the ranks hold {counts} analog tiles, and must hold the same ones"
        )
    for i, member in enumerate(members):
        for name, ranks, why in (
            ("kind", range(len(tiles)), "the tiles are different ones"),
            ("size", range(len(tiles)), "the tiles have different sizes"),
            ("bits", range(len(tiles)), _APART),
            ("digital_bits", active, _DIGITAL_APART),
            ("is_trained", active, "requires_grad differs"),
            ("rate", active, "the learning rates differ"),
            ("factor", active, "the loss scales, or maximize, differ"),
        ):
            values = {rank: tiles[rank][i][name] for rank in ranks}
            first = min(values)
            other = next((r for r, value in values.items() if value != values[first]), None)
            if other is not None:
                has = "" if "bits" in name else f": {values[first]} and {values[other]}"
                raise ModuleError(
                    f"{layer_of(member.context.analog_tile)}, ranks {first} and {other}: {why}{has}"
                )


_APART = (
    "the weights differ. All ranks must write, load and program the same; after an error in the"
    " middle of a step load a checkpoint on all of them. prepare_for_ddp(model) copies the state of"
    " rank 0"
)
_DIGITAL_APART = (
    "bias, input range or output scales differ. Nobody averages their gradients: wrap the layer, or"
    " the model, in DistributedDataParallel"
)


def _own_share(member: Member) -> OwnShare:
    context, tile = member.context, member.context.analog_tile
    streams, pairs = streams_of(tile), _to_send(member)
    is_pulsed = not context.use_torch_update
    entry = {
        "kind": type(tile).__name__,
        "size": [tile.out_size, tile.in_size],
        # Weights in the memory of a graphics processor are not fetched for it.
        "bits": _bits(tile._get_tile_weights_ref()) if is_pulsed and tile.backend == "cpu" else 0,
        "digital_bits": _digital_bits(context) if is_pulsed else 0,
        "is_trained": context.is_trained(),
        "rate": member.rate,
        "factor": member.factor,
        "streams": [(int(seed), int(calls)) for seed, calls in streams],
        # Tiles without a stream draw from the generator of torch.
        "torch_seed": None if streams else int(torch.randint(2**62, (1,), device="cpu")),
        "range": _range_to_send(tile),
        "pairs": [[rows_of(pair.x, tile.in_trans).shape[0], pair.bias] for pair in pairs],
        "dtypes": [str(v.dtype).removeprefix("torch.") for pair in pairs[:1] for v in pair[:2]],
    }
    return OwnShare(member, streams, pairs, entry)


def _to_send(member: Member) -> list[Pair]:
    """Return the pairs of this process that the others have not got yet, if they will be used."""
    context, tile = member.context, member.context.analog_tile
    if context.use_torch_update or member.rate == 0.0 or not context.is_trained():
        return []
    # Images of convolutions become patches: another process may not know what they are patches of.
    pairs = [pair.with_rows() for pair in context.pairs()[context.gathered :]]
    sizes = {
        (v.shape[0 if first else -1], size)
        for pair in pairs
        for v, first, size in (
            (pair.x, tile.in_trans, tile.in_size),
            (pair.d, tile.out_trans, tile.out_size),
        )
    }
    if any(found != size for found, size in sizes):
        raise ModuleError(
            f"{layer_of(tile)}: what was recorded are no rows of {tile.in_size} inputs and"
            f" {tile.out_size} outputs, which processes could gather"
        )
    return pairs


def _bits(values: Tensor) -> int:
    """Return a sum over the bits of some values, by which replicas that differ are found."""
    values = values.detach().contiguous()
    return int(values.view(_INTEGERS[values.element_size()]).sum(dtype=torch.int64))


def _digital_bits(context: AnalogContext) -> int:
    """Return the same of the ordinary parameters of a tile, if torch does not average them."""
    if context.replicas is not None and context.replicas.wrapper() is not None:
        return 0
    left_out = {"input_range"} if _range_moves(context) else set()
    parameters = context.analog_tile._parameters.items()
    return sum(
        _bits(value)
        for name, value in parameters
        if value is not None and value is not context and name not in left_out
    )


def _follow_streams(share: OwnShare, entries: list[Entry]) -> None:
    """Go to the position that all processes have reached, and know the stream of the first one."""
    seeds = []
    for k, (seed, calls) in enumerate(share.streams):
        calls.data.fill_(max(entry["streams"][k][1] for entry in entries))
        seeds.append((seed, entries[0]["streams"][k][0]))
    share.member.context.common_stream = CommonStream(seeds, entries[0]["torch_seed"])


def _range_of(tile: Any) -> tuple[Tensor, Tensor, int] | None:
    """Return range, number of batches that it has followed, and how many it is to follow."""
    index = tile._buffers.get("input_range_update_idx")
    value = tile._parameters.get("input_range")
    value = tile._buffers.get("input_range") if value is None else value
    if index is None or value is None:
        return None
    return value, index, tile.rpu_config.pre_post.input_range.init_from_data


def _range_moves(context: AnalogContext) -> bool:
    """Return whether the input range may follow data of this process, as all processes know."""
    found = _range_of(context.analog_tile)
    return found is not None and context.batches_seen_everywhere < found[2]


def _range_to_send(tile: Any) -> list[float] | None:
    found = _range_of(tile)
    return None if found is None or found[2] <= 0 else [float(found[0]), float(found[1])]


@torch.no_grad()
def _follow_ranges(context: AnalogContext, entries: list[Entry]) -> None:
    """Take the mean of the ranges, weighted by the number of batches that each has followed."""
    found, told = _range_of(context.analog_tile), [entry["range"] for entry in entries]
    if found is None or any(one is None for one in told):
        return
    context.batches_seen_everywhere = min(seen for _, seen in told)
    if all(one == told[0] for one in told):
        return
    value, index, _ = found
    batches = sum(seen for _, seen in told)
    if batches > 0.0:
        value.fill_(sum(abs(one) * seen for one, seen in told) / batches)
    index.fill_(max(seen for _, seen in told))


def _gather(
    replicas: Replicas,
    members: list[Member],
    tiles: list[list[Entry]],
    sent: list[list[Pair]],
    divisor: int,
) -> None:
    """Put the pairs of all processes in place of those of this one."""
    sizes = [list(map(_size, entries, members)) for entries in tiles]
    for chunk in _chunks([max(of_tile) for of_tile in zip(*sizes, strict=True)]):
        own = [part for i in chunk for part in _encoded(sent[i], members[i])]
        received = replicas.exchange(own, [sum(of_rank[i] for i in chunk) for of_rank in sizes])
        for i in chunk:
            shares = []
            for rank, entries in enumerate(tiles):
                size = sizes[rank][i]
                shares.append(_decoded(received[rank][:size], entries[i], members[i]))
                received[rank] = received[rank][size:]
            context = members[i].context
            merged = _merged([one for one in shares if one is not None], divisor, context)
            context.hold_gathered(merged, len(sent[i]))


def _chunks(sizes: list[int]) -> Iterator[list[int]]:
    """Yield the numbers of tiles with pairs, of as many as go into one exchange."""
    chunk: list[int] = []
    length = 0
    for i, size in enumerate(sizes):
        if chunk and length + size > _CHUNK:
            yield chunk
            chunk, length = [], 0
        if size > 0:
            chunk.append(i)
            length += size
    if chunk:
        yield chunk


def _padded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _sizes(entry: Entry, member: Member) -> list[tuple[torch.dtype, int, int]]:
    """Return dtype, features and number of bytes of the inputs of a process, and of its errors."""
    rows, tile = sum(n for n, _ in entry["pairs"]), member.context.analog_tile
    found = []
    for name, features in zip(entry["dtypes"], (tile.in_size, tile.out_size), strict=False):
        dtype: torch.dtype = getattr(torch, name)
        found.append((dtype, features, rows * features * dtype.itemsize))
    return found


def _size(entry: Entry, member: Member) -> int:
    return sum(_padded(size) for _, _, size in _sizes(entry, member))


def _encoded(pairs: list[Pair], member: Member) -> list[Tensor]:
    """Return the bytes of pairs: all inputs, then all errors."""
    tile, parts = member.context.analog_tile, []
    for values in (
        [rows_of(pair.x, tile.in_trans) for pair in pairs],
        [rows_of(pair.d, tile.out_trans) for pair in pairs],
    ):
        flat = [value.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for value in values]
        length = sum(value.numel() for value in flat)
        rest = torch.zeros(_padded(length) - length, dtype=torch.uint8, device="cpu")
        parts += [*flat, rest]
    return parts


class Share(NamedTuple):
    """The pairs of one process."""

    pairs: list[tuple[int, float | None]]
    """Number of rows and input of the bias column, of each pair."""

    x: Tensor
    """All inputs, `[rows, in]`."""

    d: Tensor
    """All gradients of outputs, `[rows, out]`."""


def _decoded(part: Tensor, entry: Entry, member: Member) -> Share | None:
    if not entry["pairs"]:
        return None
    values, at = [], 0
    for dtype, features, size in _sizes(entry, member):
        values.append(part[at : at + size].view(dtype).view(-1, features))
        at += _padded(size)
    return Share([(rows, bias) for rows, bias in entry["pairs"]], *values)


def _merged(shares: list[Share], divisor: int, context: AnalogContext) -> list[Pair]:
    """Return the pairs of all processes in the order of the module; see there."""
    positions = [0] * len(shares)
    runs: list[tuple[float | None, list[Tensor], list[Tensor]]] = []
    merged = []
    for k in range(max(len(share.pairs) for share in shares)):
        for r, share in enumerate(shares):
            if k >= len(share.pairs):
                continue
            rows, bias = share.pairs[k]
            at = slice(positions[r], positions[r] + rows)
            positions[r] += rows
            if not runs or runs[-1][0] != bias:
                runs.append((bias, [], []))
            runs[-1][1].append(share.x[at])
            runs[-1][2].append(share.d[at])
    tile = context.analog_tile
    for bias, inputs, errors in runs:
        x, d = torch.cat(inputs), torch.cat(errors).div_(divisor)
        x, d = x.t() if tile.in_trans else x, d.t() if tile.out_trans else d
        merged.append(Pair(x.to(tile.device), d.to(tile.device), bias))
    return merged
