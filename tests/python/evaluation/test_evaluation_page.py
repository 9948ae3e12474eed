"""What docs/evaluation.md shows runs, and names what there is."""

import contextlib
import inspect
import io
import re
from pathlib import Path
from typing import Any

import pytest

import mho
from mho.evaluation.groups import GROUPS
from mho.evaluation.layers import QUANTITIES

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "evaluation.md").read_text()


def test_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
            exec(compile(block, "docs/evaluation.md", "exec"), names)
    assert "for this trained network and this test set" in printed.getvalue()
    assert names["n"] > 2 and names["again"].samples == names["more"].samples
    assert {p.name for p in tmp_path.iterdir()} == {
        "drift.png",
        "layers.png",
        "result.json",
        "run.jsonl",
    }


def test_figures_of_the_page_are_there() -> None:
    for name in re.findall(r"!\[[^\]]*\]\((figures/[^)]*)\)", TEXT):
        assert (DOCS / name).is_file(), name


def test_the_page_names_everything() -> None:
    for name in (*GROUPS, *QUANTITIES):
        assert f"`{name}`" in TEXT, name
    signature = inspect.signature(mho.evaluate)
    for name in signature.parameters:
        if name not in ("model", "data", "metric", "progress", "allow_mixed"):
            assert re.search(rf"`{name}[`=]|\b{name}=", TEXT), name
