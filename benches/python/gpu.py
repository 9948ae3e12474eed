"""Measures tiles on a graphics processor beside those on the processor, torch and aihwkit.

Each number is taken twice: the shortest single call that was waited for, and the mean of calls in a
row that were waited for at the end. Both include the transfers of inputs and outputs; torch and
aihwkit, where they use CUDA, have theirs on the device already. The table goes to the terminal, all
numbers to a JSON file. See docs/performance.md.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch.nn.functional import linear

import mho
from libraries import Library, load
from run import machine
from timing import Work
from updates import pulsed_tile, update_input

OPERATIONS = ("forward", "backward", "update, ConstantStep", "update, SoftBounds")
ROW_SECONDS = 0.5
IN_A_ROW = 10


@dataclass
class GpuRow:
    """One line of the table: seconds per call, single and in a row, by what was measured."""

    name: str
    single: dict[str, float] = field(default_factory=dict)
    in_a_row: dict[str, float] = field(default_factory=dict)


def timed(work: Work, wait: Callable[[], None]) -> tuple[float, float]:
    """Return seconds of the shortest single call and of one of several calls in a row.

    Args:
        work: What to call.
        wait: Waits until the device has done it.
    """
    best, start = float("inf"), time.perf_counter()
    work()
    wait()
    while time.perf_counter() - start < ROW_SECONDS or best == float("inf"):
        once = time.perf_counter()
        work()
        wait()
        best = min(best, time.perf_counter() - once)
    once = time.perf_counter()
    for _ in range(IN_A_ROW):
        work()
    wait()
    return best, (time.perf_counter() - once) / IN_A_ROW


def tile_work(tile: torch.nn.Module, operation: str, x: torch.Tensor, d: torch.Tensor) -> Work:
    """Return one operation of a tile; the direction of updates alternates."""
    if operation == "forward":
        return lambda: tile.tile.forward(x)
    if operation == "backward":
        return lambda: tile.tile.backward(d)

    def update() -> None:
        tile.update(x, d)
        d.neg_()

    return update


def torch_work(operation: str, x: torch.Tensor, d: torch.Tensor, lr: float) -> Work:
    """Return what torch does in place of an operation, in float32."""
    weight = 0.1 * torch.randn(d.shape[1], x.shape[1], device=x.device)
    if operation == "forward":
        return lambda: linear(x, weight)
    if operation == "backward":
        return lambda: d @ weight
    return lambda: weight.addmm_(d.T, x, alpha=-lr)


def works(
    operation: str, size: int, batch: int, adapter: str | None, peer: Library | None
) -> Iterator[tuple[str, Work, Callable[[], None]]]:
    """Yield name, work and how to wait for it."""
    device = operation.rpartition(" ")[2] if "update" in operation else "ConstantStep"
    x, d, lr = update_input(batch=batch, size=size)
    library = load("mho")
    for backend in ("cpu", "wgpu"):
        tile = pulsed_tile(library, device, lr, size).to_backend(
            backend, adapter if backend == "wgpu" else None
        )
        yield f"mho {backend}", tile_work(tile, operation, x, d.clone()), mho.synchronize
    cuda = torch.cuda.is_available()
    wait = torch.cuda.synchronize if cuda else lambda: None
    place = "cuda" if cuda else "cpu"
    moved = x.to(place), d.to(place)
    yield f"torch {place}", torch_work(operation, *moved, lr), wait
    if cuda and peer is not None:
        tile = pulsed_tile(peer, device, lr, size).cuda()
        yield "aihwkit cuda", tile_work(tile, operation, *moved), wait


def cuda_peer() -> Library | None:
    """Return aihwkit if it is installed and was built for CUDA."""
    peer = load("aihwkit")
    if peer is None:
        return None
    from aihwkit.simulator.rpu_base import cuda

    return peer if cuda.is_compiled() else None


def measure(options: argparse.Namespace) -> Iterator[GpuRow]:
    """Measure all rows."""
    peer = cuda_peer()
    for size in options.sizes:
        for batch in options.batches:
            for operation in OPERATIONS:
                row = GpuRow(f"{operation}, {size}x{size}, batch {batch}")
                with torch.no_grad():
                    for name, work, wait in works(operation, size, batch, options.adapter, peer):
                        row.single[name], row.in_a_row[name] = timed(work, wait)
                yield row


def format_row(row: GpuRow) -> str:
    """Return one line: per column the shortest single call, then one of several in a row."""
    cells = [
        f"{name} {1e3 * row.single[name]:.3g} / {1e3 * row.in_a_row[name]:.3g}"
        for name in row.single
    ]
    return f"{row.name:45} " + ", ".join(cells)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 4096])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 128, 256])
    parser.add_argument("--adapter", help="number or part of a name; default as mho.set_backend")
    parser.add_argument("--output", type=Path, default=Path("out/bench-gpu.json"))
    options = parser.parse_args()
    mho.set_backend("wgpu", options.adapter)
    mho.set_backend("cpu")
    torch.manual_seed(1)
    print("Milliseconds, shortest single call / mean of calls in a row, with transfers")
    rows = []
    for row in measure(options):
        rows.append(asdict(row))
        print(format_row(row), flush=True)
    found = {"adapters": [asdict(b) for b in mho.backends()], "adapter": options.adapter}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found | {"machine": machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
