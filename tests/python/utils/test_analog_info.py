"""The summary of a model: names and columns that scripts know, and what a pass leaves behind."""

import copy
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import mho
from mho.exceptions import ArgumentError, ConfigError
from mho.nn import (
    AnalogConv2d,
    AnalogConvTranspose2d,
    AnalogLinear,
    AnalogLSTMCell,
    AnalogRNN,
    AnalogSequential,
    convert_to_analog,
)
from mho.nn.modules.conv_mapped import AnalogConv2dMapped
from mho.simulator.configs import (
    ConstantStepDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.utils import analog_info
from mho.utils.analog_info import AnalogInfo, LayerInfo, TileInfo, analog_summary, cost
from mho.utils.hardware_cost import CostReport, HardwareTable, Schedule


def limited(size: int = 256) -> SingleRPUConfig:
    config = SingleRPUConfig(device=ConstantStepDevice())
    config.mapping.max_input_size = config.mapping.max_output_size = size
    return config


@pytest.mark.filterwarnings("ignore:.*beyond the bounds")
def test_script_that_prints_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    """A network is converted with a limit of the tiles, summarised and read, as scripts do it."""
    config = limited()
    channel = [16, 32, 512, 128]
    model = nn.Sequential(
        nn.Conv2d(in_channels=1, out_channels=channel[0], kernel_size=5, stride=1),
        nn.Tanh(),
        nn.MaxPool2d(kernel_size=2),
        nn.Conv2d(in_channels=channel[0], out_channels=channel[1], kernel_size=5, stride=1),
        nn.Tanh(),
        nn.MaxPool2d(kernel_size=2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(in_features=channel[2], out_features=channel[3]),
        nn.Tanh(),
        nn.Linear(in_features=channel[3], out_features=10),
        nn.LogSoftmax(dim=1),
    )
    analog_model = convert_to_analog(model, rpu_config=config)
    info = analog_summary(analog_model, (1, 1, 28, 28))
    print(info)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "=" * 200 and lines[1] == "Model Name: AnalogSequential"
    assert [title for _, title in analog_info.COLUMN_NAMES.values()] == [
        "Layer Name", "Is Analog", "In Shape", "Out Shape", "Kernel Shape", "# of Tiles",
        "Reuse Factor", "Log. tile shape", "Phys. tile shape", "utilization (%)",
    ]  # fmt: skip
    assert [lines[7][i : i + 20].strip() for i in range(0, 200, 20)] == [
        title for _, title in analog_info.COLUMN_NAMES.values()
    ]
    assert lines[8].split() == [
        "AnalogConv2d", "analog", "[1,", "1,", "28,", "28]", "[1,", "16,", "24,", "24]", "(5,",
        "5)", "1", "576", "-", "-", "-",
    ]  # fmt: skip
    assert lines[9].split() == ["(16,", "25)", "(256,", "256)", "0.61"]
    assert [line for line in lines if line][-2:] == [
        "Total number of tiles: 6",
        "Total number of analog layers: 4",
    ]
    assert max(map(len, lines)) <= 200
    assert (info.total_tile_number, info.total_nb_analog) == (6, 4)
    assert [layer.name for layer in info.layer_summary if layer.isanalog] == [
        "AnalogConv2d", "AnalogConv2d", "AnalogLinear", "AnalogLinear"
    ]  # fmt: skip
    assert [layer.reuse_factor for layer in info.layer_summary if layer.isanalog] == [
        576, 64, 1, 1
    ]  # fmt: skip


def test_stored_output_of_the_standard() -> None:
    """A convolution of 64 channels that is split by channels, and two as linear layers are."""
    layer = AnalogConv2dMapped(64, 64, 3, padding=1, rpu_config=limited())
    (info,) = analog_summary(layer, (1, 64, 56, 56)).layer_summary
    sizes = [(tile.log_out_size, tile.log_in_size) for tile in info.tiles_info]
    assert sizes == [(64, 198), (64, 189), (64, 189)]
    shares = [analog_info.FLOAT_FORMAT.format(tile.utilization) for tile in info.tiles_info]
    assert shares == ["19.34", "18.46", "18.46"]
    assert info.reuse_factor == 3136
    assert info.kernel_size == (3, 3)


def test_dictionaries_of_layers_and_tiles() -> None:
    layer = AnalogLinear(7, 4, rpu_config=limited(8))
    info = LayerInfo(layer, None, [2, 3, 7], [2, 3, 4])
    assert info.layer_summary_dict() == {
        "name": "AnalogLinear", "isanalog": "analog", "input_size": "[2, 3, 7]",
        "output_size": "[2, 3, 4]", "kernel_size": "-", "num_tiles": 1, "reuse_factor": "6",
        "log_shape": "-", "phy_shape": "-", "utilization": "-",
    }  # fmt: skip
    assert info.tiles_summary_dict() == {
        "log_shape": "(4, 7)", "phys_shape": "(8, 8)", "utilization": 100.0 * 28 / 64,
    }  # fmt: skip
    unlimited = TileInfo(layer.analog_module, False)
    assert unlimited.tile_summary_dict()["phys_shape"] == "N/A"
    assert unlimited.utilization == 100.0
    digital = LayerInfo(nn.MaxPool2d(2), input_size=[1, 2, 4, 4], output_size=[1, 2, 2, 2])
    assert (digital.isanalog, digital.num_tiles, digital.reuse_factor) == (False, 0, 0)
    assert digital.kernel_size == 2
    assert LayerInfo(layer).layer_summary_dict()["input_size"] == "-"


@pytest.mark.parametrize(
    ("layer", "shape", "reuse"),
    [
        (AnalogConv2d(2, 3, 3, rpu_config=limited()), (4, 2, 6, 5), 4 * 4 * 3),
        (AnalogConv2d(2, 3, 3, rpu_config=limited()), (2, 6, 5), 4 * 3),
        (AnalogConvTranspose2d(2, 3, 3, rpu_config=limited()), (4, 2, 6, 5), 4 * 6 * 5),
        (AnalogLinear(5, 3, rpu_config=limited()), (5,), 1),
    ],
)
def test_reuse_is_the_number_of_products(
    layer: nn.Module, shape: tuple[int, ...], reuse: int
) -> None:
    info = analog_summary(layer, shape)
    assert info.layer_summary[0].reuse_factor == info.counts[0].mvms == reuse


def noisy(config: Any) -> nn.Module:
    torch.manual_seed(5)
    config.pre_post.input_range.enable = True
    model = nn.Sequential(
        AnalogConv2d(1, 3, 3, rpu_config=config), nn.BatchNorm2d(3), nn.Dropout(), nn.Flatten(),
        AnalogLinear(48, 4, rpu_config=config),
    )  # fmt: skip
    model[1].eval()
    return model


@pytest.mark.parametrize("config", [SingleRPUConfig, InferenceRPUConfig, TorchInferenceRPUConfig])
def test_a_summary_leaves_nothing_behind(config: Any) -> None:
    """States, modes, hooks, random streams and recorded pairs are as without it."""
    models = noisy(config()), noisy(config())
    x = torch.randn(2, 1, 6, 6)
    outputs = []
    for i, model in enumerate(models):
        torch.manual_seed(7)
        model(x).sum().backward()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        modes = [module.training for module in model.modules()]
        if i:
            info = analog_summary(model, inputs=x, hardware="hermes_pcm_14nm", training=True)
            assert str(info) == str(
                analog_summary(model, inputs=x, hardware="hermes_pcm_14nm", training=True)
            )
        after = model.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert modes == [module.training for module in model.modules()]
        assert not any(
            module._forward_hooks or module._forward_pre_hooks for module in model.modules()
        )
        outputs.append((model(x).detach(), torch.rand(3)))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
    contexts = [tile.analog_ctx for tile in models[1].modules() if hasattr(tile, "analog_ctx")]
    pairs = [len(context.pairs()) for context in contexts if not context.use_torch_update]
    assert all(number == 1 for number in pairs)


def test_hooks_are_removed_when_a_pass_fails() -> None:
    model = AnalogSequential(AnalogLinear(4, 3, rpu_config=limited()), nn.Linear(2, 2))
    fast = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(RuntimeError):
        analog_summary(model, (1, 4))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model.training and torch.backends.mha.get_fastpath_enabled() == fast
    model[1] = nn.Linear(3, 2)
    assert analog_summary(model, (1, 4)).counts[1].digital.macs == 6


def test_hooks_on_layers_can_be_removed() -> None:
    model = AnalogSequential(AnalogLinear(4, 3, rpu_config=limited()), nn.ReLU())
    seen: list[str] = []
    info = analog_summary(model, (1, 4))
    handles = info.register_hooks_recursively(
        model, lambda module, args, output: seen.append(type(module).__name__)
    )
    model(torch.rand(2, 4))
    for handle in handles:
        handle.remove()
    model(torch.rand(2, 4))
    assert seen == ["AnalogLinear", "ReLU"]


def test_without_inputs_layers_are_listed() -> None:
    model = AnalogSequential(AnalogLinear(4, 3, rpu_config=limited()))
    info = analog_summary(model, hardware="hermes_pcm_14nm")
    assert info.total_tile_number == 1 and info.counts[0].mvms == 0
    assert info.layer_summary[0].input_size is None
    assert info.cost is not None and info.cost.area is not None
    assert info.cost.area.value == pytest.approx(0.634e-6)
    assert "not executed" in str(info)


def test_forms_of_inputs() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = AnalogLinear(4, 3, rpu_config=limited())

        def forward(self, a: Any, b: Any = 0.0) -> Any:
            return self.layer(a) + b

    model, x, b = Sum(), torch.rand(2, 4), torch.rand(2, 3)
    forms: list[Any] = [x, [x, 3], (x, b), (x,), {"a": x, "b": b}, ((x,), {"b": b}), (x, {"b": b})]
    for inputs in forms:
        info = analog_summary(model, inputs=inputs)
        assert info.counts[1].mvms == 2 and info.batch == 2
    shapes = analog_summary(model, [(5, 4), (5, 3)])
    assert shapes.counts[1].mvms == shapes.batch == 5
    assert analog_summary(model, (2, 4), batch=7).batch == 7


def test_compiled_models() -> None:
    """They run as they were written, whole or in part, and stay compiled."""
    model = AnalogSequential(AnalogLinear(4, 3, rpu_config=limited()), nn.ReLU())
    compiled: Any = torch.compile(model, backend="eager")
    info = analog_summary(compiled, (2, 4))
    assert [(layer.name, layer.mvms) for layer in info.counts] == [("0", 2), ("1", 0)]
    assert info.counts[1].digital.elements == 6 and type(info.model) is AnalogSequential
    model[0].compile(backend="eager")
    again = analog_summary(model, (2, 4))
    assert [layer.mvms for layer in again.counts] == [2, 0]
    assert model[0]._compiled_call_impl is not None


def test_packed_sequences() -> None:
    model = AnalogRNN(AnalogLSTMCell, 4, 5, rpu_config=limited())
    packed = pack_sequence([torch.rand(5, 4), torch.rand(2, 4)])
    info = analog_summary(model, inputs=(packed,))
    assert {layer.mvms for layer in info.counts if layer.tiles} == {7}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 3}, "model: expected Module"),
        ({"model": nn.Linear(4, 3)}, "model: has no analog layer; convert it"),
        ({"input_size": "wide"}, "input_size: expected a shape"),
        ({"input_size": 3}, "input_size: expected a shape"),
        ({"input_size": (2, -4)}, "input_size"),
        ({"input_size": ()}, "input_size: expected a shape"),
        ({"input_size": (2, 4), "inputs": torch.rand(2, 4)}, "input_size: is not used with inputs"),
        ({"inputs": 3}, "inputs: expected batches"),
        ({"inputs": {"nothing": 3}}, "inputs: do not fit the arguments of AnalogLinear"),
        ({"inputs": ()}, "inputs: expected arguments"),
        ({"input_size": (2, 4), "rpu_config": 3}, "rpu_config"),
        ({"input_size": (2, 4), "batch": 0}, "batch"),
        ({"input_size": (2, 4), "training": "yes"}, "training"),
        ({"input_size": (2, 4), "hardware": 3}, "hardware: expected str or Path"),
        ({"input_size": (2, 4), "schedule": "later"}, "schedule: expected a Schedule or one of"),
        ({"input_size": (2, 4), "schedule": Schedule(available_tiles=0)}, "available_tiles"),
        ({"input_size": (2, 4), "schedule": Schedule(replicas="many")}, "schedule.replicas"),
        ({"input_size": (2, 4), "schedule": Schedule(replicas={"": 0})}, "schedule.replicas"),
        ({"input_size": (2, 4), "schedule": Schedule(replicas=3)}, "schedule.replicas"),  # type: ignore[arg-type]
        (
            {
                "input_size": (2, 4),
                "schedule": Schedule(replicas={"9": 2}),
                "hardware": "hermes_pcm_14nm",
            },
            "there is no executed analog layer '9'",
        ),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    layer = AnalogLinear(4, 3, rpu_config=limited())
    with pytest.raises(ArgumentError, match=message):
        analog_summary(**{"model": layer, **arguments})


