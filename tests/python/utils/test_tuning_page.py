"""What docs/tuning.md shows runs, prints what it says, and its table is that of the runs."""

import contextlib
import io
import json
import re
import statistics
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "tuning.md").read_text()
RUNS: dict[str, float] = json.loads((ROOT / "docs" / "figures" / "learning.json").read_text())


def blocks(language: str) -> list[str]:
    """Return the blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_examples_of_the_page_run() -> None:
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in blocks("python"):
            exec(compile(block, "docs/tuning.md", "exec"), names)
    assert printed.getvalue().startswith(blocks("text")[0])


def test_table_of_the_page_is_that_of_the_runs() -> None:
    lines = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| ")]
    start = next(i for i, line in enumerate(lines) if line[:2] == ["device", "setting"])
    algorithms = lines[start][2:]
    checked = 0
    for device, setting, *cells in lines[start + 2 :]:
        for algorithm, cell in zip(algorithms, cells, strict=True):
            name = f"{algorithm}|{device}|{setting}|"
            values = [value for key, value in RUNS.items() if key.startswith(name)]
            shown = re.match(r"\*{0,2}([\d.]+)", cell)
            assert (shown is None) == (not values), name
            if shown is not None:
                assert float(shown[1]) == round(statistics.mean(values), 1), name
                checked += 1
    assert checked > 50
