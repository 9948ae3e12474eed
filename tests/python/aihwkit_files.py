"""The files that aihwkit 1.1.0 has written, see `data/make_aihwkit_checkpoints.py`."""

import copy
import gzip
import io
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from aihwkit_cases import build, package
from mho.simulator.tiles.module import TileModule
from mho.utils.legacy import load_aihwkit_state_dict, load_checkpoint

FOLDER = Path(__file__).parent / "data" / "aihwkit"
MHO = package("mho")

# Sums of at most 9 products, twice through scales and ranges, in float32 on both sides.
ROUNDING = 2.0**-19


def file(name: str) -> io.BytesIO:
    """Return a file as aihwkit wrote it."""
    return io.BytesIO(gzip.decompress((FOLDER / f"{name}.pt.gz").read_bytes()))


@cache
def _read(name: str) -> Any:
    return load_checkpoint(file(name))


def content(name: str) -> Any:
    """Return what a file holds."""
    return copy.deepcopy(_read(name))


def loaded(name: str, case: str | None = None) -> tuple[nn.Module, Any]:
    """Return a model of mho with the state of a file, and what aihwkit has found."""
    saved = content(name)
    model, _ = build(MHO, case or name)
    load_aihwkit_state_dict(model, saved["model"])
    return model.eval(), saved["found"]


def tiles(model: nn.Module) -> dict[str, TileModule]:
    """Return the tiles of a model by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, TileModule)}
