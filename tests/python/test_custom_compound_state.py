"""State, transactions and configurations of compounds whose update is a rule in Python."""

import copy
import pickle
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import mho
from custom_compounds import (
    COLUMNS,
    NOISY,
    ROWS,
    SEEN,
    add_line,
    assert_same,
    busy,
    busy_tile,
    config,
    fields,
    look,
    nothing,
    run,
    samples,
    set_pulses,
    snapshot,
    through_file,
    tile,
    write_all,
)
from mho.exceptions import ArgumentError, ConfigError, InputError, StateError, TileError
from mho.simulator.configs import (
    CustomCompound,
    InferenceRPUConfig,
    PulseType,
    RuleTile,
    SingleRPUConfig,
    UnitCellRPUConfig,
    UpdateParameters,
    VectorUnitCell,
)
from mho.simulator.devices import rules
from mho.simulator.parameters import functions
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.tiles import AnalogTile, FloatingPointTile, InferenceTile
from reference.configs import device


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    SEEN.clear()
    yield


# --- transactions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("fails", [1, 3, 9])
def test_a_rule_that_raises_changes_nothing(fails: int, late: bool) -> None:
    made = busy_tile(fails, late)
    if fails > 5:
        run(made, 4)
    before, generator = snapshot(made), torch.get_rng_state()
    with pytest.raises(KeyError, match="rule"):
        run(made, 6)
    assert_same(made, before)
    assert torch.equal(torch.get_rng_state(), generator)
    twin = busy_tile(late=late)
    if fails > 5:
        run(twin, 4)
    made.rpu_config.device.params["fails"] = 0
    run(made, 6)
    run(twin, 6)
    same = {name: value for name, value in snapshot(twin).items() if "config" not in name}
    assert all(torch.equal(made.state_dict()[name], value) for name, value in same.items())


def test_bad_samples_change_nothing() -> None:
    made = busy_tile()
    before = snapshot(made)
    x, d = samples(3)
    x[2, 1] = float("nan")
    with pytest.raises(ArgumentError, match="finite"):
        made.tile.update(x, d)
    with pytest.raises(InputError, match="samples"):
        made.tile.update(x[:2], d)
    assert_same(made, before)


def test_a_learning_rate_of_zero_does_nothing() -> None:
    made = busy_tile(1)
    made.tile.set_learning_rate(0.0)
    before = snapshot(made)
    run(made, 3)
    assert_same(made, before)


def interrupted(t: RuleTile) -> None:
    t.update(0, t.x, t.d, 1.0)
    raise KeyboardInterrupt


def test_interruption_changes_nothing() -> None:
    made = tile(interrupted)
    before = snapshot(made)
    with pytest.raises(KeyboardInterrupt):
        run(made)
    assert_same(made, before)


def seeding(t: RuleTile) -> None:
    torch.manual_seed(1)


def drawing(t: RuleTile) -> None:
    t.update(0, torch.rand_like(t.x), t.d, 1.0)


def gradients(t: RuleTile) -> None:
    t.state("H", 2).requires_grad_()


def not_finite(t: RuleTile) -> None:
    t.state("H", 2).fill_(float("inf"))


def resized(t: RuleTile) -> None:
    if t.count == t.B:
        t.state("H", 2).resize_(5)


def other_shape(t: RuleTile) -> None:
    t.state("H", t.count)


def other_type(t: RuleTile) -> None:
    t.state("H", 2, dtype=torch.float32 if t.count < 3 else torch.int64)


def other_cycle(t: RuleTile) -> None:
    t.cycle("k", t.count)


def bad_name(t: RuleTile) -> None:
    t.state("a.b", 2)


def bad_size(t: RuleTile) -> None:
    t.state("a", 0)


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        (seeding, "torch's generator"),
        (drawing, "torch's generator"),
        (gradients, "'H' requires gradients"),
        (not_finite, "'H' has NaN or infinity"),
        (resized, "'H' was resized"),
        (other_shape, "'H' has shape"),
        (other_type, "'H' has shape"),
        (other_cycle, "'k' has 1 values"),
        (bad_name, "identifier"),
        (bad_size, "positive"),
    ],
)
def test_what_a_rule_may_not_do(rule: Any, match: str) -> None:
    made = tile(rule)
    before, generator = snapshot(made), torch.get_rng_state()
    with pytest.raises(ConfigError, match=match):
        run(made, 4)
    assert_same(made, before)
    assert torch.equal(torch.get_rng_state(), generator)


