"""Devices and noise models that a user writes: the page that tells how, and what it promises."""

import copy
import io
import re
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, ConfigError, TileError
from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    CustomPulsedDevice,
    InferenceRPUConfig,
    PowStepDevice,
    PulseType,
    SingleRPUConfig,
    SoftBoundsDevice,
    VectorUnitCell,
)
from mho.simulator.parameters import registry
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.tiles import AnalogTile, FloatingPointTile, InferenceTile

# Of classes that are refused for other reasons.
pytestmark = pytest.mark.filterwarnings("ignore:.*cannot be saved by state_dict")
ROOT = Path(__file__).parents[2]
PULSES = [kind for kind in PulseType if kind is not PulseType.NONE]


def noisy(size: Tensor, noise: Tensor | None, std: float) -> Tensor:
    return size if noise is None else size * (1.0 + std * noise)


@register_config_class
@dataclass
class OwnConstantDevice(CustomPulsedDevice):
    """Constant steps once more."""

    def step(
        self, weight: Tensor, up: Tensor, planes: Mapping[str, Tensor], noise: Tensor | None
    ) -> Tensor:
        size = torch.where(up, planes["dwmin_up"], -planes["dwmin_down"])
        return weight + noisy(size, noise, self.dw_min_std)


@register_config_class
@dataclass
class OwnSoftDevice(CustomPulsedDevice):
    """Soft bounds once more, in place."""

    def step(
        self, weight: Tensor, up: Tensor, planes: Mapping[str, Tensor], noise: Tensor | None
    ) -> Tensor:
        rise = planes["dwmin_up"] * (1.0 - weight / planes["max_bound"])
        fall = planes["dwmin_down"] * (1.0 - weight / planes["min_bound"])
        return weight.add_(noisy(torch.where(up, rise, -fall), noise, self.dw_min_std))


