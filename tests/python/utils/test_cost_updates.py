"""Pulses of updates: the rule of the trains, what devices have counted, and what they cost."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import _global_optimizer_pre_hooks

from mho.exceptions import AihwkitException, ArgumentError, InputError
from mho.nn import AnalogConv2d, AnalogLinear, AnalogSequential
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    DigitalRankUpdateRPUConfig,
    InferenceRPUConfig,
    PulseType,
    SingleRPUConfig,
    UnitCellRPUConfig,
    UpdateParameters,
)
from mho.simulator.configs.compounds import MixedPrecisionCompound, TransferCompound
from mho.simulator.tiles import AnalogTile
from mho.utils.analog_info import analog_summary, cost
from mho.utils.hardware_cost import (
    HardwareTable,
    UpdateCounts,
    counts_of_probabilities,
    counts_of_vectors,
    record_updates,
    update_cost,
)
from mho.utils.hardware_cost.updates import pending_record, probabilities

TABLE = HardwareTable.load("hermes_pcm_14nm").replace(
    update={
        "slot": "5 ns",
        "slot_energy": "1 pJ",
        "line": "0.1 pJ",
        "voltage": "1 V",
        "conductance": "5 uS",
        "width": "5 ns",
    }
)

# Rates, largest input and error, slots, factors of errors and inputs, mean of the largest count;
# for steps of 0.001 and at most 31 slots.
GOLDEN = [
    ({}, 0.001, 1.0, 0.5, 1, 1.414214, 0.707107, 0.5),
    ({}, 0.005, 1.0, 0.5, 3, 1.825742, 0.912871, 2.5),
    ({}, 0.02, 0.8, 0.5, 8, 2.0, 1.25, 8.0),
    ({}, 0.1, 1.0, 0.5, 31, 3.225806, 1.0, 31.0),
    ({"um_grad_scale": 0.5}, 0.01, 1.0, 0.5, 3, 3.651484, 0.912871, 2.73861),
    ({"update_bl_management": False}, 0.01, 1.0, 0.5, 31, 0.803219, 0.401610, 5.0),
    ({"update_bl_management": False, "update_management": False},
     0.01, 1.0, 0.5, 31, 0.567962, 0.567962, 5.0),
    ({"update_bl_management": False, "update_management": False, "fixed_bl": False},
     0.0405, 1.0, 0.5, 41, 1.0, 1.0, 20.5),
    ({"update_bl_management": False, "fixed_bl": False},
     0.0405, 1.0, 0.5, 41, 1.414214, 0.707107, 20.5),
]  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_probabilities(case: Any) -> None:
    fields, rate, x, d, slots, on_d, on_x, mean = case
    update = UpdateParameters(**fields)
    p, q, length = probabilities(torch.tensor([[x]]), torch.tensor([[d]]), rate, 1e-3, update)
    assert float(length) == slots
    assert float(p) == pytest.approx(on_x * x, abs=2e-6)
    assert float(q) == pytest.approx(on_d * d, abs=2e-6)
    found = counts_of_vectors(torch.tensor([[x]]), torch.tensor([[d]]), rate, 1e-3, update)
    assert found is not None and found.pulses == pytest.approx(mean, abs=1e-5)


def spreads(p: Tensor, q: Tensor, slots: Tensor) -> tuple[float, float, float]:
    """Return standard deviations of coincidences, of pulses on lines, and of half-selected ones.

    In a slot a lines of one side and b of the other fire, independent sums of Bernoulli numbers;
    coincidences are a b, half-selected devices a D + b X - 2 a b.
    """
    p, q = (v.double().clamp(0.0, 1.0) for v in (p, q))
    a, b = p.sum(1), q.sum(1)
    va, vb = (p * (1 - p)).sum(1), (q * (1 - q)).sum(1)
    a2, b2 = va + a**2, vb + b**2
    d, x = q.shape[1], p.shape[1]
    half = d * a + x * b - 2 * a * b
    half2 = (
        d**2 * a2 + x**2 * b2 + 4 * a2 * b2 + 2 * d * x * a * b - 4 * d * a2 * b - 4 * x * a * b2
    )
    variances = (a2 * b2 - (a * b) ** 2, va + vb, half2 - half**2)
    first, second, third = (float((slots * v).sum().clamp(min=0.0).sqrt()) for v in variances)
    return first, second, third


def test_expectations_against_counted_pulses() -> None:
    """The largest line of each side fires in every slot, so the row and the column that cross
    there tell all pulses of the lines of the other side. Five standard deviations."""
    torch.manual_seed(1)
    rows, columns, samples = 7, 9, 40
    device = ConstantStepDevice(count_pulses=True)
    update, step, rate = UpdateParameters(), device.dw_min, 0.05
    tile = AnalogTile(rows, columns, SingleRPUConfig(device=device, update=update))
    tile.tile.set_learning_rate(rate)
    x, d = torch.rand(samples, columns) * 2 - 1, torch.rand(samples, rows) * 2 - 1
    # As many coincidences at the largest crosspoint as there are slots.
    d *= (update.desired_bl * step / rate / x.abs().amax(1) / d.abs().amax(1))[:, None]
    pulses = lines = half = 0.0
    for one, other in zip(x, d, strict=True):
        before = tile.get_pulse_counters().sum(0)
        tile.update(one[None], other[None])
        new = tile.get_pulse_counters().sum(0) - before
        on_x, on_d = new[other.abs().argmax()], new[:, one.abs().argmax()]
        assert on_x.max() == on_d.max() == update.desired_bl
        pulses += int(new.sum())
        lines += int(on_x.sum() + on_d.sum())
        half += int(on_x.sum()) * rows + int(on_d.sum()) * columns - 2 * int(new.sum())
    expected = counts_of_vectors(x, d, rate, step, update)
    assert expected is not None and expected.slots == samples * update.desired_bl
    found = (pulses, lines, half)
    wanted = (expected.pulses, expected.line_pulses, expected.half_selected)
    for own, mean, std in zip(
        found, wanted, spreads(*probabilities(x, d, rate, step, update)), strict=True
    ):
        assert abs(own - mean) < 5.0 * std
    counted = expected.counted(int(pulses))
    assert counted.is_counted and counted.pulses == pulses
    change = counted.half_selected - expected.half_selected
    assert change == pytest.approx(2 * (expected.pulses - pulses))


@pytest.mark.parametrize("kind", [PulseType.MEAN_COUNT, PulseType.DETERMINISTIC_IMPLICIT])
def test_trains_without_chance_are_exact(kind: PulseType) -> None:
    torch.manual_seed(2)
    device = ConstantStepDevice(count_pulses=True)
    update = UpdateParameters(pulse_type=kind)
    tile = AnalogTile(6, 8, SingleRPUConfig(device=device, update=update))
    tile.tile.set_learning_rate(0.02)
    x, d = torch.randn(20, 8), torch.randn(20, 6)
    tile.update(x, d)
    found = counts_of_vectors(x, d, 0.02, device.dw_min, update)
    # Halves are rounded in another precision in the core.
    total = int(tile.get_pulse_counters().sum())
    assert found is not None and abs(found.pulses - total) <= 2 and total > 100


def test_half_selected_by_the_other_formula() -> None:
    """By means of the probabilities, which is the same for any of them."""
    p, q = torch.rand(5, dtype=torch.float64), torch.rand(4, dtype=torch.float64)
    found = counts_of_probabilities(p, q, 31)
    mean_p, mean_q = float(p.mean()), float(q.mean())
    wanted = 20 * 31 * (mean_p * (1 - mean_q) + mean_q * (1 - mean_p))
    assert found.half_selected == pytest.approx(wanted)


def test_updates_without_pulses() -> None:
    x, d = torch.ones(1, 2), torch.ones(1, 3)
    for kind in (PulseType.NONE, PulseType.NONE_WITH_DEVICE):
        assert counts_of_vectors(x, d, 0.1, 1e-3, UpdateParameters(pulse_type=kind)) is None
    nothing = counts_of_vectors(torch.zeros(2, 2), torch.ones(2, 3), 0.1, 1e-3, UpdateParameters())
    assert nothing == UpdateCounts(2, 0.0, 0.0, 0.0, 0.0)


def pulsed(**fields: Any) -> SingleRPUConfig:
    config = SingleRPUConfig(device=ConstantStepDevice(**fields))
    config.forward.is_perfect = config.backward.is_perfect = True
    config.mapping.weight_scaling_omega = 0.4
    config.mapping.digital_bias = False
    return config


def trained(config: Any) -> Iterator[tuple[nn.Module, Any]]:
    """Yield a model and its optimizer before each of some steps."""
    torch.manual_seed(3)
    model = AnalogSequential(
        AnalogConv2d(1, 3, 3, rpu_config=config), nn.Flatten(), nn.Tanh(),
        AnalogLinear(48, 4, rpu_config=config),
    )  # fmt: skip
    optimizer = AnalogSGD(model.parameters(), lr=0.2)
    optimizer.regroup_param_groups(model)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(5, 1, 6, 6)).square().mean().backward()
        yield model, optimizer


def test_record_of_a_training() -> None:
    """Counted pulses are those of the devices; expected ones are near, with bias and scales."""
    expected: dict[str, list[UpdateCounts]] = {}
    variances: dict[str, float] = {}
    steps = trained(pulsed(count_pulses=True))
    model, optimizer = next(steps)
    tiles = {"0.analog_module": model[0].analog_module, "3.analog_module": model[3].analog_module}  # type: ignore[index]
    with record_updates(model) as record:
        for _ in range(3):
            for name, counts in pending_record(model).tiles.items():
                expected.setdefault(name, []).append(counts)
                tile: Any = tiles[name]
                for pair in tile.analog_ctx.pairs():
                    rows = pair.with_rows()
                    x = nn.functional.pad(rows.x.flatten(0, -2), (0, 1), value=float(rows.bias))
                    d = rows.d.flatten(0, -2) / tile.get_mapping_scales()
                    raw = 0.2 * tile.mapping_lr_scale
                    rule = probabilities(x, d, raw, 1e-3, tile.rpu_config.update)
                    variances[name] = variances.get(name, 0.0) + spreads(*rule)[0] ** 2
            optimizer.step()
            next(steps)
    assert record.tiles.keys() == tiles.keys()
    for name, tile in tiles.items():
        counts = record.tiles[name]
        total = int(tile.get_pulse_counters().sum())
        assert counts.is_counted and counts.pulses == total > 0
        assert counts.samples == 3 * 5 * (16 if name.startswith("0") else 1)
        mean = sum(c.pulses for c in expected[name])
        assert abs(total - mean) < 5.0 * variances[name] ** 0.5
        assert counts.line_pulses == pytest.approx(sum(c.line_pulses for c in expected[name]))


def test_record_without_counters_has_expected_pulses() -> None:
    steps = trained(pulsed())
    model, optimizer = next(steps)
    wanted, hooks = pending_record(model).tiles, list(_global_optimizer_pre_hooks)
    with record_updates(model) as record:
        optimizer.step()
    assert record.tiles == wanted
    assert not any(counts.is_counted for counts in wanted.values())
    assert list(_global_optimizer_pre_hooks) == hooks


def test_record_refuses_what_is_no_model() -> None:
    with pytest.raises(ArgumentError, match="model"), record_updates(3):  # type: ignore[arg-type]
        pass


def test_cost_of_pulses() -> None:
    counts = UpdateCounts(2, 100.0, 40.0, 300.0, 60.0)
    found = update_cost(counts, TABLE)
    assert found.energy is not None and found.latency is not None
    pulse = 1.0**2 * 5e-6 * 5e-9
    wanted = 100 * pulse + 40 * 0.1e-12 + 300 * pulse / 4 + 60 * 1e-12
    assert found.energy.value == pytest.approx(wanted)
    assert found.latency.value == pytest.approx(60 * 5e-9)
    nothing = update_cost(counts, HardwareTable.load("hermes_pcm_14nm"))
    assert nothing.energy is None and nothing.latency is None


def test_training_of_pulsed_tiles() -> None:
    """Forward, backward and the update that waits; twice the samples cost twice as much."""
    model, optimizer = next(trained(pulsed()))
    waiting = pending_record(model).tiles
    report = cost(model, torch.zeros(5, 1, 6, 6), TABLE, training=True)
    found = report.training
    assert found is not None and found.forward is not None and found.update is not None
    # Two arrays, one of which has 16 products of 10 inputs and 3 outputs for each sample.
    used = 5 * 16 * 10 * 3 + 5 * 49 * 4
    assert found.forward.low == pytest.approx(13.4375e-9 * used / 256**2)
    assert found.backward == found.forward
    prices = [update_cost(counts, TABLE).energy for counts in waiting.values()]
    assert found.update.value == pytest.approx(sum(p.value for p in prices if p))
    assert found.latency_update is not None and report.latency is not None
    assert found.latency_update.value == pytest.approx(
        5e-9 * sum(c.slots for c in waiting.values())
    )
    assert found.latency is not None
    assert found.latency.value == pytest.approx(
        2 * report.latency.value + found.latency_update.value
    )
    assert found.energy is not None and found.energy.value > found.update.value
    assert "training step: forward" in str(report)
    twice = cost(model, torch.zeros(10, 1, 6, 6), TABLE, training=True).training
    assert twice is not None and twice.energy is not None
    assert twice.energy.value == pytest.approx(2 * found.energy.value)
    with record_updates(model) as record:
        optimizer.step()
    again = cost(model, torch.zeros(5, 1, 6, 6), TABLE, training=record).training
    assert again is not None and again.update == found.update


def test_tiles_of_a_layer_are_updated_at_once() -> None:
    config = pulsed()
    config.mapping.max_input_size, config.mapping.digital_bias = 4, True
    torch.manual_seed(6)
    layer = AnalogLinear(7, 4, rpu_config=config)
    AnalogSGD(layer.parameters(), lr=0.02)
    layer(torch.randn(5, 7)).square().mean().backward()
    slots = [counts.slots for counts in pending_record(layer).tiles.values()]
    assert len(slots) == 2 and slots[0] != slots[1]
    found = cost(layer, torch.zeros(5, 7), TABLE, training=True).training
    assert found is not None and found.latency_update is not None
    assert found.latency_update.value == pytest.approx(5e-9 * max(slots))


def test_layers_that_did_not_run_are_not_trained() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = (AnalogLinear(4, 3, rpu_config=pulsed()) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)  # type: ignore[no-any-return]

    model = Half()
    model(torch.rand(2, 4)).sum().backward()
    found = cost(model, torch.zeros(2, 4), TABLE, training=True).training
    assert found is not None and found.update is not None and found.latency is not None


def test_training_without_what_it_needs_is_unknown_and_says_so() -> None:
    model, _ = next(trained(pulsed()))
    x = torch.zeros(5, 1, 6, 6)
    found = cost(model, x, training=True).training
    assert found is not None and found.update is None and found.energy is None
    assert any("update.pulse" in note for note in found.notes)
    model.zero_grad()
    for tile in model.analog_tiles():  # type: ignore[operator]
        tile.analog_ctx.clear_pairs()
    found = cost(model, x, TABLE, training=True).training
    assert found is not None and found.update is None
    assert any("loss.backward()" in note for note in found.notes)
    assert "update unknown" in str(cost(model, x, TABLE, training=True))


def test_training_of_inference_tiles_is_digital() -> None:
    """Gradients of inputs and of weights: two MACs for each weight and vector."""
    layer = AnalogLinear(7, 4, bias=False, rpu_config=InferenceRPUConfig())
    found = cost(layer, torch.zeros(3, 7), TABLE, training=True).training
    assert found is not None and found.backward is not None and found.update is not None
    assert found.backward.value == found.update.value == 0.0
    assert found.digital.value == pytest.approx(2 * 3 * 28 * 1.5e-12)


def test_training_of_cells() -> None:
    """A transfer is a read with one line; mixed precision collects outer products digitally."""
    slow = [ConstantStepDevice(), ConstantStepDevice()]
    cell = TransferCompound(slow, transfer_every=2.0, units_in_mbatch=False, n_reads_per_transfer=1)
    layer = AnalogLinear(7, 4, bias=False, rpu_config=UnitCellRPUConfig(device=cell))
    found = analog_summary(layer, (6, 7), hardware=TABLE, training=True).cost
    assert found is not None and found.training is not None
    # 3 reads of a column of 4 weights for 6 vectors.
    assert found.training.transfers.low == pytest.approx(3 * 13.4375e-9 * 4 / 256**2)
    assert any("transfers" in note for note in found.training.notes)
    config = DigitalRankUpdateRPUConfig(device=MixedPrecisionCompound(device=ConstantStepDevice()))
    layer = AnalogLinear(7, 4, bias=False, rpu_config=config)
    found = analog_summary(layer, (6, 7), hardware=TABLE, training=True).cost
    assert found is not None and found.training is not None
    assert found.training.digital.value == pytest.approx(6 * 28 * 1.5e-12)


def test_transposed_products_swap_converters() -> None:
    """Outputs drive, inputs are read: on a design of single converters the two differ."""
    config = SingleRPUConfig()
    config.mapping.max_input_size = config.mapping.max_output_size = 0
    layer = AnalogLinear(128, 8, bias=False, rpu_config=config)
    table = HardwareTable.load("isaac_ce_32nm")
    report = cost(layer, torch.zeros(1, 128), table, training=True)
    found = report.training
    assert found is not None and found.forward is not None and found.backward is not None
    passes = 7
    adc, dac = 1.5625e-12 * passes, 0.390625e-12 * passes
    sample = 0.977e-15 * passes
    wanted = (128 - 64) * adc + (64 - 128) * dac + (128 - 64) * sample
    assert found.backward.value - found.forward.value == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": torch.ones(3)}, "x, d: expected"),
        ({"x": torch.ones(3, 2)}, "numbers of samples differ"),
        ({"d": torch.ones(1, 0)}, "d: expected a vector or a matrix"),
        ({"x": 3}, "x: expected a dense tensor"),
        ({"rate": -1.0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"granularity": -1.0}, "granularity"),
        ({"update": None}, "update"),
    ],
)
def test_bad_vectors(arguments: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "x": torch.ones(1, 2), "d": torch.ones(1, 3), "rate": 0.1, "granularity": 1e-3,
        "update": UpdateParameters(),
    }  # fmt: skip
    with pytest.raises(AihwkitException, match=message):
        counts_of_vectors(**{**given, **arguments})


def test_bad_probabilities_and_tables() -> None:
    with pytest.raises(InputError, match="numbers of samples differ"):
        counts_of_probabilities(torch.ones(2, 3), torch.ones(3, 3), 1)
    with pytest.raises(ArgumentError, match="table"):
        update_cost(UpdateCounts(1, 1.0, 1.0, 1.0, 1.0), "hermes_pcm_14nm")  # type: ignore[arg-type]
