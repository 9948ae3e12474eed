"""Noise models and drift compensations of a user: what they may return, and what is said if not."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.exceptions import ArgumentError, ConfigError, InputError, TileError
from mho.inference import (
    BaseDriftCompensation,
    BaseNoiseModel,
    CustomDriftPCMLikeNoiseModel,
    HermesNoiseModel,
    PCMLikeNoiseModel,
    ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
    SinglePairConductanceConverter,
    StateIndependentNoiseModel,
)
from mho.nn import AnalogLinear, edit_config
from mho.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
from mho.simulator.parameters.registry import register_config_class
from unchanged import READOUT, differences, everything

# Said once of each class, whichever test is first.
pytestmark = pytest.mark.filterwarnings("ignore:.*cannot be saved by state_dict")

CONFIGS = [InferenceRPUConfig, TorchInferenceRPUConfig]
Change = Callable[[Tensor], Any]


class Given(BaseNoiseModel):
    """Returns what the functions that it was given make of conductances."""

    def __init__(
        self,
        program: Change = Tensor.clone,
        drift: Change = Tensor.clone,
        coefficients: Change = lambda g: None,
    ) -> None:
        super().__init__()
        self.program, self.drift, self.coefficients = program, drift, coefficients

    def apply_programming_noise_to_conductance(self, g_target: Tensor) -> Any:
        return self.program(g_target)

    def generate_drift_coefficients(self, g_target: Tensor) -> Any:
        return self.coefficients(g_target)

    def apply_drift_noise_to_conductance(self, g_prog: Tensor, nu: Any, t_inference: float) -> Any:
        drifted = self.drift(g_prog)
        return drifted if nu is None else drifted * (1.0 + t_inference) ** -nu


class GivenPair(SinglePairConductanceConverter):
    """Converts as the functions do that it was given."""

    def __init__(self, to: Change | None = None, back: Change | None = None) -> None:
        super().__init__()
        self.to, self.back = to, back

    def convert_to_conductances(self, weights: Tensor) -> Any:
        return self.to(weights) if self.to else super().convert_to_conductances(weights)

    def convert_back_to_weights(self, conductances: Any, params: Any) -> Any:
        weights = super().convert_back_to_weights(conductances, params)
        return self.back(weights) if self.back else weights


class Unmade(BaseNoiseModel):
    """Forgets the constructor of its base."""

    def __init__(self) -> None:
        self.width = 1.0


@register_config_class
class Drifting(BaseNoiseModel):
    """Drifts with one exponent, in place."""

    def __init__(self, nu: float = 0.1, as_number: bool = True, keep: bool = False) -> None:
        super().__init__(keep_conductances=keep)
        self.nu, self.as_number = nu, as_number

    def apply_programming_noise_to_conductance(self, g_target: Tensor) -> Tensor:
        return g_target.mul_(0.9)

    def generate_drift_coefficients(self, g_target: Tensor) -> Any:
        return self.nu if self.as_number else torch.tensor(self.nu)

    def apply_drift_noise_to_conductance(self, g_prog: Tensor, nu: Any, t_inference: float) -> Any:
        return g_prog.mul_(nu.neg_().mul_(torch.tensor(1.0 + t_inference).log()).exp_())


def layer_of(cls: Any = InferenceRPUConfig, **parts: Any) -> AnalogLinear:
    config = cls(drift_compensation=None, noise_model=Given())
    for name, value in parts.items():
        setattr(config, name, value)
    return AnalogLinear(4, 3, rpu_config=config).eval()


@pytest.mark.parametrize("cls", CONFIGS)
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (lambda g: g[:, :2], r"shape \(3, 4\), got \(3, 2\)"),
        (lambda g: g.mean(), r"shape \(3, 4\), got \(\)"),
        (lambda g: None, "a tensor of conductances, got None"),
        (lambda g: g.numpy(), "a tensor of conductances, got array"),
        (lambda g: g.long(), "a tensor of conductances, got tensor"),
        (lambda g: g / 0.0 * 0.0, "finite conductances"),
    ],
)
def test_wrong_conductances_name_the_method(
    cls: Any, keep: bool, wrong: Change, match: str
) -> None:
    for where, method in (("program", "programming"), ("drift", "drift")):
        model = Given(**{where: wrong})
        model.keep_conductances = keep
        layer = layer_of(cls, noise_model=model)
        weights = layer.get_weights()[0]
        name = f"Given.apply_{method}_noise_to_conductance"
        with pytest.raises(TileError, match=f"^{name}: must return .*{match}"):
            layer.drift_analog_weights(10.0)
        assert torch.equal(layer.get_weights()[0], weights)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"to": lambda w: [w.abs()]}, r"to_conductances: .*a list .*and a dictionary"),
        ({"to": lambda w: (w.abs(), {})}, r"to_conductances: .*a list .*and a dictionary"),
        ({"to": lambda w: ([], {})}, r"to_conductances: .*a list .*and a dictionary"),
        ({"to": lambda w: ([w[0], w[0]], {})}, r"to_conductances: .*shape \(3, 4\), got \(4,\)"),
        ({"back": lambda w: None}, "back_to_weights: .*a tensor of weights, got None"),
        ({"back": lambda w: w.T}, r"back_to_weights: .*weights of shape \(3, 4\), got \(4, 3\)"),
        ({"back": lambda w: w / 0.0}, "back_to_weights: .*finite weights"),
    ],
)
def test_wrong_conversions_name_the_method(wrong: Any, match: str, keep: bool) -> None:
    model = Given()
    model.g_converter, model.keep_conductances = GivenPair(**wrong), keep
    layer = layer_of(noise_model=model)
    weights = layer.get_weights()[0]
    with pytest.raises(TileError, match=f"GivenPair.convert_{match}"):
        layer.drift_analog_weights(10.0)
    assert torch.equal(layer.get_weights()[0], weights)


@pytest.mark.parametrize(
    "make",
    [PCMLikeNoiseModel, StateIndependentNoiseModel, HermesNoiseModel, ReRamWan2022NoiseModel],
)
def test_negative_conductances_are_refused(make: Any) -> None:
    """Programming would make them zero, and the weights with them."""
    layer = layer_of(noise_model=make(g_converter=GivenPair(lambda w: ([w, w.abs()], {}))))
    with pytest.raises(ArgumentError, match="g_target: conductances cannot be negative, found -"):
        layer.program_analog_weights()


def test_wrong_drift_coefficients_name_the_method() -> None:
    layer = layer_of(noise_model=Given(coefficients=lambda g: torch.ones(5)))
    with pytest.raises(TileError, match=r"Given.generate_drift_coefficients: .*\(3, 4\).*\(5,\)"):
        layer.program_analog_weights()


def test_constructor_without_that_of_the_base() -> None:
    with pytest.raises(ConfigError, match=r"noise_model.g_converter: Unmade .*super"):
        AnalogLinear(4, 3, rpu_config=InferenceRPUConfig(noise_model=Unmade()))


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("as_number", [False, True])
def test_one_exponent_is_that_of_every_device_and_saved(keep: bool, as_number: bool) -> None:
    """Nor does it matter that the methods change what they get in place."""
    config = InferenceRPUConfig(noise_model=Drifting(0.1, as_number, keep), drift_compensation=None)
    layer = AnalogLinear(4, 3, rpu_config=config).eval()
    target = layer.get_weights()[0]
    layer.program_analog_weights()
    again = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig()).eval()
    again.load_state_dict(layer.state_dict())
    for one in (layer, again):
        for t in (0.0, 9.0, 99.0, 9.0):
            one.drift_analog_weights(t)
            # Converted anew, the largest weight has the largest conductance, whatever it was.
            torch.testing.assert_close(one.get_weights()[0], target * 0.9 * (1.0 + t) ** -0.1)


class GivenFactor(BaseDriftCompensation):
    """Reads out and corrects as the functions do that it was given."""

    def __init__(
        self,
        readout: Change = lambda y: y.abs().mean(),
        factor: Callable[[Tensor, Tensor], Any] = lambda now, then: then / now,
        extra_inputs: int = 0,
    ) -> None:
        self.read, self.factor, self.extra_inputs = readout, factor, extra_inputs

    def get_readout_tensor(self, in_size: int) -> Tensor:
        return torch.eye(in_size + self.extra_inputs)

    def readout(self, out_tensor: Tensor) -> Any:
        return self.read(out_tensor)

    def apply(self, forward_output: Tensor, ref_value: Tensor) -> Any:
        return self.factor(self.readout(forward_output), ref_value)


@pytest.mark.parametrize("cls", CONFIGS)
@pytest.mark.parametrize(
    ("compensation", "error", "match"),
    [
        (GivenFactor(lambda y: float(y.mean())), TileError, "GivenFactor.readout: .*a tensor, got"),
        (GivenFactor(lambda y: None), TileError, "GivenFactor.readout: .*a tensor, got None"),
        (GivenFactor(lambda y: y.abs().mean(1)), TileError, r"GivenFactor.readout: .*shape \(4,\)"),
        (GivenFactor(lambda y: y.mean() * 0.0), TileError, "GivenFactor.apply: .*finite"),
        (GivenFactor(factor=lambda a, b: 1.0), TileError, "GivenFactor.apply: .*a tensor, got 1.0"),
        (GivenFactor(factor=lambda a, b: b.expand(2)), TileError, r"GivenFactor.apply: .*\(2,\)"),
        (GivenFactor(extra_inputs=1), InputError, r"readout_tensor: .*\[batch, 4\], got \(5, 5\)"),
    ],
)
def test_wrong_compensations_name_the_method(
    cls: Any, compensation: GivenFactor, error: Any, match: str
) -> None:
    layer = layer_of(cls, noise_model=PCMLikeNoiseModel(), drift_compensation=compensation)
    before = everything_but_config(layer)
    with pytest.raises(error, match=match):
        layer.drift_analog_weights(10.0)
    changed = differences(before, everything_but_config(layer))
    assert [name for name in changed if "calls" not in name and READOUT not in name] == []


def everything_but_config(layer: AnalogLinear) -> dict[str, Any]:
    """What a layer holds; a configuration with functions in it cannot be written."""
    tile: Any = layer.analog_module
    config, tile.rpu_config.noise_model = tile.rpu_config.drift_compensation, PCMLikeNoiseModel()
    tile.rpu_config.drift_compensation = None
    try:
        return everything(layer)
    finally:
        tile.rpu_config.drift_compensation = config


@pytest.mark.parametrize("cls", CONFIGS)
def test_failed_drift_leaves_ordered_registries_whole(cls: Any) -> None:
    """Modules of torch 2.4 keep their tensors in such."""
    layer = layer_of(cls, noise_model=PCMLikeNoiseModel(), drift_compensation=None)
    tile: Any = layer.analog_module
    for module in tile.modules():
        for name in ("_parameters", "_buffers", "_modules"):
            vars(module)[name] = OrderedDict(vars(module)[name])
    names = list(layer.state_dict())
    tile.rpu_config.drift_compensation = GivenFactor(lambda y: None)
    with pytest.raises(TileError):
        layer.drift_analog_weights(10.0)
    tile.rpu_config.drift_compensation = None
    assert list(layer.state_dict()) == names


def test_own_compensation_is_used() -> None:
    halved = GivenFactor(factor=lambda now, then: (then / now).sqrt())
    layer = layer_of(noise_model=Given(drift=lambda g: 0.25 * g), drift_compensation=halved)
    layer.analog_module.rpu_config.forward.is_perfect = True
    layer.drift_analog_weights(10.0)
    torch.testing.assert_close(layer.analog_module.alpha, torch.tensor(2.0))


MODELS = [
    PCMLikeNoiseModel(),
    CustomDriftPCMLikeNoiseModel(
        {"g_lst": [0.0, 30.0], "nu_mean_lst": [0.1, 0.1], "nu_std_lst": [0.0, 0.0]}
    ),
    StateIndependentNoiseModel(),
    HermesNoiseModel(),
    ReRamCMONoiseModel(),
    ReRamWan2022NoiseModel(),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("value", [10.0, 0.0, -1.0])
def test_two_largest_conductances_are_refused(model: BaseNoiseModel, value: float) -> None:
    """A sweep over `g_max` alone would move the errors, not the conductances that are used."""
    layer = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig(noise_model=model))
    with pytest.raises(ConfigError, match="g_max"):
        edit_config(layer, "noise_model.g_max", value)
    with pytest.raises(ConfigError, match="g_max"):
        edit_config(layer, "noise_model.g_converter", SinglePairConductanceConverter(g_max=11.0))
    edit_config(layer, "noise_model", PCMLikeNoiseModel(g_max=11.0))


def test_no_conductance_at_all() -> None:
    with pytest.raises(ArgumentError, match="g_max"):
        PCMLikeNoiseModel(g_max=0.0)
