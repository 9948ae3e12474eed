"""What docs/inference.md shows runs."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "inference.md").read_text()


def test_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
            exec(compile(block, "docs/inference.md", "exec"), names)
    assert re.search(r"1 year: \d+\.\d%", printed.getvalue())
    assert set(names["ranges"]) == {"0.analog_module", "2.analog_module"}
    assert names["y"].shape == (20,) and names["back"].shape == (5, 30)


def test_figures_of_the_page_are_there() -> None:
    for name in re.findall(r"!\[[^\]]*\]\((figures/[^)]*)\)", TEXT):
        assert (DOCS / name).is_file(), name
