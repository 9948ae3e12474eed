"""Programming, drift and compensation in tiles: changes of the compensation, layouts, progress."""

import copy
import re
from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ModuleError, TileError
from mho.inference import (
    BaseNoiseModel,
    GlobalDriftCompensation,
    PCMLikeNoiseModel,
    ReRamCMONoiseModel,
    drift_analog_weights,
    program_analog_weights,
)
from mho.inference.compensation.drift import (
    GlobalDriftCompensationWithExactReference,
    PerColumnDriftCompensation,
)
from mho.inference.noise.pcm import CustomDriftPCMLikeNoiseModel
from mho.nn import AnalogLinear, AnalogSequential
from mho.simulator.configs import (
    ConstantStepDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.registry import register_config_class

DAY = 86400.0
CLASSES = [InferenceRPUConfig, TorchInferenceRPUConfig]
KINDS = [
    GlobalDriftCompensation,
    GlobalDriftCompensationWithExactReference,
    PerColumnDriftCompensation,
]


def uniform_drift(**fields: Any) -> CustomDriftPCMLikeNoiseModel:
    """Model without noise, in which all conductances drift by the same exponent."""
    nu = {"g_lst": [0.0, 25.0], "nu_mean_lst": [0.05, 0.05], "nu_std_lst": [0.0, 0.0]}
    return CustomDriftPCMLikeNoiseModel(nu, prog_noise_scale=0.0, read_noise_scale=0.0, **fields)


def tile_of(
    cls: Any, noise_model: Any, compensation: Any, weights: torch.Tensor, **layout: bool
) -> Any:
    config = cls(noise_model=noise_model, drift_compensation=compensation)
    config.forward.is_perfect = True
    tile = config.tile_class(*weights.shape, config, **layout)
    tile.set_weights(weights)
    return tile.eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cls", CLASSES)
def test_uniform_drift_and_its_inverse(cls: Any, kind: Any) -> None:
    weights = torch.rand(4, 6) - 0.5
    tile = tile_of(cls, uniform_drift(), kind(), weights)
    x = torch.rand(3, 6)
    for t in (0.0, 1.0, DAY):
        tile.drift_weights(t)
        factor = ((t + 20.0) / 20.0) ** -0.05
        torch.testing.assert_close(tile.tile.get_weights(), factor * weights)
        torch.testing.assert_close(tile.alpha, torch.full_like(tile.alpha, 1.0 / factor))
        torch.testing.assert_close(tile(x), x @ weights.t())
    assert tile.alpha.shape == ((4,) if kind is PerColumnDriftCompensation else ())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("out_trans", [False, True])
@pytest.mark.parametrize("in_trans", [False, True])
def test_features_first(in_trans: bool, out_trans: bool, kind: Any) -> None:
    """Factors per output act on the axis of the outputs, whatever it is; images included."""
    torch.manual_seed(4)
    weights = torch.rand(4, 3) - 0.5
    layout = {"in_trans": in_trans, "out_trans": out_trans}
    tile = tile_of(InferenceRPUConfig, PCMLikeNoiseModel(), kind(), weights, **layout)
    tile.drift_weights(DAY)
    raw = tile.tile.get_weights()
    x = torch.rand(3, 5, 7) if in_trans else torch.rand(5, 7, 3)
    rows = x.movedim(0, -1) if in_trans else x
    wanted = rows @ raw.t() * tile.alpha
    torch.testing.assert_close(tile(x), wanted.movedim(-1, 0) if out_trans else wanted)


def test_factors_per_output_of_images() -> None:
    """As a convolution uses its tile: patches last, outputs spread over the channel axis."""
    torch.manual_seed(4)
    weights = torch.rand(4, 3) - 0.5
    tile = tile_of(InferenceRPUConfig, PCMLikeNoiseModel(), PerColumnDriftCompensation(), weights)
    tile.drift_weights(DAY)
    patches = torch.rand(2, 6, 3)
    y = tile(patches).transpose(1, 2)
    wanted = (patches @ tile.tile.get_weights().t()).transpose(1, 2) * tile.alpha.view(1, 4, 1)
    torch.testing.assert_close(y, wanted)


@pytest.mark.parametrize("then", [*KINDS, None])
@pytest.mark.parametrize("first", [*KINDS, None])
@pytest.mark.parametrize("cls", CLASSES)
def test_compensation_may_change_after_programming(cls: Any, first: Any, then: Any) -> None:
    """The readout after programming is made up for: factors are those of a fresh start."""
    torch.manual_seed(6)
    weights = torch.rand(4, 6) - 0.5
    model = PCMLikeNoiseModel(read_noise_scale=0.0)
    tile = tile_of(cls, model, first and first(), weights)
    tile.drift_weights(DAY)
    other = copy.deepcopy(tile)
    tile.rpu_config.drift_compensation = then and then()
    tile.drift_weights(DAY)
    # The drift is that of before, only the readout of the programmed weights is another.
    assert torch.equal(tile.tile.get_weights(), other.tile.get_weights())
    if then is None:
        assert tile.programming.output_factor() is None
        return
    reference = tile.reference_combined_weights
    programmed = tile.programmed_weights if then is not KINDS[1] else reference
    dim = 0 if then is PerColumnDriftCompensation else None
    before, now = (
        w.t().abs().mean(dim) if dim is not None else w.abs().mean()
        for w in (programmed, tile.tile.get_weights())
    )
    torch.testing.assert_close(tile.alpha, before / now)


def test_loading_with_another_compensation() -> None:
    """A factor per tile and one per output are never mixed."""
    weights = torch.rand(4, 6) - 0.5
    model = PCMLikeNoiseModel(read_noise_scale=0.0)
    tile = tile_of(InferenceRPUConfig, model, GlobalDriftCompensation(), weights)
    tile.drift_weights(DAY)
    other = tile_of(InferenceRPUConfig, model, PerColumnDriftCompensation(), weights)
    other.set_load_rpu_config_state(False)
    other.load_state_dict(tile.state_dict())
    other.drift_weights(DAY)
    before, now = (w.abs().mean(1) for w in (other.programmed_weights, other.tile.get_weights()))
    torch.testing.assert_close(other.alpha, before / now)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cls", CLASSES)
def test_factor_is_one_after_programming_again(cls: Any, kind: Any) -> None:
    """Programming, given weights and a step of training leave nothing of an earlier drift."""
    weights = torch.rand(4, 6) - 0.5
    tile = tile_of(cls, PCMLikeNoiseModel(), kind(), weights)
    for change in (
        tile.program_weights,
        lambda: tile.set_weights(weights),
        lambda: tile.train() and tile.post_update_step(),
    ):
        tile.drift_weights(1e6)
        assert float(tile.alpha.min()) > 1.5
        change()
        if change == tile.program_weights:
            assert tile.alpha.tolist() == [1.0]
            assert torch.equal(tile.tile.get_weights(), tile.programmed_weights)
    tile.set_weights(weights)
    assert tile.alpha.tolist() == [1.0] and tile.programmed_weights is None
    tile.eval()
    tile.drift_weights(1.0)
    # Not what was programmed before: errors are a few per cent of the largest weight.
    assert float((tile.get_weights()[0] - weights).abs().max()) < 0.2


@pytest.mark.parametrize("cls", CLASSES)
def test_bidirectional_devices_of_equal_weights(cls: Any) -> None:
    """Their range of weights is nothing, which no conversion divides by."""
    for value in (0.0, 0.3):
        weights = torch.full((4, 6), value)
        tile = tile_of(cls, ReRamCMONoiseModel(), GlobalDriftCompensation(), weights)
        for t_inference in (0.0, 1e-9, DAY):
            tile.drift_weights(t_inference)
            assert torch.isfinite(tile.tile.get_weights()).all()
            torch.testing.assert_close(tile.tile.get_weights(), weights, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cls", CLASSES)
def test_states_after_drift_go_into_fresh_models(cls: Any, kind: Any) -> None:
    """Factors have another shape then; programmed weights and what they drift by come along."""
    torch.manual_seed(12)
    config = cls(drift_compensation=kind())
    config.mapping.max_input_size = 4

    def model() -> Any:
        return AnalogSequential(AnalogLinear(6, 5, rpu_config=config), nn.ReLU()).eval()

    one, other = model(), model()
    one.drift_analog_weights(DAY)
    other.load_state_dict(one.state_dict())
    for mine, theirs in zip(one.analog_tiles(), other.analog_tiles(), strict=True):
        assert torch.equal(mine.alpha, theirs.alpha)
        assert torch.equal(mine.programmed_weights, theirs.programmed_weights)
        assert torch.equal(mine.drift_noise_parameters[0], theirs.drift_noise_parameters[0])
    drifted = []
    for each in (one, other):
        torch.manual_seed(13)
        each.drift_analog_weights(2.0 * DAY)
        drifted += [tile.tile.get_weights() for tile in each.analog_tiles()]
    assert all(map(torch.equal, drifted[:2], drifted[2:]))


def test_factor_is_one_after_programming_without_compensation() -> None:
    weights = torch.rand(4, 6) - 0.5
    tile = tile_of(InferenceRPUConfig, uniform_drift(), GlobalDriftCompensation(), weights)
    tile.drift_weights(DAY)
    tile.rpu_config.drift_compensation = None
    tile.program_weights()
    tile.rpu_config.drift_compensation = GlobalDriftCompensation()
    assert torch.equal(tile.alpha, torch.ones(1)) and tile.drift_baseline is None
    tile.drift_weights(DAY)
    assert float(tile.alpha) == pytest.approx(((DAY + 20.0) / 20.0) ** 0.05, rel=1e-5)


def model_of_layers(config: Any) -> nn.Module:
    return nn.Sequential(
        AnalogLinear(3, 4, rpu_config=config), nn.ReLU(), AnalogLinear(4, 2, rpu_config=config)
    ).eval()


def test_progress_of_programming(capsys: pytest.CaptureFixture[str]) -> None:
    config = InferenceRPUConfig()
    plain = model_of_layers(config)
    analog = AnalogSequential(*(AnalogLinear(2, 2, rpu_config=config) for _ in range(3))).eval()
    program_analog_weights(plain)
    analog.program_analog_weights()
    drift_analog_weights(plain, DAY)
    assert capsys.readouterr().err == ""
    program_analog_weights(plain, verbose=True)
    assert re.search(r"programming: 100%.*2/2 .*layer/s", capsys.readouterr().err)
    for call in (lambda: program_analog_weights(analog, verbose=True),):
        call()
        assert re.search(r"programming: 100%.*3/3 .*tile/s", capsys.readouterr().err)
    analog.program_analog_weights(PCMLikeNoiseModel(), verbose=True)
    assert re.search(r"programming: 100%.*3/3 .*tile/s", capsys.readouterr().err)
    trained = AnalogLinear(2, 2, rpu_config=SingleRPUConfig(device=ConstantStepDevice())).eval()
    with pytest.raises(ModuleError, match="programmed with pulses"):
        trained.program_analog_weights(PCMLikeNoiseModel(), verbose=True)
    assert capsys.readouterr().err == ""


def test_every_layer_has_its_own_programming_error() -> None:
    torch.manual_seed(1)
    model = model_of_layers(InferenceRPUConfig())
    program_analog_weights(model)
    for layer in (model[0], model[2]):
        tile: Any = layer.analog_module
        assert not torch.equal(tile.programmed_weights, tile.reference_combined_weights)


def test_former_place_of_the_models_warns() -> None:
    import importlib
    import sys

    sys.modules.pop("mho.simulator.noise_models", None)
    with pytest.warns(FutureWarning, match="mho.inference"):
        module = importlib.import_module("mho.simulator.noise_models")
    assert module.PCMLikeNoiseModel is PCMLikeNoiseModel


@pytest.mark.parametrize("cls", CLASSES)
def test_exponents_belong_to_the_programming(cls: Any) -> None:
    """Drift is that of the programming at every call; read noise is drawn anew."""
    torch.manual_seed(8)
    weights = torch.rand(4, 6) - 0.5
    tile = tile_of(cls, PCMLikeNoiseModel(), GlobalDriftCompensation(), weights)
    tile.drift_weights(DAY)
    exponents, first = [p.clone() for p in tile.drift_noise_parameters], tile.tile.get_weights()
    tile.drift_weights(DAY)
    assert all(map(torch.equal, exponents, tile.drift_noise_parameters))
    assert not torch.equal(tile.tile.get_weights(), first)
    tile.program_weights()
    assert not torch.equal(tile.drift_noise_parameters[0], exponents[0])


@pytest.mark.parametrize("cls", CLASSES)
def test_reading_by_products_sees_the_factor(cls: Any) -> None:
    torch.manual_seed(9)
    weights = torch.rand(10, 20) - 0.5
    tile = tile_of(cls, PCMLikeNoiseModel(), GlobalDriftCompensation(), weights)
    tile.drift_weights(DAY)
    exact, read = tile.get_weights()[0], tile.get_weights(realistic=True)[0]
    torch.testing.assert_close(read, exact * tile.alpha, rtol=1e-4, atol=1e-5)


def test_analog_bias_is_programmed_and_read() -> None:
    """It is a column like any other: one more line to read out, and noise of its own."""
    torch.manual_seed(10)
    config = InferenceRPUConfig()
    config.mapping.digital_bias = False
    layer = AnalogLinear(3, 50, rpu_config=config).eval()
    weight, bias = torch.rand(50, 3) - 0.5, torch.rand(50) - 0.5
    layer.set_weights(weight, bias)
    layer.drift_analog_weights(1.0)
    tile: Any = layer.analog_module
    assert torch.equal(tile.drift_readout_tensor, torch.eye(4))
    assert tile.programmed_weights.shape == (50, 4)
    drifted = layer.get_weights()[1]
    assert drifted is not None and not torch.equal(drifted, bias)
    read = layer.get_weights(realistic=True)[1]
    assert read is not None
    # The default products have noise of 6 % of an output of 1, over 30 vectors.
    assert float((read - drifted * tile.alpha).std()) < 0.1


class Failing(PCMLikeNoiseModel):
    """Fails at the second device of a weight."""

    calls = 0

    def apply_programming_noise_to_conductance(self, g_target: torch.Tensor) -> torch.Tensor:
        type(self).calls += 1
        if self.calls % 2 == 0:
            raise RuntimeError("no such device")
        return super().apply_programming_noise_to_conductance(g_target)


@register_config_class
class OwnParameters(BaseNoiseModel):
    """Draws drift parameters of any kind, which do nothing."""

    def __init__(self, shape: list[int] | None = None, whole: bool = False) -> None:
        super().__init__()
        self.shape = [] if shape is None else shape
        self.whole = whole

    def apply_programming_noise_to_conductance(self, g_target: torch.Tensor) -> torch.Tensor:
        return g_target

    def generate_drift_coefficients(self, g_target: torch.Tensor) -> torch.Tensor:
        drawn = torch.rand(self.shape) * 9.0
        return drawn.long() if self.whole else drawn

    def apply_drift_noise_to_conductance(
        self, g_prog: torch.Tensor, drift_noise_param: Any, t_inference: float
    ) -> torch.Tensor:
        return g_prog + 0.0 * drift_noise_param


@pytest.mark.parametrize("shape", [[], [1], [4, 1], [1, 6], [4, 6]])
def test_own_drift_parameters_are_saved(shape: list[int]) -> None:
    tile = tile_of(InferenceRPUConfig, OwnParameters(shape), None, torch.rand(4, 6) - 0.5)
    tile.program_weights()
    other = tile_of(InferenceRPUConfig, OwnParameters(shape), None, torch.zeros(4, 6))
    other.load_state_dict(tile.state_dict())
    other.drift_weights(DAY)
    for mine, theirs in zip(tile.drift_noise_parameters, other.drift_noise_parameters, strict=True):
        assert torch.equal(mine, theirs)


def test_drift_parameters_of_another_shape_are_refused() -> None:
    tile = tile_of(InferenceRPUConfig, OwnParameters([2, 4, 6]), None, torch.rand(4, 6) - 0.5)
    with pytest.raises(TileError, match="must return one value per device"):
        tile.program_weights()


def test_drift_parameters_that_no_state_can_have() -> None:
    """They are found when the state is saved, not when it is loaded."""
    model = OwnParameters([4, 6], True)
    tile = tile_of(InferenceRPUConfig, model, None, torch.rand(4, 6) - 0.5)
    tile.program_weights()
    with pytest.raises(TileError, match=r"drift_noise_parameters\.0: a state has floating-point"):
        tile.state_dict()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.filterwarnings("ignore:.*register_config_class")
def test_programming_that_fails_changes_nothing(keep: bool) -> None:
    weights = torch.rand(4, 6) - 0.5
    model = PCMLikeNoiseModel(keep_conductances=True)
    tile = tile_of(InferenceRPUConfig, model, GlobalDriftCompensation(), weights)
    tile.drift_weights(DAY)
    before = {name: value.clone() for name, value in tile.state_dict().items()}
    with pytest.raises(RuntimeError, match="no such device"):
        tile.program_weights(noise_model=Failing(keep_conductances=keep))
    after = tile.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
