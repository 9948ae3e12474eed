"""Fields that do nothing beside the values of others: a warning names them, and tells the truth."""

import copy
import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.exceptions import ConfigError
from mho.inference import (
    HermesNoiseModel,
    PCMLikeNoiseModel,
    ReRamWan2022NoiseModel,
    SinglePairConductanceConverter,
    StateIndependentNoiseModel,
)
from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator import presets
from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    ConstantStepDevice,
    DynamicTransferCompound,
    InferenceRPUConfig,
    IOParametersIRDropT,
    OneSidedUnitCell,
    QuantizedTorchInferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
    TorchInferenceRPUConfigIRDropT,
    UnitCellRPUConfig,
)
from mho.simulator.devices.cells import checks
from mho.simulator.parameters import idle
from mho.simulator.parameters.enums import (
    AnalogMVType,
    BoundManagementType,
    NoiseManagementType,
    PulseType,
    WeightClipType,
    WeightModifierType,
    WeightNoiseType,
    WeightRemapType,
)
from mho.simulator.presets import web
from mho.simulator.tiles import array, ineffective

M, B, N = WeightModifierType, BoundManagementType, NoiseManagementType
CORE, TORCH = InferenceRPUConfig, TorchInferenceRPUConfig
STEPS, QUANT = TorchInferenceRPUConfigIRDropT, QuantizedTorchInferenceRPUConfig
ON = {"pre_post.input_range.enable": True}
SEEN = {**ON, "forward.noise_management": N.NONE, "forward.bound_management": B.NONE}
FIXED_RANGE = {**ON, "pre_post.input_range.learn_input_range": False}
NOISE = {"modifier.type": M.ADD_NORMAL, "modifier.std_dev": 0.1}
BITS = {"inp_res": 1 / 14, "out_bound": 0.0, "ir_drop_segments": 4}
WIRES = {**{f"forward.{k}": v for k, v in BITS.items()}, "mapping.max_input_size": 8}
NO_WIRES = {**WIRES, "forward.ir_drop": 0.0}

