"""Compounds whose update is a rule in Python: what the rule sees and does, in tiles and layers."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mho
from custom_compounds import (
    COLUMNS,
    ROWS,
    SEEN,
    add_line,
    assert_same,
    busy_tile,
    config,
    fields,
    look,
    nothing,
    run,
    samples,
    set_pulses,
    snapshot,
    tile,
    write_all,
)
from mho.exceptions import ConfigError, InputError, TileError
from mho.nn import AnalogLinear, AnalogLinearMapped
from mho.nn.conversion import convert_to_analog, convert_to_digital
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    IOParameters,
    OneSidedUnitCell,
    ReferenceUnitCell,
    RuleTile,
    SoftBoundsDevice,
    SoftBoundsPmaxDevice,
    UnitCellRPUConfig,
    UpdateParameters,
)
from mho.simulator.devices import rules
from reference.configs import device, perfect


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    SEEN.clear()
    yield


# --- what a rule sees -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "sizes"),
    [(1, [None] * 5), (2, [2, 2, 1]), (0, [5]), (7, [5])],
)
def test_calls_take_so_many_samples_and_the_rest(every: int, sizes: list[int | None]) -> None:
    made = tile(look, every=every)
    run(made, 5)
    counts, total = [], 0
    for n in sizes:
        total += n or 1
        counts.append(total)
    axes = [() if n is None else (n,) for n in sizes]
    expected = [((*a, COLUMNS), (*a, ROWS), c, 5) for a, c in zip(axes, counts, strict=True)]
    assert SEEN == expected
    run(made, 5)
    assert SEEN[-1][2] == 10


def test_fields() -> None:
    reference = ReferenceUnitCell([device(0.03, w_max=0.5), device(0.01)])
    made = tile(fields, device(0.002), reference, params={"a": 1, "b": True, "c": 0.5})
    run(made)
    # The step of a reference cell is the mean of its two devices.
    (found,) = SEEN
    assert found[0] == 1.0 and found[1] == pytest.approx((0.002, 0.02))
    assert found[2] == ((-1.0, 1.0), (-1.0, 0.5))
    assert found[3:] == ({"a": 1, "b": True, "c": 0.5}, ROWS, COLUMNS)


def write_to_params(t: RuleTile) -> None:
    t.p["a"] = 2.0  # type: ignore[index]


def test_bounds_are_those_of_the_weight() -> None:
    pair = OneSidedUnitCell([SoftBoundsDevice(w_max=0.8, w_min=0.0)])
    made = tile(fields, SoftBoundsPmaxDevice(), pair, device())
    run(made)
    values = SoftBoundsPmaxDevice().soft_bounds_values()
    assert SEEN[0][2][:2] == ((values["w_min"], values["w_max"]), (-0.8, 0.8))


def test_parameters_are_read_only() -> None:
    with pytest.raises(TypeError, match="item assignment"):
        run(tile(write_to_params, params={"a": 1.0}))


def test_pulses_are_exact() -> None:
    made = tile(set_pulses, device(0.001), device(0.002))
    run(made)
    first, second = torch.zeros(ROWS, COLUMNS), torch.zeros(ROWS, COLUMNS)
    first[:, 1] = 0.001 * torch.tensor([3.0, -2.0, 0.0])
    second[2] = 0.002 * torch.tensor([100.0, -1.0, 0.0, 7.0])
    second[:, :2] += 0.002 * torch.tensor([[1.0, -4.0], [2.0, 0.0], [0.0, 0.0]])
    planes = made.get_hidden_parameters()
    torch.testing.assert_close(planes["hidden_weights_0"], first, atol=1e-6, rtol=0)
    torch.testing.assert_close(planes["hidden_weights_1"], second, atol=1e-6, rtol=0)
    torch.testing.assert_close(made.tile.get_weights(), second, atol=1e-6, rtol=0)


@pytest.mark.parametrize("managed", [True, False])
def test_values_are_written_in_the_mean(managed: bool) -> None:
    update = UpdateParameters(update_management=managed, update_bl_management=managed)
    made = tile(add_line, device(0.001), device(0.004), transfer_update=update)
    repeats = 400
    for _ in range(repeats):
        made.tile.set_weights(torch.zeros(ROWS, COLUMNS))
        run(made)
        SEEN.append(made.tile.get_weights())
    mean = torch.stack(SEEN).mean(0)
    expected = torch.zeros(ROWS, COLUMNS)
    expected[:, 2] = torch.tensor([0.1, -0.05, 0.0])
    expected[1] += 0.02
    # At most 31 pulses of 0.004 with a probability of a half each.
    error = 0.004 * math.sqrt(31 / 4 / repeats)
    torch.testing.assert_close(mean, expected, atol=5 * error, rtol=0)


def read_back(t: RuleTile) -> None:
    w = t.weight(0)
    t.program(0, torch.arange(12.0).reshape(ROWS, COLUMNS) / 20)
    SEEN.extend([w, t.weight(0), t.read(0, 1), t.read(0, rows=2), t.read(0, slice(1, 3))])
    SEEN.extend([t.read(0, [3, 0]), t.read(0, rows=torch.tensor([1])), t.product(0, t.x)])
    SEEN.append(t.product(0, t.d, transposed=True))


@pytest.mark.parametrize("exact", [True, False])
def test_reads(exact: bool) -> None:
    almost = IOParameters(out_noise=0.0, inp_res=-1.0, out_res=-1.0, inp_bound=9.0)
    made = tile(read_back, transfer_forward=perfect() if exact else almost)
    run(made)
    w = torch.arange(12.0).reshape(ROWS, COLUMNS) / 20
    x, d = samples()
    expected = [torch.zeros_like(w), w, w[:, 1], w[2], w[:, 1:3].T, w[:, [3, 0]].T, w[[1]]]
    for found, right in zip(SEEN, [*expected, w @ x[0], d[0] @ w], strict=True):
        torch.testing.assert_close(found, right, atol=1e-6, rtol=1e-6)
    SEEN[2].fill_(9.0)  # a copy
    assert float(made.get_hidden_parameters()["hidden_weights_0"].max()) < 1.0


def read_noisy(t: RuleTile) -> None:
    SEEN.append(t.read(0, slice(None)))


def test_reads_have_the_noise_of_a_product() -> None:
    noisy = IOParameters(out_noise=0.1, inp_res=-1.0, out_res=-1.0)
    made = tile(read_noisy, transfer_forward=noisy)
    for _ in range(300):
        run(made)
    noise = torch.stack(SEEN)
    # Standard error of a standard deviation of n normals: std / sqrt(2 n).
    assert abs(float(noise.std()) / 0.1 - 1) < 5 / math.sqrt(2 * noise.numel())
    assert abs(float(noise.mean())) < 5 * 0.1 / math.sqrt(noise.numel())


def clipped(t: RuleTile) -> None:
    t.program(0, torch.full((ROWS, COLUMNS), 7.0))
    t.reset(0, [0, 2])


def test_programming_and_reset_are_those_of_the_device() -> None:
    made = tile(clipped, device(reset=0.25), device())
    run(made)
    found = made.get_hidden_parameters()["hidden_weights_0"]
    expected = torch.tensor([0.25, 1.0, 0.25, 1.0]).expand(ROWS, COLUMNS)
    torch.testing.assert_close(found, expected)


def draw(t: RuleTile) -> None:
    SEEN.append((t.uniform(50, 200), t.normal(100, 100), t.coin(0.3, 10000), t.coin(1.0)))


def test_draws() -> None:
    made = tile(draw)
    run(made)
    uniform, normal, coins, certain = SEEN[0]
    assert 0.0 <= float(uniform.min()) and float(uniform.max()) < 1.0
    # Five standard errors: of a mean, a deviation, a share; n = 10000.
    assert abs(float(uniform.mean()) - 0.5) < 5 * math.sqrt(1 / 12) / 100
    assert abs(float(normal.mean())) < 0.05 and abs(float(normal.std()) - 1) < 5 / math.sqrt(20000)
    assert abs(float(coins.float().mean()) - 0.3) < 5 * math.sqrt(0.21) / 100
    assert certain.shape == () and bool(certain)
    run(made)
    assert not torch.equal(SEEN[1][0], uniform) and not torch.equal(SEEN[1][1], normal)
    assert abs(float((SEEN[1][1] * normal).mean())) < 0.05


# --- weights of the tile --------------------------------------------------------------------------


def test_weights_are_the_sum() -> None:
    made = tile(write_all, device(), device(), device(), gamma_vec=[2.0, 0.0, -0.5])
    run(made)
    torch.testing.assert_close(made.tile.get_weights(), torch.full((ROWS, COLUMNS), 0.05))
    x = samples(6)[0]
    torch.testing.assert_close(made(x), x @ torch.full((COLUMNS, ROWS), 0.05))
    made.tile.set_weights(torch.full((ROWS, COLUMNS), 0.2))
    torch.testing.assert_close(made.tile.get_weights(), torch.full((ROWS, COLUMNS), 0.2))
    planes = made.get_hidden_parameters()
    assert float(planes["hidden_weights_2"].max()) == pytest.approx(-0.4)
    assert float(planes["hidden_weights_0"].abs().max()) == 0.0


def of_factors(t: RuleTile) -> Tensor:
    return t.weight(2) + t.weight(0) @ t.weight(1)


def factors(t: RuleTile) -> None:
    t.program(0, torch.full((t.D, 2), 0.3))
    t.program(1, torch.full((2, t.X), 0.5))
    t.add(2, 0, 0.1 * torch.ones(t.D))


def test_weights_are_what_a_function_returns() -> None:
    shapes = {0: ("D", 2), 1: (2, "X")}
    made = tile(factors, device(), device(), device(), shapes=shapes, weight=of_factors)
    run(made)
    third = made.get_hidden_parameters()["hidden_weights_2"]
    torch.testing.assert_close(made.tile.get_weights(), third + 0.3)
    assert made.get_hidden_parameters()["hidden_weights_0"].shape == (ROWS, 2)
    with pytest.raises(InputError, match="values: expected shape"):
        run(tile(bad_line, device(), device(), device(), shapes=shapes))


def bad_line(t: RuleTile) -> None:
    t.add(1, 0, torch.zeros(t.D))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ("shape", "weight: must return real numbers of shape"),
        ("list", "weight: must return a tensor"),
        ("finite", "weight: must return finite"),
        ("x", "weight: there are no samples"),
    ],
)
def test_bad_weights_are_refused(wrong: str, match: str) -> None:
    SEEN.append("right")
    made = tile(nothing, weight=bad_weight)
    SEEN[0] = wrong
    before = snapshot(made)
    with pytest.raises(ConfigError, match=match):
        run(made)
    assert_same(made, before)


def bad_weight(t: RuleTile) -> Any:
    w = t.weight(1)
    kinds: dict[str, Callable[[], Any]] = {
        "right": lambda: w,
        "shape": lambda: w[0],
        "list": lambda: w.tolist(),
        "finite": lambda: w / 0.0,
        "x": lambda: t.x,
    }
    return kinds[SEEN[0]]()


# --- in layers ------------------------------------------------------------------------------------


PARAMS: dict[str, bool | int | float] = {"fast_lr": 0.5, "bl": 5, "n": 1, "forget": True}


def trained(bias: bool = True) -> UnitCellRPUConfig:
    given = config(rules.ttv2, SoftBoundsDevice(dw_min=0.01), SoftBoundsDevice(dw_min=0.01))
    given.device.params = dict(PARAMS)
    given.mapping.digital_bias = bias
    return given


def step(model: nn.Module, n: int = 1) -> float:
    """Train a model a little; returns the last loss."""
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(5)
    for _ in range(n):
        x = torch.rand(8, 10, generator=generator)
        loss = (model(x) - x[:, :3]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@pytest.mark.parametrize("digital", [True, False])
def test_layers_learn(digital: bool) -> None:
    torch.manual_seed(0)
    layer = AnalogLinear(10, 3, rpu_config=trained(digital))
    first = step(layer)
    assert step(layer, 400) < 0.3 * first


@pytest.mark.slow
def test_arrays_of_tiles() -> None:
    torch.manual_seed(0)
    given = trained()
    given.mapping.max_input_size, given.mapping.max_output_size = 4, 2
    layer = AnalogLinearMapped(10, 3, rpu_config=given)
    first = step(layer)
    assert step(layer, 400) < 0.4 * first
    other = copy.deepcopy(layer)
    other.load_state_dict(layer.state_dict())
    assert step(layer, 3) == step(other, 3)
    counts = [v for n, v in layer.state_dict().items() if n.endswith("rule.count")]
    assert len(counts) == 6 and len({int(count) for count in counts}) == 1


def test_conversion_of_models() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 5), nn.Tanh(), nn.Linear(5, 3))
    # Within the bounds of the devices.
    for weight in (model[0].weight, model[2].weight):
        weight.data.mul_(0.2)
    analog = convert_to_analog(model, trained())
    x = torch.rand(6, 10)
    torch.testing.assert_close(analog(x), model(x), atol=0.1, rtol=0.1)
    step(analog, 3)
    digital = convert_to_digital(analog)
    torch.testing.assert_close(digital(x), analog(x), atol=1e-5, rtol=1e-5)


def test_noise_of_a_seed() -> None:
    made = busy_tile()
    run(made, 3)
    twin = copy.deepcopy(made)
    run(twin, 2)
    twin.load_state_dict(made.state_dict())
    kept = snapshot(made)
    results = []
    for current in (made, twin):
        with mho.same_noise(current, 5):
            run(current, 4)
        results.append(snapshot(current))
        current.load_state_dict(kept)
    assert all(torch.equal(results[1][name], value) for name, value in results[0].items())
    run(made, 4)
    assert not torch.equal(made.tile.get_weights(), results[0]["analog_tile_weights"])


def test_noise_of_a_seed_leaves_the_stream_where_it_is() -> None:
    made = busy_tile()
    run(made, 3)
    calls = made._buffers["analog_tile_calls"]
    assert calls is not None
    before = calls.data_ptr(), int(calls)
    with mho.same_noise(made, 5):
        run(made, 4)
    # Other processes may share that memory.
    assert (calls.data_ptr(), int(calls)) == before


def test_compiled_and_eager_training_are_the_same() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = nn.Sequential(AnalogLinear(10, 3, rpu_config=trained()), nn.Tanh())
    twin = copy.deepcopy(model)
    step(model, 3)
    step(torch.compile(twin, backend="aot_eager"), 3)
    for name, value in model.state_dict().items():
        assert torch.equal(twin.state_dict()[name], value), name


# --- operations on the weights --------------------------------------------------------------------


def test_what_time_does_is_done_to_each_device() -> None:
    fading = ConstantStepDevice(**{**vars(device()), "lifetime": 2.0})
    made = tile(write_all, fading, device(), gamma_vec=[1.0, 1.0])
    run(made)
    made.post_update_step()
    torch.testing.assert_close(made.tile.get_weights(), torch.full((ROWS, COLUMNS), 0.25))
    made.reset_columns(1, 2)
    expected = torch.tensor([0.25, 0.0, 0.0, 0.25]).expand(ROWS, COLUMNS)
    torch.testing.assert_close(made.tile.get_weights(), expected)
    made.reset()
    assert float(made.tile.get_weights().abs().max()) == 0.0


def test_extra_values_come_back() -> None:
    made = busy_tile()
    run(made, 3)
    extra = made.dump_extra()
    other = copy.deepcopy(made)
    run(other, 2)
    other.load_extra(extra, strict=True)
    assert other.dump_extra() == extra
    with pytest.raises(TileError, match="rule_count"):
        other.load_extra({k: v for k, v in extra.items() if k != "rule_count"}, strict=True)


@pytest.mark.parametrize("number", [COLUMNS, -1, 2**70, 1.5, "a", [[1]]])
def test_extra_counters_that_cannot_be_are_refused(number: Any) -> None:
    made = busy_tile()
    run(made)
    before = snapshot(made)
    with pytest.raises(TileError, match="rule_cycle_k"):
        made.tile.load_extra({"rule_count": [3], "rule_cycle_k": [number]})
    assert_same(made, before)


def test_pulses_are_counted() -> None:
    made = tile(set_pulses, device(0.001, count_pulses=True), device(0.002))
    run(made)
    counts = made.tile.get_pulse_counters()
    assert int(counts[1].sum()) == 3 and int(counts[0].sum()) == 2
