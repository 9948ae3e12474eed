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

pytestmark = pytest.mark.skipif(os.name != "posix", reason="start methods of POSIX systems")


def slow(case: str) -> Any:
    return pytest.param(case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "case",
    ["fork", slow("spawn"), slow("forkserver"), slow("joblib"), "exit", "fork-while-updating"],
)
def test_other_processes(case: str) -> None:
    if case == "joblib" and importlib.util.find_spec("joblib") is None:
        pytest.skip("joblib is not installed")
    result = subprocess.run(
        [sys.executable, str(WORKER), case], capture_output=True, text=True, timeout=LIMIT
    )
    assert (result.returncode, result.stdout.strip()) == (0, "done"), result.stderr[-2000:]