# Configuration, what is set besides, the field, a value with which it does nothing.
CASES: list[tuple[Any, dict[str, Any], str, Any]] = [
    *(
        (cls, {}, f"modifier.{name}", value)
        for cls in (CORE, TORCH)
        for name, value in {
            "std_dev": 0.3,
            "res": 0.2,
            "sto_round": True,
            "dorefa_clip": 0.3,
            "pdrop": 0.5,
            "enable_during_test": True,
            "rel_to_actual_wmax": False,
            "assumed_wmax": 2.0,
            "copy_last_column": True,
            "per_batch_sample": True,
            "coeffs": [1.0],
            "g_max": 5.0,
            "pcm_zero_thres": 1.0,
            "pcm_t_inference": 60.0,
            "pcm_prob_at_reset": 0.5,
            "pcm_prob_at_gmax": 0.5,
            "pcm_prob_at_random": 0.5,
            "pcm_t0": 1.0,
        }.items()
    ),
    *(
        (cls, NOISE, f"modifier.{name}", value)
        for cls in (CORE, TORCH)
        for name, value in {
            "res": 0.2,
            "sto_round": True,
            "dorefa_clip": 0.3,
            "assumed_wmax": 2.0,
            "coeffs": [1.0],
            "g_max": 5.0,
            "pcm_zero_thres": 1.0,
            "pcm_t_inference": 60.0,
            "pcm_prob_at_reset": 0.5,
            "pcm_prob_at_gmax": 0.5,
            "pcm_prob_at_random": 0.5,
            "pcm_t0": 1.0,
        }.items()
    ),
    (CORE, {"modifier.type": M.DISCRETIZE, "modifier.res": 0.1}, "modifier.std_dev", 0.3),
    (CORE, {"modifier.type": M.DOREFA, "modifier.res": 0.1}, "modifier.std_dev", 0.3),
    (CORE, {"modifier.type": M.DISCRETIZE}, "modifier.sto_round", True),
    (TORCH, {"modifier.type": M.COPY, "modifier.pdrop": 0.2}, "modifier.std_dev", 0.3),
    (TORCH, {"modifier.type": M.DROP_CONNECT, "modifier.pdrop": 0.2}, "modifier.std_dev", 0.3),
    *(
        (cls, settings, name, value)
        for cls in (CORE, TORCH)
        for settings, name, value in (
            ({}, "clip.fixed_value", 0.1),
            ({}, "clip.sigma", 0.1),
            ({"clip.fixed_value": 0.1, "clip.type": WeightClipType.FIXED_VALUE}, "clip.sigma", 0.1),
            ({}, "clip.type", WeightClipType.FIXED_VALUE),
            ({"clip.sigma": 0.0}, "clip.type", WeightClipType.LAYER_GAUSSIAN),
            ({}, "remap.remapped_wmax", 0.5),
            ({}, "remap.max_scale_range", 2.0),
            ({}, "remap.max_scale_ref", 1.0),
            (
                {"remap.type": WeightRemapType.LAYERWISE_SYMMETRIC},
                "remap.max_scale_range",
                2.0,
            ),
            ({"remap.type": WeightRemapType.CHANNELWISE_SYMMETRIC}, "remap.max_scale_ref", 1.0),
            ({}, "mapping.out_scaling_columnwise", True),
            *(
                (settings, f"pre_post.input_range.{name}", value)
                for settings in ({}, FIXED_RANGE)
                for name, value in {
                    "decay": 0.5,
                    "input_min_percentage": 0.1,
                    "gradient_scale": 5.0,
                    "gradient_relative": False,
                    "output_min_percentage": 0.1,
                }.items()
            ),
            ({}, "pre_post.input_range.manage_output_clipping", True),
            (
                {**SEEN, **FIXED_RANGE},
                "pre_post.input_range.manage_output_clipping",
                True,
            ),
            ({}, "pre_post.input_range.learn_input_range", False),
            ({}, "pre_post.input_range.init_from_data", 3),
            (ON, "pre_post.input_range.output_min_percentage", 0.1),
            (
                {**ON, "pre_post.input_range.decay": 0.0},
                "pre_post.input_range.input_min_percentage",
                0.1,
            ),
            ({"forward.inp_res": 0.0}, "forward.inp_sto_round", True),
            ({"forward.out_res": 0.0}, "forward.out_sto_round", True),
            ({"forward.out_bound": 0.0}, "forward.out_res", 0.1),
            (
                {"forward.inp_bound": 0.0, "forward.noise_management": N.NONE},
                "forward.inp_res",
                0.1,
            ),
            ({"forward.out_noise": 0.0}, "forward.out_noise_std", 0.3),
            ({}, "forward.ir_drop_g_ratio", 10.0),
            ({"forward.noise_management": N.NONE}, "forward.nm_thres", 0.1),
            ({"forward.bound_management": B.NONE}, "forward.max_bm_factor", 2),
            ({"forward.bound_management": B.NONE}, "forward.max_bm_res", 1.0),
        )
    ),
    *(
        (CORE, {}, f"forward.{name}", value)
        for name, value in {
            "w_noise": 0.3,
            "out_nonlinearity_std": 0.3,
            "slope_calibration": 0.5,
            "v_offset_w_min": -0.5,
            "w_read_asymmetry_dtod": 0.3,
            "nm_assumed_wmax": 0.1,
            "nm_decay": 0.5,
        }.items()
    ),
    (
        CORE,
        {"forward.noise_management": N.AVERAGE_ABS_MAX},
        "forward.nm_thres",
        0.1,
    ),
    (CORE, {"forward.bound_management": B.NONE}, "forward.bm_test_negative_bound", False),
    *(
        (CORE, {}, f"update.{name}", value)
        for name, value in {
            "desired_bl": 3,
            "fixed_bl": False,
            "res": 0.1,
            "x_res_implicit": 0.1,
            "d_res_implicit": 0.1,
            "sto_round": True,
            "update_bl_management": False,
            "update_management": False,
            "um_grad_scale": 0.5,
            "exact_pulses": True,
        }.items()
    ),
    (SingleRPUConfig, {}, "update.x_res_implicit", 0.5),
    (SingleRPUConfig, {}, "update.d_res_implicit", 0.5),
    *(
        (SingleRPUConfig, {"update.pulse_type": kind}, "update.fixed_bl", False)
        for kind in (
            PulseType.STOCHASTIC_COMPRESSED,
            PulseType.STOCHASTIC,
            PulseType.MEAN_COUNT,
            PulseType.DETERMINISTIC_IMPLICIT,
        )
    ),
    (
        SingleRPUConfig,
        {"update.update_management": False, "update.update_bl_management": False},
        "update.um_grad_scale",
        0.5,
    ),
    (SingleRPUConfig, {}, "pre_post.input_range.decay", 0.5),
    *(
        (STEPS, settings, f"forward.{name}", value)
        for settings, name, value in (
            (NO_WIRES, "ir_drop_rs", 100.0),
            (NO_WIRES, "ir_drop_segments", 2),
            (NO_WIRES, "ir_drop_time_step_resolution_scale", 0.5),
            (NO_WIRES, "ir_drop_v_read", 0.5),
            (NO_WIRES, "adc_quantization", False),
            (NO_WIRES, "adc_frequency", 1.0),
            (NO_WIRES, "ir_drop_integration_sum", False),
            ({**WIRES, "forward.adc_quantization": False}, "adc_frequency", 1.0),
            (WIRES, "xdep_pcm_read_noise_scale", 5.0),
            (WIRES, "split_mode_bit_shift", 1),
            (
                {**WIRES, "forward.mv_type": AnalogMVType.BIT_WISE},
                "ir_drop_time_step_resolution_scale",
                0.5,
            ),
            (WIRES, "ir_drop_g_ratio", 10.0),
        )
    ),
    *(
        (CORE, {"forward": IOParametersIRDropT()}, f"forward.{name}", value)
        for name, value in {
            "ir_drop_rs": 100.0,
            "ir_drop_segments": 4,
            "ir_drop_v_read": 0.5,
            "adc_frequency": 1.0,
            "adc_quantization": False,
            "apply_xdep_pcm_read_noise": True,
        }.items()
    ),
    *(
        (QUANT, settings, f"pre_post.periph_quant.{name}", value)
        for settings, name, value in (
            ({}, "symmetric", False),
            ({}, "learn_quant_params", True),
            ({}, "init_learning_after", 1),
            ({"pre_post.periph_quant.n_bits": 4}, "init_learning_after", 1),
        )
    ),
]


