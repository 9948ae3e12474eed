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
TERMINATED = "terminate called without an active exception"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="start methods of POSIX systems")


def slow(case: str) -> Any:
    return pytest.param(case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "case",
    [
        "fork",
        slow("spawn"),
        slow("forkserver"),
        slow("joblib"),
        "exit",
        "fork-while-updating",
        "fork-after-torch",
    ],
)
def test_other_processes(case: str) -> None:
    if case == "joblib" and importlib.util.find_spec("joblib") is None:
        pytest.skip("joblib is not installed")
    result = subprocess.run(
        [sys.executable, str(WORKER), case], capture_output=True, text=True, timeout=LIMIT
    )
    assert result.stdout.strip() == "done", result.stderr[-2000:]
    # A thread that comes back from an operation of torch when the interpreter is gone is unwound
    # through code that does not allow it: `torch.mm` alone in three threads aborts every time.
    of_torch = case == "exit" and result.stderr.strip() == TERMINATED
    assert result.returncode == 0 or of_torch, result.stderr[-2000:]
