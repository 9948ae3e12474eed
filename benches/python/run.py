"""Measures the speed of mho beside torch and, if it is installed, aihwkit.

Every thread count gets its own process, in which all libraries run in turn with that count. The
table goes to the terminal, all numbers to a JSON file. See docs/performance.md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
GROUPS = ("products", "updates", "training", "memory", "options")


def rows(threads: int, groups: list[str], peer: bool, steps: int) -> Iterator[object]:
    """Measure in this process."""
    # Imported late: the libraries read their thread variables when they are loaded.
    import torch

    import mho
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
    if "training" in groups:
        yield from training.epoch_rows(libraries, threads)
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


def format_time(seconds: float | None) -> str:
    """Return a time with a unit that fits."""
    if seconds is None:
        return "-"
    scale, unit = (1e6, "us") if seconds < 1e-4 else (1e3, "ms")
    return f"{seconds * scale:.3g} {unit}"


def format_row(row: dict) -> str:
    """Return one line of a Markdown table."""
    seconds = row["seconds"]
    mho, torch, peer = (seconds.get(name) for name in ("mho", "torch", "aihwkit"))
    to_torch = f"{mho / torch:.2f}" if mho and torch else "-"
    to_peer = f"{peer / mho:.1f}" if mho and peer else "-"
    notes = ", ".join(f"{name} {value:.3g}" for name, value in row["notes"].items())
    cells = [row["name"], str(row["threads"]), *map(format_time, (mho, torch, peer))]
    cells += [to_torch, to_peer, notes or "-", row["target"] or "-"]
    return "| " + " | ".join(cells) + " |"


def machine() -> dict[str, object]:
    """Describe where the numbers were taken."""
    import torch

    import mho

    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "mho": mho.__version__,
    }


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
    print("| work | threads | mho | torch | aihwkit | mho/torch | aihwkit/mho | notes | target |")
    print("|---|---|---|---|---|---|---|---|---|")
    found = [row for threads in options.threads for row in in_child(threads, options)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"machine": machine(), "rows": found}, indent=1))


if __name__ == "__main__":
    main()
