"""Interrupts changes of weights at random times; prints how many, and what each interruption left.

Usage: python interruption_worker.py CASE INTERRUPTIONS, where CASE is a name in `CASES`.
"""

import copy
import json
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mho.nn import AnalogLinear, AnalogSequential
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    IdealDevice,
    PowStepDevice,
    SingleRPUConfig,
    SoftBoundsDevice,
)
from mho.simulator.devices import CustomPulsedDevice
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.tiles import AnalogTile

SIZE, SAMPLES = 48, 200
dice = random.Random(7)


class Steps(CustomPulsedDevice):
    """Constant steps, in Python."""

    def step(self, weight: Tensor, up: Tensor, planes: dict[str, Tensor], noise: Any) -> Tensor:
        """Return the weights after one pulse."""
        return torch.where(up, weight + planes["dwmin_up"], weight - planes["dwmin_down"])


def state(module: nn.Module) -> dict[str, Tensor]:
    """Copies of all tensors of a module."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two states are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Interrupted:
    """A block that raises `KeyboardInterrupt` at a random time up to `longest` seconds."""

    def __init__(self, longest: float) -> None:
        self.longest, self.happened = longest, False

    def __enter__(self) -> "Interrupted":
        signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-6, self.longest))
        return self

    def __exit__(self, kind: Any, *_: object) -> bool:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, interrupt)
        self.happened = kind is KeyboardInterrupt
        return self.happened


def interrupt(*_: object) -> None:
    """Do what the handler of Ctrl-C does."""
    raise KeyboardInterrupt


def seconds(work: Callable[[], object]) -> float:
    """Time that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interrupt_tile(tile: AnalogTile, change: Callable[[AnalogTile], object], times: int) -> None:
    """Interrupt changes of one tile, after each of which it is as before, or all is done."""
    found = {"before": 0, "complete": 0}
    longest = 1.3 * seconds(lambda: change(copy.deepcopy(tile)))
    while sum(found.values()) < times:
        other = copy.deepcopy(tile)
        change(other)
        before, complete = state(tile), state(other)
        with Interrupted(longest) as block:
            change(tile)
        after = state(tile)
        if not block.happened:
            assert same(after, complete)
            continue
        assert same(after, before) or same(after, complete), "partial"
        found["before" if same(after, before) else "complete"] += 1
    print(json.dumps(found))


def updates(device: Any, **parameters: Any) -> Callable[[int], None]:
    """Return what interrupts updates of a tile with a device."""

    def run(times: int) -> None:
        torch.manual_seed(3)
        config = SingleRPUConfig(device=device, update=UpdateParameters(**parameters))
        tile = AnalogTile(SIZE, SIZE, config)
        x, d = torch.randn(SAMPLES, SIZE), 0.1 * torch.randn(SAMPLES, SIZE)
        interrupt_tile(tile, lambda tile: tile.update(x, d), times)

    return run


def operations(times: int) -> None:
    """Interrupt what changes weights without pulses."""
    device = PowStepDevice(write_noise_std=0.5, lifetime=100.0, diffusion=0.01)
    device.drift.nu = 0.1
    weight = 0.1 * torch.randn(SIZE, SIZE)
    changes: list[Callable[[AnalogTile], object]] = [
        lambda tile: tile.tile.decay_weights(),
        lambda tile: tile.tile.diffuse_weights(),
        lambda tile: tile.tile.drift_weights(5.0),
        lambda tile: tile.tile.reset_columns(0, 3),
        lambda tile: tile.tile.set_weights(weight),
        lambda tile: tile.tile.set_weights_uniform_random(-0.1, 0.1),
    ]
    for change in changes:
        torch.manual_seed(4)
        interrupt_tile(AnalogTile(SIZE, SIZE, SingleRPUConfig(device=device)), change, times)


def steps(times: int) -> None:
    """Interrupt steps of an optimizer: each tile is as before or all is done, no record is left."""
    torch.manual_seed(5)
    config = SingleRPUConfig(device=SoftBoundsDevice(count_pulses=True))
    model = AnalogSequential(
        AnalogLinear(SIZE, SIZE, False, rpu_config=config),
        AnalogLinear(SIZE, SIZE, False, rpu_config=config),
    )
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    x = torch.randn(SAMPLES, SIZE)
    tiles = list(model.analog_tiles())
    found = {"before": 0, "between": 0, "complete": 0}
    model(x).pow(2).sum().backward()
    model_copy, optimizer_copy = copy.deepcopy((model, optimizer))
    longest = 1.3 * seconds(optimizer_copy.step)
    del model_copy
    while sum(found.values()) < times:
        optimizer.zero_grad()
        model(x).pow(2).sum().backward()
        other, other_optimizer = copy.deepcopy((model, optimizer))
        other_optimizer.step()
        before = [state(tile) for tile in tiles]
        complete = [state(tile) for tile in other.analog_tiles()]
        with Interrupted(longest) as block:
            optimizer.step()
        after = [state(tile) for tile in tiles]
        changed = [not same(a, b) for a, b in zip(after, before, strict=True)]
        for is_changed, a, c in zip(changed, after, complete, strict=True):
            assert not is_changed or same(a, c), "partial"
        # What was recorded comes back in no later step, unless nothing has happened.
        kept = [tile.analog_ctx.has_gradient() for tile in tiles]
        assert not any(kept) or not any(changed), (kept, changed)
        if block.happened:
            found["complete" if all(changed) else "between" if any(changed) else "before"] += 1
    print(json.dumps(found))


CASES: dict[str, Callable[[int], None]] = {
    "sums": updates(ConstantStepDevice(count_pulses=True)),
    "segments": updates(SoftBoundsDevice(count_pulses=True)),
    "write-noise": updates(PowStepDevice(count_pulses=True, write_noise_std=0.5)),
    "exact": updates(IdealDevice()),
    "python": updates(Steps(count_pulses=True, dw_min=0.01)),
    "operations": operations,
    "optimizer": steps,
}

if __name__ == "__main__":
    signal.signal(signal.SIGALRM, interrupt)
    torch.set_num_threads(1)
    CASES[sys.argv[1]](int(sys.argv[2]))
