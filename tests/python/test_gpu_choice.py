"""Choice of the backend, and what it refuses."""

import copy
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import mho
from adapters import needed_adapter
from mho.exceptions import ArgumentError, BackendError, ConfigError, TileError
from mho.nn import AnalogLinear, AnalogSequential
from mho.simulator.configs import (
    ConstantStepDevice,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.devices.custom import CustomPulsedDevice
from mho.simulator.parameters.inference import DriftParameter
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.tiles import AnalogTile

# The dynamic loader reads these, so they need a process of their own.
NO_DRIVER = {"VK_ICD_FILENAMES": "/nonexistent", "VK_DRIVER_FILES": "/nonexistent"}


@pytest.fixture(autouse=True)
def _cpu_afterwards() -> Iterator[None]:
    yield
    mho.set_backend("cpu")


@register_config_class
class HalfStep(CustomPulsedDevice):
    """Device in Python."""

    def step(self, weight: Any, up: Any, planes: Any, noise: Any) -> Any:
        return weight + torch.where(up, 0.5, -0.5) * self.dw_min


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=NO_DRIVER, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_without_driver() -> None:
    """The message says what is missing; the processor goes on."""
    if sys.platform == "darwin":
        pytest.skip("Metal is part of the system")
    out = run(
        "import mho, mho.nn\n"
        "print(len(mho.backends()))\n"
        "try:\n"
        "    mho.set_backend('wgpu')\n"
        "except mho.exceptions.BackendError as error:\n"
        "    print(error)\n"
        "layer = mho.nn.AnalogLinear(3, 2)\n"
        "try:\n"
        "    layer.to_backend('wgpu')\n"
        "except mho.exceptions.BackendError as error:\n"
        "    print(next(layer.analog_tiles()).backend, mho.get_backend(), error)\n"
    )
    count, first, second = out.strip().split("\n")
    assert count == "1"
    assert "install a Vulkan" in first and "MHO_GPU" in first
    assert second.startswith("cpu cpu") and "install a Vulkan" in second


def test_list_of_backends() -> None:
    first, *others = mho.backends()
    assert (first.backend, first.adapter, first.type) == ("cpu", None, "processor")
    assert [other.adapter for other in others] == list(range(len(others)))
    for other in others:
        assert other.backend == "wgpu" and other.name and other.api
        assert other.type in ("discrete", "integrated", "virtual", "other", "software")


def test_software_is_used_only_when_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [backend for backend in mho.backends() if backend.backend == "wgpu"]
    if not found or found[0].type != "software":
        pytest.skip("needs a machine whose only adapters are software ones")
    monkeypatch.delenv("MHO_GPU", raising=False)
    with pytest.raises(BackendError, match="software adapters are used only when named"):
        mho.set_backend("wgpu")
    assert mho.get_backend() == "cpu"
    mho.set_backend("wgpu", found[0].name[:8].upper())
    monkeypatch.setenv("MHO_GPU", "0")
    mho.set_backend("wgpu")


def test_set_backend_holds_for_tiles_built_afterwards() -> None:
    before = AnalogLinear(3, 2)
    mho.set_backend("wgpu", needed_adapter())
    assert mho.get_backend() == "wgpu"
    after = AnalogSequential(AnalogLinear(3, 2), AnalogLinear(2, 2))
    torch_tile = AnalogLinear(3, 2, rpu_config=TorchInferenceRPUConfig())
    mho.set_backend("cpu")
    assert [tile.backend for tile in after.analog_tiles()] == ["wgpu", "wgpu"]
    # Tiles that compute in torch run where torch does.
    assert [next(m.analog_tiles()).backend for m in (before, torch_tile)] == ["cpu", "cpu"]
    mho.synchronize()


def test_backend_of_one_configuration() -> None:
    mho.set_backend("wgpu", needed_adapter())
    config = SingleRPUConfig()
    config.runtime.backend = "cpu"
    assert AnalogTile(2, 3, config).backend == "cpu"
    config.runtime.backend = "wgpu"
    tile = AnalogTile(2, 3, config)
    assert tile.backend == "wgpu"
    assert tile.to_backend("cpu").rpu_config.runtime.backend == "cpu"
    # A state that was saved elsewhere does not move the tile.
    other = AnalogTile(2, 3, config)
    tile.load_state_dict(other.state_dict())
    assert tile.backend == tile.rpu_config.runtime.backend == "cpu"


@pytest.mark.parametrize("adapter", [True, 1.5, "", ["0"]])
def test_bad_adapter(adapter: Any) -> None:
    with pytest.raises(ArgumentError, match="adapter"):
        mho.set_backend("wgpu", adapter)


def test_bad_backend() -> None:
    for choose in (mho.set_backend, AnalogTile(2, 3, SingleRPUConfig()).to_backend):
        with pytest.raises(ConfigError, match="backend"):
            choose("tpu")
    with pytest.raises(ArgumentError, match="adapter"):
        mho.set_backend("cpu", 0)
    if needed_adapter() is not None:
        with pytest.raises(BackendError, match=r"no such thing.*found 0: "):
            mho.set_backend("wgpu", "no such thing")


REFUSED = {
    "device.drift": ConstantStepDevice(drift=DriftParameter(nu=0.1)),
    "device: HalfStep": HalfStep(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_backend_cannot_do_is_refused(name: str) -> None:
    adapter = needed_adapter()
    config = SingleRPUConfig(device=REFUSED[name])
    tile = AnalogTile(2, 3, config)
    with pytest.raises(ConfigError, match=name):
        tile.to_backend("wgpu", adapter)
    assert tile.backend == tile.tile.kernels.backend == "cpu"
    mho.set_backend("wgpu", adapter)
    with pytest.raises(ConfigError, match=name):
        AnalogTile(2, 3, config)
    # Nor does a tile there take over such a configuration.
    there = AnalogTile(2, 3, SingleRPUConfig(device=ConstantStepDevice()))
    before = there.get_weights()[0]
    with pytest.raises(ConfigError, match=name):
        there.replace_with(config)
    assert torch.equal(there.get_weights()[0], before)
    there(torch.zeros(1, 3))


def test_tiles_of_torch_are_refused() -> None:
    config = TorchInferenceRPUConfig()
    with pytest.raises(ConfigError, match=r"TorchInferenceTile cannot run on 'wgpu'"):
        AnalogLinear(3, 2, rpu_config=config).to_backend("wgpu")
    config.runtime.backend = "wgpu"
    with pytest.raises(ConfigError, match=r"runtime\.backend: TorchInferenceTile"):
        AnalogLinear(3, 2, rpu_config=config)


def test_model_moves_as_a_whole_or_not_at_all() -> None:
    model = AnalogSequential(
        AnalogLinear(3, 2), AnalogLinear(2, 2, rpu_config=SingleRPUConfig(device=HalfStep()))
    )
    with pytest.raises(ConfigError, match="HalfStep"):
        model.to_backend("wgpu", needed_adapter())
    assert [tile.backend for tile in model.analog_tiles()] == ["cpu", "cpu"]


def test_graphs_are_refused() -> None:
    layer = AnalogLinear(3, 2).eval()
    exported = (torch.ones(2, 3),)
    layer.to_backend("wgpu", needed_adapter())
    with pytest.raises(Exception, match=r"to_backend|disable"):
        torch.export.export(layer, exported)
    compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, backend="eager")
    # Before torch 2.7 the message of torch has the name of the function only.
    with pytest.raises(Exception, match=r"to_backend|disable"):
        compiled(*exported)
    if not hasattr(torch.compiler, "is_exporting"):
        return  # before torch 2.7 no tile of the core is exported
    with pytest.raises(TileError, match="to_backend"):
        torch.export.export(layer, exported, strict=False)


# What torch says about its own graphs.
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
def test_graphs_break_around_tiles() -> None:
    layer = AnalogLinear(3, 2).to_backend("wgpu", needed_adapter())
    model, other = torch.nn.Sequential(torch.nn.Tanh(), layer), copy.deepcopy(layer)
    x = torch.ones(2, 3)
    found = torch.compile(model, backend="eager")(x)
    torch.testing.assert_close(found, other(torch.tanh(x)))
    found.sum().backward()
    assert layer.analog_module.analog_ctx.has_gradient()
