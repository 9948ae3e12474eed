"""States written by an earlier version load bit for bit, and the tiles go on as they did there.

What is drawn, pulses for given inputs and gradients, hidden parameters, counters and drift of
devices have the same bits on every machine. Products do not: their sums are taken in another order
by other instruction sets. And what torch draws may differ between its versions, so the files were
made without noise of torch tiles after loading.
"""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from golden import CASES, KEPT, Case, go_on, same

FOLDER = Path(__file__).parent / "data" / "checkpoints"
GOLDEN = json.loads((FOLDER.parent / "golden_state.json").read_text())

# Outputs and gradients are sums of at most 8 products and pass through at most 24 further
# operations: noise, converters, scales, ranges, the step of an optimizer, one more product after
# it, a power law and the ratio of two means. Each rounds by half a unit in the last place, here
# and where the file was written.
ROUNDINGS = 2 * (8 + 24)


def content(name: str) -> dict[str, dict[str, Tensor]]:
    """Return what a file holds, reading it as data only."""
    data = io.BytesIO(gzip.decompress((FOLDER / f"{name}.pt.gz").read_bytes()))
    loaded: dict[str, dict[str, Tensor]] = torch.load(data, weights_only=True)
    return loaded


def loaded(name: str) -> tuple[nn.Module, dict[str, dict[str, Tensor]]]:
    """Return a model built from another seed, with the state of a file."""
    torch.manual_seed(99)
    model, file = KEPT[name].build(), content(name)
    model.load_state_dict(file["state"])
    return model, file


LATER = (',"exact_pulses":false', ',"update_mode":{"enum":["UpdateMode","FLOW"]}')
"""Fields of configurations that the files are too old for, at their defaults."""


LATER_FORMATS = {"format", "core", "analog_bias"}
"""Keys of headers that differ in format 1, which these files have."""


def text(entry: Tensor) -> Any:
    """Return the header of a tile without what is newer than the files, fields in their order."""
    content = bytes(entry.tolist()).decode()
    for field in LATER:
        content = content.replace(json.dumps(field)[1:-1], "")
    header = json.loads(content, object_pairs_hook=list)
    return [pair for pair in header if pair[0] not in {"mho_version", *LATER_FORMATS}]


def is_exact(name: str, value: Tensor, case: Case) -> bool:
    """Return whether a result has no rounding of a product in it."""
    return not value.is_floating_point() or (case.pulsed and "analog_tile_" in name)


def assert_as_before(name: str, found: Tensor, expected: Tensor, case: Case) -> None:
    """Compare a result with that of the file."""
    if is_exact(name, expected, case):
        assert same(found, expected), f"{name}: {found} instead of {expected}"
        return
    size = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    unit = torch.finfo(expected.dtype).eps / 2
    torch.testing.assert_close(
        found, expected, rtol=0.0, atol=ROUNDINGS * unit * size, msg=lambda m: f"{name}: {m}"
    )


def test_every_file_has_its_case() -> None:
    assert {path.name.removesuffix(".pt.gz") for path in FOLDER.iterdir()} == set(KEPT)
    assert set(KEPT) <= set(CASES)


@pytest.mark.parametrize("name", KEPT)
def test_every_entry_has_the_bits_of_the_file(name: str) -> None:
    model, file = loaded(name)
    state = model.state_dict()
    assert list(state) == list(file["state"])
    for key, expected in file["state"].items():
        if key.endswith("analog_tile_config"):
            assert text(state[key]) == text(expected), key
        else:
            assert same(state[key], expected), f"{key}: {state[key]} instead of {expected}"


@pytest.mark.parametrize("name", KEPT)
def test_loading_keeps_parameters_and_their_order(name: str) -> None:
    """An optimizer goes on with the same parameters, and finds those of its own state by number."""
    model = KEPT[name].build()
    before = list(model.named_parameters())
    model.load_state_dict(content(name)["state"])
    after = list(model.named_parameters())
    assert [name for name, _ in after] == GOLDEN["states"][name]["parameters"]
    assert all(old is new for (_, old), (_, new) in zip(before, after, strict=True))


@pytest.mark.parametrize("name", [name for name, case in KEPT.items() if case.computes])
def test_models_go_on_as_they_did(name: str) -> None:
    model, file = loaded(name)
    found = go_on(model, KEPT[name])
    assert list(found) == list(file["found"])
    for key, expected in file["found"].items():
        assert_as_before(key, found[key], expected, KEPT[name])