LIVES: dict[str, list[Tensor]] = {}
"""What configurations do that several cases start from."""


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (idle, checks, array):
        monkeypatch.setattr(module, "_warned", set())
    yield


def assign(config: Any, path: str, value: Any) -> None:
    *holders, name = path.split(".")
    for holder in holders:
        config = getattr(config, holder)
    setattr(config, name, copy.deepcopy(value))


def made(cls: Any, settings: dict[str, Any]) -> Any:
    config = cls()
    for path, value in settings.items():
        assign(config, path, value)
    return config


def life(config: Any) -> list[Tensor]:
    """Outputs, gradients, weights and ranges of some steps, and of inference if there is any."""
    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = AnalogLinear(6, 4, rpu_config=config)
    torch.manual_seed(8)  # whatever was drawn for the lines of a torch tile
    layer.set_weights(torch.linspace(-0.9, 0.7, 24).reshape(4, 6), torch.linspace(-1.0, 1.0, 4))
    # In the order in which a tile that learns a range, and one that does not, list them.
    optimizer = AnalogSGD([p for p in layer.parameters() if p.numel() > 1], lr=0.1)
    found = []
    for k in range(2):
        x = torch.linspace(-4.0, 3.0, 18).reshape(3, 6).mul(k + 1.0).requires_grad_()
        y = layer(x)
        y.square().sum().backward()
        optimizer.step()
        assert x.grad is not None
        found += [y.detach(), x.grad, *layer.get_weights()]
        tile = layer.analog_module
        found += [] if tile.input_range is None else [tile.input_range.detach().clone()]
    layer.eval()
    with torch.no_grad():
        found.append(layer(torch.linspace(-1.0, 1.0, 12).reshape(2, 6)))
        if isinstance(config, InferenceRPUConfig):
            # Seeded each time: a noise of zero takes numbers too.
            torch.manual_seed(9)
            layer.program_analog_weights()
            torch.manual_seed(10)
            layer.drift_analog_weights(3600.0)
            found.append(layer(torch.linspace(-1.0, 1.0, 12).reshape(2, 6)))
    return found


