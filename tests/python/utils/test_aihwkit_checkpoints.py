"""Checkpoints that aihwkit has written load into the same models, which then compute the same.

The files were written by aihwkit 1.1.0, see `data/make_aihwkit_checkpoints.py`.
"""

import re
import sys
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mho.compat
from aihwkit_cases import (
    CASES,
    CELLS,
    CONTINUED,
    build,
    continued,
    go_on,
    output,
    train,
)
from aihwkit_files import FOLDER, MHO, ROUNDING, content, file, loaded, tiles
from mho.exceptions import AihwkitException, ArgumentError, ConfigError, InputError, StateError
from mho.nn import AnalogLinear, AnalogSequential
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.utils.legacy import (
    load_aihwkit_optimizer_state,
    load_aihwkit_state_dict,
    load_checkpoint,
    read_rpu_configs,
)
from mho.utils.legacy.configs import differences
from peer import peer_module

SILENT = [name for name in CASES if name not in ("transfer_tile", "one_sided_reads")]
NOISY = ("running_scale",)


@pytest.mark.parametrize("name", SILENT)
def test_everything_is_as_it_was(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Of a case with such settings, whichever test makes the first tile with them.
        warnings.filterwarnings("ignore", "settings have no effect")
        model, found = loaded(name)
    if name not in NOISY:
        torch.testing.assert_close(
            output(model, found["x"]), found["y"], atol=ROUNDING, rtol=ROUNDING
        )
    assert tiles(model).keys() == found["hidden"].keys() == found["rates"].keys()
    for tile_name, tile in tiles(model).items():
        mine, theirs = tile.get_hidden_parameters(), found["hidden"][tile_name]
        assert list(mine) == list(theirs)
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
        assert tile.tile.get_learning_rate() == found["rates"][tile_name]
    for layer_name, (weight, bias) in found["weights"].items():
        layer: Any = model.get_submodule(layer_name)
        own_weight, own_bias = layer.get_weights()
        torch.testing.assert_close(own_weight, weight.view_as(own_weight), atol=0.0, rtol=2**-22)
        assert (bias is None) == (own_bias is None)
        assert bias is None or torch.equal(own_bias, bias.cpu())


def entries(name: str) -> dict[str, Tensor]:
    """Return the state of the only tile of a loaded model."""
    model, _ = loaded(name)
    return {key.removeprefix("analog_module."): v for key, v in model.state_dict().items()}


def saved_extra(name: str) -> dict[str, list[float]]:
    """Return the plain values that aihwkit has saved of the only tile."""
    (state,) = [v for k, v in content(name)["model"].items() if k.endswith("analog_tile_state")]
    prefix = "rpu.rpu_device."
    extra: dict[str, list[float]] = state["state_extra"]
    return {key.removeprefix(prefix): value for key, value in extra.items()}


@pytest.mark.parametrize("name", [*CELLS, "mixed_precision"])
def test_counters_of_cells(name: str) -> None:
    state, extra = entries(name), saved_extra(name)
    cell = {
        k.removeprefix("analog_tile_cell."): v.tolist() for k, v in state.items() if "cell" in k
    }
    steps = "current_update_index" if name == "mixed_precision" else "current_update_idx"
    assert cell.pop(steps) == extra[steps] == [12]
    for key in ("current_slice_indices", "current_device_idx", "current_row_index"):
        assert cell.pop(key, None) in (None, extra.get(key))
    if name in ("chopped", "dynamic"):
        assert cell.pop("transfer_counter") == extra["transfer_counter"]
        assert cell.pop("input_error_averages") == extra["m_x"] + extra["m_d"]
        assert cell.pop("count_lr") == extra["tmp_count_lr"]
        for key in ("in_chopper", "out_chopper"):
            assert cell.pop(key) == [1 - 2 * flag for flag in extra[key]]
        assert cell.pop("in_chopper_switched", None) in (None, extra.get("in_chopper_switched"))
    lines = {f"transfer_forward_{k}": f"transfer_fb_pass.fwd.{k}" for k in LINES}
    for key, theirs in lines.items():
        values = cell.pop(key, None)
        assert values is None or values == pytest.approx(extra[theirs], rel=1e-6)
    assert not cell


LINES = ("out_noise_values", "v_offset", "out_nonlinearity", "out_nonlinearity_factor")


def test_choppers_were_flipped() -> None:
    assert -1 in entries("chopped")["analog_tile_cell.in_chopper"]
    assert -1 in entries("dynamic")["analog_tile_cell.in_chopper"]


def test_drift_of_devices() -> None:
    state, extra = entries("drifting_device"), saved_extra("drifting_device")
    for name in ("current_t", "t", "w0", "previous_weights"):
        values = state[f"analog_tile_drift.{name}"]
        assert values.flatten().tolist() == pytest.approx(extra[f"wdrifter.{name}"])
    previous = state["analog_tile_drift.previous_weights"]
    assert torch.equal(previous, state["analog_tile_weights"])
    assert bool((state["analog_tile_drift.w0"] != previous).all())


def test_running_scale() -> None:
    scale = entries("running_scale")["analog_tile_forward.running_abs_max"]
    assert scale.item() == pytest.approx(
        saved_extra("running_scale")["rpu.fb_pass.aux_nm_value"][0]
    )
    assert scale.item() > 0.0


def test_lines_of_transposed_products() -> None:
    state, extra = entries("lines"), saved_extra("lines")
    for name in LINES:
        values = state[f"analog_tile_backward.{name}"].tolist()
        assert values == pytest.approx(extra[f"rpu.fb_pass.bwd.{name}"], rel=1e-6)


def test_array_of_transfer_tile() -> None:
    with pytest.warns(UserWarning, match="counters of samples, lines and flips"):
        model, found = loaded("transfer_tile")
    torch.testing.assert_close(output(model, found["x"]), found["y"], atol=ROUNDING, rtol=ROUNDING)
    (tile,) = tiles(model).values()
    for name, theirs in found["hidden"]["analog_module"].items():
        mine: Tensor = tile.get_hidden_parameters()[name]
        assert torch.equal(mine, theirs), name


def test_lines_of_refresh_are_named() -> None:
    with pytest.warns(UserWarning, match="refresh_forward_out_noise_values"):
        model, found = loaded("one_sided_reads")
    torch.testing.assert_close(output(model, found["x"]), found["y"], atol=ROUNDING, rtol=ROUNDING)


def test_stream_of_old_versions_of_torch() -> None:
    model, found = loaded("stream", "soft_bounds")
    torch.testing.assert_close(output(model, found["x"]), found["y"], atol=ROUNDING, rtol=ROUNDING)


def test_drifted_state_lacks_what_was_programmed() -> None:
    with pytest.warns(UserWarning, match="programmed weights"):
        model, found = loaded("drifted", "inference")
    torch.testing.assert_close(output(model, found["x"]), found["y"], atol=ROUNDING, rtol=ROUNDING)
    assert all(tile.alpha != 1.0 for tile in tiles(model).values())  # type: ignore[operator]


@pytest.mark.parametrize(
    ("noise_model", "time"), [("", 1e6), ("_hermes", 1e6), ("_cmo", 1e6), ("_wan", 86400.0)]
)
def test_whole_model_goes_on_drifting(noise_model: str, time: float) -> None:
    """The files are of models without noise of reads: drift follows from what was programmed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Of a case with such settings, whichever test makes the first tile with them.
        warnings.filterwarnings("ignore", "settings have no effect")
        model, found = loaded(f"whole_model{noise_model}", "inference")
    torch.testing.assert_close(output(model, found["x"]), found["y"], atol=ROUNDING, rtol=ROUNDING)
    before = [tile.tile.get_weights() for tile in tiles(model).values()]
    model.drift_analog_weights(time)  # type: ignore[operator]
    after = [tile.tile.get_weights() for tile in tiles(model).values()]
    if noise_model != "_wan":  # without noise it does not drift
        assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))
    y = output(model, found["x"])
    # The power law of drift rounds as well.
    torch.testing.assert_close(y, found["later"], atol=4 * ROUNDING, rtol=4 * ROUNDING)
    for tile in tiles(model).values():
        assert {"programmed_weights", "reference_combined_weights"} <= tile.state_dict().keys()


@pytest.mark.parametrize("name", ["inference", "dynamic", "soft_bounds", "mapped"])
def test_loaded_models_train_on(name: str) -> None:
    model, found = loaded(name)
    before = [tile.tile.get_weights() for tile in tiles(model).values()]
    train(MHO, model.train(), found["x"])
    after = [tile.tile.get_weights() for tile in tiles(model).values()]
    assert all(not torch.equal(*pair) for pair in zip(before, after, strict=True))


def continued_from(name: str, *, with_counters: bool = True) -> tuple[dict[str, Tensor], Any]:
    """Return the hidden parameters after going on from a file, and the file."""
    saved = content(f"continued_{name}")
    if not with_counters:
        saved["model"]["analog_module.analog_tile_state"]["state_extra"] = None
    layer, _ = continued(MHO, name)
    load_aihwkit_state_dict(layer, saved["model"])
    go_on(layer, AnalogSGD(layer.parameters(), lr=0.1), saved["inputs"], saved["errors"])
    (tile,) = tiles(layer).values()
    return dict(tile.get_hidden_parameters()), saved


@pytest.mark.parametrize("name", CONTINUED)
def test_training_of_cells_goes_on_as_in_aihwkit(name: str) -> None:
    """Without anything random both make the same steps, so all that counts was taken over."""
    mine, saved = continued_from(name)
    state = saved["model"]["analog_module.analog_tile_state"]
    before = dict(
        zip(
            state["analog_tile_hidden_parameter_names"],
            state["analog_tile_hidden_parameters"],
            strict=True,
        )
    )
    moved = {key for key, value in saved["later"].items() if not torch.equal(value, before[key])}
    assert any("weight" in key for key in moved)
    for key, theirs in saved["later"].items():
        # Sums of the gradients of mixed precision may round otherwise.
        torch.testing.assert_close(mine[key], theirs, atol=2.0**-22, rtol=2.0**-22)


@pytest.mark.parametrize("name", ["transfer", "buffered", "chopped", "dynamic"])
def test_counters_matter(name: str) -> None:
    with pytest.warns(UserWarning, match="current_slice_indices"):
        mine, saved = continued_from(name, with_counters=False)
    assert any(not torch.allclose(mine[key], value) for key, value in saved["later"].items())


# --- configurations -------------------------------------------------------------------------------


def test_configurations_by_tile() -> None:
    found = read_rpu_configs(content("mapped")["model"])
    assert list(found) == [f"analog_module.array.{i}.{j}" for i in range(2) for j in range(2)]
    assert all(config.mapping.max_input_size == 2 for config in found.values())  # type: ignore[attr-defined]


def test_configuration_alone() -> None:
    config = load_checkpoint(file("configuration"))
    assert isinstance(config, InferenceRPUConfig)
    assert config.forward.out_noise == 0.125 and config.forward.out_bound == float("inf")
    assert config.noise_model == MHO.ReRamWan2022NoiseModel(noise_scale=2.0)
    assert config.drift_compensation is None
    assert config.modifier.type is MHO.WeightModifierType.ADD_NORMAL
    AnalogLinear(3, 2, rpu_config=config)


def test_unknown_field_is_named() -> None:
    with pytest.raises(ConfigError, match=r"forward.out_noize: IOParameters has no field"):
        load_checkpoint(file("misspelt"))


def test_presets_are_the_same() -> None:
    found = content("presets")
    assert len(found) == 58
    for name, config in found.items():
        left = {text.split(":")[0] for text in differences(getattr(MHO, name)(), config)}
        # Version 1.1 has no such field, and does not scale; the noise model has another default.
        assert left <= {"device.scale_fast_lr"} or name == "ReRamCMONoiseModel", (name, left)


def test_rate_of_the_fast_device_is_not_scaled_in_old_versions() -> None:
    (config,) = read_rpu_configs(content("transfer")["model"]).values()
    assert config.device.scale_fast_lr is False  # type: ignore[attr-defined]


def test_saved_configuration_is_taken_over_and_reported() -> None:
    model, _ = build(MHO, "inference")
    for tile in tiles(model).values():
        tile.rpu_config.forward.out_noise = 0.5
    report = load_aihwkit_state_dict(model, content("inference")["model"])
    text = "forward.out_noise: 0.5 in the model, 0.06 in the file"
    assert set(report.config_differences) == set(tiles(model))
    assert all(found == [text] for found in report.config_differences.values())
    assert f"{text} (2 tiles from 0.analog_module on)" in str(report)
    assert report.versions == ["1.1.0"]
    assert set(report.tile_classes.values()) == {"InferenceTile"}
    assert all(tile.rpu_config.forward.out_noise == 0.06 for tile in tiles(model).values())


def test_own_configuration_can_be_kept() -> None:
    model, _ = build(MHO, "inference")
    for tile in tiles(model).values():
        tile.rpu_config.forward.out_noise = 0.5
    load_aihwkit_state_dict(model, content("inference")["model"], load_rpu_config=False)
    assert all(tile.rpu_config.forward.out_noise == 0.5 for tile in tiles(model).values())


def test_torch_state_loads_into_tiles_of_the_core() -> None:
    saved = content("torch_inference")
    (config,) = read_rpu_configs(saved["model"]).values()
    config.forward.out_noise_std = 0.0  # type: ignore[attr-defined]
    core = InferenceRPUConfig()
    core.mapping, core.pre_post = config.mapping, config.pre_post  # type: ignore[attr-defined]
    core.forward.is_perfect = True
    model = AnalogLinear(3, 2, rpu_config=core)
    load_aihwkit_state_dict(
        model, saved["model"], load_rpu_config=False, strict_rpu_config_check=False
    )
    found = saved["found"]
    torch.testing.assert_close(model.eval()(found["x"]), found["y"], atol=ROUNDING, rtol=ROUNDING)


# --- refusals, after which nothing has changed ----------------------------------------------------


def refused(
    model: nn.Module, source: Any, error: type[Exception], match: str, **options: Any
) -> None:
    """Check that loading raises and changes nothing."""
    before = {k: v.clone() for k, v in model.state_dict().items()}
    generator = torch.get_rng_state()
    with pytest.raises(error, match=match):
        load_aihwkit_state_dict(model, source, **options)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(generator, torch.get_rng_state())


def test_other_sizes() -> None:
    config = SingleRPUConfig(device=ConstantStepDevice())
    model = AnalogLinear(4, 2, False, rpu_config=config)
    source = content("ConstantStepDevice")["model"]
    refused(model, source, InputError, r"analog_module: analog_tile_weights: the file has \(2, 3\)")


def test_other_layers() -> None:
    source = content("inference")["model"]
    model, _ = build(MHO, "soft_bounds")
    refused(model, source, StateError, "has the tiles 2.analog_module, which the model lacks")
    refused(nn.Linear(3, 2), source, ArgumentError, "no analog tiles")
    with pytest.raises(ArgumentError, match="expected a module"):
        load_aihwkit_state_dict(3, source)  # type: ignore[arg-type]


def test_layer_that_occurs_twice() -> None:
    saved = content("ConstantStepDevice")
    source = {f"{at}.{k}": v for at in (0, 1) for k, v in saved["model"].items()}
    layer, _ = build(MHO, "ConstantStepDevice")
    load_aihwkit_state_dict(nn.Sequential(layer, layer), source)
    torch.testing.assert_close(layer.eval()(saved["found"]["x"]), saved["found"]["y"])
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    group = {"lr": 0.7, "params": [0]}
    states = {"state": {}, "param_groups": [group]}, nn.Sequential(layer, layer), source
    load_aihwkit_optimizer_state(optimizer, *states)
    assert optimizer.param_groups[0]["lr"] == 0.7


def test_state_of_a_wrapped_model() -> None:
    source = {f"module.{k}": v for k, v in content("soft_bounds")["model"].items()}
    refused(build(MHO, "soft_bounds")[0], source, InputError, "inside of .*DataParallel")


def test_digital_state() -> None:
    model, _ = build(MHO, "soft_bounds")
    refused(model, nn.Linear(3, 2).state_dict(), StateError, "no states of analog tiles")
    refused(model, model.state_dict(), StateError, "was written by mho")


def test_other_kinds_of_tiles() -> None:
    inference = InferenceRPUConfig()
    model: nn.Module = AnalogSequential(AnalogLinear(3, 2, rpu_config=inference))
    refused(
        model, content("soft_bounds")["model"], StateError, "cannot load the state of AnalogTile"
    )
    model = AnalogLinear(3, 2, rpu_config=TorchInferenceRPUConfig())
    refused(model, content("floating_point")["model"], StateError, "cannot load the state of Float")
    model = AnalogLinear(3, 2, rpu_config=FloatingPointRPUConfig())
    refused(
        model,
        content("soft_bounds")["model"].__class__(
            (k.removeprefix("0."), v) for k, v in content("soft_bounds")["model"].items()
        ),
        StateError,
        "cannot load",
    )


def test_second_tile_is_damaged() -> None:
    source = content("mixed")
    model, _ = build(MHO, "mixed")
    state = source["model"]["1.analog_module.analog_tile_state"]
    state["analog_tile_weights"][0, 0] = float("nan")
    refused(model, source["model"], AihwkitException, "1.analog_module")


@pytest.mark.parametrize("plain", [False, True])
def test_last_digital_layer_does_not_fit(plain: bool) -> None:
    source = content("mixed")["model"]
    model, _ = build(MHO, "mixed")
    if plain:
        model = nn.Sequential(*model.children())
    source["2.weight"] = torch.zeros(5, 5)
    refused(model, source, RuntimeError, "size mismatch")
    with pytest.raises(StateError, match="load_aihwkit_state_dict"):
        model.load_state_dict(source)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"analog_tile_hidden_parameter_names": ["max_bound"]}, "planes for the names"),
        ({"analog_tile_hidden_parameter_names": 3}, "list of texts"),
        ({"analog_tile_weights": "none"}, "expected a floating-point tensor"),
        ({"state_extra": {"rpu.fwd_alpha": [2.0]}}, "rpu.fwd_alpha: is"),
        ({"state_extra": {"rpu.flicker_probs": [2.0]}}, "mho has no place for"),
        ({"state_extra": {"rpu.fb_pass.fwd.out_nonlinearity_factor": [2.0, 1.0]}}, "1 values"),
        ({"state_extra": [1]}, "expected a dictionary"),
        ({"state_extra": {"rpu.x": "text"}}, "no list of numbers"),
        ({"state_extra": {"rpu.x": b"bytes"}}, "no list of numbers"),
        ({"state_extra": {"rpu.x": [2**70]}}, "no list of numbers"),
        ({"state_extra": {3: [1.0]}}, "expected names of values, got 3"),
        ({"analog_tile_hidden_parameter_names": torch.zeros(2)}, "list of texts"),
        ({"analog_tile_weights": torch.zeros(2, 3, device="meta")}, "on the meta device"),
        ({"analog_tile_weights": torch.zeros(2, 3).to_sparse()}, "expected a dense tensor"),
        ({"aihwkit_version": torch.zeros(2)}, "aihwkit_version: expected text, got"),
        ({"analog_tile_class": "MyTile"}, "MyTile"),
        ({"rpu_config": 3}, "no configuration"),
    ],
)
def test_damaged_states(change: dict[str, Any], match: str) -> None:
    source = content("ConstantStepDevice")["model"]
    source["analog_module.analog_tile_state"] |= change
    refused(build(MHO, "ConstantStepDevice")[0], source, AihwkitException, match)


def test_entries_of_torch_that_are_none() -> None:
    model, _ = build(MHO, "convolutions")
    source = content("convolutions")["model"]
    refused(model, {**source, "0.1.bias": (1.0,)}, StateError, "0.1.bias.*expected torch.Tensor")
    del source["0.1.bias"]
    refused(model, source, StateError, "Missing key")


def test_hidden_parameters_of_another_device() -> None:
    source = content("ConstantStepDevice")["model"]
    names = source["analog_module.analog_tile_state"]["analog_tile_hidden_parameter_names"]
    names[0] = "slope_up"
    model, _ = build(MHO, "ConstantStepDevice")
    refused(model, source, StateError, r"no \['slope_up'\] for this one, and the file no \['max_b")


def test_state_inside_of_a_dictionary() -> None:
    model, _ = build(MHO, "mixed")
    text = r"take one, such as load_checkpoint\(file\)\['model_state_dict'\]"
    refused(model, file("with_sgd"), StateError, text)


def test_state_before_tiles_were_modules() -> None:
    source = {"analog_tile_state_0": {}, "analog_ctx": torch.zeros(())}
    refused(build(MHO, "ideal")[0], source, StateError, "before 0.8; load it there")


def test_names_need_not_match_on_demand() -> None:
    source = content("mixed")["model"]
    model, _ = build(MHO, "mixed")
    del source["2.bias"], source["1.analog_module.analog_tile_state"]
    source["other.weight"] = torch.zeros(2)
    refused(model, source, StateError, "lacks 1.analog_module")
    report = load_aihwkit_state_dict(model, source, strict=False)
    assert {"2.bias", "1.analog_module.analog_tile_config"} <= set(report.missing_keys)
    assert report.unexpected_keys == ["other.weight"]
    assert "unexpected: other.weight" in str(report)


def test_states_without_plain_values_are_incomplete() -> None:
    """Versions before them did not save counters and signs of cells."""
    source = content("chopped")["model"]
    del source["analog_module.analog_tile_state"]["state_extra"]
    model, _ = build(MHO, "chopped")
    with pytest.warns(UserWarning, match="has not saved all of the state.*in_chopper"):
        load_aihwkit_state_dict(model, source)


def test_random_numbers_stay() -> None:
    model, _ = build(MHO, "soft_bounds")
    before = model.state_dict()
    kept = {k: v.clone() for k, v in before.items() if k.endswith(("seed", "calls"))}
    load_aihwkit_state_dict(model, content("soft_bounds")["model"])
    after = model.state_dict()
    assert len(kept) == 2 and all(torch.equal(after[key], value) for key, value in kept.items())


# --- where aihwkit is installed -------------------------------------------------------------------


def test_live_objects_of_aihwkit() -> None:
    peer_module("aihwkit.nn")
    source = torch.load(file("inference"), weights_only=False)
    assert type(source["model"]["0.analog_module.analog_tile_state"]["rpu_config"]).__module__ == (
        "aihwkit.simulator.configs.configs"
    )
    model, _ = build(MHO, "inference")
    load_aihwkit_state_dict(model, source["model"])
    y = output(model.eval(), source["found"]["x"])
    torch.testing.assert_close(y, source["found"]["y"], atol=ROUNDING, rtol=ROUNDING)


def test_objects_of_the_compatible_package() -> None:
    """Reading a file by `torch.load` makes objects of mho with the attributes of aihwkit."""
    if any(name.partition(".")[0] == "aihwkit" for name in sys.modules):
        pytest.skip("aihwkit is imported")
    mho.compat.install()
    try:
        source = torch.load(file("transfer"), weights_only=False)
    finally:
        mho.compat.uninstall()
    (config,) = read_rpu_configs(source["model"]).values()
    assert config.device.scale_fast_lr is False  # type: ignore[attr-defined]
    model, _ = build(MHO, "transfer")
    load_aihwkit_state_dict(model, source["model"])
    y = output(model.eval(), source["found"]["x"])
    torch.testing.assert_close(y, source["found"]["y"], atol=ROUNDING, rtol=ROUNDING)


def test_files_are_those_of_the_script() -> None:
    names = {path.name.removesuffix(".pt.gz") for path in FOLDER.glob("*.gz")}
    script = (FOLDER.parent / "make_aihwkit_checkpoints.py").read_text()
    others = set(re.findall(r"@other\ndef (\w+)", script)) | {f"continued_{n}" for n in CONTINUED}
    assert names == set(CASES) | others