def failing_call(t: RuleTile) -> None:
    SEEN[0](t)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda t: t.read(2, 0), ArgumentError, "device: expected 0 to 1"),
        (lambda t: t.read(0, 4), ArgumentError, "cols: expected 0 to 3"),
        (lambda t: t.read(0, rows=3), ArgumentError, "rows: expected 0 to 2"),
        (lambda t: t.read(0), ArgumentError, "give one of them"),
        (lambda t: t.read(0, 1, rows=1), ArgumentError, "give one of them"),
        (lambda t: t.read(0, "a"), ArgumentError, "cols: expected numbers"),
        (lambda t: t.pulses(0, 1, torch.tensor([0.5, 0, 0])), ArgumentError, "whole"),
        (lambda t: t.pulses(0, 1, torch.zeros(4)), InputError, "number: expected shape"),
        (lambda t: t.add(0, 1, [1, 2, 3]), InputError, "values: expected a tensor"),
        (lambda t: t.add(0, 1, torch.zeros(3) / 0.0), ArgumentError, "values: .*finite"),
        (lambda t: t.update(0, t.d, t.d, 1.0), InputError, "x: expected shape"),
        (lambda t: t.update(0, t.x, t.d, float("nan")), ArgumentError, "lr: must be finite"),
        (lambda t: t.update(0, t.x, t.d, 1.0, -1), ArgumentError, "bl: expected"),
        (lambda t: t.program(0, torch.zeros(2, 2)), InputError, "shape"),
        (lambda t: t.reset(0, 4), ArgumentError, "cols: expected 0 to 3"),
        (lambda t: t.coin(1.5), ArgumentError, "p"),
        (lambda t: t.normal(-1), ArgumentError, "shape: expected sizes"),
    ],
)
def test_bad_calls_name_the_argument(call: Any, error: type[Exception], match: str) -> None:
    SEEN.append(call)
    made = tile(failing_call)
    before = snapshot(made)
    with pytest.raises(error, match=match):
        run(made)
    assert_same(made, before)


# --- state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["state", "copy", "pickle"])
def test_copies_continue_with_the_same_bits(way: str) -> None:
    made = busy_tile()
    run(made, 5)
    made.post_update_step()
    if way == "copy":
        other = copy.deepcopy(made)
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(made))
    else:
        torch.manual_seed(77)
        other = AnalogTile(ROWS, COLUMNS, made.rpu_config)
        run(other, 2)
        other.load_state_dict(through_file(made.state_dict()))
    assert_same(other, snapshot(made))
    torch.rand(3)
    for current in (made, other):
        run(current, 7)
        current.post_update_step()
    assert_same(other, snapshot(made))
    x = samples(9)[0]
    assert torch.equal(made(x), other(x))


def test_thread_counts_do_not_matter() -> None:
    found = []
    present = mho.get_num_threads()
    try:
        for threads in (1, 2):
            mho.set_num_threads(threads)
            torch.manual_seed(3)
            made = AnalogTile(70, 90, config(busy, NOISY, NOISY, params={"fails": 0, "late": 0}))
            generator = torch.Generator().manual_seed(1)
            x = torch.randn(40, 90, generator=generator)
            made.tile.update(x, torch.randn(40, 70, generator=generator))
            found.append(snapshot(made))
    finally:
        mho.set_num_threads(present)
    assert all(torch.equal(found[0][name], value) for name, value in found[1].items())


def test_names_in_the_state() -> None:
    made = busy_tile()
    run(made)
    names = {name for name in made.state_dict() if "rule" in name}
    assert names == {
        "analog_tile_rule.count",
        "analog_tile_rule.layout",
        "analog_tile_rule.states.H",
        "analog_tile_rule.states.c",
        "analog_tile_rule.cycles.k",
    }
    planes = made.get_hidden_parameters()
    assert {"max_bound_0", "hidden_weights_1", "rule_H", "rule_c"} <= set(planes)
    assert not any("seed" in name or "calls" in name for name in made.state_dict() if "." in name)


def test_setting_weights_forgets_what_the_rule_had() -> None:
    made = busy_tile()
    run(made, 3)
    made.set_weights(torch.zeros(ROWS, COLUMNS))
    assert "rule_H" not in made.get_hidden_parameters()
    assert int(made.state_dict()["analog_tile_rule.count"]) == 0


