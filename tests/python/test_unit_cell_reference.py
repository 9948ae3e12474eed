"""The transcription of unit cells against golden traces, and against their own laws."""

import pytest

from reference.golden import CASES
from reference.unit_cells import ReferenceTile


@pytest.mark.parametrize("name", CASES)
def test_golden_traces(name: str) -> None:
    number = 0
    for found in CASES[name](ReferenceTile):
        found.check()
        number += 1
    assert number > 0
