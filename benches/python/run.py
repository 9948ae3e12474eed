"""Measures the speed of mho beside torch and, if it is installed, aihwkit.

Every thread count gets its own process, in which all libraries run in turn with that count. The
table goes to the terminal, all numbers to a JSON file. See docs/performance.md.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from report import HEADER, format_row

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
GROUPS = (
    "products", "updates", "bounds", "cells", "networks", "convolutions", "training", "operations",
    "memory", "options",
)  # fmt: skip


def rows(threads: int, groups: list[str], peer: bool, steps: int) -> Iterator[object]:
    """Measure in this process."""
    # Imported late: the libraries read their thread variables when they are loaded.
    import torch

    import cells
    import convolutions
    import mho
    import networks
    import operations
    import products
    import training
    import updates
    from libraries import load_all
    from options import option_rows

    torch.set_num_threads(threads)
    mho.set_num_threads(threads)
    torch.manual_seed(1)
    libraries = load_all(peer)
    if "products" in groups:
        yield from products.forward_rows(libraries, threads)
        yield from products.backward_rows(libraries, threads)
        yield from products.latency_rows(libraries, threads)
    if "updates" in groups:
        yield from updates.update_rows(libraries, threads)
        yield from updates.scaling_rows(libraries[0], threads)
    alone = {
        "bounds": lambda: updates.bound_rows(libraries[0], threads),
        "cells": lambda: cells.cell_rows(libraries, threads),
        "training": lambda: training.epoch_rows(libraries, threads),
    }
    for group in groups:
        yield from alone.get(group, tuple)()
    if "networks" in groups:
        yield from networks.step_rows(libraries, threads)
        yield from networks.layer_rows(libraries, threads)
        yield from networks.gain_rows(libraries[0], threads)
    if "convolutions" in groups:
        yield from convolutions.layer_rows(libraries, threads)
        yield from convolutions.group_rows(libraries, threads)
        yield from convolutions.lenet_rows(libraries, threads)
    if "operations" in groups:
        yield from operations.tile_rows(libraries[0], threads)
        yield operations.write_noise_row(libraries[0], threads)
        yield from operations.conversion_rows(libraries[0], threads)
        if threads == 1:
            yield operations.import_row()
    if threads == 1 and "memory" in groups:
        yield training.memory_row(libraries[0])
        yield training.growth_row(libraries[0], steps)
    if threads == 1 and "options" in groups:
        yield from option_rows(libraries[0], threads)


def in_child(threads: int, options: argparse.Namespace) -> list[dict]:
    """Measure in a process whose libraries all start with ``threads`` threads."""
    command = [sys.executable, __file__, "--child", str(threads), "--steps", str(options.steps)]
    command += ["--groups", *options.groups] + (["--no-peer"] if options.no_peer else [])
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    found = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            found.append(json.loads(line))
            print(format_row(found[-1]), flush=True)
    if child.returncode:
        sys.exit(child.returncode)
    return found


def processor() -> str:
    """Return the processor's name, or its architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine() -> dict[str, object]:
    """Describe where the numbers were taken."""
    import torch

    import mho

    return {
        "name": processor(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "mho": mho.__version__,
        "aihwkit": peer_version(),
    }


def peer_version() -> str | None:
    """Return the version of aihwkit, None if it is not installed."""
    try:
        return importlib.metadata.version("aihwkit")
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument(
        "--steps", type=int, default=20_000, help="training steps of the growth row"
    )
    parser.add_argument("--no-peer", action="store_true", help="leave aihwkit out")
    parser.add_argument("--output", type=Path, default=Path("out/bench.json"))
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        for row in rows(options.child, options.groups, not options.no_peer, options.steps):
            print(json.dumps(asdict(row)), flush=True)
        return
    print(HEADER)
    found = [row for threads in options.threads for row in in_child(threads, options)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"machine": machine(), "rows": found}, indent=1))


if __name__ == "__main__":
    main()
