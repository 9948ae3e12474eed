"""What holds after every call, whatever it was."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from fuzz.subjects import Subject
from mho.simulator.raw_tiles.core.tile import CoreTile

# Rounding of bounds that are stored in float32 and applied to sums.
ROUNDING = 1e-5


def broken_rules(subject: Subject) -> list[str]:
    """Return what is wrong with a subject."""
    return [problem for tile in subject.tiles() for problem in _of_tile(subject, tile)]


def _of_tile(subject: Subject, tile: Any) -> Iterator[str]:
    weights = tile.tile.get_weights()
    shape = (tile.out_size, tile.in_size + int(tile.analog_bias))
    if tuple(weights.shape) != shape:
        yield f"weights have shape {tuple(weights.shape)} instead of {shape}"
        return
    if not _finite(weights) and not _trained_by_torch(subject):
        yield "weights are not finite"
    scales, range_ = tile.mapping_scales, tile.input_range
    if scales is not None and not bool((torch.isfinite(scales) & (scales > 0.0)).all()):
        yield f"mapping_scales are {scales.tolist()}"
    # A learned range may change its sign: its magnitude is what clips.
    if range_ is not None and not _finite(range_):
        yield f"input_range is {range_.tolist()}"
    rate = tile.get_learning_rate()
    if rate is not None and not 0.0 <= rate < float("inf"):
        yield f"the learning rate is {rate}"
    if isinstance(tile.tile, CoreTile):
        yield from _of_core(tile, weights)


def _trained_by_torch(subject: Subject) -> bool:
    """Whether torch's optimizers write the weights, which may overflow there as anywhere."""
    return subject.kind in ("inference", "torch")


def _of_core(tile: Any, weights: Tensor) -> Iterator[str]:
    if weights.dtype is not torch.float32 or not weights.is_contiguous():
        yield f"weights are {weights.dtype}, contiguous: {weights.is_contiguous()}"
    planes = tile.get_hidden_parameters()
    for name, plane in planes.items():
        if plane.shape != weights.shape or not _finite(plane):
            yield f"hidden parameter {name} has shape {tuple(plane.shape)}, finite {_finite(plane)}"
    if "max_bound" in planes:
        stored = planes.get("persistent_weights", weights)
        limit = ROUNDING * (1.0 + stored.abs())
        if "reference" in planes:  # the bounds are those of the weight with the reference
            stored = stored + planes["reference"]
        outside = (stored > planes["max_bound"] + limit) | (stored < planes["min_bound"] - limit)
        if bool(outside.any()):
            yield f"{int(outside.sum())} weights are outside of the bounds of their devices"
    counts = tile.tile.get_pulse_counters()
    if counts.numel() and bool((counts < 0).any()):
        yield "pulse counters are negative"


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())


def is_finite(subject: Subject) -> bool:
    """Whether all weights of a subject are finite, and everything that torch trains beside them."""
    weights = [tile.tile.get_weights() for tile in subject.tiles()]
    biases = [m.bias for m in (*subject.tiles(), *subject.arrays()) if m.bias is not None]
    scales = [tile.get_learned_out_scales() for tile in subject.tiles()]
    return all(_finite(value) for value in (*weights, *biases, *scales) if value is not None)


def counters(subject: Subject) -> list[tuple[int, Tensor | None]]:
    """Return the counters of all tiles: calls, and pulses."""
    found = []
    for tile in subject.tiles():
        calls = tile._buffers.get("analog_tile_calls")
        counts = tile.tile.get_pulse_counters() if isinstance(tile.tile, CoreTile) else None
        found.append((0 if calls is None else int(calls), counts))
    return found


def went_back(before: list[Any], after: list[Any]) -> list[str]:
    """Return which counters are lower than before."""
    found = []
    for (calls, counts), (more_calls, more_counts) in zip(before, after, strict=True):
        if more_calls < calls:
            found.append(f"the number of calls went back from {calls} to {more_calls}")
        if counts is None or more_counts is None or counts.shape != more_counts.shape:
            continue
        if bool((more_counts < counts).any()):
            found.append("pulse counters went back")
    return found


def cannot_be_saved(subject: Subject) -> list[str]:
    """Return why the state of a subject cannot be loaded into itself."""
    if not is_finite(subject):
        return []  # only where torch trains, see above
    found = []
    for tile in subject.tiles():
        try:
            missing, unexpected = tile.check_state_dict(tile.state_dict())
        except Exception as error:
            found.append(f"its own state is refused: {type(error).__name__}: {error}")
        else:
            if missing or unexpected:
                found.append(f"its own state lacks {missing}, and has {unexpected} in excess")
    return found
