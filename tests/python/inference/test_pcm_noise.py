"""Programming error, drift and read noise of phase-change memory, and how a model is put
together."""

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.inference import (
    BaseNoiseModel,
    DualPairConductanceConverter,
    PCMLikeNoiseModel,
    SinglePairConductanceConverter,
)
from mho.inference.noise.conductance import read_noise_growth

SAMPLES = 200_000
HOUR, DAY, YEAR = 3600.0, 86400.0, 31536000.0


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20240607)


def test_read_noise_growth() -> None:
    # Reference values have seven digits.
    for t_inference, expected in [
        (0.0, 4.183825),
        (1.0, 4.189652),
        (HOUR, 4.764755),
        (DAY, 5.086810),
        (YEAR, 5.636958),
    ]:
        assert read_noise_growth(t_inference + 20.0, 250e-9) == pytest.approx(expected, abs=1e-6)
    assert read_noise_growth(1e-9, 250e-9) == 0.0


def test_without_noise_only_drift_is_left() -> None:
    model = PCMLikeNoiseModel(prog_noise_scale=0.0, read_noise_scale=0.0)
    target = torch.tensor([0.0, 10.0, 25.0])
    assert torch.equal(model.apply_programming_noise_to_conductance(target), target)
    read = model.apply_drift_noise_to_conductance(target, torch.full((3,), 0.049), HOUR)
    torch.testing.assert_close(read, target * 0.775129, rtol=2e-6, atol=0.0)
    # At the first moment with drift and before nothing has drifted yet.
    for t_inference in (0.0, -10.0, -20.0, -30.0):
        read = model.apply_drift_noise_to_conductance(target, torch.full((3,), 0.049), t_inference)
        assert torch.equal(read, target)
    model.drift_scale = 0.0
    assert not model.generate_drift_coefficients(target).any()


@pytest.mark.parametrize(
    ("arguments", "reference", "sigma"),
    [
        ({}, 25.0, 1.05538),
        ({"g_max": 50.0}, 25.0, 2 * 1.05538),
        # With the default coefficients their own reference counts.
        ({"prog_coeff_g_max_reference": 50.0}, 25.0, 1.05538),
        ({"prog_coeff": [0.5, 0.5]}, 25.0, 1.0),
        ({"prog_coeff": [0.5, 0.5], "g_max": 50.0}, 50.0, 1.0),
        ({"prog_coeff": [0.5, 0.5], "prog_coeff_g_max_reference": 50.0}, 50.0, 0.5),
    ],
)
def test_reference_of_the_programming_error(
    arguments: dict[str, Any], reference: float, sigma: float
) -> None:
    model = PCMLikeNoiseModel(**arguments)
    assert model.prog_coeff_g_max_reference == reference
    target = torch.full((SAMPLES,), model.g_max)
    error = model.apply_programming_noise_to_conductance(target) - target
    # Five standard errors of a standard deviation of normal numbers.
    assert float(error.std()) == pytest.approx(sigma, rel=5 / math.sqrt(2 * SAMPLES))


def test_converter_decides_the_range_and_is_copied() -> None:
    converter = SinglePairConductanceConverter(g_max=40.0)
    model = PCMLikeNoiseModel(g_converter=converter, g_max=10.0)
    assert model.g_max == 40.0
    converter.g_max = 1.0
    assert model.g_converter == SinglePairConductanceConverter(g_max=40.0)


@pytest.mark.parametrize("name", ["t_0", "t_read"])
def test_times_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        PCMLikeNoiseModel(**{name: 0.0})


def test_model_without_noise_returns_the_weights() -> None:
    model = PCMLikeNoiseModel(prog_noise_scale=0.0, read_noise_scale=0.0, drift_scale=0.0)
    weights = torch.randn(5, 7)
    programmed, exponents = model.apply_programming_noise(weights)
    assert len(exponents) == 2 and exponents[0].shape == weights.shape
    # Conductances round to 6e-8 of the largest one, which stands for a weight of about 3.
    torch.testing.assert_close(programmed, weights, rtol=0, atol=1e-6)
    read = model.apply_drift_noise(programmed, exponents, YEAR)
    torch.testing.assert_close(read, weights, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.apply_noise(weights, YEAR), weights, rtol=0, atol=1e-6)