@pytest.mark.parametrize(
    ("cls", "settings", "path", "value"),
    CASES,
    ids=[f"{c[0].__name__}-{c[2]}-{i}" for i, c in enumerate(CASES)],
)
def test_a_field_that_is_named_does_nothing(
    cls: Any, settings: dict[str, Any], path: str, value: Any
) -> None:
    before = made(cls, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before.create_tile(4, 6)
    after = copy.deepcopy(before)
    assign(after, path, value)
    idle._warned.clear()
    with pytest.warns(UserWarning, match=rf"no effect: (.*; )?{path} needs "):
        after.create_tile(4, 6)
    if repr(before) not in LIVES:
        LIVES[repr(before)] = life(before)
    for a, b in zip(LIVES[repr(before)], life(after), strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=0.0)


def test_every_rule_is_tried() -> None:
    tried = {path for _, _, path, _ in CASES}
    parts = {
        "WeightModifierParameter": "modifier",
        "WeightClipParameter": "clip",
        "WeightRemapParameter": "remap",
        "MappingParameter": "mapping",
        "InputRangeParameter": "pre_post.input_range",
        "PeripheryQuantizationParameter": "pre_post.periph_quant",
        "IOParameters": "forward",
        "IOParametersIRDropT": "forward",
        "UpdateParameters": "update",
    }
    for cls, rules in idle.RULES.items():
        known = {field.name for field in dataclasses.fields(cls)}
        for rule in rules:
            for name in rule.names:
                assert name in known
                assert f"{parts[cls.__name__]}.{name}" in tried


def test_said_once_and_before_anything_is_built() -> None:
    config = made(CORE, {"modifier.pdrop": 0.1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # one that is refused is said again
            with pytest.raises(UserWarning, match=r"modifier\.pdrop"):
                AnalogLinear(4, 3, rpu_config=config)
    with pytest.warns(UserWarning, match=r"modifier\.pdrop"):
        AnalogLinear(4, 3, rpu_config=config)
    AnalogLinear(4, 3, rpu_config=config)


ACTING: list[tuple[Any, dict[str, Any]]] = [
    (CORE, {}),
    (CORE, {**NOISE, "modifier.pdrop": 0.03}),
    (CORE, {"clip.type": WeightClipType.LAYER_GAUSSIAN, "clip.sigma": 2.0}),
    (CORE, {"clip.type": WeightClipType.LAYER_GAUSSIAN, "clip.fixed_value": 1.0}),
    (CORE, {**SEEN, "pre_post.input_range.manage_output_clipping": True}),
    (TORCH, {**NOISE, "modifier.per_batch_sample": True}),
    (CORE, {"forward.is_perfect": True, "forward.w_noise": 0.1}),
    (CORE, {"forward.out_bound": -1.0, "forward.out_res": -1.0}),
    (CORE, {"forward.w_noise": 0.1, "forward.w_noise_type": WeightNoiseType.ADDITIVE_CONSTANT}),
    (STEPS, WIRES),
    (SingleRPUConfig, {"update.pulse_type": PulseType.DETERMINISTIC_IMPLICIT,
                       "update.x_res_implicit": 0.1}),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "settings"), ACTING)
def test_what_acts_is_not_named(cls: Any, settings: dict[str, Any]) -> None:
    made(cls, settings).create_tile(4, 6)


def test_presets_are_silent() -> None:
    """Also what they set themselves, such as limits that noise management of a user leaves idle."""
    names = [*presets.__all__, *web.__all__]
    classes = [getattr(presets, name, None) or getattr(web, name) for name in names]
    configs = [cls() for cls in classes if hasattr(cls, "tile_class")]
    assert len(configs) > 50
    assert [c for c in configs if list(idle.idle_fields(c))] == []
    config = presets.StandardHWATrainingPreset()
    config.forward.noise_management = N.NONE
    assert list(idle.idle_fields(config)) == []


def test_learning_rates_of_torch_tiles_are_not_compensated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ineffective, "_warned", set())
    config = made(TORCH, {"mapping.weight_scaling_lr_compensation": True})
    with pytest.warns(UserWarning, match=r"no use for mapping\.weight_scaling_lr_compensation;"):
        config.create_tile(2, 3)
    made(CORE, {"mapping.weight_scaling_lr_compensation": True}).create_tile(2, 3)


def test_bias_of_a_split_layer_is_digital() -> None:
    config = made(CORE, {"mapping.max_input_size": 4, "mapping.digital_bias": False})
    with pytest.warns(UserWarning, match=r"mapping\.digital_bias: False has no effect"):
        layer = AnalogLinear(6, 2, rpu_config=config)
    assert isinstance(layer.analog_module.bias, torch.nn.Parameter)
    AnalogLinear(6, 2, bias=False, rpu_config=config)


class TestNoiseModels:
    @pytest.mark.parametrize(
        "cls",
        [
            PCMLikeNoiseModel,
            HermesNoiseModel,
            StateIndependentNoiseModel,
            ReRamWan2022NoiseModel,
        ],
    )
    def test_a_converter_has_its_own_range(self, cls: Any) -> None:
        converter = SinglePairConductanceConverter(g_max=15.0)
        with pytest.warns(UserWarning, match="g_max: 10 has no effect; the converter has 15"):
            model = cls(g_converter=converter, g_max=10.0)
        assert model == cls(g_converter=converter)
        cls(g_converter=converter, g_max=15.0)
        cls(g_max=10.0)

    @pytest.mark.parametrize("cls", [PCMLikeNoiseModel, HermesNoiseModel])
    def test_default_coefficients_have_their_own_reference(self, cls: Any) -> None:
        with pytest.warns(UserWarning, match="reference: 10 has no effect.*prog_coeff"):
            model = cls(prog_coeff_g_max_reference=10.0)
        assert model == cls()
        cls(prog_coeff=[0.1], prog_coeff_g_max_reference=10.0)


class TestCells:
    @pytest.mark.parametrize(
        "cls", [BufferedTransferCompound, ChoppedTransferCompound, DynamicTransferCompound]
    )
    def test_writes_of_no_size_are_refused(self, cls: Any) -> None:
        devices = [ConstantStepDevice(), ConstantStepDevice()]
        config = UnitCellRPUConfig(device=cls(unit_cell_devices=devices, step=0.0))
        with pytest.raises(ConfigError, match=r"^device\.step: must not be 0"):
            config.create_tile(2, 2)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"refresh_every": 1, "refresh_upper_thres": 1.5}, "refresh_upper_thres: above 1"),
            ({"refresh_upper_thres": 0.5}, "refresh_upper_thres: has no effect"),
            ({"refresh_lower_thres": 0.5}, "refresh_lower_thres: has no effect"),
        ],
    )
    def test_refreshes_that_never_happen(self, settings: dict[str, Any], message: str) -> None:
        cell = OneSidedUnitCell(unit_cell_devices=[ConstantStepDevice()], **settings)
        config = UnitCellRPUConfig(device=cell)
        with pytest.warns(UserWarning, match=rf"device\.{message}"):
            config.create_tile(2, 2)
        config.create_tile(2, 2)