@register_config_class
@dataclass
class OwnPowDevice(CustomPulsedDevice):
    """Power steps once more, with the hidden parameters of the built-in ones."""

    plane_names: ClassVar[tuple[str, ...]] = ("gamma_up", "gamma_down")
    pow_gamma: float = 1.0
    pow_gamma_dtod: float = 0.1

    def draw_planes(
        self, planes: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        spread = torch.randn(planes["dwmin_up"].shape, generator=generator)
        gamma = (self.pow_gamma * (1.0 + self.pow_gamma_dtod * spread)).abs()
        return {"gamma_up": gamma, "gamma_down": gamma}

    def calc_weight_granularity(self) -> float:
        return float(self.dw_min * 0.5**self.pow_gamma)

    def step(
        self, weight: Tensor, up: Tensor, planes: Mapping[str, Tensor], noise: Tensor | None
    ) -> Tensor:
        low, high = planes["min_bound"], planes["max_bound"]
        room = torch.where(up, high - weight, weight - low) / (high - low)
        power = room.clamp(0.0, 1.0) ** torch.where(up, planes["gamma_up"], planes["gamma_down"])
        size = torch.where(up, planes["dwmin_up"], -planes["dwmin_down"]) * power
        return weight + noisy(size, noise, self.dw_min_std)


PAIRS: dict[str, tuple[type[Any], type[Any], dict[str, Any]]] = {
    "constant": (ConstantStepDevice, OwnConstantDevice, {}),
    "soft bounds": (SoftBoundsDevice, OwnSoftDevice, {}),
    "pow": (PowStepDevice, OwnPowDevice, {"pow_gamma": 1.3}),
}


def pair(name: str, kind: PulseType, **fields: Any) -> tuple[AnalogTile, AnalogTile]:
    """Return tiles with a built-in device and its copy in Python, equal in every number."""
    tiles = []
    for cls in PAIRS[name][:2]:
        config = SingleRPUConfig(device=cls(**PAIRS[name][2], **fields))
        config.update.pulse_type = kind
        config.update.desired_bl = 40  # more than fit into one word of a train
        config.mapping.digital_bias = False
        torch.manual_seed(5)
        tiles.append(AnalogTile(7, 20, config, True))
    planes = tiles[0].get_hidden_parameters()
    tiles[1].set_hidden_parameters({k: planes[k] for k in tiles[1].get_hidden_parameters()})
    for tile in tiles:
        tile.set_learning_rate(0.05)
    assert torch.equal(tiles[0].tile.get_weights(), tiles[1].tile.get_weights())
    return tiles[0], tiles[1]


def batch(samples: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return (
        torch.randn(samples, 20, generator=generator),
        torch.randn(samples, 7, generator=generator),
    )


@pytest.mark.parametrize("kind", PULSES)
@pytest.mark.parametrize("name", PAIRS)
def test_same_pulses_and_weights_as_built_in(name: str, kind: PulseType) -> None:
    built_in, own = pair(name, kind, dw_min_std=0.0, count_pulses=True)
    for tile in (built_in, own):
        tile.update(*batch())
    counts = [tile.tile.get_pulse_counters() for tile in (built_in, own)]
    assert torch.equal(*counts)
    assert (counts[0].sum() > 0) == (kind is not PulseType.NONE_WITH_DEVICE)
    # One by one, steps of 1e-3 differ by the rounding of weights below 2, 1.2e-7 at most and of any
    # sign. Built-in devices whose step depends on the weight may add up the pulses of stochastic
    # trains, with an error far below one step.
    is_summed = name != "constant" and kind.value.startswith("Stochastic")
    difference = (built_in.tile.get_weights() - own.tile.get_weights()).abs().max()
    assert float(difference) < (5e-5 if is_summed else 1e-6)


@pytest.mark.parametrize("res", [0.0, 0.1])
@pytest.mark.parametrize("kind", [PulseType.STOCHASTIC, PulseType.MEAN_COUNT])
def test_same_pulses_with_stochastic_rounding(kind: PulseType, res: float) -> None:
    tiles = pair("constant", kind, dw_min_std=0.0, count_pulses=True)
    for tile in tiles:
        config = copy.deepcopy(tile.rpu_config)
        config.update.res, config.update.sto_round = res, True
        tile.replace_with(config)
        tile.update(*batch())
    assert torch.equal(*(tile.tile.get_pulse_counters() for tile in tiles))


@pytest.mark.parametrize("name", PAIRS)
def test_same_distribution_as_built_in(name: str) -> None:
    same = {"dw_min_dtod": 0.0, "up_down_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0}
    same |= {"pow_gamma_dtod": 0.0} if name == "pow" else {}
    changes = []
    for cls in PAIRS[name][:2]:
        device = cls(**PAIRS[name][2], **same, dw_min=0.01)
        tile = AnalogTile(50, 50, SingleRPUConfig(device=device))
        tile.set_weights(torch.full((50, 50), 0.3))
        # Eight slots that always fire give every cell eight pulses, so that cells are independent.
        tile.set_learning_rate(8.0 * device.calc_weight_granularity())
        tile.update(torch.ones(1, 50), -torch.ones(1, 50))
        changes.append(tile.tile.get_weights().double() - 0.3)
    n = changes[0].numel()
    means, variances = zip(*((c.mean(), c.var()) for c in changes), strict=True)
    assert float(means[0]) > 0.0
    assert abs(float((means[0] - means[1]) / ((variances[0] + variances[1]) / n).sqrt())) < 5.0
    # The logarithm of the variance of n normals has a standard error of sqrt(2 / n).
    assert abs(float((variances[0] / variances[1]).log())) < 5.0 * (4.0 / n) ** 0.5


def stateful() -> SingleRPUConfig:
    device = OwnPowDevice(write_noise_std=0.5, diffusion=1e-3, lifetime=100.0, count_pulses=True)
    config = SingleRPUConfig(device=device)
    config.mapping.digital_bias = False
    return config


def work(tile: AnalogTile) -> Tensor:
    tile.update(*batch())
    tile.post_update_step()
    return torch.cat([tile.tile.get_weights(), tile(batch()[0]).detach().T], 1)


def through_file(state: dict[str, Tensor]) -> dict[str, Tensor]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return dict(torch.load(buffer, weights_only=True))


@pytest.mark.parametrize("way", ["state", "state into other device", "without pulses", "copy"])
def test_copies_continue_with_the_same_bits(way: str) -> None:
    tile = AnalogTile(7, 20, stateful(), True)
    work(tile)
    torch.manual_seed(99)
    other_config = SingleRPUConfig(device=ConstantStepDevice())
    other_config.mapping.digital_bias = False
    if way == "without pulses":
        other_config = stateful()
        other_config.update.pulse_type = PulseType.NONE
    if way == "copy":
        other = copy.deepcopy(tile)
    else:
        other = AnalogTile(7, 20, stateful() if way == "state" else other_config, True)
        other.load_state_dict(through_file(tile.state_dict()))
    assert list(other.get_hidden_parameters()) == list(tile.get_hidden_parameters())
    assert torch.equal(other.tile.get_hidden_parameters(), tile.tile.get_hidden_parameters())
    torch.rand(7)  # results must not hang on torch's generator
    assert torch.equal(work(tile), work(other))
    assert torch.equal(work(tile), work(other))
    assert torch.equal(tile.tile.get_pulse_counters(), other.tile.get_pulse_counters())


def test_seeds_decide_what_is_drawn() -> None:
    def planes(seed: int, construction_seed: int) -> Tensor:
        torch.manual_seed(seed)
        device = OwnPowDevice(construction_seed=construction_seed)
        tile = AnalogTile(3, 4, SingleRPUConfig(device=device))
        return tile.get_hidden_parameters()["gamma_up"]

    assert torch.equal(planes(1, 0), planes(1, 0))
    assert not torch.equal(planes(1, 0), planes(2, 0))
    assert torch.equal(planes(1, 7), planes(2, 7))


def test_own_hidden_parameters_are_in_the_state_and_can_be_set() -> None:
    tile = AnalogTile(3, 4, SingleRPUConfig(device=OwnPowDevice()))
    names = {name for name in tile.state_dict() if name.startswith("analog_tile_device")}
    assert names == {"analog_tile_device.gamma_up", "analog_tile_device.gamma_down"}
    planes = tile.get_hidden_parameters()
    planes["gamma_up"] = torch.full((3, 4), 1.5)
    tile.set_hidden_parameters(planes)
    assert torch.equal(tile.get_hidden_parameters()["gamma_up"], planes["gamma_up"])
    planes["gamma_down"] = planes["gamma_down"] + float("nan")
    planes["dwmin_up"] = 2.0 * planes["dwmin_up"]
    before = tile.tile.get_hidden_parameters()
    with pytest.raises(ArgumentError, match="finite"):
        tile.set_hidden_parameters(planes)
    assert torch.equal(tile.tile.get_hidden_parameters(), before)
    state = tile.state_dict()
    del state["analog_tile_device.gamma_up"]
    with pytest.raises(RuntimeError, match="gamma_up"):
        tile.load_state_dict(state)


def test_devices_can_be_exchanged() -> None:
    tile = AnalogTile(3, 4, SingleRPUConfig(device=OwnConstantDevice()))
    tile.replace_with(SingleRPUConfig(device=OwnPowDevice()))
    assert "gamma_up" in tile.get_hidden_parameters()
    assert "OwnPowDevice" in repr(tile)
    tile.replace_with(SingleRPUConfig(device=ConstantStepDevice()))
    assert "gamma_up" not in tile.get_hidden_parameters()
    assert not any("gamma" in name for name in tile.state_dict())
    assert "ConstantStep" in repr(tile)


def test_without_pulses_the_device_steps_aside() -> None:
    config = SingleRPUConfig(device=OwnPowDevice())
    config.update.pulse_type = PulseType.NONE
    tile = AnalogTile(2, 2, config)
    assert not tile.get_hidden_parameters()
    tile.set_weights(torch.zeros(2, 2))
    tile.set_learning_rate(1.0)
    tile.update(torch.ones(1, 2), torch.full((1, 2), -2.0))
    assert torch.equal(tile.tile.get_weights(), torch.full((2, 2), 2.0))


def test_write_noise() -> None:
    device = OwnConstantDevice(dw_min=0.01, write_noise_std=0.5, w_max=9.0, w_min=-9.0)
    tile = AnalogTile(40, 50, SingleRPUConfig(device=device))
    tile.set_weights(torch.zeros(40, 50))
    before = tile.tile.get_weights()
    x = torch.ones(1, 50)
    x[:, 25:] = 0.0
    tile.update(x, torch.ones(1, 40))
    after = tile.tile.get_weights()
    assert torch.equal(before[:, 25:], after[:, 25:])
    noise = (after - tile.get_hidden_parameters()["persistent_weights"])[:, :25]
    # Standard error of a standard deviation: std / sqrt(2 n) with n = 1000.
    assert abs(float(noise.std()) / 0.005 - 1.0) < 5.0 / 2000**0.5


def test_compiled_training_is_eager_training() -> None:
    torch._dynamo.reset()
    model = nn.Sequential(AnalogLinear(20, 7, rpu_config=stateful()), nn.Tanh())
    twin = copy.deepcopy(model)
    for module, run in ((model, model), (twin, torch.compile(twin, backend="aot_eager"))):
        optimizer = AnalogSGD(module.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            (run(batch()[0]) - 1.0).square().sum().backward()
            optimizer.step()
    weights = [next(m.analog_tiles()).tile.get_weights() for m in (model[0], twin[0])]
    assert torch.equal(*weights)


def test_exported_for_inference() -> None:
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 7):
        pytest.skip("export of tiles of the core needs torch 2.7")
    layer = AnalogLinear(20, 7, rpu_config=stateful()).eval()
    twin = copy.deepcopy(layer)
    exported = torch.export.export(twin, (batch()[0],)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(batch()[0]), layer(batch()[0]), atol=1e-6, rtol=1e-5)


@dataclass
class BadDevice(OwnConstantDevice):
    """Returns something wrong with the third pulse."""

    wrong: str = ""
    calls: ClassVar[int] = 0

    def step(
        self, weight: Tensor, up: Tensor, planes: Mapping[str, Tensor], noise: Tensor | None
    ) -> Any:
        new = super().step(weight, up, planes, noise)
        BadDevice.calls += 1
        if BadDevice.calls % 3:
            return new
        return {
            "shape": new[0],
            "float64": new.double(),
            "finite": new / 0.0,
            "tensor": new.tolist(),
        }[self.wrong]


@pytest.mark.parametrize("wrong", ["shape", "float64", "finite", "tensor", "KeyError"])
def test_bad_steps_change_nothing(wrong: str) -> None:
    BadDevice.calls = 0
    device = BadDevice(wrong=wrong, write_noise_std=0.1, count_pulses=True)
    tile = AnalogTile(7, 20, SingleRPUConfig(device=device))
    tile.set_learning_rate(0.1)
    before = tile.tile.get_weights(), tile.tile.get_hidden_parameters()
    error = KeyError if wrong == "KeyError" else TileError
    with pytest.raises(error, match=rf"BadDevice\.step.*{wrong}" if error is TileError else wrong):
        tile.update(*batch())
    assert torch.equal(tile.tile.get_weights(), before[0])
    assert torch.equal(tile.tile.get_hidden_parameters(), before[1])
    assert int(tile.tile.get_pulse_counters().sum()) == 0


def test_bad_samples_change_nothing() -> None:
    tile = AnalogTile(7, 20, SingleRPUConfig(device=OwnConstantDevice()))
    before = tile.tile.get_weights()
    x, d = batch()
    d[-1, 2] = float("nan")
    with pytest.raises(ArgumentError, match="finite"):
        tile.update(x, d)
    assert torch.equal(tile.tile.get_weights(), before)


@dataclass
class StepLessDevice(CustomPulsedDevice):
    """Lacks its step."""


@dataclass
class BadPlanesDevice(OwnPowDevice):
    """Draws something wrong."""

    wrong: str = ""

    def draw_planes(
        self, planes: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        gamma = planes["max_bound"]
        values: dict[str, Any] = {
            "shape": gamma[0],
            "float32": gamma.double(),
            "finite": gamma / 0.0,
            "gamma_down": gamma,
        }
        good = {} if self.wrong == "gamma_down" else {"gamma_down": gamma}
        return {"gamma_up": values[self.wrong]} | good


@dataclass
class TakenPlaneDevice(OwnPowDevice):
    """Wants a name that exists."""

    plane_names: ClassVar[tuple[str, ...]] = ("gamma_up", "max_bound")

    def draw_planes(
        self, planes: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        return {name: planes["max_bound"] for name in self.plane_names}


@dataclass
class NoGranularityDevice(OwnConstantDevice):
    """Has no mean step."""

    def calc_weight_granularity(self) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("device", "match"),
    [
        (StepLessDevice(), "device: StepLessDevice does not override step"),
        (NoGranularityDevice(), "calc_weight_granularity"),
        (OwnConstantDevice(dw_min=-1.0), r"device\.dw_min"),
        (OwnConstantDevice(w_max=-1.0), "w_max"),
        (OwnPowDevice(pow_gamma="big"), "pow_gamma"),  # type: ignore[arg-type]
        (TakenPlaneDevice(), "plane_names.*max_bound"),
        *[(BadPlanesDevice(wrong=w), f"BadPlanesDevice.draw_planes.*{w}")
          for w in ("shape", "float32", "finite", "gamma_down")],
    ],
)  # fmt: skip
def test_bad_devices_are_refused(device: CustomPulsedDevice, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        AnalogTile(3, 4, SingleRPUConfig(device=device))
    tile = AnalogTile(3, 4, SingleRPUConfig(device=OwnConstantDevice()))
    before = {name: value.clone() for name, value in tile.state_dict().items()}
    with pytest.raises(ConfigError, match=match):
        tile.replace_with(SingleRPUConfig(device=device))
    after = tile.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_other_tiles_and_unit_cells_refuse_python_devices() -> None:
    with pytest.raises(ConfigError, match="AnalogTile"):
        FloatingPointTile(3, 4, SingleRPUConfig(device=OwnConstantDevice()))
    cell = VectorUnitCell(unit_cell_devices=[OwnConstantDevice()])
    with pytest.raises(ConfigError, match="device"):
        AnalogTile(3, 4, SingleRPUConfig(device=cell))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unit cells"):
        OwnConstantDevice().to_wire("device.unit_cell_devices[0]")


def test_other_tiles_refuse_python_devices_in_a_new_configuration() -> None:
    tile = InferenceTile(3, 4)
    config = InferenceRPUConfig()
    config.device = OwnConstantDevice()
    with pytest.raises(ConfigError, match="device: InferenceTile has no devices written in Python"):
        tile.replace_with(config)
    assert tile.rpu_config == InferenceRPUConfig()


def test_unknown_classes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"BadDevice.*register_config_class"):
        AnalogTile(3, 4, SingleRPUConfig(device=BadDevice())).state_dict()
    tile = AnalogTile(3, 4, SingleRPUConfig(device=OwnConstantDevice()))
    state = tile.state_dict()
    monkeypatch.delitem(registry._CONFIGS, "OwnConstantDevice")
    with pytest.raises(ConfigError, match=r"OwnConstantDevice.*register_config_class"):
        tile.load_state_dict(state)


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs" / "extending.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_examples_of_the_page_run(monkeypatch: pytest.MonkeyPatch) -> None:
    page = types.ModuleType("extending_page")
    monkeypatch.setitem(sys.modules, "extending_page", page)
    for block in blocks("python"):
        exec(compile(block, "docs/extending.md", "exec"), page.__dict__)
    config = SingleRPUConfig(device=page.JoglekarDevice(dw_min_std=0.0))
    for given in (config, page.InferenceRPUConfig(noise_model=page.LogNormalNoiseModel())):
        assert type(given).from_json(given.to_json()) == given
    tile = AnalogTile(2, 1, config)
    planes = tile.get_hidden_parameters()
    before = tile.tile.get_weights()
    tile.set_learning_rate(0.001)
    tile.update(torch.ones(1, 1), torch.tensor([[-1.0, 1.0]]))
    x = (before - planes["min_bound"]) / (planes["max_bound"] - planes["min_bound"])
    step = torch.cat([planes["dwmin_up"][:1], -planes["dwmin_down"][1:]])
    expected = before + step * (1.0 - (2.0 * x - 1.0).abs() ** (2.0 * planes["exponent"]))
    torch.testing.assert_close(tile.tile.get_weights(), expected, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize(
    ("language", "file"), [("rust", "extending.rs"), ("wgsl", "joglekar_step.wgsl")]
)
def test_code_of_the_page_is_compiled(language: str, file: str) -> None:
    compiled = (ROOT / "examples" / file).read_text()
    assert blocks(language)
    for block in blocks(language):
        assert block in compiled