def test_drift_reconverts_the_programmed_weights() -> None:
    """The largest programmed weight has the largest conductance when it is read."""

    class Recorder(BaseNoiseModel):
        def apply_programming_noise_to_conductance(self, g_target: Tensor) -> Tensor:
            return 0.5 * g_target

        def apply_drift_noise_to_conductance(
            self, g_prog: Tensor, drift_noise_param: Tensor | None, t_inference: float
        ) -> Tensor:
            assert float(g_prog.max()) in (0.0, 25.0)
            assert drift_noise_param is None
            return g_prog * t_inference

    model, weights = Recorder(), torch.tensor([[1.0, 0.5]])
    programmed, exponents = model.apply_programming_noise(weights)
    torch.testing.assert_close(programmed, 0.5 * weights)
    torch.testing.assert_close(model.apply_drift_noise(programmed, exponents, 3.0), 1.5 * weights)


@pytest.mark.parametrize("t_inference", [0.0, -1.0])
def test_one_shot_noise_without_time_is_programming_only(t_inference: float) -> None:
    model, weights = PCMLikeNoiseModel(), torch.randn(4, 4)
    torch.manual_seed(1)
    read = model.apply_noise(weights, t_inference)
    torch.manual_seed(1)
    targets, params = model.g_converter.convert_to_conductances(weights)
    programmed = [model.apply_programming_noise_to_conductance(g) for g in targets]
    assert torch.equal(read, model.g_converter.convert_back_to_weights(programmed, params))


def test_seed_decides_everything() -> None:
    model, weights = PCMLikeNoiseModel(), torch.randn(4, 4)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(model.apply_drift_noise(*model.apply_programming_noise(weights), DAY))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_arguments_are_not_changed() -> None:
    model, weights = PCMLikeNoiseModel(), torch.randn(4, 4)
    before = weights.clone()
    programmed, exponents = model.apply_programming_noise(weights)
    kept = programmed.clone()
    model.apply_drift_noise(programmed, exponents, DAY)
    assert torch.equal(weights, before) and torch.equal(programmed, kept)


@pytest.mark.parametrize(
    "model",
    [
        PCMLikeNoiseModel(),
        PCMLikeNoiseModel(g_converter=DualPairConductanceConverter([1.0, 3.0]), t_0=10.0),
        PCMLikeNoiseModel(prog_coeff=[0.1, 0.2]),
    ],
)
def test_copies_and_json(model: PCMLikeNoiseModel) -> None:
    for duplicate in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        PCMLikeNoiseModel.from_json(model.to_json()),
    ):
        assert duplicate == model
        assert str(duplicate) == str(model)


def test_equality_is_by_value() -> None:
    assert PCMLikeNoiseModel() == PCMLikeNoiseModel(g_max=25.0)
    assert PCMLikeNoiseModel() != PCMLikeNoiseModel(t_0=10.0)
    assert PCMLikeNoiseModel() != BaseNoiseModel()
    with pytest.raises(TypeError):
        hash(PCMLikeNoiseModel())


def test_printing() -> None:
    model = PCMLikeNoiseModel()
    assert str(model).startswith("PCMLikeNoiseModel(g_converter=SinglePairConductanceConverter(")
    assert model.__str__(keys=["t_0"]) == "PCMLikeNoiseModel(t_0=20.0)"
    assert "t_0" not in model.__str__(exclude_keys=["t_0"])


def test_interface_names_what_is_missing() -> None:
    model, target = BaseNoiseModel(), torch.ones(2)
    assert model.generate_drift_coefficients(target) is None
    with pytest.raises(NotImplementedError, match="apply_programming_noise_to_conductance"):
        model.apply_programming_noise_to_conductance(target)
    with pytest.raises(NotImplementedError, match="apply_drift_noise_to_conductance"):
        model.apply_drift_noise_to_conductance(target, None, 1.0)
