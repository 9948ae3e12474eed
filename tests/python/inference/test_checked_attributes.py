"""Noise models, converters and compensations are checked like all configurations."""

import copy
import json
from typing import Any

import pytest

from mho.exceptions import ArgumentError, ConfigError
from mho.inference.compensation.drift import GlobalDriftCompensation, PerColumnDriftCompensation
from mho.inference.converter.conductance import (
    CustomPairConductanceConverter,
    DualPairConductanceConverter,
    NPairConductanceConverter,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
)
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.custom import StateIndependentNoiseModel
from mho.inference.noise.hermes import HermesNoiseModel
from mho.inference.noise.pcm import CustomDriftPCMLikeNoiseModel, PCMLikeNoiseModel
from mho.inference.noise.reram import ReRamCMONoiseModel, ReRamWan2022NoiseModel
from mho.nn import AnalogLinear, edit_config
from mho.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
from mho.simulator.parameters.registry import register_config_class

OBJECTS: dict[str, Any] = {
    "pcm": PCMLikeNoiseModel(),
    "own drift": CustomDriftPCMLikeNoiseModel(
        {"g_lst": [0.0, 30.0], "nu_mean_lst": [0.1, 0.1], "nu_std_lst": [0.0, 0.0]}
    ),
    "flat": StateIndependentNoiseModel(),
    "hermes": HermesNoiseModel(),
    "cmo": ReRamCMONoiseModel(),
    "wan": ReRamWan2022NoiseModel(),
    "pair": SinglePairConductanceConverter(),
    "device": SingleDeviceConductanceConverter(),
    "pairs": NPairConductanceConverter([1.0, 2.0, 3.0]),
    "dual": DualPairConductanceConverter([1.0, 2.0]),
    "table": CustomPairConductanceConverter([1.0], [[0.0, 0.0, 25.0], [25.0, 0.0, 0.0]]),
    "global": GlobalDriftCompensation(),
    "columns": PerColumnDriftCompensation(),
}


@pytest.fixture(params=OBJECTS)
def obj(request: pytest.FixtureRequest) -> Any:
    """One object of each class."""
    return OBJECTS[request.param]


def reread(obj: Any, **params: Any) -> Any:
    """The object that its text describes, with other parameters; None removes one."""
    text = json.loads(obj.to_json())
    text["params"].update(params)
    text["params"] = {k: v for k, v in text["params"].items() if v is not ...}
    return type(obj).from_json(json.dumps({**text}))


def test_what_is_written_can_be_read(obj: Any) -> None:
    assert reread(obj) == obj


def test_missing_attributes_are_refused(obj: Any) -> None:
    for name in vars(obj):
        with pytest.raises(ConfigError, match=name):
            reread(obj, **{name: ...})


@pytest.mark.parametrize("value", ["text", True, [1, 2], {"type": "SoftBoundsDevice"}])
def test_wrong_types_are_refused(obj: Any, value: Any) -> None:
    for name, present in vars(obj).items():
        if isinstance(present, list) and value == [1, 2]:
            continue
        with pytest.raises(ConfigError, match=name):
            reread(obj, **{name: value})


def test_unknown_attributes_are_refused(obj: Any) -> None:
    with pytest.raises(ConfigError, match="g_maximum"):
        reread(obj, g_maximum=1.0)


def test_attributes_named_like_methods_are_refused(obj: Any) -> None:
    for name in ("check", "to_json", "apply_drift_noise", "convert_to_conductances", "readout"):
        if hasattr(obj, name):
            with pytest.raises(ConfigError, match=name):
                reread(obj, **{name: 1.0})


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("pcm", {"t_0": -1.0}),
        ("pcm", {"t_read": 0.0}),
        ("flat", {"t_0": 0.0}),
        ("hermes", {"num_devices": 3}),
        ("wan", {"coeff_dic": {"dict": []}}),
        ("cmo", {"read_dict": {"dict": [["K", 1.0]]}}),
        ("pair", {"g_min": 30.0}),
        ("dual", {"f_lst": [1.0]}),
        ("table", {"g_lst": [[0.0, 1.0]]}),
        ("own drift", {"custom_drift_model": {"dict": [["g_lst", [1.0, 2.0]]]}}),
        ("pcm", {"prog_coeff_g_max_reference": 0.0}),
        ("hermes", {"prog_coeff_g_max_reference": -1.0}),
        ("wan", {"coeff_g_max_reference": 0.0}),
    ],
)
def test_impossible_values_are_refused(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        reread(OBJECTS[name], **params)


@pytest.mark.parametrize("name", ["pcm", "own drift", "flat", "hermes", "cmo", "wan"])
def test_models_refer_to_the_conductances_of_their_converters(name: str) -> None:
    """Otherwise noise and drift would be those of devices relative to another maximum."""
    g_max = OBJECTS[name].g_max
    with pytest.raises(ConfigError, match=r"g_max: is .* but that of g_converter"):
        reread(OBJECTS[name], g_max=g_max - 1.0)
    config = InferenceRPUConfig(noise_model=copy.deepcopy(OBJECTS[name]))
    layer = AnalogLinear(2, 2, rpu_config=config)
    with pytest.raises(ConfigError, match=r"noise_model: g_max: is .* g_converter"):
        edit_config(layer, "noise_model.g_max", g_max - 1.0)
    assert layer.analog_module.rpu_config == config


def test_references_of_coefficients_are_positive() -> None:
    for reference in (0.0, -25.0):
        with pytest.raises(ArgumentError, match="prog_coeff_g_max_reference"):
            PCMLikeNoiseModel([0.2], prog_coeff_g_max_reference=reference)
        with pytest.raises(ArgumentError, match="prog_coeff_g_max_reference"):
            HermesNoiseModel([0.2], prog_coeff_g_max_reference=reference)
        with pytest.raises(ArgumentError, match="coeff_g_max_reference"):
            ReRamWan2022NoiseModel(coeff_g_max_reference=reference)


@pytest.mark.parametrize("config", [InferenceRPUConfig, TorchInferenceRPUConfig])
def test_tiles_refuse_them_when_they_are_built(config: Any) -> None:
    for name, value in (("drift_scal", 1.0), ("t_0", "soon"), ("t_read", -1.0), ("check", 1.0)):
        chosen = config()
        setattr(chosen.noise_model, name, value)
        with pytest.raises(ConfigError, match=rf"noise_model.*{name}"):
            chosen.tile_class(2, 2, chosen)
    chosen = config()
    chosen.noise_model.g_converter.g_max = -1.0
    with pytest.raises(ConfigError, match=r"noise_model\.g_converter: .*g_max"):
        chosen.tile_class(2, 2, chosen)


@register_config_class
class Open(BaseNoiseModel):
    """Adds an attribute without annotating it, as scripts do."""

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength


@register_config_class
class Closed(BaseNoiseModel):
    """Annotates what it adds."""

    strength: float

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength


def test_own_models_may_have_attributes_of_their_own() -> None:
    assert reread(Open(2.0)) == Open(2.0)
    assert reread(Closed(2.0)) == Closed(2.0)
    with pytest.raises(ConfigError, match="apply_noise"):
        reread(Open(), apply_noise=1.0)
    with pytest.raises(ConfigError, match="strength"):
        reread(Closed(), strength=...)
    with pytest.raises(ConfigError, match="strenght"):
        reread(Closed(), strenght=1.0)
