"""Small things that scripts do: tracing, other default precisions, assigned scales."""

import copy
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mho
from mho.exceptions import ArgumentError, ConfigError, ModuleError, TileError
from mho.nn import AnalogLinear, AnalogLinearMapped, AnalogSequential
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.tiles import InferenceTile
from mho.simulator.tiles.custom import CustomRPUConfig

CORE = [SingleRPUConfig, InferenceRPUConfig, FloatingPointRPUConfig]
ALL = [*CORE, TorchInferenceRPUConfig, CustomRPUConfig]


@pytest.mark.parametrize("config", ALL)
def test_traces_are_refused_with_the_remedy(config: Any) -> None:
    layer = AnalogLinear(4, 3, rpu_config=config()).eval()
    with warnings.catch_warnings(), pytest.raises(TileError, match=r"torch\.jit\.trace.*export"):
        warnings.simplefilter("ignore")  # torch calls it deprecated
        torch.jit.trace(layer, torch.rand(2, 4))
    layer(torch.rand(2, 4))


@pytest.mark.parametrize("config", ALL)
def test_scripts_are_refused_with_the_remedy(config: Any) -> None:
    model = nn.Sequential(AnalogLinear(4, 3, rpu_config=config()), nn.ReLU())
    with warnings.catch_warnings(), pytest.raises(ModuleError, match=r"jit\.script.*export"):
        warnings.simplefilter("ignore")  # torch calls it deprecated
        torch.jit.script(model)
    model(torch.rand(2, 4))


@pytest.fixture
def default_dtype() -> Iterator[torch.dtype]:
    """Another default precision of torch."""
    torch.set_default_dtype(torch.float64)
    yield torch.float64
    torch.set_default_dtype(torch.float32)


@pytest.mark.filterwarnings("ignore:.*computes in float32")
@pytest.mark.parametrize("config", ALL)
@pytest.mark.parametrize("layer", [AnalogLinear, AnalogLinearMapped])
def test_models_of_another_default_precision(
    default_dtype: torch.dtype, config: Any, layer: Any
) -> None:
    chosen = config()
    chosen.mapping.max_input_size = 3
    model = AnalogSequential(
        nn.Linear(4, 4), layer(4, 3, rpu_config=chosen), nn.ReLU(), nn.Linear(3, 2)
    )
    x = torch.rand(5, 4, requires_grad=True)
    y = model(x)
    assert y.dtype is default_dtype
    y.sum().backward()
    assert x.grad is not None and x.grad.dtype is default_dtype
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    with torch.no_grad():
        assert model.eval()(x).dtype is default_dtype


def test_tiles_that_compute_in_float32_say_so_once() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.warns(UserWarning, match="computes in float32") as caught:
            layer = AnalogLinear(4, 3, rpu_config=SingleRPUConfig())
        assert len(caught) == 1
        for _ in range(3):
            layer(torch.rand(2, 4))
    finally:
        torch.set_default_dtype(torch.float32)


def test_learned_scales_can_be_assigned() -> None:
    config = InferenceRPUConfig()
    config.mapping.learn_out_scaling = config.mapping.out_scaling_columnwise = True
    config.pre_post.input_range.enable = True
    tile = config.tile_class(3, 4, config)
    parameter = tile.out_scaling_alpha
    tile.out_scaling_alpha = torch.tensor([1.0, 2.0, 3.0])
    assert tile.out_scaling_alpha is parameter
    assert parameter.tolist() == [1.0, 2.0, 3.0]
    tile.input_range = torch.tensor([0.5])
    assert tile.input_range.item() == 0.5
    with pytest.raises(ArgumentError, match="scales"):
        tile.out_scaling_alpha = torch.tensor([1.0, -2.0, 3.0])
    assert parameter.tolist() == [1.0, 2.0, 3.0]
    plain = InferenceTile(3, 4)
    with pytest.raises(ConfigError, match="learn_out_scaling"):
        plain.out_scaling_alpha = torch.ones(3)


@pytest.mark.parametrize(
    "use", ["0", "mho.set_backend('wgpu', 0)", "mho.nn.AnalogLinear(2, 2).to_backend('wgpu', 0)"]
)
def test_drivers_are_silent(use: str) -> None:
    code = f"import mho, os; found = mho.backends(); len(found) < 2 or {use}"
    code += "; os.write(2, b'heard')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": ""},
    )
    assert (done.stdout, done.stderr) == ("", "heard")


def test_messages_use_no_article_that_a_name_contradicts() -> None:
    """Names are put into messages, and "a" before one that starts with a vowel reads badly."""
    before_a_name = re.compile(r"\ban? \{(?!value\.dtype|weight\.dtype|dtype)")
    sources = Path(mho.__file__).parent.rglob("*.py")
    found = [str(path) for path in sources if before_a_name.search(path.read_text())]
    assert found == []


@pytest.mark.parametrize("config", ALL)
@pytest.mark.parametrize("bias", [False, True])
def test_pruning_after_conversion_is_refused_with_the_remedy(config: Any, bias: bool) -> None:
    layer = AnalogLinear(4, 3, rpu_config=config())
    before = layer.get_weights()
    with pytest.raises(ModuleError, match=r"_orig.*digital layer and convert"):
        nn.utils.prune.random_unstructured(layer, "bias" if bias else "weight", 0.5)
    after = layer.get_weights()
    assert torch.equal(after[0], before[0]) and torch.equal(after[1], before[1])
    assert not layer._forward_pre_hooks and layer(torch.rand(2, 4)).shape == (2, 3)
