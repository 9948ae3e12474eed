"""The crate has the formulas of the package: its tests compare them with what a script wrote."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "data" / "make_inference_fixtures.py"


def fixtures() -> Any:
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def close(found: Any, expected: Any) -> bool:
    """Return whether all numbers are equal but for the last digits of float32."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            close(found[key], expected[key]) for key in expected
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    if isinstance(expected, float):
        # Versions of torch round logarithms and powers differently.
        return bool(found == pytest.approx(expected, rel=2e-6, abs=1e-8))
    return bool(found == expected)


def test_the_crate_is_compared_with_these_formulas() -> None:
    module = fixtures()
    found = json.loads(json.dumps(module.content()))
    expected = json.loads(module.TARGET.read_text())
    assert found.keys() == expected.keys()
    for name in expected:
        assert close(found[name], expected[name]), f"{name}: run {SCRIPT.name}"
