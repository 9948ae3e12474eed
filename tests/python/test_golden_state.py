"""What a saved state holds, the order of parameters, and random streams are those of before."""

import json
from pathlib import Path
from typing import Any

import pytest

from golden import CASES, STREAMS, analog_tiles, described, made, stream
from mho.simulator import rpu_base

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data" / "golden_state.json").read_text()
)


def test_every_kind_is_written_down() -> None:
    assert list(GOLDEN["states"]) == list(CASES)
    assert list(GOLDEN["streams"]) == list(STREAMS)


@pytest.mark.parametrize("name", CASES)
def test_entries_and_parameters_keep_their_order(name: str) -> None:
    assert described(made(CASES[name])) == GOLDEN["states"][name]


@pytest.mark.parametrize("name", CASES)
def test_buffers_have_the_order_of_the_state(name: str) -> None:
    """Processes that train together exchange buffers in this order."""
    model = made(CASES[name])
    buffers = [name for name, _ in model.named_buffers()]
    assert [name for name in model.state_dict() if name in set(buffers)] == buffers


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("floating_point", rpu_base.tiles.FloatingPointTile),
        ("analog_no_bias", rpu_base.tiles.AnalogTile),
        ("analog_python_device", rpu_base.tiles.AnalogTile),
        ("inference", rpu_base.tiles.AnalogTile),
    ],
)
def test_raw_tiles_of_the_core_have_their_public_class(name: str, cls: type) -> None:
    assert all(isinstance(tile.tile, cls) for tile in analog_tiles(made(CASES[name])))


@pytest.mark.parametrize("name", STREAMS)
def test_random_streams_are_those_of_before(name: str) -> None:
    """Draws have the same bits on every machine.

    Only the seed comes from torch's generator: if nothing but it differs, another version of torch
    draws it otherwise. Powers and exponentials are those of the C library; the pinned ones are of
    GNU's.
    """
    assert stream(STREAMS[name]()) == GOLDEN["streams"][name]
