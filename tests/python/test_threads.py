"""One tile used by several Python threads, and interruption of long kernels."""

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

import mho
from mho.exceptions import ArgumentError
from mho.optim import AnalogSGD
from mho.simulator.configs import IdealDevice, IOParameters, SingleRPUConfig, SoftBoundsDevice
from mho.simulator.parameters.enums import PulseType
from mho.simulator.tiles import AnalogTile

WORKERS = 8


def test_calls_of_threads_are_those_of_one_thread() -> None:
    """Every call has its own number, so eight threads draw the very outputs that one would draw."""
    torch.manual_seed(3)
    tile = AnalogTile(40, 50, SingleRPUConfig())
    torch.manual_seed(3)
    alone = AnalogTile(40, 50, SingleRPUConfig())
    x = torch.randn(20, 50)

    def forward(_: int) -> torch.Tensor:
        with torch.no_grad():
            y: torch.Tensor = tile(x)
        return y

    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(forward, range(80)))
    with torch.no_grad():
        expected = [alone(x) for _ in range(80)]
    key = lambda y: y.flatten().tolist()  # noqa: E731
    for a, b in zip(sorted(found, key=key), sorted(expected, key=key), strict=True):
        assert torch.equal(a, b)


def test_mixed_use() -> None:
    """Forward, backward, update and reading together neither crash nor leave impossible weights."""
    tile = AnalogTile(60, 70, SingleRPUConfig())
    bounds = tile.get_hidden_parameters()
    errors = []

    def use(worker: int) -> None:
        try:
            for _ in range(25):
                x = torch.randn(6, 70)
                if worker % 2:
                    tile.update(x, torch.randn(6, 60))
                else:
                    with torch.no_grad():
                        tile.backward(tile(x))
                tile.get_weights()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    weights = tile.tile.get_weights()
    assert torch.isfinite(weights).all()
    assert (weights <= bounds["max_bound"]).all() and (weights >= bounds["min_bound"]).all()


def test_gradients_of_threads_add_up() -> None:
    """Each thread's backward appends its pair; none is lost."""
    tile = AnalogTile(4, 5, SingleRPUConfig(forward=IOParameters(is_perfect=True)))
    optimizer = AnalogSGD(tile.parameters(), lr=0.1)

    def train(_: int) -> None:
        tile(torch.ones(2, 5)).sum().backward()

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(train, range(64)))
    assert len(tile.analog_ctx.analog_input) == 64
    assert len(tile.analog_ctx.analog_grad_output) == 64
    optimizer.zero_grad()
    assert not tile.analog_ctx.has_gradient()


def test_steps_between_backward_passes_of_another_thread() -> None:
    """Every pair is applied in exactly one step, whenever it arrives."""
    config = SingleRPUConfig(device=IdealDevice(), forward=IOParameters(is_perfect=True))
    config.update.pulse_type = PulseType.NONE
    tile = AnalogTile(1, 1, config)
    tile.set_weights(torch.zeros(1, 1))
    # Steps of -1/64 to a weight of at most 16 are exact in float32.
    optimizer = AnalogSGD(tile.parameters(), lr=1 / 64)
    passes = 1000

    def train() -> None:
        for _ in range(passes):
            tile(torch.ones(1, 1)).sum().backward()

    thread = threading.Thread(target=train)
    thread.start()
    while thread.is_alive():
        optimizer.step()
    thread.join()
    optimizer.step()
    assert tile.get_weights()[0].item() == -passes / 64


def _interrupt(tile: AnalogTile, x: torch.Tensor, d: torch.Tensor) -> float:
    """Interrupt a long update; returns the seconds of computing time that it went on."""
    sent = []

    def interrupt() -> None:
        sent.append(time.process_time())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(0.5, interrupt)
    # A shell starts what it leaves in the background with interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            tile.update(x, d)
        delay = time.process_time() - sent[0]
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    return delay


def test_interrupt(threads: Callable[[int], None]) -> None:
    """Ctrl-C stops an update of many seconds within one, and the tile is as before it."""
    threads(1)
    tile = AnalogTile(512, 512, SingleRPUConfig(device=SoftBoundsDevice()))
    rows = 100_000
    x, d = torch.randn(512).repeat(rows, 1), torch.randn(512).repeat(rows, 1)
    before = tile.tile.get_weights()
    # With one thread, computing time is wall time except on a machine busy with other work.
    assert _interrupt(tile, x, d) < 1.0
    assert torch.equal(tile.tile.get_weights(), before)
    tile.update(x[:2], d[:2])


@pytest.mark.parametrize("wrong", [10**5, 2**62, 10**400, 0, -1, True, 1.0, "2", None])
def test_impossible_numbers_of_threads_are_refused(
    threads: Callable[[int], None], wrong: Any
) -> None:
    before = mho.get_num_threads()
    with pytest.raises(ArgumentError, match="num_threads"):
        mho.set_num_threads(wrong)
    assert mho.get_num_threads() == before
    mho.set_num_threads(16 * (os.cpu_count() or 1))