def test_short_form() -> None:
    layer = AnalogLinear(4, 3, rpu_config=limited())
    report = mho.cost(layer, torch.rand(2, 4))
    assert isinstance(report, CostReport) and report.table.name == "hermes_pcm_14nm"
    info = analog_summary(layer, (2, 4), hardware=report.table)
    assert info.cost is not None and info.cost.energy == report.energy
    with pytest.raises(ArgumentError, match="inputs: a cost is that of a pass"):
        cost(layer, None)
    with pytest.raises(ArgumentError, match="hardware: the table prime has no costs"):
        cost(layer, torch.rand(2, 4), "prime")
    with pytest.raises(ConfigError, match="there is no preset or file 'nothing'"):
        cost(layer, torch.rand(2, 4), "nothing")


def test_tables_without_costs_have_counts() -> None:
    layer = AnalogLinear(300, 70, bias=False, rpu_config=limited(0))
    info = analog_summary(layer, (2, 300), hardware="prime")
    assert info.cost is None
    # 70 weights of two columns on 256 of them, 300 lines on two tiles, 7 bits by 3.
    (counts,) = info.counts
    assert (counts.physical_tiles, counts.tiles[0].precision.passes) == (2, 3)
    assert "No costs: The publication prints no energy" in str(info)
    with pytest.raises(ArgumentError, match="kind: there is no energy"):
        info.plot()


