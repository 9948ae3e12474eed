"""What docs/evaluation.md names is all that there is; its code runs in `test_examples.py`."""

import inspect
import re
from pathlib import Path

import mho
from mho.evaluation.groups import GROUPS
from mho.evaluation.layers import QUANTITIES

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "evaluation.md").read_text()


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
