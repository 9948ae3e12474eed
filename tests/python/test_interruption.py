"""`KeyboardInterrupt` at any moment: weights, counters and numbers of calls change together or not.

Signals come at random times, in a process of their own: the timers of the tests use them as well.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "interruption_worker.py"
# Seconds.
LIMIT = 200
CASES = ["sums", "segments", "write-noise", "exact", "python", "operations", "optimizer"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="timers of POSIX systems")


@pytest.mark.parametrize(
    "times", [pytest.param(30), pytest.param(1000, marks=pytest.mark.slow)], ids=["few", "many"]
)
@pytest.mark.parametrize("case", CASES)
def test_interrupted_changes_are_whole(case: str, times: int) -> None:
    result = subprocess.run(
        [sys.executable, str(WORKER), case, str(times)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert found and all(sum(counts.values()) == times for counts in found)
    if case in ("sums", "segments", "write-noise"):
        # Most of the time is that of the kernel, which asks once more before it ends.
        assert found[0]["before"] > 0.5 * times, found
