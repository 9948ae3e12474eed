"""Converting, saving and loading hold the weights of a model once, beside those given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "saving_memory_worker.py"
# Seconds.
LIMIT = 100
# The weights once, those of one layer of twelve in two more forms while it is copied, and what the
# allocator keeps and Python needs for the objects of the model.
ONCE = 1.0 + 2 / 13 + 0.15
# Nothing but a tensor at a time.
NOTHING = 2 / 13 + 0.15

pytestmark = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="no peaks of memory"
)


def test_weights_are_in_memory_once(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(WORKER), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        # Memory that is not used any more is given back at once.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    assert result.returncode == 0, result.stderr[-2000:]
    lines = dict(line.rsplit(" ", 1) for line in result.stdout.splitlines())
    peaks = {step: float(value) for step, value in lines.items()}
    assert peaks.pop("save") < NOTHING
    # The weights of the model that is given are there already.
    assert {step: value for step, value in peaks.items() if not 0.9 < value < ONCE} == {}
    assert len(peaks) == 5
