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
    ("times", "cases"),
    [
        # All in one process, for loading torch takes longer than a case.
        pytest.param(30, CASES, id="few"),
        *(pytest.param(1000, [case], id=case, marks=pytest.mark.slow) for case in CASES),
    ],
)
def test_interrupted_changes_are_whole(times: int, cases: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, str(WORKER), str(times), *cases],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    results = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["case"] for one in results] == cases
    for case, found in (one.values() for one in results):
        assert found and all(sum(counts.values()) == times for counts in found), case
        if case in ("sums", "segments", "write-noise"):
            # Most of the time is that of the kernel, which asks once more before it ends.
            assert found[0]["before"] > 0.5 * times, (case, found)
