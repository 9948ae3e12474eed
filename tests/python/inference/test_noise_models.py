"""Details of the noise models of several technologies."""

import copy
import math
from typing import Any

import pytest
import torch

from mho.exceptions import ArgumentError
from mho.inference import (
    CustomDriftPCMLikeNoiseModel,
    HermesNoiseModel,
    PCMLikeNoiseModel,
    ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
    StateIndependentNoiseModel,
)
from mho.inference.noise.conductance import interpolate, polynomial, read_noise_growth

DRIFT: dict[str, Any] = {
    "g_lst": [0.0, 10.0, 25.0],
    "nu_mean_lst": [0.1, 0.06, 0.05],
    "nu_std_lst": [0.0, 0.0, 0.0],
}
MODELS = [
    CustomDriftPCMLikeNoiseModel(DRIFT),
    HermesNoiseModel(),
    HermesNoiseModel(num_devices=1),
    PCMLikeNoiseModel(),
    ReRamCMONoiseModel(),
    ReRamWan2022NoiseModel(),
    StateIndependentNoiseModel(),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_copies_json_and_printing(model: Any) -> None:
    for duplicate in (copy.deepcopy(model), type(model).from_json(model.to_json())):
        assert duplicate == model
        assert repr(duplicate) == repr(model)
    assert str(model).startswith(type(model).__name__ + "(")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_weights_stay_finite_and_near(model: Any) -> None:
    torch.manual_seed(7)
    weights = 0.3 * torch.randn(50, 60)
    programmed, parameters = model.apply_programming_noise(weights)
    read = model.apply_drift_noise(programmed, parameters, 86400.0)
    for noisy in (programmed, read, model.apply_noise(weights, 86400.0)):
        assert torch.isfinite(noisy).all()
        assert not torch.equal(noisy, weights)
        # Errors are a few percent of the range, which is three to four standard deviations of the
        # weights.
        assert float(torch.corrcoef(torch.stack([noisy.flatten(), weights.flatten()]))[0, 1]) > 0.8


def test_interpolation_is_constant_beyond_the_ends() -> None:
    nodes = torch.tensor([0.0, 10.0, 25.0])
    values = torch.tensor([-5.0, 0.0, 5.0, 10.0, 17.5, 25.0, 30.0])
    got = interpolate(values, nodes, [1.0, 2.0, 5.0])
    torch.testing.assert_close(got, torch.tensor([1.0, 1.0, 1.5, 2.0, 3.5, 5.0, 5.0]))
    assert float(values[0]) == -5.0


def test_polynomial_starts_with_the_constant_term() -> None:
    got = polynomial(torch.tensor([0.0, 2.0]), [1.0, 2.0, 3.0])
    torch.testing.assert_close(got, torch.tensor([1.0, 17.0]))


def test_custom_drift_interpolates_and_leaves_targets_alone() -> None:
    model, target = CustomDriftPCMLikeNoiseModel(DRIFT), torch.tensor([-1.0, 5.0, 25.0, 30.0])
    before = target.clone()
    nu = model.generate_drift_coefficients(target)
    torch.testing.assert_close(nu, torch.tensor([0.1, 0.08, 0.05, 0.05]))
    assert torch.equal(target, before)


@pytest.mark.parametrize(
    "change",
    [
        {"g_lst": [0.0]},
        {"g_lst": [0.0, 10.0]},
        {"g_lst": [0.0, 30.0, 25.0]},
        {"nu_mean_lst": [0.1, -0.1, 0.1]},
        {"nu_std_lst": None},
    ],
)
def test_custom_drift_checks_its_lists(change: dict[str, Any]) -> None:
    lists = {key: value for key, value in {**DRIFT, **change}.items() if value is not None}
    with pytest.raises(AssertionError, match="custom_drift_model"):
        CustomDriftPCMLikeNoiseModel(lists)


def test_custom_drift_covers_the_converter() -> None:
    with pytest.raises(ValueError, match="g_lst"):
        CustomDriftPCMLikeNoiseModel(DRIFT, g_max=26.0)


@pytest.mark.parametrize(
    ("num_devices", "t_0", "factors"),
    [
        (2, 300.0, [4.415380, 4.415756, 4.696863, 5.016174, 5.573010]),
        (1, 200.0, [4.369223, 4.369794, 4.694097, 5.016059, 5.573010]),
    ],
)
def test_hermes_read_noise_grows(num_devices: int, t_0: float, factors: list[float]) -> None:
    model = HermesNoiseModel(num_devices=num_devices)
    assert model.t_0 == t_0
    for t, factor in zip((0.0, 1.0, 3600.0, 86400.0, 31536000.0), factors, strict=True):
        # Reference values have seven digits.
        assert read_noise_growth(t + t_0, model.t_read) == pytest.approx(factor, abs=1e-6)


def test_hermes_limits() -> None:
    assert HermesNoiseModel().g_max == 20.7
    assert HermesNoiseModel(num_devices=1).g_max == 10.35
    # A converter brings its own range.
    assert HermesNoiseModel(g_converter=SinglePairConductanceConverter(40.0)).g_max == 40.0
    with pytest.raises(AssertionError, match="num_devices"):
        HermesNoiseModel(num_devices=3)
    with pytest.raises(AssertionError, match="g_max"):
        HermesNoiseModel(g_max=20.8)


def test_hermes_reads_empty_devices() -> None:
    model = HermesNoiseModel()
    read = model.apply_drift_noise_to_conductance(torch.zeros(3), torch.ones(3), 1.0)
    assert torch.equal(read, torch.zeros(3))


def test_wan_knows_its_times_only() -> None:
    model, weights = ReRamWan2022NoiseModel(), torch.randn(2, 2)
    programmed, targets = model.apply_programming_noise(weights)
    for t in (0.0, 3600.0, 31536000.0):
        with pytest.raises(ArgumentError, match="t_inference"):
            model.apply_drift_noise(programmed, targets, t)
    with pytest.raises(ArgumentError, match="g_target"):
        model.apply_drift_noise_to_conductance(programmed, None, 1.0)
    with pytest.raises(ValueError, match="coeff_dic"):
        ReRamWan2022NoiseModel(coeff_dic={})


def test_wan_honours_a_reference() -> None:
    torch.manual_seed(3)
    target = torch.full((200_000,), 25.0)
    model = ReRamWan2022NoiseModel(coeff_g_max_reference=50.0)
    spread = float(model.apply_programming_noise_to_conductance(target).std())
    # Half of the 1.103 at full range; five standard errors of a standard deviation.
    assert spread == pytest.approx(1.103 / 2, rel=5 / math.sqrt(2 * 200_000))


@pytest.mark.filterwarnings("ignore:acceptance_range")
@pytest.mark.parametrize(("key", "used"), [(0.02, 0.2), (0.2, 0.2), (2.0, 2.0), (5.0, 0.2)])
def test_cmo_acceptance_range(key: float, used: float) -> None:
    torch.manual_seed(3)
    target = torch.full((200_000,), 50.0)
    model = ReRamCMONoiseModel(acceptance_range=key)
    offset, slope = model.coeff_dict[used]
    spread = float(model.apply_programming_noise_to_conductance(target).double().std())
    assert spread == pytest.approx(offset + slope * 50.0, rel=5 / math.sqrt(2 * 200_000))


@pytest.mark.parametrize("t", [0.0, -1.0])
def test_cmo_without_time_returns_what_was_programmed(t: float) -> None:
    g_prog = torch.tensor([5.0, 100.0])
    assert torch.equal(
        ReRamCMONoiseModel().apply_drift_noise_to_conductance(g_prog, None, t), g_prog
    )


def test_cmo_stays_in_range_at_any_time() -> None:
    model, g_prog = ReRamCMONoiseModel(g_min=0.5), torch.linspace(0.0, 90.0, 1000)
    for t in (1e-9, 1e-6, 1.0, 1e9):
        read = model.apply_drift_noise_to_conductance(g_prog, None, t)
        assert float(read.min()) >= 0.5 and float(read.max()) <= 88.2


def test_cmo_has_one_device_per_weight() -> None:
    model = ReRamCMONoiseModel(g_max=80.0, g_min=10.0)
    assert model.g_converter == SingleDeviceConductanceConverter(80.0, 10.0)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"coeff_dict": {}}, "coeff_dict"),
        ({"coeff_dict": {0.2: [1.0]}}, "coeff_dict"),
        ({"decay_dict": {"mean": [1.0]}}, "decay_dict"),
        ({"read_dict": {"K": 1.0}}, "read_dict"),
        ({"read_dict": {"K": 1.0, "t_read": 0.0}}, "read_dict"),
    ],
)
def test_cmo_checks_its_tables(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        ReRamCMONoiseModel(**arguments)


@pytest.mark.parametrize("make", [HermesNoiseModel, StateIndependentNoiseModel])
def test_times_must_be_positive(make: Any) -> None:
    for name in ("t_0", "t_read"):
        with pytest.raises(ValueError, match=name):
            make(**{name: -1.0})