def test_hidden_parameters_can_be_set() -> None:
    made = busy_tile()
    run(made, 3)
    planes = made.get_hidden_parameters()
    planes["rule_H"] = torch.full((ROWS, COLUMNS), 0.25)
    planes["max_bound_1"] = torch.full((ROWS, COLUMNS), 0.125)
    planes["hidden_weights_1"] = torch.full((ROWS, COLUMNS), 0.5)
    made.set_hidden_parameters(planes)
    found = made.get_hidden_parameters()
    assert torch.equal(found["rule_H"], planes["rule_H"])
    assert torch.equal(found["hidden_weights_1"], planes["max_bound_1"])
    assert torch.equal(made.tile.get_weights(), planes["max_bound_1"])
    before = snapshot(made)
    found["rule_H"] = found["rule_H"] / 0.0
    found["max_bound_0"] = found["max_bound_0"] * 2
    with pytest.raises(ArgumentError, match=r"rule_H.*finite"):
        made.set_hidden_parameters(found)
    found["rule_H"] = planes["rule_H"]
    found["min_bound_1"] = found["max_bound_1"] + 1.0
    with pytest.raises(ArgumentError, match="bound"):
        made.set_hidden_parameters(found)
    assert_same(made, before)
    with pytest.raises(TileError, match="hidden parameters: expected"):
        made.set_hidden_parameters({"rule_H": planes["rule_H"]})


def test_steps_of_another_size_are_part_of_the_state() -> None:
    made = tile(set_pulses, device(0.001), device(0.002))
    planes = made.get_hidden_parameters()
    for name in ("dwmin_up_1", "dwmin_down_1"):
        planes[name] = torch.full((ROWS, COLUMNS), 0.004)
    with pytest.warns(UserWarning, match="dw_min"):
        made.set_hidden_parameters(planes)
    other = tile(set_pulses, device(0.001), device(0.002))
    other.load_state_dict(through_file(made.state_dict()))
    for current in (made, other):
        run(current)
    assert float(made.tile.get_weights().max()) == pytest.approx(0.4)
    assert_same(other, snapshot(made))


@pytest.mark.parametrize("entry", ["states.H", "cycles.k", "count", "layout"])
def test_states_that_lack_an_entry_are_refused(entry: str) -> None:
    made = busy_tile()
    run(made, 3)
    state = through_file(made.state_dict())
    del state[f"analog_tile_rule.{entry}"]
    before = snapshot(made)
    with pytest.raises(RuntimeError, match=entry):
        made.load_state_dict(state)
    assert_same(made, before)


@pytest.mark.parametrize(
    ("entry", "value", "match"),
    [
        ("rule.states.H", torch.zeros(2, 2), "shape"),
        ("rule.states.H", torch.full((ROWS, COLUMNS), float("nan")), "finite"),
        ("rule.states.c", torch.zeros(2), "int64"),
        ("rule.cycles.k", torch.tensor([4]), "expected 0 to 3"),
        ("rule.count", torch.tensor([-1]), "expected 0"),
        ("rule.layout", torch.zeros(3, dtype=torch.uint8), "damaged"),
        ("devices.0.analog_tile_weights", torch.full((ROWS, COLUMNS), 9.0), "outside"),
        ("weights", torch.zeros(ROWS, COLUMNS), "not the sum"),
        ("devices.1.analog_tile_hidden.max_bound", torch.zeros(2), "shape"),
    ],
)
def test_damaged_states_are_refused(entry: str, value: Tensor, match: str) -> None:
    made = busy_tile()
    run(made, 3)
    state = through_file(made.state_dict())
    assert f"analog_tile_{entry}" in state
    state[f"analog_tile_{entry}"] = value
    before = snapshot(made)
    with pytest.raises((StateError, InputError), match=match):
        made.load_state_dict(state)
    assert_same(made, before)


def test_states_of_other_cells_are_refused() -> None:
    made, plain = busy_tile(), AnalogTile(ROWS, COLUMNS, SingleRPUConfig(device=device()))
    vector = UnitCellRPUConfig(device=VectorUnitCell(unit_cell_devices=[device()]))
    for other in (plain, AnalogTile(ROWS, COLUMNS, vector)):
        with pytest.raises((ConfigError, TileError)):
            made.load_state_dict(other.state_dict())
        with pytest.raises((ConfigError, TileError), match="rule"):
            other.load_state_dict(made.state_dict())
    three = tile(busy, NOISY, NOISY, NOISY, params={"fails": 0, "late": 0})
    with pytest.raises((ConfigError, TileError), match="devices"):
        made.load_state_dict(three.state_dict())


