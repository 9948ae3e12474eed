"""The demonstration: its recipe for hardware-aware training, its table and figure, its claim."""

import importlib
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mho.simulator.configs import InferenceRPUConfig, WeightClipType, WeightModifierType
from mho.simulator.presets import StandardHWATrainingPreset

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
YEAR = -1
"""Index of the last age."""
ONE_SIDED_95 = 2.132
"""Quantile of Student's t of four degrees of freedom."""


@pytest.fixture(scope="module")
def recipe() -> Iterator[Any]:
    sys.path.insert(0, str(EXAMPLES))
    yield importlib.import_module("hardware_aware").hardware_aware
    sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="module")
def digits(recipe: Any) -> Any:
    return importlib.import_module("digits")


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture
def loader() -> DataLoader[Any]:
    torch.manual_seed(2)
    x = torch.randn(60, 6)
    return DataLoader(TensorDataset(x, (x[:, :3]).argmax(1)), batch_size=20, shuffle=True)


def test_recipe_ramps_the_noise_and_learns(
    recipe: Any, model: nn.Module, loader: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    analog, history = recipe(model, loader, StandardHWATrainingPreset(), epochs=10, noise=0.2)
    assert [round(epoch["noise"], 3) for epoch in history] == [0.067, 0.133] + [0.2] * 8
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert max(epoch["lr"] for epoch in history) > 0.09 > 1e-3 > history[-1]["lr"]
    assert not analog.training
    modifiers = [tile.rpu_config.modifier for tile in analog.analog_tiles()]
    assert all(one.type is WeightModifierType.ADD_NORMAL for one in modifiers)
    assert all(one.std_dev == 0.2 for one in modifiers)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert "hardware-aware training" in capsys.readouterr().err


def test_recipe_calibrates_ranges_and_goes_on_learning_them(
    recipe: Any, model: nn.Module, loader: Any
) -> None:
    config = StandardHWATrainingPreset()
    still, _ = recipe(model, loader, config, epochs=1, lr=1e-9, quiet=True)
    inputs = torch.cat([x for x, _ in loader])
    quantile = torch.quantile(inputs.abs().flatten(), 0.999).item()
    first = next(still.analog_tiles()).input_range.item()
    # The optimizer has moved it by next to nothing; no batch has replaced it.
    assert math.isclose(first, quantile, rel_tol=1e-4)
    moved, _ = recipe(model, loader, config, epochs=4, quiet=True)
    assert next(moved.analog_tiles()).input_range.item() != pytest.approx(first, rel=1e-4)


def test_recipe_tightens_the_clipping(recipe: Any, model: nn.Module, loader: Any) -> None:
    config = InferenceRPUConfig()
    config.mapping.weight_scaling_omega = 1.0
    analog, _ = recipe(model, loader, config, epochs=5, sigma=1.5, noise=0.0, quiet=True)
    for tile in analog.analog_tiles():
        assert tile.rpu_config.clip.type is WeightClipType.LAYER_GAUSSIAN
        assert tile.rpu_config.clip.sigma == 1.5
        weights = tile.tile.get_weights()
        # Clipping has made the deviation smaller, so that the bound is met up to that.
        assert weights.abs().max() <= 1.6 * weights.std()
    config.clip.type, config.clip.fixed_value = WeightClipType.FIXED_VALUE, 0.3
    kept, _ = recipe(model, loader, config, epochs=1, quiet=True)
    assert next(kept.analog_tiles()).rpu_config.clip.fixed_value == 0.3
    assert next(kept.analog_tiles()).tile.get_weights().abs().max() <= 0.3


def test_recipe_is_the_one_that_the_documentation_shows() -> None:
    page = (ROOT / "docs" / "hardware_aware.md").read_text()
    source = (EXAMPLES / "hardware_aware.py").read_text()
    body = source[source.index("    analog = convert_to_analog") :].rstrip()
    shown = page[page.index("    analog = convert_to_analog") :]
    assert shown.startswith(body + "\n```")


def test_demonstration_prints_and_draws(tmp_path: Path) -> None:
    figure = tmp_path / "digits.png"
    options = ("--seeds", "1", "--chips", "2", "--epochs", "1", "--algorithm", "agad")
    finished = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "digits.py", *options, "--output", figure],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    for label in ("floating point", "hardware-aware, compensated", "AGAD, SoftBoundsReference"):
        assert label in finished.stdout
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_hardware_aware_networks_lose_less_than_a_third_in_a_year(digits: Any) -> None:
    """On seeds that played no part before: rates, epochs and noise were chosen on 101 to 105.

    1 to 5 are left out as well, for two settings were tried on them. Both networks start from the
    same calibration of input ranges; another one suits converted networks better, see
    docs/hardware_aware.md.
    """
    lost: dict[str, list[torch.Tensor]] = {"converted": [], "hardware-aware": []}
    for seed in range(201, 206):
        results = digits.inference(seed, epochs=20, chips=8)
        (exact,) = results.floating_point
        for name, losses in lost.items():
            chips = torch.tensor(results.ageing[name, True], dtype=torch.float64)
            losses.append(exact - chips[:, YEAR].mean())
    converted, aware = (torch.stack(losses) for losses in lost.values())
    assert converted.mean() > 5.0, "the task is too easy to tell the networks apart"
    excess = aware - converted / 3
    bound = excess.mean() + ONE_SIDED_95 * excess.std() / math.sqrt(len(excess))
    assert bound < 0.0, f"lost: converted {converted.tolist()}, hardware-aware {aware.tolist()}"
