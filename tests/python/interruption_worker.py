"""Interrupts changes of weights at random times; prints how many, and what each interruption left.

Usage: python interruption_worker.py INTERRUPTIONS CASE..., where each CASE is a name in `CASES`.
"""

import copy
import json
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
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
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.tiles import AnalogTile

SIZE, SAMPLES = 96, 400
dice = random.Random(7)


@register_config_class
@dataclass
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


def is_interrupted(change: Callable[[], object], longest: float) -> bool:
    """Make a change and raise `KeyboardInterrupt` at a random time up to `longest` seconds.

    Returns whether it was raised before the end of the change, or right after it.
    """
    try:
        try:
            # A timer without period: it does so once.
            signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-6, longest))
            change()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
    except KeyboardInterrupt:
        return True
    return False


def interrupt(*_: object) -> None:
    """Do what the handler of Ctrl-C does."""
    raise KeyboardInterrupt


def seconds(work: Callable[[], object]) -> float:
    """Time that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


Counts = dict[str, int]
"""How often an interruption left a state."""


def interrupt_tile(tile: AnalogTile, change: Callable[[AnalogTile], object], times: int) -> Counts:
    """Interrupt changes of one tile, after each of which it is as before, or all is done."""
    found = {"before": 0, "complete": 0}
    trials = [copy.deepcopy(tile) for _ in range(4)]
    longest = min([seconds(lambda trial=trial: change(trial)) for trial in trials])  # type: ignore[misc]
    while sum(found.values()) < times:
        other = copy.deepcopy(tile)
        change(other)
        before, complete = state(tile), state(other)
        happened = is_interrupted(lambda: change(tile), longest)
        after = state(tile)
        if not happened:
            assert same(after, complete)
            continue
        assert same(after, before) or same(after, complete), "partial"
        found["before" if same(after, before) else "complete"] += 1
    return found


def updates(device: Any, samples: int = SAMPLES) -> Callable[[int], list[Counts]]:
    """Return what interrupts updates of a tile with a device."""

    def run(times: int) -> list[Counts]:
        torch.manual_seed(3)
        tile = AnalogTile(SIZE, SIZE, SingleRPUConfig(device=device))
        x, d = torch.randn(samples, SIZE), 0.1 * torch.randn(samples, SIZE)
        return [interrupt_tile(tile, lambda tile: tile.update(x, d), times)]

    return run


def operations(times: int) -> list[Counts]:
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
    found = []
    for change in changes:
        torch.manual_seed(4)
        tile = AnalogTile(SIZE, SIZE, SingleRPUConfig(device=device))
        found.append(interrupt_tile(tile, change, times))
    return found


def steps(times: int) -> list[Counts]:
    """Interrupt steps of an optimizer: each tile is as before or all is done, no record is left."""
    torch.manual_seed(5)
    config = SingleRPUConfig(device=SoftBoundsDevice(count_pulses=True))
    model = AnalogSequential(
        AnalogLinear(SIZE, SIZE, False, rpu_config=config),
        AnalogLinear(SIZE, SIZE, False, rpu_config=config),
    )
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    x = torch.randn(SAMPLES // 4, SIZE)
    tiles = list(model.analog_tiles())
    found = {"before": 0, "between": 0, "complete": 0}
    longest = 0.0
    while sum(found.values()) < times:
        other, other_optimizer = copy.deepcopy((model, optimizer))
        for each, each_optimizer in ((model, optimizer), (other, other_optimizer)):
            each_optimizer.zero_grad()
            each(x).pow(2).sum().backward()
        before = [state(tile) for tile in tiles]
        longest = seconds(other_optimizer.step)
        complete = [state(tile) for tile in other.analog_tiles()]
        happened = is_interrupted(optimizer.step, longest)
        after = [state(tile) for tile in tiles]
        changed = [not same(a, b) for a, b in zip(after, before, strict=True)]
        assert happened or all(changed)
        for is_changed, a, c in zip(changed, after, complete, strict=True):
            assert not is_changed or same(a, c), "partial"
        # What was recorded comes back in no later step, unless nothing has happened.
        kept = [tile.analog_ctx.has_gradient() for tile in tiles]
        assert not any(kept) or not any(changed), (kept, changed)
        if happened:
            found["complete" if all(changed) else "between" if any(changed) else "before"] += 1
    return [found]


CASES: dict[str, Callable[[int], list[Counts]]] = {
    "sums": updates(ConstantStepDevice(count_pulses=True)),
    "segments": updates(SoftBoundsDevice(count_pulses=True)),
    "write-noise": updates(PowStepDevice(count_pulses=True, write_noise_std=0.5)),
    "exact": updates(IdealDevice()),
    "python": updates(Steps(count_pulses=True, dw_min=0.01), 4),
    "operations": operations,
    "optimizer": steps,
}

if __name__ == "__main__":
    signal.signal(signal.SIGALRM, interrupt)
    torch.set_num_threads(1)
    for case in sys.argv[2:]:
        # An interruption within `torch.no_grad` may have left it so.
        torch.set_grad_enabled(True)
        print(json.dumps({"case": case, "found": CASES[case](int(sys.argv[1]))}), flush=True)
