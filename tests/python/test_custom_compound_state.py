"""State and transactions of compounds whose update is a rule in Python."""

import copy
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mho
from custom_compounds import (
    COLUMNS,
    NOISY,
    ROWS,
    SEEN,
    assert_same,
    busy,
    busy_tile,
    config,
    nothing,
    run,
    samples,
    set_pulses,
    snapshot,
    through_file,
    tile,
)
from mho.exceptions import ArgumentError, ConfigError, InputError, StateError, TileError
from mho.simulator.configs import (
    RuleTile,
    SingleRPUConfig,
    UnitCellRPUConfig,
    VectorUnitCell,
)
from mho.simulator.tiles import AnalogTile
from reference.configs import device
from test_structure import ownership_faults


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


def resized_later(t: RuleTile) -> None:
    state = t.state("H", 2) if t.count == 1 else t.state("H", 2).resize_(5)
    state.fill_(float(t.count)).requires_grad_(t.count == 2)


def test_states_that_were_resized_are_as_before() -> None:
    made = tile(resized_later)
    run(made)
    before = snapshot(made)
    with pytest.raises(ConfigError, match="'H' requires gradients"):
        run(made)
    assert_same(made, before)
    assert not made.state_dict()["analog_tile_rule.states.H"].requires_grad


def test_every_entry_has_one_owner() -> None:
    made = busy_tile()
    run(made, 2)
    assert ownership_faults(made) == []


def test_default_devices_of_torch_do_not_matter() -> None:
    made = busy_tile()
    torch.manual_seed(3)
    with torch.device("meta"):
        other = AnalogTile(ROWS, COLUMNS, made.rpu_config)
    other.load_state_dict(made.state_dict())
    for current in (made, other):
        x, d = samples(3)
        with torch.device("meta"):
            current.tile.update(x, d)
            current.zero_shift(3)
    assert_same(other, snapshot(made))


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
def test_what_a_rule_may_not_do(rule: Any, match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Those who run tests in several processes have threads, which do not draw.
    monkeypatch.setattr("threading.active_count", lambda: 1)
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
        (lambda t: t.read("a", 0), ArgumentError, "device: expected an integer"),
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
        (lambda t: t.update(0, t.x, t.d, float("nan")), ArgumentError, "lr: expected a finite"),
        (lambda t: t.update(0, t.x, t.d, 1.0, -1), ArgumentError, "bl: expected"),
        (lambda t: t.program(0, torch.zeros(2, 2)), InputError, "shape"),
        (lambda t: t.reset(0, 4), ArgumentError, "cols: expected 0 to 3"),
        (lambda t: t.coin(1.5), ArgumentError, "p"),
        (lambda t: t.normal(-1), ArgumentError, "shape: expected sizes"),
        (lambda t: t.read(True, 0), ArgumentError, "device: expected an integer"),
        (lambda t: t.read(0, torch.ones(4, dtype=torch.bool)), ArgumentError, "cols: .*nonzero"),
        (lambda t: t.read(0, [True, False]), ArgumentError, "cols: .*nonzero"),
        (lambda t: t.read(0, torch.tensor([0.5, 1.0])), ArgumentError, "cols: expected numbers"),
        (lambda t: t.read(0, [0.5, 1.0]), ArgumentError, "cols: expected numbers"),
        (lambda t: t.read(0, 1.0), ArgumentError, "cols: expected numbers"),
        (lambda t: t.pulses(0, 1, torch.full((3,), 1e6)), ArgumentError, "number: .* 65535"),
        (lambda t: t.pulses(0, 1, torch.full((3,), 1e20)), ArgumentError, "number: .* 65535"),
        (lambda t: t.update(0, t.x, t.d, 1.0, 70000), ArgumentError, "bl: .* 65535"),
        (lambda t: t.update(0, t.x, t.d, 1.0, 5.0), ArgumentError, "bl: expected"),
        (lambda t: t.update(0, t.x, t.d, "a"), ArgumentError, "lr: expected a finite number"),
        (lambda t: t.update(0, t.x, t.d, torch.ones(2)), ArgumentError, "lr: expected"),
        (lambda t: t.coin(torch.ones(2)), ArgumentError, "p: expected a probability"),
        (lambda t: t.state("q", 2, init="a"), ConfigError, "'q': init"),
        (lambda t: t.state("q", 2, init=300, dtype=torch.uint8), ConfigError, "'q': init"),
        (lambda t: t.state("q", 2, init=0.5, dtype=torch.int64), ConfigError, "'q': init"),
        (lambda t: t.cycle("k", True), ConfigError, "'k'"),
        (lambda t: setattr(t, "H", torch.zeros(2)), ConfigError, r"t\.H: .* t\.state\('H'"),
        (lambda t: setattr(t, "lr", 2.0), ConfigError, r"t\.lr: cannot be set"),
        (lambda t: t.weights(0), AttributeError, "no attribute 'weights'"),
    ],
)
def test_bad_calls_name_the_argument(call: Any, error: type[Exception], match: str) -> None:
    SEEN.append(call)
    made = tile(failing_call)
    before = snapshot(made)
    with pytest.raises(error, match=match):
        run(made)
    assert_same(made, before)


