"""Which non-ideality costs how much."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import mho
from evaluation_cases import batches, inference_config, one_layer, outputs, two_layers
from mho.evaluation import Evaluation, Metric
from mho.evaluation.ablation import Ablation, let_through, plan_ablation, remove_groups
from mho.evaluation.digital import digital
from mho.evaluation.groups import GROUPS
from mho.exceptions import ArgumentError, ConfigError
from mho.inference import PCMLikeNoiseModel, ReRamWan2022NoiseModel
from mho.simulator.configs import (
    InferenceRPUConfig,
    IOParameters,
    TorchInferenceRPUConfig,
    TorchInferenceRPUConfigIRDropT,
)
from mho.simulator.parameters.enums import (
    AnalogMVType,
    BoundManagementType,
    NoiseManagementType,
    WeightModifierType,
    WeightNoiseType,
)
from mho.simulator.presets import StandardHWATrainingPreset

CLEAN: dict[str, Any] = {
    "inp_res": -1.0,
    "out_res": -1.0,
    "out_noise": 0.0,
    "out_bound": math.inf,
    "inp_bound": math.inf,
    "noise_management": NoiseManagementType.NONE,
    "bound_management": BoundManagementType.NONE,
}
"""Products without anything, that are not marked as perfect."""


def quiet(**forward: Any) -> InferenceRPUConfig:
    """A configuration in which only what is given acts."""
    config = inference_config()
    config.forward = IOParameters(**CLEAN | forward)
    config.noise_model = PCMLikeNoiseModel(
        g_max=25.0, prog_noise_scale=0.0, read_noise_scale=0.0, drift_scale=0.0
    )
    config.drift_compensation = None
    return config


def evaluated(config: Any, **arguments: Any) -> Evaluation:
    given = {"n_programmings": 3, "times": ["1 d"], "progress": False} | arguments
    return mho.evaluate(two_layers(config), batches(), outputs, **given)


def variants(result: Evaluation) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in result.samples:
        found.setdefault(row["variant"], []).append(row["value"])
    return found


def test_variants_are_the_same_chips() -> None:
    """Before drift, those without read noise, drift or compensation are the full model."""
    groups = dict.fromkeys(("read", "drift", "compensation"))
    found = variants(evaluated(inference_config(), times=["programmed"], ablation=groups))
    for name in groups:
        assert found[f"without {name}"] == found["full"], name
    assert len(set(found["full"])) == 3


def test_groups_that_are_off_cost_nothing() -> None:
    groups = dict.fromkeys(("output_noise", "adc", "dac", "read", "ir_drop", "modifier", "lines"))
    result = evaluated(quiet(out_noise=0.05), ablation=groups)
    for row in result.ablation:
        if row["group"] == "output_noise":
            assert row["value"] != 0.0
        elif row["group"] == "interaction":
            assert abs(row["value"]) <= 1e-6
        else:
            assert row["value"] == row["low"] == row["high"] == 0.0, row
    assert {row["kind"] for row in result.ablation} == {
        "leave_one_out",
        "one_at_a_time",
        "interaction",
    }


def test_numbers_are_paired_differences() -> None:
    """Every number from the samples, with its sign and interval."""
    metric = Metric(lambda model, data: abs(outputs(model, data)), higher_is_better=False, name="m")
    result = mho.evaluate(
        two_layers(inference_config()), batches(), metric, n_programmings=3, times="1 d",
        ablation={"drift": None, "output_noise": None, "compensation": None}, progress=False,
    )  # fmt: skip
    values = {name: torch.tensor(v) for name, v in variants(result).items()}
    rows = {(row["kind"], row["group"]): row for row in result.ablation}
    cost = rows["leave_one_out", "drift"]
    expected = values["full"] - values["without drift"]  # fewer is better
    assert cost["value"] == pytest.approx(float(expected.mean()), abs=1e-7)
    half = 4.302653 * float(expected.std()) / math.sqrt(3)  # t of two degrees of freedom
    assert cost["high"] - cost["value"] == pytest.approx(half, rel=1e-4)
    alone = rows["one_at_a_time", "drift"]["value"]
    assert alone == pytest.approx(float((values["only drift"] - values["none"]).mean()), abs=1e-7)
    # Compensation is no loss of a perfect model, so it is only left out.
    assert ("one_at_a_time", "compensation") not in rows
    losses = [rows["one_at_a_time", g]["value"] for g in ("drift", "output_noise")]
    whole = float((values["full"] - values["none"]).mean())
    assert rows["interaction", "interaction"]["value"] == pytest.approx(
        whole - sum(losses), abs=1e-7
    )


def hardware_aware() -> Any:
    config = StandardHWATrainingPreset()
    config.pre_post.input_range.init_value = 0.7  # so that it clips
    return config


def everything() -> Any:
    """As many non-idealities as there are, all of them on."""
    config = inference_config()
    config.forward = IOParameters(
        inp_noise=0.02, inp_asymmetry=0.05, out_asymmetry=0.05, out_noise_std=0.2, w_noise=0.02,
        w_noise_type=WeightNoiseType.ADDITIVE_CONSTANT, ir_drop=0.5, out_nonlinearity=0.1,
        out_nonlinearity_std=0.1, slope_calibration=0.5, v_offset_std=0.05, r_series=0.01,
        w_read_asymmetry_dtod=0.05, mv_type=AnalogMVType.POS_NEG_SEPARATE, out_bound=3.0,
        nm_thres=1.0, inp_sto_round=True, out_sto_round=True,
    )  # fmt: skip
    config.modifier.type = WeightModifierType.ADD_NORMAL
    config.modifier.std_dev, config.modifier.enable_during_test = 0.1, True
    return config


CONFIGS: dict[str, Any] = {
    "default": inference_config,
    "without management": lambda: inference_config(
        inp_bound=0.5, noise_management=NoiseManagementType.NONE
    ),
    "hardware-aware": hardware_aware,
    "everything": everything,
    "torch": lambda: TorchInferenceRPUConfig(mapping=inference_config().mapping),
    "Wan2022": lambda: InferenceRPUConfig(
        noise_model=ReRamWan2022NoiseModel(), mapping=inference_config().mapping
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_without_all_groups_nothing_is_left(name: str) -> None:
    """Then outputs are those of the digital network, within rounding of eight float32 products."""
    model = two_layers(CONFIGS[name]()).eval()
    ablation = plan_ablation("both", model, False)
    assert "compensation" in ablation.groups and ablation.groups == tuple(
        group for group in GROUPS if group in ablation.groups
    )
    removed = ablation.variants()["none"]
    assert set(removed) == set(ablation.groups) - {"compensation"}
    ideal, bare = digital(model), copy.deepcopy(model)
    remove_groups(bare, ablation, removed)
    let_through(bare, ablation, removed)
    mho.inference.drift_analog_weights(bare, 86400.0)
    x = 2.0 * torch.cat([x for x, _ in batches()])  # far beyond the ranges
    with torch.no_grad():
        expected, found, full = ideal(x), bare(x), model(x)
    assert float((full - expected).norm() / expected.norm()) > 1e-2
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)


def test_present_groups_of_everything() -> None:
    model = two_layers(everything())
    groups = plan_ablation("both", model, False).groups
    assert set(groups) == set(GROUPS) - {"noise"}
    assert "noise" in plan_ablation("both", two_layers(CONFIGS["Wan2022"]()), False).groups


def output_of(config: Any, x: Tensor, groups: tuple[str, ...]) -> Tensor:
    model = one_layer(torch.eye(2), config).eval()
    ablation = Ablation(groups=groups)
    remove_groups(model, ablation, groups)
    let_through(model, ablation, groups)
    with torch.no_grad():
        return model(x)


def test_without_output_clipping_steps_are_the_same() -> None:
    """A converter of steps of a half and a bound of one, without its bound."""
    x = torch.tensor([[0.6, 3.3]])
    config = quiet(out_bound=1.0, out_res=0.25)
    assert output_of(config, x, ()).tolist() == [[0.5, 1.0]]
    assert output_of(config, x, ("output_clipping",)).tolist() == [[0.5, 3.5]]
    steps = quiet(out_bound=1.0, out_res=4.0)  # a number of steps instead of their size
    assert output_of(steps, x, ("output_clipping",)).tolist() == [[0.5, 3.5]]


def test_without_input_clipping_steps_and_scale_are_the_same() -> None:
    x = torch.tensor([[0.6, 3.3]])
    config = quiet(inp_bound=1.0, inp_res=0.25)
    assert output_of(config, x, ()).tolist() == [[0.5, 1.0]]
    assert output_of(config, x, ("input_clipping",)).tolist() == [[0.5, 3.5]]
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.init_value = 2.0  # steps of one, and a bound of two
    assert output_of(config, x, ()).tolist() == [[1.0, 2.0]]
    assert output_of(config, x, ("input_clipping",)).tolist() == [[1.0, 3.0]]


def test_constant_scales_other_than_one_keep_their_clipping() -> None:
    """Their bound cannot be moved without the scale; a note says so."""
    config = inference_config(noise_management=NoiseManagementType.CONSTANT, nm_thres=2.0)
    ablation = plan_ablation("both", two_layers(config), False)
    assert "input_clipping" not in ablation.groups
    assert any("constant scale" in note for note in ablation.notes)
    config.forward.nm_thres = 1.0
    assert "input_clipping" in plan_ablation("both", two_layers(config), False).groups


def test_groups_that_a_tile_needs_are_noted() -> None:
    """Time-stepped products are made of whole ticks of the input converter."""
    config = TorchInferenceRPUConfigIRDropT(mapping=inference_config().mapping)
    ablation = plan_ablation("both", two_layers(config), False)
    assert "dac" not in ablation.groups and "ir_drop" in ablation.groups
    assert any("dac is not left out: tile '0.analog_module'" in n for n in ablation.notes)
    assert evaluated(config, ablation="leave_one_out", n_programmings=1).ablation


@pytest.mark.filterwarnings("error")
def test_nobody_is_warned_of_what_is_taken_out() -> None:
    config = everything()
    evaluated(config, ablation=dict.fromkeys(("output_noise", "lines")), n_programmings=1)


def test_own_edits() -> None:
    """A function of the configuration, which it changes or replaces."""

    def halve(config: Any) -> None:
        config.forward.out_noise = 0.0

    def replace(config: Any) -> Any:
        new = copy.deepcopy(config)
        new.forward.out_noise = 0.0
        return new

    found = variants(
        evaluated(inference_config(), ablation={"a": halve, "b": replace, "output_noise": None})
    )
    assert found["without a"] == found["without b"] == found["without output_noise"]
    assert found["without a"] != found["full"]


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        ("all", "ablation: expected None, 'leave_one_out'"),
        (3, "ablation"),
        ({}, "is empty"),
        ({"nothing": None}, "unknown group 'nothing'; known: programming"),
        ({"adc": 3}, "'adc': .*3"),
    ],
)
def test_refused_ablations(ablation: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        evaluated(inference_config(), ablation=ablation)


def test_edits_that_a_tile_refuses() -> None:
    def broken(config: Any) -> None:
        config.forward.out_noise = "much"

    def other(config: Any) -> Any:
        return TorchInferenceRPUConfig()

    with pytest.raises(ConfigError, match=r"ablation: without mine: .*out_noise"):
        evaluated(inference_config(), ablation={"mine": broken})
    with pytest.raises(ConfigError, match="must return InferenceRPUConfig or nothing"):
        evaluated(inference_config(), ablation={"mine": other})


def test_something_beside_the_groups_is_noted() -> None:
    """The reference is another network here, which the model without groups is not."""
    other = two_layers(inference_config())
    with torch.no_grad():
        other[2].bias.add_(10.0)
    result = evaluated(inference_config(), ablation="one_at_a_time", reference=other)
    assert any("something beside the groups" in note for note in result.notes)
    result = evaluated(inference_config(), ablation="one_at_a_time")
    assert not any("something beside the groups" in note for note in result.notes)


def test_the_cost_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    evaluated(quiet(), ablation={"adc": None}, progress=True, n_programmings=2)
    told = capsys.readouterr()
    assert "4 variants of 2 programmings: 9 units" in told.out
    assert "evaluating" in told.err


def test_kept_programmings_keep_what_was_decided_then() -> None:
    model = two_layers(inference_config()).eval()
    mho.inference.program_analog_weights(model)
    result = mho.evaluate(
        model, batches(), outputs, programming="keep", n_programmings=1, times="1 h",
        ablation="leave_one_out", progress=False,
    )  # fmt: skip
    groups = {row["group"] for row in result.ablation}
    assert not groups & {"programming", "drift"} and "read" in groups
    assert any("programmed weights are kept" in note for note in result.notes)
