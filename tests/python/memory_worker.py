"""Uses tiles when memory runs out; prints `done` if each error was one and left all as it was.

Usage: python memory_worker.py CASE, where CASE is a name in `CASES`.
"""

import copy
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from mho import _core
from mho.nn import AnalogLinear
from mho.simulator.configs import (
    ConstantStepDevice,
    IOParameters,
    PowStepDevice,
    SingleRPUConfig,
    SoftBoundsDevice,
)
from mho.simulator.parameters.enums import AnalogMVType, PulseType
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.tiles import AnalogTile

# A copy of the weights has 36 MB, more than what allocators keep for later.
SIZE = 3000
SPARE = 12 << 20
# No update changes the parameters of the devices: equal ones take no time to draw and to compare.
EQUAL = {"dw_min_dtod": 0.0, "up_down_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0}


@contextmanager
def little_memory(spare: int = SPARE) -> Iterator[None]:
    """Give the process no more than some bytes beside those that it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def state(tile: AnalogTile) -> dict[str, Tensor]:
    """Copies of all tensors of a tile."""
    return {name: value.clone() for name, value in tile.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two states are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def fails(tile: AnalogTile, call: Callable[[AnalogTile], object], again: bool = True) -> None:
    """Let a call fail, and check the tile after it and after the next try."""
    other = copy.deepcopy(tile)
    call(other)
    before, expected = state(tile), state(other)
    del other
    message = ""
    # Working memory that earlier calls have left would do.
    with little_memory():
        try:
            call(tile)
        except MemoryError as error:
            message = str(error)
        # What is small still works.
        AnalogLinear(3, 2)(torch.ones(1, 3))
    assert "out of memory" in message, f"no error: {message!r}"
    assert same(state(tile), before)
    call(tile)
    assert same(state(tile), expected)


def built(device: object, **fields: object) -> AnalogTile:
    """A large tile."""
    torch.manual_seed(1)
    return AnalogTile(SIZE, SIZE, SingleRPUConfig(device=device, **fields))


def updates() -> None:
    """Updates of all kinds need copies of what they change."""
    x, d = torch.randn(2, SIZE), torch.randn(2, SIZE)
    for device in (
        SoftBoundsDevice(count_pulses=True, **EQUAL),
        PowStepDevice(write_noise_std=0.5, pow_gamma_dtod=0.0, **EQUAL),
    ):
        fails(built(device), lambda tile: tile.update(x, d))
    implicit = UpdateParameters(pulse_type=PulseType.DETERMINISTIC_IMPLICIT)
    fails(built(ConstantStepDevice(**EQUAL), update=implicit), lambda tile: tile.update(x, d))


def products() -> None:
    """Products need weights as wires or negative inputs see them."""
    x = torch.randn(2, SIZE)
    for io in (
        IOParameters(ir_drop=1.0),
        IOParameters(mv_type=AnalogMVType.POS_NEG_SEPARATE, w_read_asymmetry_dtod=0.1),
    ):
        tile = built(ConstantStepDevice(**EQUAL), forward=io, backward=io)
        with torch.no_grad():
            fails(tile, lambda tile: tile(x))
            fails(tile, lambda tile: tile.backward(x))


def construction() -> None:
    """The planes of the devices are drawn before anything else is there."""
    config = SingleRPUConfig(device=SoftBoundsDevice())
    spec = _core.TileSpec(config.core_json(), SIZE, SIZE)
    with little_memory():
        try:
            spec.construct(1)
        except MemoryError as error:
            assert "out of memory" in str(error)
        else:
            raise AssertionError("no error")
    assert len(spec.construct(1)) > 0


CASES = {"updates": updates, "products": products, "construction": construction}

if __name__ == "__main__":
    CASES[sys.argv[1]]()
    print("done")
