"""The threads that kernels run on: those of torch, as many as torch has."""

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import mho
from mho import _core
from mho.nn import AnalogLinear
from mho.simulator.configs import SingleRPUConfig, SoftBoundsDevice
from mho.simulator.tiles import AnalogTile

IS_OPENMP = mho.thread_team().runtime != "rayon"
needs_openmp = pytest.mark.skipif(not IS_OPENMP, reason="torch has no OpenMP that is known")


@pytest.fixture
def torch_threads() -> Iterator[Callable[[int], None]]:
    """Return a function that sets torch's number of threads for the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


BITS = """
import hashlib, sys, torch, mho
from mho.simulator.configs import ConstantStepDevice, SingleRPUConfig, SoftBoundsDevice
from mho.simulator.tiles import AnalogTile
for chosen in (None, 1):  # the number of the environment first
    if chosen is not None:
        torch.set_num_threads(chosen)
        mho.set_num_threads(chosen)
        assert mho.get_num_threads() == chosen
    found = hashlib.sha256()
    for device in (SoftBoundsDevice(diffusion=0.01, lifetime=100.0), ConstantStepDevice()):
        torch.manual_seed(1)
        tile = AnalogTile(300, 400, SingleRPUConfig(device=device))
        x, d = torch.randn(60, 400), torch.randn(60, 300)
        with torch.no_grad():
            found.update(tile(x).numpy().tobytes())
        found.update(tile.tile.backward(d).numpy().tobytes())
        tile.update(x, d)
        tile.tile.decay_weights(1.0)
        tile.tile.diffuse_weights()
        tile.tile.reset_columns(390, 30, 0.5)
        found.update(tile.tile.get_weights().numpy().tobytes())
    print(mho.thread_team().runtime.split()[0], found.hexdigest())
"""


def run(program: str, **environment: str) -> list[str]:
    """Return the words that a program prints in a process of its own."""
    command = [sys.executable, "-c", program]
    chosen = "RAYON_NUM_THREADS"
    inherited = {name: value for name, value in os.environ.items() if name != chosen}
    env = {**inherited, "PYTHONPATH": str(Path(mho.__file__).parents[1]), **environment}
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=env, timeout=60
    ).stdout.split()


def test_bits_are_equal_on_all_threads() -> None:
    words = []
    for team in ("rayon", "torch"):
        words += run(BITS, MHO_THREAD_TEAM=team, OMP_NUM_THREADS="3", RAYON_NUM_THREADS="3")
    names, bits = words[::2], words[1::2]
    assert len(bits) == 4 and len(set(bits)) == 1
    assert names[:2] == ["rayon", "rayon"]
    if IS_OPENMP:
        assert names[2:] == ["OpenMP", "OpenMP"]


NUMBERS = """
import os, threading, torch, mho
allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
for number in (1, 2):
    torch.set_num_threads(number)
    found = [mho.get_num_threads(), mho.thread_team().threads]
    # OpenMP keeps the number per thread, and torch hands its own on where one computes.
    thread = threading.Thread(target=lambda: found.append(mho.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [min(number, allowed)] * 3, (number, found)
mho.set_num_threads(3)
assert mho.get_num_threads() == 3
print("done")
"""

LIMITS = """
import torch, mho
from threadpoolctl import threadpool_limits
torch.set_num_threads(2)
mho.get_num_threads()  # torch sets its number where a thread asks it for the first time
with threadpool_limits(1):
    assert torch.get_num_threads() == 1
    print(mho.get_num_threads())
"""


# Processes of their own: a number that was chosen stays.
@needs_openmp
def test_the_number_is_that_of_torch() -> None:
    assert run(NUMBERS) == ["done"]


@needs_openmp
def test_limits_of_threadpoolctl_hold() -> None:
    if importlib.util.find_spec("threadpoolctl") is None:
        pytest.skip("threadpoolctl is not installed")
    assert run(LIMITS) == ["1"]


def processor_time(work: Callable[[], object], seconds: float) -> float:
    """Return the processor time per second that repeated work takes."""
    work()
    start, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        work()
    return (time.process_time() - cpu) / (time.perf_counter() - start)


@needs_openmp
@pytest.mark.parametrize("threads", [1, 2])
def test_no_second_pool_spins(torch_threads: Callable[[int], None], threads: int) -> None:
    """A loop of analog layers and torch operations keeps as many cores busy as it has threads.

    Beside torch's threads, which spin in any case, a pool of its own would keep others busy.
    """
    torch_threads(threads)
    layer, x = AnalogLinear(400, 400), torch.rand(64, 400)
    with torch.no_grad():
        used = processor_time(lambda: torch.sigmoid(layer(x)) @ torch.rand(400, 400), 0.5)
    assert used < threads + 0.1
    names = [Path(task, "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    assert not [name for name in names if name.startswith("mho-")]


@needs_openmp
def test_calls_from_several_threads() -> None:
    """Each thread of Python has the team of its own, as for operations of torch."""
    tiles = [AnalogTile(200, 200, SingleRPUConfig(device=SoftBoundsDevice())) for _ in range(3)]
    x = torch.randn(50, 200)
    threads = [
        threading.Thread(target=lambda tile=tile: [tile.update(x, x) for _ in range(20)])
        for tile in tiles
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(bool(tile.tile.get_weights().isfinite().all()) for tile in tiles)


FORKED = """
import os, torch, mho
from mho.nn import AnalogLinear
torch.set_num_threads(2)
layer, x = AnalogLinear(600, 600), torch.rand(100, 600)
with torch.no_grad():
    layer(x)
    child = os.fork()
    if child == 0:
        for _ in range(2):
            torch.sigmoid(layer(x)) @ torch.rand(600, 600)
        print(mho.thread_team().runtime, flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print(mho.thread_team().runtime.split()[0])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@needs_openmp
def test_a_forked_child_has_threads_of_its_own() -> None:
    """Operations of torch do not wait for those of the parent there."""
    assert run(FORKED) == ["rayon", "OpenMP"]


def test_teams_that_do_not_exist_are_refused() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run("import mho; mho.thread_team()", MHO_THREAD_TEAM="openmp")
    assert "MHO_THREAD_TEAM: expected torch or rayon" in failed.value.stderr


def test_libraries_without_openmp_are_no_team() -> None:
    assert not _core.join_openmp("no such library")
