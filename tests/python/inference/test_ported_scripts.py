"""What scripts of users do with calibration, programmes, drift models and matrices."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mho.exceptions import ConfigError
from mho.inference import (
    CustomDriftPCMLikeNoiseModel,
    CustomPairConductanceConverter,
    DualPairConductanceConverter,
    NPairConductanceConverter,
    PCMLikeNoiseModel,
    ReRamCMONoiseModel,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
)
from mho.inference.calibration import InputRangeCalibrationType, calibrate_input_ranges
from mho.inference.compensation.drift import PerColumnDriftCompensation
from mho.inference.converter.fusion import FusionConductanceConverter
from mho.inference.converter.wpo import (
    WeightProgrammingOptimizer,
    downsample_weight_distribution,
    loss_weights,
)
from mho.linalg import AnalogMatrix
from mho.nn import AnalogLinear, AnalogSequential, convert_to_analog
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.enums import (
    BoundManagementType,
    NoiseManagementType,
    WeightClipType,
    WeightModifierType,
    WeightRemapType,
)
from mho.simulator.presets import StandardHWATrainingPreset
from mho.simulator.tiles import InferenceTile
from mho.utils.export import fusion_export, fusion_import


def error(model: nn.Module, digital: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        wanted = digital(x)
        return float((model(x) - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
@pytest.mark.parametrize(
    "kind",
    [
        InputRangeCalibrationType.CACHE_QUANTILE,
        InputRangeCalibrationType.MOVING_QUANTILE,
        InputRangeCalibrationType.MOVING_STD,
        InputRangeCalibrationType.MAX,
    ],
)
def test_calibrated_models_are_better_than_those_with_a_guess(cls: Any, kind: Any) -> None:
    """A loader of pairs of arguments, as scripts have it; weights of a digital model."""
    torch.manual_seed(1)
    digital = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5)).eval()
    x = 20.0 * torch.randn(256, 20)
    config = cls()
    config.forward.noise_management = NoiseManagementType.NONE
    config.forward.bound_management = BoundManagementType.NONE
    config.mapping.weight_scaling_omega = 1.0
    config.pre_post.input_range.enable = True
    model = convert_to_analog(digital, config).eval()
    before = error(model, digital, x)

    def batches() -> Any:
        for batch in x.split(32):
            yield batch, {}

    calibrate_input_ranges(
        model=model,
        calibration_type=kind,
        dataloader=batches(),
        quantile=0.999,
        max_samples=200,
        std_alpha=3.0,
    )
    assert error(model, digital, x) < 0.5 * before


def test_calibrated_model_of_torch_tiles_goes_into_inference_tiles() -> None:
    torch.manual_seed(2)
    config = TorchInferenceRPUConfig()
    model = AnalogSequential(AnalogLinear(4, 3, rpu_config=config))
    calibrate_input_ranges(model, InputRangeCalibrationType.MAX, [torch.rand(8, 4)])
    other = AnalogSequential(AnalogLinear(4, 3, rpu_config=InferenceRPUConfig()))
    other.load_state_dict(model.state_dict())
    ranges = [next(m.analog_tiles()).input_range for m in (model, other)]
    assert ranges[0] is not None and torch.equal(*ranges)  # type: ignore[arg-type]
    other.eval().drift_analog_weights("1 day")
    other(torch.rand(8, 4))


@pytest.mark.filterwarnings("ignore:modifier.per_batch_sample")
def test_training_with_draws_for_samples_is_evaluated_in_inference_tiles() -> None:
    """The state brings the settings of the training along; tiles of the core evaluate with them."""

    def populated(config: Any) -> Any:
        config.mapping.learn_out_scaling = True
        config.mapping.out_scaling_columnwise = False
        config.mapping.weight_scaling_omega = 1.0
        config.mapping.weight_scaling_columnwise = True
        config.mapping.max_input_size = config.mapping.max_output_size = 256
        config.remap.type = WeightRemapType.LAYERWISE_SYMMETRIC
        config.clip.type = WeightClipType.LAYER_GAUSSIAN
        config.clip.sigma, config.clip.fixed_value = 2.0, 1.0
        config.forward.noise_management = NoiseManagementType.NONE
        config.forward.bound_management = BoundManagementType.NONE
        config.modifier.type = WeightModifierType.ADD_NORMAL
        config.modifier.std_dev = 0.1
        config.modifier.per_batch_sample = True
        config.pre_post.input_range.enable = True
        return config

    def network(config: Any) -> Any:
        first, last = (AnalogLinear(*sizes, rpu_config=config) for sizes in ((6, 20), (20, 2)))
        return AnalogSequential(first, nn.Tanh(), last)

    torch.manual_seed(3)
    trained = network(populated(TorchInferenceRPUConfig()))
    optimizer = AnalogSGD(trained.parameters(), lr=0.1)
    optimizer.regroup_param_groups(trained)
    x = torch.randn(80, 6)
    labels = (x[:, 0] * x[:, 1] > 0.0).long()
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(trained(x), labels).backward()
        optimizer.step()
    other = network(populated(StandardHWATrainingPreset()))
    other.load_state_dict(trained.state_dict())
    other.eval()
    trained.eval()
    for t_inference in (None, 0.0, 1e7):
        if t_inference is not None:
            other.drift_analog_weights(t_inference)
        with torch.no_grad():
            agree = (other(x).argmax(1) == trained(x).argmax(1)).float().mean()
        assert float(agree) > 0.8
    assert all(type(tile) is InferenceTile for tile in other.analog_tiles())
    with pytest.raises(ConfigError, match="per_batch_sample"):
        other.train()(x)


def test_comparison_of_drift_models() -> None:
    """Mean weights fall as the given exponents say, which are those of the tile."""
    t, g_lst = 86400.0, [0.0, 10.0, 25.0]
    for nu in (0.02, 0.08):
        drift = {"g_lst": g_lst, "nu_mean_lst": [nu] * 3, "nu_std_lst": [0.0] * 3}
        model = CustomDriftPCMLikeNoiseModel(
            drift, prog_noise_scale=0.0, read_noise_scale=0.0, drift_scale=1.0
        )
        config = TorchInferenceRPUConfig(noise_model=model, drift_compensation=None)
        layer = AnalogLinear(20, 10, bias=False, rpu_config=config).eval()
        before, _ = layer.get_weights()
        layer.drift_analog_weights(t)
        after, _ = layer.get_weights()
        torch.testing.assert_close(after, before * ((t + 20.0) / 20.0) ** -nu)
        for exponents in layer.analog_module.drift_noise_parameters:
            torch.testing.assert_close(exponents, torch.full((10, 20), nu))


CONVERTERS: list[Any] = [
    SinglePairConductanceConverter(g_max=40.0, g_min=1.0),
    DualPairConductanceConverter(f_lst=[1.0, 3.0], g_max=40.0, g_min=1.0),
    NPairConductanceConverter(f_lst=[1.0, 2.0, 3.0], g_max=40.0, g_min=1.0),
    CustomPairConductanceConverter(
        f_lst=[1.0], g_lst=[[1.0, 1.0, 1.0, 20.0, 40.0], [40.0, 20.0, 1.0, 1.0, 1.0]],
        g_max=40.0, g_min=1.0, invertibility_test=False,
    ),
    FusionConductanceConverter(40),
]  # fmt: skip


@pytest.mark.parametrize("converter", CONVERTERS, ids=lambda c: type(c).__name__)
def test_programming_options(converter: Any) -> None:
    """Weights survive, and errors after a day are of a few per cent of the largest."""
    torch.manual_seed(3)
    assert f"{type(converter).__name__}(" in str(converter) and "g_max=40.00" in str(converter)
    weights = torch.linspace(-0.6, 0.6, 31).repeat(20, 1)
    conductances, params = converter.convert_to_conductances(weights)
    back = converter.convert_back_to_weights(conductances, params)
    # The custom table is not even around the middle of each side, see the other tests.
    torch.testing.assert_close(back, weights, atol=0.02, rtol=0.0)
    config = InferenceRPUConfig(noise_model=PCMLikeNoiseModel(g_converter=converter))
    model = AnalogLinear(31, 20, bias=False, rpu_config=config).eval()
    model.set_weights(weights)
    model.program_analog_weights()
    model.drift_analog_weights(86400.0)
    read, _ = model.get_weights()
    alpha = model.analog_module.alpha
    assert 0.0 < float((read * alpha - weights).std()) < 0.1


def test_bidirectional_devices() -> None:
    config = InferenceRPUConfig(noise_model=ReRamCMONoiseModel(), drift_compensation=None)
    model = AnalogLinear(30, 20, rpu_config=config).eval()
    before, _ = model.get_weights()
    model.program_analog_weights(noise_model=ReRamCMONoiseModel(acceptance_range=2))
    model.drift_analog_weights(1.0)
    after, _ = model.get_weights()
    # Of 79 microsiemens for weights of both signs: 0.1 to 1 from programming, 0.4 from relaxation.
    assert 0.4 / 40 < float((after - before).std() / before.abs().max()) < 1.1 / 40
    assert str(SingleDeviceConductanceConverter()) in str(config.noise_model.g_converter)
    assert model(torch.rand(30)).shape == (20,)


def test_search_for_a_programme_from_files(tmp_path: Path) -> None:
    """Configuration and optimizer are written and read, as between jobs of a cluster."""
    torch.manual_seed(4)
    config = InferenceRPUConfig(noise_model=PCMLikeNoiseModel(prog_coeff=[3.0, -2.5, 0.0]))
    config.forward.is_perfect = True
    digital = nn.Linear(100, 50)
    search = WeightProgrammingOptimizer(
        digital.weight.detach(), [1.0], config, [1.0, 3600.0], SinglePairConductanceConverter(),
        test_in_features=32, popsize=4, maxiter=15, nbins=3, loss_margin=0.0, disp=False,
        polish=False, workers=1, baseline_iterations=20, callback=None,
    )  # fmt: skip
    file = tmp_path / "search.pkl"
    file.write_bytes(pickle.dumps({"search": search, "config": config}))
    loaded = pickle.loads(file.read_bytes())
    assert loaded["config"] == config
    converter, success = loaded["search"].run_optimizer()
    assert success is True
    test_weights = downsample_weight_distribution(digital.weight.detach(), (64, 20))
    largest = float(test_weights.abs().max())
    losses = []
    for chosen in (SinglePairConductanceConverter(), converter):
        model = PCMLikeNoiseModel(prog_coeff=[3.0, -2.5, 0.0], g_converter=chosen)
        best = InferenceRPUConfig(noise_model=model)
        best.forward.is_perfect = True
        layer = AnalogLinear(64, 20, bias=False, rpu_config=best).eval()
        found = [
            loss_weights(layer, [1.0, 3600.0], test_weights, largest, 0.0, 0.0, get_baseline=True)
            for _ in range(10)
        ]
        losses.append(sum(found))
    assert losses[1] < losses[0]


def test_matrix_of_pulsed_devices() -> None:
    torch.manual_seed(5)
    config = SingleRPUConfig(device=ConstantStepDevice(w_max_dtod=0.0, w_min_dtod=0.0))
    matrix = np.random.default_rng(1).uniform(-0.1, 0.1, (30, 50))
    analog = AnalogMatrix(matrix, config, realistic=True)
    x, d = np.random.default_rng(2).uniform(-1, 1, (10, 50)), np.ones((10, 30))
    assert np.abs(analog @ x - x @ matrix.T).std() < 0.3
    assert np.abs(d @ analog - d @ matrix).std() < 1.0
    before = analog @ np.eye(50)
    analog.ger(x, d, alpha=0.01)
    assert np.abs(analog @ np.eye(50) - before).max() > 0.0


@pytest.mark.filterwarnings("ignore:.*computes in float32")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_defaults_of_torch(dtype: torch.dtype, tmp_path: Path) -> None:
    """Nothing is made on another default device, or in another precision."""
    config = InferenceRPUConfig(noise_model=PCMLikeNoiseModel(keep_conductances=True))
    config.drift_compensation = PerColumnDriftCompensation()
    config.forward.is_perfect = True
    layer, x = AnalogLinear(6, 4, rpu_config=config).eval(), torch.rand(8, 6)
    weights = torch.rand(50)
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            for kind in InputRangeCalibrationType:
                calibrate_input_ranges(layer, kind, [x], quantile=0.9)
            layer.program_analog_weights()
            layer.drift_analog_weights(10.0)
            data = fusion_export(layer, file_name=tmp_path / "model.csv")
            fusion_import(tmp_path / "model.csv", layer, data[1])
            analog = AnalogMatrix(np.eye(3), InferenceRPUConfig(forward=config.forward))
            np.testing.assert_allclose(analog @ np.ones(3), np.ones(3), rtol=1e-5)
            search = WeightProgrammingOptimizer(
                weights, [1.0], config, [1.0], SinglePairConductanceConverter(),
                test_in_features=6, test_out_features=4, popsize=1, maxiter=1, workers=1,
                polish=False, disp=False, baseline_iterations=1,
            )  # fmt: skip
            assert len(search.run_optimizer()[0].g_lst) == 2
    finally:
        torch.set_default_dtype(torch.float32)