# --- the rule in a configuration ------------------------------------------------------------------


def test_text_names_the_rule() -> None:
    given = config(rules.ttv1, params={"fast_lr": 1.0, "period": 1})
    text = given.to_json()
    assert "mho.simulator.devices.rules.tiki_taka:ttv1" in text
    AnalogTile(ROWS, COLUMNS, given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert RPUConfigBase.from_json(text) == given
    assert "rule=ttv1" in str(given)


def test_rules_that_are_not_known_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tile(look)
    state = made.state_dict()
    monkeypatch.setattr(functions, "_KNOWN", {})
    with pytest.raises(ConfigError, match=r"custom_compounds:look' is unknown.*register"):
        made.load_state_dict(state)
    functions.register_function(look)
    made.load_state_dict(state)


def page(source: str) -> Any:
    """Return the rule of a module of its own with a source."""
    module = types.ModuleType("page_with_a_rule")
    sys.modules[module.__name__] = module
    exec(compile(source, "page", "exec"), module.__dict__)
    return module.rule  # type: ignore[attr-defined]


@pytest.mark.parametrize("changed", ["rule", "helper"])
def test_another_source_warns(changed: str) -> None:
    source = "def helper(t):\n    return {}\ndef rule(t):\n    return helper(t) + {}\n"
    made = tile(page(source.format(1, 1)))
    state = through_file(made.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tile(page(source.format(1, 1))).load_state_dict(state)
    other = tile(page(source.format(1, 2) if changed == "rule" else source.format(2, 1)))
    with pytest.warns(UserWarning, match="source of 'page_with_a_rule:rule'"):
        other.load_state_dict(state)


def test_functions_without_a_name_are_refused() -> None:
    def local(t: RuleTile) -> None:
        t.update(0, t.x, t.d, 1.0)

    for rule in (lambda t: None, local):
        with pytest.raises(ConfigError, match=r"device\.rule: .*allow_unsaved"):
            tile(rule)
        made = tile(rule, allow_unsaved=True)
        run(made)
        other = tile(rule, allow_unsaved=True)
        other.load_state_dict(made.state_dict())
        assert_same(other, snapshot(made))


@register_config_class
@dataclass
class Decay:
    """Rule with numbers of its own."""

    factor: float = 0.5

    def __call__(self, t: RuleTile) -> None:
        t.program(1, t.weight(1) * self.factor)


def test_objects_can_be_rules() -> None:
    made = tile(Decay(0.25))
    made.tile.set_weights(torch.full((ROWS, COLUMNS), 0.4))
    run(made)
    torch.testing.assert_close(made.tile.get_weights(), torch.full((ROWS, COLUMNS), 0.1))
    given = made.rpu_config
    assert RPUConfigBase.from_json(given.to_json()) == given


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"rule": None}, r"device\.rule: is missing"),
        ({"rule": 5}, r"device\.rule: expected"),
        ({"rule": print}, r"device\.rule: expected a function"),
        ({"every": -1}, r"device\.every"),
        ({"unit_cell_devices": []}, r"device\.unit_cell_devices"),
        ({"unit_cell_devices": [device(dw_min=0.0)]}, "step|change by one pulse"),
        ({"gamma_vec": [1.0]}, r"device\.gamma_vec: has 1 values for 2"),
        ({"gamma_vec": [1.0, 0.0]}, r"device\.gamma_vec: the last"),
        ({"shapes": {1: ("D", 2)}}, r"device\.shapes\[1\]"),
        ({"shapes": {0: ("D", "Y")}}, r"device\.shapes\[0\]"),
        ({"shapes": {0: ("D", 0)}}, r"device\.shapes\[0\]"),
        ({"shapes": {0: ("D", 2)}, "gamma_vec": [1.0, 1.0]}, r"device\.shapes\[0\]"),
        ({"params": {"a": "b"}}, r"device\.params"),
        ({"transfer_update": UpdateParameters(pulse_type=PulseType.NONE)}, "transfer_update"),
    ],
)
def test_bad_fields_are_refused(fields: dict[str, Any], match: str) -> None:
    given = config(nothing)
    for name, value in fields.items():
        setattr(given.device, name, value)
    with pytest.raises(ConfigError, match=match):
        AnalogTile(ROWS, COLUMNS, given)


