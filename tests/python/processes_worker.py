"""Uses tiles in other processes, and at the end of this one; prints what the test compares.

Usage: python processes_worker.py CASE, where CASE is a name in `CASES`.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from mho.nn import AnalogLinear
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig
from mho.simulator.tiles import InferenceTile

SAMPLES = 12


def layer(size: int) -> AnalogLinear:
    """Return a layer with known random numbers."""
    torch.manual_seed(1)
    return AnalogLinear(size, size, rpu_config=InferenceRPUConfig()).eval()


class Encoded(Dataset[torch.Tensor]):
    """Samples that an analog layer encodes in the worker."""

    def __init__(self, size: int) -> None:
        self.layer = layer(size)
        self.size = size

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        with torch.no_grad():
            return self.layer(torch.full((self.size,), 0.1 * index))


def loaded(method: str) -> None:
    """Load batches in two workers, after this process has computed itself."""
    data = Encoded(16)
    loader = DataLoader(data, 4, num_workers=2, multiprocessing_context=method, timeout=60)
    for _ in range(2 if method == "fork" else 1):
        data[0]
        batches = list(loader)
        assert [tuple(batch.shape) for batch in batches] == [(4, 16)] * 3
        assert all(bool(torch.isfinite(batch).all()) for batch in batches)
    print("done")


def trained(seed: int) -> list[float]:
    """Train a small layer and return its weights."""
    torch.manual_seed(seed)
    small = AnalogLinear(4, 3, rpu_config=SingleRPUConfig())
    for _ in range(5):
        small.analog_module.update(torch.rand(2, 4), torch.rand(2, 3))
    return small.get_weights()[0].flatten().tolist()


def in_pool() -> None:
    """Train in the processes of joblib; results are those of this process."""
    from joblib import Parallel, delayed

    results = Parallel(n_jobs=2, timeout=100)(delayed(trained)(seed) for seed in range(4))
    assert results == [trained(seed) for seed in range(4)]
    print("done")


def at_exit(work: Callable[[], Callable[[], Any]]) -> None:
    """Leave the interpreter while threads are inside of what a function returns."""
    started = threading.Event()

    def compute() -> None:
        step = work()
        with torch.no_grad():
            while True:
                started.set()
                step()

    for _ in range(3):
        threading.Thread(target=compute, daemon=True).start()
    started.wait()
    threading.Event().wait(0.3)
    print("done")


def in_products() -> None:
    """Leave the interpreter while threads are inside of a tile."""
    big, x = InferenceTile(1024, 1024), torch.rand(512, 1024)
    at_exit(lambda: lambda: big(x))


def in_kernels() -> None:
    """Leave the interpreter while threads are inside of kernels, and in no operation of torch."""
    big, x = InferenceTile(1024, 1024), torch.rand(512, 1024)

    def work() -> Callable[[], Any]:
        y = torch.empty(512, 1024)
        return lambda: big.tile.kernels.backward(x, y, 1, True, None)

    at_exit(work)


def in_torch() -> None:
    """Leave the interpreter while threads are inside of an operation of torch."""
    x = torch.rand(1024, 1024)
    at_exit(lambda: lambda: torch.mm(x, x))


def fork_while_updating() -> None:
    """Fork while another thread is inside of an update; the child uses the same tile."""
    # Threads of torch itself do not survive a fork.
    torch.set_num_threads(1)
    tile = AnalogLinear(512, 512, bias=False, rpu_config=SingleRPUConfig()).analog_module
    # An update takes half a second, several times what passes between two forks.
    x = torch.ones(50, 512)
    stop = threading.Event()

    def update() -> None:
        while not stop.is_set():
            tile.update(x, x)

    thread = threading.Thread(target=update)
    thread.start()
    for _ in range(5):
        threading.Event().wait(0.1)
        child = os.fork()
        if child == 0:
            # Ends a child that hangs.
            signal.alarm(20)
            with torch.no_grad():
                finite = bool(torch.isfinite(tile.forward(x[:2])).all())
            tile.update(x[:2], x[:2])
            os._exit(0 if finite else 1)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    thread.join()
    print("done")


def fork_after_torch() -> None:
    """Fork when torch has threads; the child has none and computes products without them."""
    torch.set_num_threads(2)
    scaled = InferenceRPUConfig()
    scaled.mapping.weight_scaling_omega = 1.0
    scaled.mapping.weight_scaling_columnwise = True
    scaled.pre_post.input_range.enable = True
    x = torch.rand(512, 256)
    for config in (scaled, SingleRPUConfig()):
        layer = AnalogLinear(256, 512, rpu_config=config).eval()
        for records in (False, True):
            with torch.set_grad_enabled(records):
                x @ x.T  # has threads
                (layer(x) * 2.0).sum()  # has as well
                child = os.fork()
                if child == 0:
                    # Ends a child that hangs.
                    signal.alarm(20)
                    y = layer(x).numpy(force=True)
                    os._exit(0 if bool((abs(y) < 1e3).all()) else 1)
                assert os.waitpid(child, 0)[1] == 0
    print("done")


CASES: dict[str, Callable[[], None]] = {
    "fork": lambda: loaded("fork"),
    "spawn": lambda: loaded("spawn"),
    "forkserver": lambda: loaded("forkserver"),
    "joblib": in_pool,
    "exit": in_products,
    "exit-in-kernels": in_kernels,
    "exit-in-torch": in_torch,
    "fork-while-updating": fork_while_updating,
    "fork-after-torch": fork_after_torch,
}

if __name__ == "__main__":
    CASES[sys.argv[1]]()
