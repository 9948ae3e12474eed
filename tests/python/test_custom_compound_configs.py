"""Configurations of compounds whose update is a rule in Python: text, checks, what is refused."""

import copy
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from custom_compounds import (
    COLUMNS,
    ROWS,
    SEEN,
    add_line,
    assert_same,
    config,
    fields,
    look,
    nothing,
    run,
    samples,
    snapshot,
    through_file,
    tile,
    write_all,
)
from mho.exceptions import ArgumentError, ConfigError, StateError, TileError, TileModuleError
from mho.nn import AnalogLinearMapped, edit_config
from mho.simulator.configs import (
    CustomCompound,
    InferenceRPUConfig,
    PulseType,
    RuleTile,
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


def scaled(factor: Any) -> Any:
    def write(t: RuleTile) -> None:
        t.program(1, torch.full((t.D, t.X), float(factor)))

    return write


@pytest.mark.parametrize(
    ("first", "second"),
    [(0.1, 0.2), (torch.tensor(0.1), torch.tensor(0.2)), (np.float64(0.1), np.float64(0.2))],
)
def test_functions_of_one_source_are_kept_apart(first: Any, second: Any) -> None:
    """A state does not exchange a rule for one that closes over another value."""
    made = [tile(scaled(value), allow_unsaved=True) for value in (first, second)]
    states = [one.state_dict() for one in made]
    for one, state, value in zip(made, states, (first, second), strict=True):
        one.load_state_dict(state)
        run(one)
        torch.testing.assert_close(
            one.tile.get_weights(), torch.full((ROWS, COLUMNS), float(value))
        )
    twin = tile(scaled(copy.copy(first)), allow_unsaved=True)
    twin.load_state_dict(states[0])
    run(twin)
    torch.testing.assert_close(twin.tile.get_weights(), torch.full((ROWS, COLUMNS), float(first)))


def test_closures_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only one of its source is taken, with a warning; of several none."""
    log: list[int] = []
    made = tile(lambda t: log.append(t.count), allow_unsaved=True)
    run(made)
    state = made.state_dict()
    made.load_state_dict(state)  # the list has changed, it is the same one
    saved = tile(scaled(0.1), allow_unsaved=True).state_dict()
    monkeypatch.setattr(functions, "_KNOWN", {})
    present = tile(scaled(0.2), allow_unsaved=True)
    with pytest.warns(UserWarning, match="closes over other values"):
        present.load_state_dict(saved)
    run(present)
    assert float(present.tile.get_weights()[0, 0]) == pytest.approx(0.2)
    tile(scaled(0.3), allow_unsaved=True)
    with pytest.raises((ConfigError, StateError), match="unknown"):
        present.load_state_dict(saved)


def test_defaults_of_lambdas_keep_them_apart() -> None:
    made = [tile(lambda t, k=k: SEEN.append(k), allow_unsaved=True) for k in (1, 2)]  # type: ignore[misc]
    for one in made:
        one.load_state_dict(one.state_dict())
        run(one)
    assert SEEN == [1, 2]


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
    text = given.to_json()
    assert RPUConfigBase.from_json(text) == given
    before = functions.source_hash(Decay.__call__)
    with pytest.warns(UserWarning, match="source of 'Decay'"):
        RPUConfigBase.from_json(text.replace(before, before[:-2] + "00"))


def no_argument() -> None:
    """Take nothing."""


def two_arguments(t: RuleTile, other: int) -> None:
    """Take too much."""


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
        ({"rule": no_argument}, r"device\.rule: .*one argument"),
        ({"rule": two_arguments}, r"device\.rule: .*one argument"),
        ({"weight": no_argument}, r"device\.weight: .*one argument"),
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


def change_entry(params: dict[str, Any]) -> None:
    params["a"] = np.float64(2.0)


@pytest.mark.parametrize(
    "change",
    [
        change_entry,
        lambda params: params.update(a=2.0),
        lambda params: params.__ior__({"a": 2.0}),
        lambda params: (params.pop("a"), params.setdefault("a", 2.0)),
        lambda params: (params.clear(), change_entry(params)),
    ],
)
def test_params_of_a_living_tile(change: Any) -> None:
    """As all fields of living tiles they are checked at once, and act from the next update on."""
    made = tile(fields, params={"a": 1.0, "b": 0})
    twin = copy.deepcopy(made)
    params = made.rpu_config.device.params
    change(params)
    run(made)
    assert SEEN[0][3]["a"] == 2.0
    other = tile(fields, params={"a": 1.0})
    other.load_state_dict(through_file(made.state_dict()))
    assert other.rpu_config.device.params == params and type(params["a"]) is float
    assert twin.rpu_config.device.params == {"a": 1.0, "b": 0}
    made.rpu_config.device.params = {"a": 3.0}
    run(made)
    assert SEEN[1][3] == {"a": 3.0}
    before = snapshot(made)
    for bad in ("c", None, float("nan"), torch.ones(2), [1.0]):
        with pytest.raises(ConfigError, match=r"device\.params\['a'\]"):
            made.rpu_config.device.params["a"] = bad
        with pytest.raises(ConfigError, match=r"device\.params\['a'\]"):
            made.rpu_config.device.params = {"a": bad}
    with pytest.raises(TileModuleError, match=r"device\.shapes: cannot be changed"):
        made.rpu_config.device.shapes[0] = (2, 2)
    with pytest.raises(TileModuleError, match=r"device\.rule: cannot be changed"):
        made.rpu_config.device.rule = look
    assert made.rpu_config.device.params == {"a": 3.0} and not made.rpu_config.device.shapes
    assert_same(made, before)
    assert type(copy.deepcopy(made.rpu_config.device.params)) is dict


def test_params_of_several_tiles() -> None:
    """By name in a whole model, and by the configuration of an array."""
    given = config(fields, params={"a": 1.0})
    given.mapping.max_input_size = 3
    model = torch.nn.Sequential(AnalogLinearMapped(4, 3, False, given), torch.nn.Sigmoid())
    tiles = list(model[0].analog_tiles())
    assert len(tiles) == 2
    edit_config(model, "device.params", {"a": 2.0})
    assert [tile.rpu_config.device.params for tile in tiles] == 2 * [{"a": 2.0}]
    model[0].analog_module.rpu_config.device.params["a"] = 3.0
    assert [tile.rpu_config.device.params for tile in tiles] == 2 * [{"a": 3.0}]
    with pytest.raises(ConfigError, match=r"device\.params\['a'\]"):
        edit_config(model, "device.params", {"a": "b"})
    assert [tile.rpu_config.device.params for tile in tiles] == 2 * [{"a": 3.0}]


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
