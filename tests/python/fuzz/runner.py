"""Many cases, in processes of their own: one that crashes or hangs is a finding like any other."""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from tqdm import tqdm

KINDS = ("sequences", "damage_cases", "border")
"""Modules of this package that have a function `problems_of` a seed."""

SECONDS = 120.0
"""A case that takes longer hangs: the slowest ones take a second."""

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Finding:
    """What is wrong with a case."""

    kind: str
    seed: int
    problem: str

    def __str__(self) -> str:
        """Return it with the line that shows it again."""
        again = f"PYTHONPATH=tests/python python -m fuzz {self.kind} --seed {self.seed}"
        return f"{self.kind} {self.seed}: {self.problem}\n    {again} --shrink"


def case(kind: str, seed: int) -> list[Finding]:
    """Run a case in this process; returns what is wrong with it."""
    module = importlib.import_module(f"fuzz.{kind}")
    try:
        problems: list[str] = module.problems_of(seed)
    except Exception:
        problems = [f"the case itself failed\n{traceback.format_exc()}"]
    return [Finding(kind, seed, problem) for problem in problems]


def run_here(kind: str, first: int, count: int) -> list[Finding]:
    """Run cases one after another in this process."""
    return [finding for seed in range(first, first + count) for finding in case(kind, seed)]


def answer(kind: str, first: int, count: int) -> None:
    """Run cases as a child, and write what happens to the standard output."""
    for seed in range(first, first + count):
        print(json.dumps({"seed": seed}), flush=True)
        for finding in case(kind, seed):
            print(json.dumps({"seed": seed, "problem": finding.problem}), flush=True)


def run_in_children(
    kind: str,
    first: int,
    count: int,
    processes: int,
    show: bool = False,
    seconds: float = SECONDS,
) -> list[Finding]:
    """Run cases in child processes.

    Args:
        kind: One of `KINDS`.
        first: First seed.
        count: Number of cases.
        processes: Number of processes.
        show: Show the progress.
        seconds: Longest time of a case, that of starting a process included.
    """
    parts = Queue[tuple[int, int]]()
    # A process takes seconds to start; two parts for each are enough to end at about the same time.
    rounds = 2 if count > 500 else 1
    size = max(1, min(2500, -(-count // (rounds * processes))))
    for start in range(first, first + count, size):
        parts.put((start, min(size, first + count - start)))
    findings: list[Finding] = []
    with tqdm(total=count, disable=not show, smoothing=0.05) as progress:

        def found(finding: Finding) -> None:
            findings.append(finding)
            if show:
                tqdm.write(str(finding))

        def work() -> None:
            while not parts.empty():
                _part(kind, *parts.get(), seconds, found, progress.update)

        threads = [threading.Thread(target=work) for _ in range(processes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sorted(findings, key=lambda finding: finding.seed)


def _part(
    kind: str,
    first: int,
    count: int,
    seconds: float,
    found: Callable[[Finding], None],
    done: Callable[[], object],
) -> None:
    """Run some cases in a child, and in further ones behind each case that ends one."""
    end = first + count
    while first < end:
        last = first
        for seed, problem in _child(kind, first, end - first, seconds):
            last = seed
            if problem is None:
                done()
            else:
                found(Finding(kind, seed, problem))
        first = last + 1


def _child(kind: str, first: int, count: int, seconds: float) -> Iterator[tuple[int, str | None]]:
    """Yield the seed of every case that a child begins, and its problems."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    command = [sys.executable, "-m", "fuzz", kind, "--child"]
    command += ["--seed", str(first), "--count", str(count)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    hangs = threading.Event()

    def stop() -> None:
        hangs.set()
        child.kill()

    seed, watch = first, threading.Timer(seconds, stop)
    watch.start()
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            watch.cancel()
            if line.startswith("{"):
                said = json.loads(line)
                seed = said["seed"]
                yield seed, said.get("problem")
            watch = threading.Timer(seconds, stop)
            watch.start()
    watch.cancel()
    code = child.wait()
    if hangs.is_set():
        yield seed, f"takes longer than {seconds} seconds"
    elif code < 0:
        yield seed, f"the process died of {signal.Signals(-code).name}"
    elif code != 0 or seed != first + count - 1:
        yield seed, f"the process ended with code {code}"