def test_where_a_rule_cannot_be() -> None:
    given = config(nothing)
    for kind in (PulseType.NONE, PulseType.NONE_WITH_DEVICE):
        given.update.pulse_type = kind
        with pytest.raises(ConfigError, match="pulse_type"):
            AnalogTile(ROWS, COLUMNS, given)
    given = config(nothing)
    given.runtime.backend = "wgpu"
    with pytest.raises(ConfigError, match="wgpu"):
        AnalogTile(ROWS, COLUMNS, given)
    made = tile(nothing)
    with pytest.raises(ConfigError, match="wgpu"):
        made.to_backend("wgpu")
    with pytest.raises(ConfigError, match="rule"):
        FloatingPointTile(ROWS, COLUMNS, given)
    inference = InferenceRPUConfig()
    inference.device = given.device
    with pytest.raises(ConfigError, match="rule"):
        InferenceTile(ROWS, COLUMNS, inference)
    with pytest.raises(ConfigError, match="cell"):
        tile(nothing, CustomCompound(unit_cell_devices=[device()], rule=nothing), device())
    plain = AnalogTile(ROWS, COLUMNS, UnitCellRPUConfig(device=VectorUnitCell([device()])))
    with pytest.raises(ConfigError, match="rule"):
        plain.replace_with(config(nothing))
    with pytest.raises((ConfigError, TileError), match="rule"):
        made.replace_with(plain.rpu_config)


def test_another_rule_and_other_numbers() -> None:
    made = tile(nothing, params={"a": 1.0})
    made.tile.set_weights(torch.full((ROWS, COLUMNS), 0.4))
    new = copy.deepcopy(made.rpu_config)
    new.device.rule, new.device.params, new.device.gamma_vec = fields, {"a": 2.0}, [1.0, 0.5]
    made.replace_with(new)
    run(made)
    assert SEEN[0][3] == {"a": 2.0}
    torch.testing.assert_close(made.tile.get_weights(), torch.full((ROWS, COLUMNS), 0.2))


def test_another_length_of_writes() -> None:
    made = tile(add_line, device(0.001), device(0.001))
    new = copy.deepcopy(made.rpu_config)
    new.device.transfer_update.desired_bl = 5
    for expected in (0.031, 0.005):
        made.tile.set_weights(torch.zeros(ROWS, COLUMNS))
        run(made)
        # The first value is beyond what 31 pulses, or 5, can write.
        assert float(made.tile.get_weights()[0, 2]) == pytest.approx(expected)
        made.replace_with(new)


def in_place(t: RuleTile) -> None:
    t.x.mul_(2.0)
    t.d.zero_()


@pytest.mark.parametrize("every", [0, 1, 3])
def test_samples_belong_to_whoever_trains(every: int) -> None:
    x, d = samples(4)
    before = x.clone(), d.clone()
    tile(in_place, every=every).tile.update(x, d)
    assert torch.equal(x, before[0]) and torch.equal(d, before[1])


def test_drift_is_part_of_the_state() -> None:
    drifting = device()
    drifting.drift.nu = 0.1
    made = tile(write_all, drifting, device(), gamma_vec=[1.0, 1.0])
    run(made)
    made.drift_weights(10.0)
    other = tile(write_all, drifting, device(), gamma_vec=[1.0, 1.0])
    other.load_state_dict(through_file(made.state_dict()))
    for current in (made, other):
        current.drift_weights(1000.0)
    assert_same(other, snapshot(made))
    assert float(made.tile.get_weights().max()) < 0.29


def count_up(t: RuleTile) -> None:
    t.state("counted", 1).add_(1)
    t.program(1, torch.full((t.D, t.X), 0.3))
    if t.p["fails"]:
        raise KeyError("rule")


def test_functions_can_act_without_samples() -> None:
    made = tile(nothing, params={"fails": 0})
    made.run_rule(count_up)
    assert float(made.get_hidden_parameters()["rule_counted"]) == 1.0
    torch.testing.assert_close(made.tile.get_weights(), torch.full((ROWS, COLUMNS), 0.3))
    made.rpu_config.device.params["fails"] = 1
    before = snapshot(made)
    with pytest.raises(KeyError):
        made.run_rule(count_up)
    with pytest.raises(ConfigError, match="no samples"):
        made.run_rule(look)
    with pytest.raises(ArgumentError, match="function: expected"):
        made.run_rule(5)
    assert_same(made, before)
