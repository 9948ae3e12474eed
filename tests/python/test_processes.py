"""Tiles in workers of data loaders and pools, and at the exit of the interpreter: nothing hangs."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WORKER = Path(__file__).parent / "processes_worker.py"
# Seconds; two workers that import torch take ten on a busy machine.
LIMIT = 100
TERMINATED = {"terminate called without an active exception", "terminate called recursively"}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="start methods of POSIX systems")


def run(case: str) -> "subprocess.CompletedProcess[str]":
    """Run a case in a process of its own."""
    command = [sys.executable, str(WORKER), case]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)


def is_aborted(result: "subprocess.CompletedProcess[str]") -> bool:
    """Return whether C++ has ended a process because threads were unwound; each says so."""
    lines = result.stderr.strip().splitlines()
    return result.returncode < 0 and bool(lines) and set(lines) <= TERMINATED


def slow(case: str) -> Any:
    return pytest.param(case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "case",
    [
        "fork", slow("spawn"), slow("forkserver"), slow("joblib"), "exit", "exit-in-kernels",
        "fork-while-updating", "fork-after-torch",
    ],
)  # fmt: skip
def test_other_processes(case: str) -> None:
    if case == "joblib" and importlib.util.find_spec("joblib") is None:
        pytest.skip("joblib is not installed")
    result = run(case)
    assert result.stdout.strip() == "done", result.stderr[-2000:]
    if case == "exit" and is_aborted(result):
        # A thread that comes back from an operation of torch when the interpreter is gone is
        # unwound through code that does not allow it. Kernels allow it; a product also makes
        # tensors. So this is not ours as long as torch alone, without this package, does it too.
        assert is_aborted(run("exit-in-torch")), "torch does not abort any more, and a tile does"
        return
    assert result.returncode == 0, result.stderr[-2000:]
    assert case != "exit-in-kernels" or result.stderr == ""
