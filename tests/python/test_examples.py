"""Every example and every code block of the documentation runs, without a network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("[0-9]*.py"))
# The full run takes half a minute; one epoch shows that everything works.
SHORT = {"37_preset_devices": ("--seeds", "1", "--epochs", "1")}
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

OFFLINE = """
import runpy, socket, sys

def refuse(*_):
    raise OSError("no network in this test")

socket.socket.connect = refuse
sys.argv = sys.argv[1:]
sys.path.insert(0, __import__("os").path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_offline(script: Path, *arguments: str, folder: Path, timeout: int) -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", OFFLINE, str(script), *arguments],
        cwd=folder,
        timeout=timeout,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    return finished.stdout


def code_blocks() -> list[object]:
    return [
        pytest.param(block, id=f"{document.name}:{index}")
        for document in DOCUMENTS
        for index, block in enumerate(
            re.findall(r"```python\n(.*?)```", document.read_text(), re.S)
        )
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    assert run_offline(example, *SHORT.get(example.stem, ()), folder=tmp_path, timeout=60)


@pytest.mark.parametrize("block", code_blocks())
def test_documented_code_runs(block: str, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(block)
    run_offline(script, folder=tmp_path, timeout=60)


def accuracies(table: str) -> dict[str, tuple[float, float]]:
    """Return mean and spread by model from the table that the demo prints."""
    rows = re.findall(r"^(.{28})\s+([\d.]+)\s+([\d.]+)\s+[\d.]+$", table, re.M)
    return {name.strip(): (float(mean), float(spread)) for name, mean, spread in rows}


@pytest.mark.timeout(180)
def test_digits_reach_what_the_readme_says(tmp_path: Path) -> None:
    output = run_offline(ROOT / "examples" / "digits.py", folder=tmp_path, timeout=170)
    results = accuracies(output)
    assert len(results) == 5, output
    assert results["in memory, ConstantStep"][0] >= 93
    # Both means come from the same five networks; their difference has a standard error of at
    # most spread / sqrt(5) each.
    adapted, plain = results["converted, fine-tuned"], results["converted"]
    assert adapted[0] >= plain[0] - 2 * (adapted[1] + plain[1]) / 5**0.5
    assert (tmp_path / "out" / "digits.png").stat().st_size > 10_000