def numpy_numbers(t: RuleTile) -> None:
    one = np.int64(1)
    t.add(one, np.int64(2), torch.full((t.D,), 0.1))
    t.add(1, np.arange(2), torch.full((2, t.D), 0.1))
    t.read(np.int32(0), torch.tensor(1))
    t.read(0, torch.tensor([1, 0]))
    t.state("n", np.int64(2)).add_(t.cycle("k", np.int64(3)))
    t.normal(np.int64(2))


def test_numbers_of_numpy_are_numbers() -> None:
    made = tile(numpy_numbers)
    run(made, 4)
    weights = made.tile.get_weights()
    assert bool((weights[:, :3] > 0.3).all()) and bool((weights[:, 3] == 0.0).all())


def generating(t: RuleTile) -> Iterator[int]:
    t.update(0, t.x, t.d, 1.0)
    yield 1


async def awaited(t: RuleTile) -> None:
    t.update(0, t.x, t.d, 1.0)


def returning(t: RuleTile) -> Tensor:
    return t.weight(1) + 1.0


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize("rule", [generating, awaited, returning])
def test_rules_that_return_something_are_refused(rule: Any) -> None:
    """What is returned is not used, and a generator has not even begun."""
    made = tile(rule)
    before = snapshot(made)
    with pytest.raises(ConfigError, match=r"rule: returned .*; a rule writes with"):
        run(made)
    with pytest.raises(ConfigError, match="function: returned"):
        made.run_rule(rule)
    assert_same(made, before)


def kept(t: RuleTile) -> None:
    SEEN.append(t)


def kept_by_weight(t: RuleTile) -> Tensor:
    SEEN.append(t)
    return t.weight(1)


def test_a_view_ends_with_its_call() -> None:
    made = tile(kept, weight=kept_by_weight)
    run(made)
    made.run_rule(kept)
    before = snapshot(made)
    assert len(SEEN) >= 4
    for view in SEEN:
        for call in (
            lambda t: t.update(0, torch.ones(COLUMNS), torch.ones(ROWS), 1.0),
            lambda t: t.program(1, torch.ones(ROWS, COLUMNS)),
            lambda t: t.state("H", 2),
            lambda t: t.cycle("k", 2),
            lambda t: t.uniform(2),
            lambda t: t.bounds,
        ):
            with pytest.raises(ConfigError, match="the call of the rule is over"):
                call(view)
    assert_same(made, before)


def changing_itself(t: RuleTile) -> None:
    SEEN[0]()


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.tile.update(*samples(1)),
        lambda made: made.tile.set_weights(torch.zeros(ROWS, COLUMNS)),
        lambda made: made.tile.reset_columns(0, -1),
        lambda made: made.run_rule(kept),
        lambda made: made.set_hidden_parameters(made.get_hidden_parameters()),
        lambda made: made.load_state_dict(made.state_dict()),
        lambda made: made.zero_shift(2),
    ],
)
def test_a_rule_cannot_change_its_tile_by_another_way(change: Any) -> None:
    made = tile(changing_itself)
    SEEN.append(lambda: change(made))
    before = snapshot(made)
    with pytest.raises(ConfigError, match="in a call of its own rule"):
        run(made)
    assert_same(made, before)


def drawing_weight(t: RuleTile) -> Tensor:
    return t.weight(1) + (torch.rand(t.D, t.X) if t.count else 0.0)


def test_the_function_of_the_weight_may_not_draw_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threading.active_count", lambda: 1)
    made = tile(nothing, weight=drawing_weight)
    before, generator = snapshot(made), torch.get_rng_state()
    with pytest.raises(ConfigError, match="torch's generator"):
        run(made)
    assert_same(made, before)
    assert torch.equal(torch.get_rng_state(), generator)


@contextmanager
def another_thread(work: Any) -> Iterator[None]:
    """Do something again and again in another thread."""
    done = threading.Event()

    def go_on() -> None:
        while not done.is_set():
            work()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_other_threads_may_draw() -> None:
    """Torch has one generator for all threads; what another one draws is none of the rule's."""
    made, twin, drawn = busy_tile(), busy_tile(), set()
    for _ in range(20):
        run(twin, 3)
    with another_thread(lambda: drawn.add(float(torch.rand(1, dtype=torch.float64)))):
        while not drawn:
            pass
        for _ in range(20):
            run(made, 3)
        with pytest.raises(ConfigError, match="torch's generator"):
            run(tile(drawing))
    assert_same(made, snapshot(twin))


def test_other_threads_have_no_number_twice() -> None:
    """A rule that raises does not wind back a generator from which others have drawn."""
    made, drawn = busy_tile(1), []
    with another_thread(lambda: drawn.append(float(torch.rand(1, dtype=torch.float64)))):
        for _ in range(50):
            with pytest.raises(KeyError):
                run(made, 3)
    assert len(set(drawn)) == len(drawn)


def test_threads_take_turns() -> None:
    made, twin = busy_tile(), busy_tile()
    for _ in range(30):
        run(twin, 3)
    threads = [threading.Thread(target=lambda: [run(made, 3) for _ in range(10)]) for _ in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same(made, snapshot(twin))


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
