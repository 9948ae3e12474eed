"""Conductances for the Fusion chip: conversion, files, and the way back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ArgumentError, ConfigError, FusionExportError, TileError
from mho.inference import SinglePairConductanceConverter
from mho.inference.converter.fusion import FusionConductanceConverter
from mho.nn import AnalogLinear, AnalogSequential
from mho.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
from mho.utils.export import _fusion_get_csv_header, fusion_export, fusion_import

WEIGHTS = torch.tensor([[0.5, -0.25], [0.1, -1.0], [0.0, 0.75]])
HEADER = ["1,3", "AnalogLinear,AnalogLinear", "6,4", "2,2", "3,2"]


def test_conductances_are_magnitudes_in_units_of_the_largest_of_a_row() -> None:
    conductances, params = FusionConductanceConverter().convert_to_conductances(WEIGHTS)
    wanted = torch.tensor([[40.0, 20.0], [4.0, 40.0], [0.0, 40.0]])
    assert len(conductances) == 1
    torch.testing.assert_close(conductances[0], wanted)
    assert torch.equal(params["original_weights"], WEIGHTS)


@pytest.mark.parametrize(
    "weights",
    [
        WEIGHTS,
        torch.randn(7, 30, generator=torch.manual_seed(1)),
        torch.tensor([[0.3], [-0.2], [0.0]]),  # one input: no line but through the origin
        torch.tensor([[0.2, 0.2, 0.2], [0.0, 0.0, 0.0], [-0.4, -0.4, -0.4]]),
        1e-6 * WEIGHTS,
    ],
)
def test_round_trip(weights: torch.Tensor) -> None:
    converter = FusionConductanceConverter(25)
    back = converter.convert_back_to_weights(*converter.convert_to_conductances(weights))
    torch.testing.assert_close(back, weights, rtol=2e-7, atol=2e-7 * float(weights.abs().max()))


def test_noisy_conductances_are_fitted_row_by_row() -> None:
    converter = FusionConductanceConverter()
    (g,), params = converter.convert_to_conductances(WEIGHTS.repeat(1, 20))
    noisy = g + torch.randn_like(g)
    back = converter.convert_back_to_weights([noisy], params)
    signed = (noisy * WEIGHTS.repeat(1, 20).sign()).double()
    for row in range(3):
        wanted = params["original_weights"][row].double()
        slope = torch.cov(torch.stack([signed[row], wanted]))
        factor = slope[0, 1] / slope[0, 0]
        torch.testing.assert_close(back[row].double(), factor * signed[row], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("g_max", [9.9, 40.1, -1.0, float("nan")])
def test_range_of_the_devices(g_max: float) -> None:
    with pytest.raises(ArgumentError, match="g_max"):
        FusionConductanceConverter(g_max)


def test_value_object() -> None:
    converter = FusionConductanceConverter(30)
    assert str(converter) == "FusionConductanceConverter(g_max=30.00)"
    assert converter == FusionConductanceConverter(30.0) != FusionConductanceConverter()
    assert FusionConductanceConverter.from_json(converter.to_json()) == converter
    converter.g_max = 50.0
    with pytest.raises(ConfigError, match="g_max"):
        converter.check()


def test_params_that_do_not_fit() -> None:
    converter = FusionConductanceConverter()
    (g,), params = converter.convert_to_conductances(WEIGHTS)
    for conductances, own in (([g, g], params), ([g], {}), ([g[:, :1]], params)):
        with pytest.raises(ArgumentError):
            converter.convert_back_to_weights(conductances, own)


def model_of(cls: Any = InferenceRPUConfig, **mapping: Any) -> AnalogSequential:
    config = cls()
    for name, value in mapping.items():
        setattr(config.mapping, name, value)
    return AnalogSequential(
        AnalogLinear(3, 2, rpu_config=config), nn.ReLU(), AnalogLinear(2, 2, rpu_config=config)
    )


MAPPINGS = [
    {},
    {"weight_scaling_omega": 0.6, "weight_scaling_columnwise": True, "learn_out_scaling": True},
    {"digital_bias": False},
    {"max_input_size": 2, "max_output_size": 1},
]


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("through_file", [False, True])
def test_there_and_back(mapping: Any, through_file: bool, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model, other = model_of(**mapping), model_of(**mapping)
    file = tmp_path / "model.csv"
    conductances, params, state = fusion_export(model, file_name=file)
    assert list(conductances) == list(params) == ["0", "2"]
    assert [len(values) for values in conductances.values()] == [6, 4]
    assert all(0.0 <= g <= 40.0 for values in conductances.values() for g in values)
    data: Any = str(file) if through_file else conductances
    assert fusion_import(data, other, params, state) is other
    assert not other.training
    for one, two in zip(model.analog_layers(), other.analog_layers(), strict=True):
        for mine, theirs in zip(one.get_weights(), two.get_weights(), strict=True):
            torch.testing.assert_close(theirs, mine, rtol=2e-7, atol=2e-7)


def test_file(tmp_path: Path) -> None:
    model, file = model_of(), tmp_path / "model.csv"
    conductances, *_ = fusion_export(model, file_name=str(file))
    assert _fusion_get_csv_header(model) == HEADER
    content = file.read_bytes().decode()
    header, _, rest = content.partition("0,2\r\n")
    assert header == "".join(f"{line}\n" for line in HEADER)
    lines = rest.split("\r\n")
    assert lines[-1] == "" and len(lines) == 3
    for line, values in zip(lines, conductances.values(), strict=False):
        assert [float(value) for value in line.split(",")] == values


def test_files_that_a_spreadsheet_has_written(tmp_path: Path) -> None:
    model, other, file = model_of(), model_of(), tmp_path / "model.csv"
    _, params, state = fusion_export(model, file_name=file)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    fusion_import(file, other, params, state)
    torch.testing.assert_close(other[0].get_weights()[0], model[0].get_weights()[0])


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_files_may_have_any_ends_of_lines(end: bytes, tmp_path: Path) -> None:
    """As editors and version control make them."""
    model, other, file = model_of(), model_of(), tmp_path / "model.csv"
    _, params, state = fusion_export(model, file_name=file)
    file.write_bytes(file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", end))
    fusion_import(file, other, params, state)
    for one, two in zip(model.analog_layers(), other.analog_layers(), strict=True):
        torch.testing.assert_close(two.get_weights()[0], one.get_weights()[0])


def test_numbers_of_layers() -> None:
    """Roots and modules that compute count, analog containers, lists and tiles do not."""
    config = InferenceRPUConfig()
    config.mapping.max_input_size = 1

    def layer() -> AnalogLinear:
        return AnalogLinear(2, 2, rpu_config=config)

    inner = nn.ModuleList([layer(), nn.Sequential(nn.Tanh(), layer())])
    numbers = {
        "1,2": AnalogSequential(layer(), layer()),
        "1": layer(),
        "2,4": nn.Sequential(layer(), nn.ReLU(), layer()),
        "2,5": nn.Sequential(*inner),
    }
    for wanted, model in numbers.items():
        assert _fusion_get_csv_header(model)[0] == wanted


def test_files_of_other_models_are_refused(tmp_path: Path) -> None:
    model, file = model_of(), tmp_path / "model.csv"
    _, params, _ = fusion_export(model, file_name=file)
    before = [w.clone() for layer in model.analog_layers() for w in layer.get_weights()]  # type: ignore[union-attr]
    lines = file.read_text().splitlines()
    for damaged in (
        ["1,2", *lines[1:]],
        [*lines[:3], "3,2", *lines[4:]],
        lines[:-1],
        lines[:5],
        [*lines[:-1], "1,2,x,4"],
        [],
    ):
        file.write_text("\n".join(damaged))
        with pytest.raises(FusionExportError, match=r"model\.csv"):
            fusion_import(file, model, params)
    file.write_bytes(b"\xff\xfe\x001")
    with pytest.raises(FusionExportError, match=r"model\.csv: is no table of text"):
        fusion_import(file, model, params)
    with pytest.raises(FileNotFoundError):
        fusion_import(tmp_path / "none.csv", model, params)
    after = [w for layer in model.analog_layers() for w in layer.get_weights()]
    assert all(map(torch.equal, before, after)) and model.training


def test_data_that_does_not_fit_changes_nothing() -> None:
    model = model_of()
    conductances, params, state = fusion_export(model)
    before = {n: v.clone() for n, v in model.state_dict().items()}
    for data, own in (
        ({**conductances, "2": [1.0]}, params),
        ({"0": conductances["0"]}, params),
        (conductances, {"0": params["0"]}),
        (conductances, {**params, "0": []}),
        (conductances, {**params, "0": [{}]}),
        (conductances, {**params, "0": None}),
        (conductances, {**params, "0": [None]}),
        (conductances, {**params, "0": [{"original_weights": 1.0}]}),
        ({**conductances, "2": None}, params),
        ({**conductances, "2": ["a"] * 4}, params),
        ({**conductances, "2": [float("nan")] * 4}, params),
    ):
        with pytest.raises(ArgumentError):
            fusion_import(data, model, own, {n: v + 1.0 for n, v in state.items()})  # type: ignore[arg-type]
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert model.training


def test_only_inference_tiles_of_one_device_per_weight() -> None:
    with pytest.raises(TileError, match="TorchInferenceTile"):
        fusion_export(model_of(TorchInferenceRPUConfig))
    with pytest.raises(TileError, match="no analog layers"):
        fusion_export(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="2 devices per weight"):
        fusion_export(model_of(), SinglePairConductanceConverter())


def test_programming_of_a_model_for_the_chip() -> None:
    """As a converter of a noise model: weights keep their signs."""
    config = InferenceRPUConfig()
    config.noise_model.g_converter = FusionConductanceConverter(25)
    layer = AnalogLinear(30, 5, bias=False, rpu_config=config).eval()
    before, _ = layer.get_weights()
    layer.program_analog_weights()
    after, _ = layer.get_weights()
    assert not torch.equal(after, before)
    assert torch.equal(after.sign() * (after != 0), before.sign() * (after != 0))
