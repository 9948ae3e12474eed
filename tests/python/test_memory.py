"""Memory that runs out: `MemoryError`, and tiles as before; in processes with limits."""

import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "memory_worker.py"
# Seconds.
LIMIT = 200

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")


@pytest.mark.parametrize("case", ["updates", "products", "construction"])
def test_errors_leave_all_as_it_was(case: str) -> None:
    result = subprocess.run(
        [sys.executable, str(WORKER), case], capture_output=True, text=True, timeout=LIMIT
    )
    assert result.stdout.strip() == "done" and result.returncode == 0, result.stderr[-2000:]