def test_saved_numbers(tmp_path: Path) -> None:
    layer = AnalogLinear(4, 3, rpu_config=limited())
    info = analog_summary(layer, (2, 4), hardware="hermes_pcm_14nm", training=True)
    file = tmp_path / "cost.json"
    info.save(file)
    read = json.loads(file.read_text())
    assert info.cost is not None and info.cost.energy is not None
    assert read["cost"]["energy"]["value"] == info.cost.energy.value
    assert read["counts"][0]["macs"] == 24 and read["limits"]
    assert read["cost"]["training"]["update"] is None
    plain = analog_summary(layer, (2, 4)).to_dict()
    assert plain["cost"] is None and plain["hardware"] is None


def test_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = AnalogLinear(4, 3, rpu_config=limited())
    info = analog_summary(layer, (2, 4), hardware="hermes_pcm_14nm")
    monkeypatch.setitem(sys.modules, "pandas", None)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match="data frames need pandas"):
        info.to_pandas()
    frames = SimpleNamespace(DataFrame=list)
    monkeypatch.setitem(sys.modules, "pandas", frames)  # type: ignore[arg-type]
    (row,) = info.to_pandas()
    assert row["macs"] == 24 and row["energy_low"] < row["energy_value"] <= row["energy_high"]
    assert "energy_low" not in analog_summary(layer, (2, 4)).to_pandas()[0]


def test_copies_of_a_model_have_the_same_summary() -> None:
    model = AnalogSequential(AnalogLinear(4, 3, rpu_config=limited()))
    assert str(analog_summary(model, (1, 4))) == str(analog_summary(copy.deepcopy(model), (1, 4)))


def test_class_takes_what_scripts_hand_over() -> None:
    config = limited()
    layer = AnalogLinear(4, 3, rpu_config=config)
    info = AnalogInfo(layer, (1, 4), config)
    assert info.calculate_num_tiles() == info.calculate_num_analog() == 1
    assert [layer.name for layer in info.create_layer_summary()] == ["AnalogLinear"]
    assert HardwareTable.load(HardwareTable.load("prime")).name == "prime"
