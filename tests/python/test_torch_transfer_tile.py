"""The transfer tile in Python: its rules, its state, and what it refuses."""

import copy
import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

import mho
from mho import _core
from mho.exceptions import AnalogBiasConfigError, ArgumentError, ConfigError, InputError, StateError
from mho.nn import AnalogLinear, AnalogLinearMapped, AnalogSequential
from mho.nn.conversion import convert_to_analog, convert_to_digital
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    ConstantStepDevice,
    DynamicTransferCompound,
    IOParameters,
    PulseType,
    SingleRPUConfig,
    SoftBoundsReferenceDevice,
    UnitCellRPUConfig,
    UpdateParameters,
    WeightClipParameter,
    WeightClipType,
    build_config,
)
from mho.simulator.parameters import registry
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.tiles.transfer import TorchTransferTile, TransferSimulatorTile
from reference import golden, rules, schedules  # noqa: F401  # they fill the list of cases
from reference.cases import CASES
from reference.configs import device, perfect, transfer
from reference.pulses import Array, single
from reference.trajectories import CHOPPED, DYNAMIC, Trajectory, chopped
from reference.unit_cells import ReferenceTile
from test_structure import ownership_faults
from unchanged import differences, everything

OUT, IN, BATCH = 3, 4, 5
CELLS = (ChoppedTransferCompound, DynamicTransferCompound)


class InPython:
    """A transfer tile in Python as the transcription of the rules is driven; see ``Subject``."""

    def __init__(self, rows: int, columns: int, config: Any) -> None:
        config.tile_class = TorchTransferTile
        self.raw = TorchTransferTile(rows, columns, config).tile

    def set_weights(self, values: ArrayLike) -> None:
        """Program the raw weight."""
        self.raw.set_weights(torch.from_numpy(single(values)))

    def set_device(self, k: int, values: ArrayLike) -> None:
        """Set the hidden weight of device ``k``."""
        planes = self.raw.get_named_hidden_parameters()
        plane = planes[("fast_weight", "slow_weight")[k]]
        plane.copy_(torch.from_numpy(single(values)).expand_as(plane))
        self.raw.set_named_hidden_parameters(planes)

    def choose(self, k: int) -> None:
        """Set the device that is updated."""
        self.raw.set_hidden_update_index(k)

    def update(self, x: ArrayLike, d: ArrayLike, lr: float) -> None:
        """Do one call of an update."""
        self.raw.set_learning_rate(lr)
        self.raw.update(*(torch.from_numpy(np.atleast_2d(single(value))) for value in (x, d)))

    def read(self, name: str) -> Array:
        """Return what the transcription calls by that name."""
        raw, by_columns = self.raw, self.raw.cell.transfer_columns
        lines = {
            "buffered_FP_weight": "hidden_weight",
            "buffered_FP_weight_0": "hidden_weight",
            "running_mean_weight": "past_mean_weight",
            "past_mean_weight": "reference_weight",
        }
        if name in lines:
            plane = raw.get_buffer(lines[name])
            return single((plane.t() if by_columns else plane).numpy())
        others: dict[str, Callable[[], Tensor]] = {
            "weight": raw.get_weights,
            "hidden_weights_0": lambda: raw.grad_tile.weights,
            "hidden_weights_1": lambda: raw.weight_tile.weights,
            "in_chopper": lambda: raw.in_chopper < 0,
            "out_chopper": lambda: raw.out_chopper < 0,
            "m_x": lambda: raw.input_error_averages[0],
            "m_d": lambda: raw.input_error_averages[1],
        }
        value = others[name]() if name in others else raw.get_buffer(name)
        return single(value.numpy())


# --- rules ----------------------------------------------------------------------------------------

QUICK = [
    *chopped(ChoppedTransferCompound, 0.17191, CHOPPED, full=False),
    *chopped(DynamicTransferCompound, 0.1713, DYNAMIC, full=False),
]
# Cases of the rules that these cells fulfil with one sample per call.
RULES = (
    "g3_chopped",
    "g4_dynamic",
    "scaled_rate_of_the_fast_device",
    "chopped_signs_in_the_sum",
    "dynamic_cap_of_the_buffer",
    "scales_of_the_chopped_buffer",
    "no_buffer_drops_what_makes_no_pulse",
    "dynamic_cap_counts_in_trains",
)


@pytest.mark.parametrize("name", RULES)
def test_golden_traces(name: str) -> None:
    number = 0
    for found in CASES[name](InPython):
        found.check()
        number += 1
    assert number > 0


# Two of five, so that every value of every option occurs; the slow suite has all of them.
@pytest.mark.parametrize("case", [c for i, c in enumerate(QUICK) if i % 5 in (0, 2)], ids=str)
def test_trajectories_are_those_of_the_rules(case: Trajectory) -> None:
    """With one sample per call, one pulse per coincidence and perfect products."""
    case.batch = 1
    expected, found = case.run(ReferenceTile, 200), case.run(InPython, 200)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-6, err_msg=name)


def test_most_trajectories_write() -> None:
    """The comparison would be empty if nothing ever reached the slow device."""
    cases = QUICK[::7]
    writes = [c for c in cases if c.run(ReferenceTile, 200)["hidden_weights_1"].any()]
    assert len(writes) > 0.7 * len(cases)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        *chopped(ChoppedTransferCompound, 0.17191, CHOPPED, full=True),
        *chopped(DynamicTransferCompound, 0.1713, DYNAMIC, full=True),
    ],
    ids=str,
)
def test_all_trajectories_are_those_of_the_rules(case: Trajectory) -> None:
    case.batch = 1
    expected, found = case.run(ReferenceTile), case.run(InPython)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-6, err_msg=name)


def made(cell: type[Any] = ChoppedTransferCompound, **fields: Any) -> Any:
    """Return the configuration of a tile without variability."""
    pair = fields.pop("unit_cell_devices", None)
    config = transfer(cell, **{"in_chop_random": False} | fields)
    config.tile_class = TorchTransferTile
    if pair is not None:
        config.device.unit_cell_devices = pair
    return config


def tile_of(config: Any, out_size: int = OUT, in_size: int = IN) -> TorchTransferTile:
    """Return a tile."""
    return TorchTransferTile(out_size, in_size, config)


def rest(tile: TorchTransferTile, batch: int = 1) -> None:
    """Do an update without pulses."""
    tile.update(torch.zeros(batch, tile.in_size), torch.zeros(batch, tile.out_size))


def lines_read(tile: TorchTransferTile, batches: list[int]) -> list[int]:
    """Return the line that is next after each update."""
    found = []
    for batch in batches:
        rest(tile, batch)
        found.append(int(tile.tile.current_slice_indices))
    return found


@pytest.mark.parametrize(
    ("fields", "batches", "expected"),
    [
        ({}, [1, 1, 1, 1, 1], [1, 2, 3, 0, 1]),
        ({"transfer_columns": False}, [1, 1, 1, 1], [1, 2, 0, 1]),
        ({"transfer_every": 0.0}, [1, 7, 1], [0, 0, 0]),
        ({"transfer_every": 5.0}, [2, 2, 2, 2, 2], [0, 0, 1, 1, 2]),
        ({"transfer_every": 5.0}, [5, 5, 3, 3, 3], [1, 2, 2, 3, 3]),
        ({"transfer_every": 2.5}, [1, 1, 1, 3, 3], [0, 0, 1, 2, 3]),
        ({"transfer_every": 2.0, "units_in_mbatch": True}, [5, 5, 5, 5], [0, 1, 1, 2]),
        ({"transfer_every": 1.1, "units_in_mbatch": True}, [5, 5, 5], [0, 1, 2]),
        ({"transfer_every_vec": [2.0, 0.0]}, [1, 1, 1, 1], [0, 1, 1, 2]),
    ],
)
def test_schedule(fields: dict[str, Any], batches: list[int], expected: list[int]) -> None:
    """One transfer in each call that completes a period, after all pulses of the call."""
    assert lines_read(tile_of(made(**fields)), batches) == expected


def test_periods_shorter_than_a_call_are_refused() -> None:
    for fields in ({"transfer_every": 4.0}, {"transfer_every_vec": [4.0, 0.0]}):
        tile = tile_of(made(**fields))
        before = everything(tile)
        name = next(iter(fields))
        with pytest.raises(ConfigError, match=rf"^device\.{name}: a transfer every 4 samples.*5"):
            rest(tile, 5)
        assert differences(before, everything(tile)) == []
        rest(tile, 4)


def test_a_call_without_a_rate_or_samples_does_nothing() -> None:
    tile = tile_of(made())
    before = everything(tile)
    rest(tile, 0)
    tile.tile.set_learning_rate(0.0)
    before_rate = everything(tile)
    rest(tile)
    assert differences(before_rate, everything(tile)) == []
    tile.tile.set_learning_rate(0.1)
    assert differences(before, everything(tile)) == []


def test_a_transfer_without_a_rate_moves_on() -> None:
    tile = tile_of(made(in_chop_prob=1.0, transfer_lr=0.0))
    assert lines_read(tile, [1] * 9)[-1] == 1
    assert int(tile.tile.transfer_counter) == 0 and not (tile.tile.in_chopper < 0).any()


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_averages_are_those_of_the_rules(batch: int) -> None:
    """Each sample counts, whatever the size of a call."""
    fields = {"auto_scale": True, "auto_momentum": 0.9, "fast_lr": 0.0, "transfer_every": 4.0}
    config = transfer(ChoppedTransferCompound, **fields)
    config.update.pulse_type = PulseType.DETERMINISTIC_IMPLICIT
    tiles = ReferenceTile(OUT, IN, config), InPython(OUT, IN, copy.deepcopy(config))
    rng = np.random.default_rng(3)
    for _ in range(5):
        x, d = single(rng.normal(size=(batch, IN))), single(rng.normal(size=(batch, OUT)))
        x[0] = 0.0
        for tile in tiles:
            tile.update(x, d, 0.01)
        for name in ("m_x", "m_d"):
            np.testing.assert_allclose(*(tile.read(name) for tile in tiles), rtol=1e-6)


def test_all_samples_reach_the_fast_device_at_once() -> None:
    """At the rate of the averages after the last one."""
    config = made(auto_scale=True, auto_momentum=0.5, transfer_every=0.0)
    config.update.desired_bl = 6
    tile = tile_of(config, 1, 1)
    tile.tile.set_weights(torch.zeros(1, 1))
    tile.update(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [1.0]]))
    m_x = 0.75 * 1.0 + 0.25 * 2.0
    assert tile.tile.count_lr.item() == pytest.approx(6 * 0.002 / m_x)
    counts = 6 / m_x * 1.0, 6 / m_x * 2.0  # pulses of each, at most six
    expected = -0.002 * (min(counts[0], 6) + min(counts[1], 6))
    assert float(tile.tile.grad_tile.weights) == pytest.approx(expected, abs=0.0021)


def test_inputs_of_the_caller_stay() -> None:
    tile = tile_of(made(in_chop_prob=1.0))
    x, d = torch.ones(1, IN), torch.ones(1, OUT)
    for _ in range(12):
        tile.update(x, d)
    assert (tile.tile.in_chopper < 0).any()
    assert torch.equal(x, torch.ones(1, IN)) and torch.equal(d, torch.ones(1, OUT))


def test_random_choppers_flip_as_often_as_asked() -> None:
    fields = {"in_chop_random": True, "in_chop_prob": 0.3, "out_chop_prob": 0.2}
    tile = tile_of(made(**fields), 50, 10)
    inputs, outputs, last = 0, 0, (tile.tile.in_chopper.clone(), tile.tile.out_chopper.clone())
    for _ in range(1000):
        rest(tile)
        now = tile.tile.in_chopper.clone(), tile.tile.out_chopper.clone()
        inputs += int((now[0] != last[0]).sum())
        outputs += int((now[1] != last[1]).sum())
        last = now
    # 1000 and 100 * 50 draws; five standard deviations.
    assert inputs / 1000 == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / 1000) ** 0.5)
    assert outputs / 5000 == pytest.approx(0.2, abs=5 * (0.2 * 0.8 / 5000) ** 0.5)


def test_a_dynamic_cell_may_flip_at_random_as_well() -> None:
    fields = {"in_chop_random": True, "in_chop_prob": 0.1}
    tile = tile_of(made(DynamicTransferCompound, **fields), 2, 1)
    signs = []
    for _ in range(3000):
        rest(tile)
        signs.append(int(tile.tile.in_chopper))
    flips = np.flatnonzero(np.diff(signs)) + 1
    assert set(range(9, 2999, 10)) <= set(flips.tolist())
    # Of the other nine sweeps of a period, each flips by chance.
    by_chance = len(flips) - 299
    assert by_chance / 2700 == pytest.approx(0.1, abs=5 * (0.1 * 0.9 / 2700) ** 0.5)


def test_noise_and_bound_management_do_not_act_on_reads() -> None:
    """A line is read on the scale of the converter, whatever its size."""
    io_ = IOParameters(inp_res=-1.0, out_res=0.1, out_noise=0.0, out_bound=1.0)
    tile = tile_of(made(transfer_forward=io_))
    tile.tile.set_weights(torch.zeros(OUT, IN))
    tile.tile.grad_tile.weights.fill_(0.06)
    read = tile.tile.read(0)
    assert bool((torch.isclose(read, torch.tensor(0.2)) | (read == 0.0)).all())


def test_writes_are_as_long_as_asked() -> None:
    update = UpdateParameters(pulse_type=PulseType.NONE_WITH_DEVICE, desired_bl=4)
    tile = tile_of(made(transfer_update=update, step=0.5, forget_buffer=False), 1, 1)
    tile.tile.set_weights(torch.zeros(1, 1))
    tile.tile.grad_tile.weights.fill_(0.05)
    tile.tile.set_learning_rate(0.25)
    rest(tile)
    # 0.25 * 0.05 / 0.002 = 6.25 pulses, of which four of half a step each.
    assert float(tile.tile.get_weights()) == pytest.approx(4 * 0.5 * 0.01)
    assert float(tile.tile.hidden_weight) == pytest.approx(2.25, abs=1e-5)


# --- what it refuses ------------------------------------------------------------------------------


def changed(**fields: Any) -> Any:
    """Return a configuration with other fields of the cell."""
    config = made()
    for name, value in fields.items():
        setattr(config.device, name, value)
    return config


def with_update(**fields: Any) -> Any:
    """Return a configuration with other fields of the update."""
    config = made()
    for name, value in fields.items():
        setattr(config.update, name, value)
    return config


def of_single() -> Any:
    return SingleRPUConfig(device=ConstantStepDevice(), tile_class=TorchTransferTile)


def buffered() -> Any:
    config = transfer(BufferedTransferCompound)
    config.tile_class = TorchTransferTile
    return config


def accumulated() -> Any:
    return made(DynamicTransferCompound, experimental_correct_accumulation=True)


NOTHING = UpdateParameters(pulse_type=PulseType.NONE)
REFUSED: dict[str, Callable[[], Any]] = {
    "tile_class: .*needs a UnitCellRPUConfig, got SingleRPUConfig": of_single,
    "device: .*got BufferedTransferCompound": buffered,
    r"device\.transfer_every: .*no automatic period": lambda: made(transfer_every=-1.0),
    r"device\.transfer_every_vec: .*no automatic": lambda: made(transfer_every_vec=[-1.0, 0.0]),
    r"device\.n_reads_per_transfer: .*needs 1, got 2": lambda: made(n_reads_per_transfer=2),
    r"device\.random_selection: ": lambda: made(random_selection=True),
    r"device\.with_reset_prob: ": lambda: made(with_reset_prob=0.5),
    r"device\.experimental_correct_accumulation: ": accumulated,
    r"device\.step: .*use a positive one": lambda: made(step=-1.0),
    r"device\.transfer_update\.pulse_type: ": lambda: made(transfer_update=NOTHING),
    r"device\.transfer_every: must be finite": lambda: made(transfer_every=float("inf")),
    r"device\.gamma: must be finite and at most": lambda: made(gamma=1e30),
    r"device\.unit_cell_devices: .*got 3 devices": lambda: changed(
        unit_cell_devices=[device(), device(), device()]
    ),
    r"device\.unit_cell_devices\[1\]\.dw_min: ": lambda: changed(
        unit_cell_devices=[device(), device("no")]  # type: ignore[arg-type]
    ),
    r"update\.pulse_type: .*nothing to transfer": lambda: with_update(pulse_type=PulseType.NONE),
    r"update\.pulse_type: .*exact updates": lambda: with_update(
        pulse_type=PulseType.NONE_WITH_DEVICE
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_it_does_not_do_is_refused(message: str) -> None:
    config = REFUSED[message]()
    with pytest.raises(ConfigError, match=f"^{message}"):
        tile_of(config)


@pytest.mark.parametrize("cell", [ChoppedTransferCompound, DynamicTransferCompound])
def test_a_buffer_that_overflows_changes_nothing(cell: type[Any]) -> None:
    tile = tile_of(made(cell))
    tile.set_learning_rate(1e38)
    before = {name: value.clone() for name, value in tile.state_dict().items()}
    x, d = torch.ones(1, tile.in_size), torch.ones(1, tile.out_size)
    with pytest.raises(ArgumentError, match=r"device\.transfer_lr: .*overflow"):
        for _ in range(3):
            tile.update(x, d)
            before = {name: value.clone() for name, value in tile.state_dict().items()}
    assert all(torch.equal(tile.state_dict()[name], value) for name, value in before.items())
    assert bool(torch.isfinite(tile.tile.hidden_weight).all())


def test_errors_of_the_core_name_the_fields_of_the_cell() -> None:
    config = made()
    config.device.transfer_forward = IOParameters(nm_decay=5.0)
    with pytest.raises(ConfigError, match=r"^device\.transfer_forward\.nm_decay"):
        tile_of(config)


def test_layouts_that_it_does_not_have_are_refused() -> None:
    config = made()
    for name in ("in_trans", "out_trans"):
        with pytest.raises(ConfigError, match=f"^{name}: TorchTransferTile .*set it to False"):
            TorchTransferTile(OUT, IN, config, **{name: True})
    config.mapping.digital_bias = False
    with pytest.raises(AnalogBiasConfigError, match=r"^mapping\.digital_bias: .*set it to True"):
        TorchTransferTile(OUT, IN, config, bias=True)
    config.runtime.backend = "wgpu"
    with pytest.raises(ConfigError, match=r"runtime\.backend"):
        TorchTransferTile(OUT, IN, config)


def test_edits_of_living_tiles_are_checked() -> None:
    tile = tile_of(made())
    before = everything(tile)
    with pytest.raises(ConfigError, match="nothing to transfer"):
        tile.rpu_config.update.pulse_type = PulseType.NONE
    with pytest.raises(mho.exceptions.TileModuleError, match="device"):
        tile.rpu_config.device.gamma = 0.5
    assert differences(before, everything(tile)) == []
    tile.rpu_config.forward = IOParameters(out_noise=0.0, out_res=-1.0, inp_res=-1.0, out_scale=2.0)
    x = torch.rand(2, IN)
    torch.testing.assert_close(tile(x), 2.0 * x @ tile.tile.get_weights().t())


def test_bad_input_changes_nothing() -> None:
    tile = tile_of(made(auto_scale=True))
    before = everything(tile)
    raw, nan = tile.tile, torch.full((1, IN), float("nan"))
    for error, call in (
        (ArgumentError, lambda: tile.update(nan, torch.ones(1, OUT))),
        (ArgumentError, lambda: raw.update(torch.ones(1, IN), torch.full((1, OUT), float("inf")))),
        (InputError, lambda: raw.update(torch.ones(2, IN), torch.ones(1, OUT))),
        (InputError, lambda: raw.update(torch.ones(1, IN + 1), torch.ones(1, OUT))),
        (InputError, lambda: raw.forward(torch.ones(1, IN).double())),
        (ConfigError, lambda: raw.forward(torch.ones(IN, 1), in_trans=True)),
        (ConfigError, lambda: raw.update(torch.ones(1, IN), torch.ones(1, OUT), bias=True)),
        (InputError, lambda: raw.set_weights(torch.ones(IN, OUT))),
        (ArgumentError, lambda: raw.set_weights(torch.full((OUT, IN), float("nan")))),
        (ArgumentError, lambda: raw.set_learning_rate(-1.0)),
        (ArgumentError, lambda: raw.set_hidden_update_index(2)),
        (ArgumentError, lambda: tile.decay_weights(-1.0)),
        (ArgumentError, lambda: tile.drift_weights(float("nan"))),
        (ArgumentError, lambda: tile.reset_columns(IN)),
        (InputError, lambda: raw.set_hidden_parameters(torch.zeros(3, OUT, IN))),
        (ConfigError, lambda: tile.to_backend("wgpu")),
        (ConfigError, lambda: raw.remap_weights(mho.simulator.configs.WeightRemapParameter(
            type=mho.simulator.configs.WeightRemapType.LAYERWISE_SYMMETRIC), torch.ones(OUT))),
        (ConfigError, lambda: raw.clip_weights(WeightClipParameter(
            type=WeightClipType.LAYER_GAUSSIAN))),
        (StateError, lambda: raw.load_extra({"nothing": [1]})),
        (StateError, lambda: raw.load_extra({"in_chopper": [1, 1, 0, 1]})),
        (StateError, lambda: raw.load_extra({"learning_rate": [0.1]}, strict=True)),
    ):  # fmt: skip
        with pytest.raises(error):
            call()  # type: ignore[no-untyped-call]
        assert differences(before, everything(tile)) == []


# --- all or nothing -------------------------------------------------------------------------------

STAGES = ("update", "forward", "uniform_weights", "second update")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_update_leaves_all_as_before(
    cell: type[Any], stage: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"in_chop_random": True, "in_chop_prob": 0.5, "auto_scale": True}
    tile = tile_of(made(cell, **fields))
    for _ in range(40):
        tile.update(torch.randn(1, IN), torch.randn(1, OUT))
    tile.tile.hidden_weight.fill_(3.0)  # the next transfer writes
    name, calls = stage.removeprefix("second "), []
    working, fails_at = getattr(_core, name), 2 if stage.startswith("second") else 1

    def failing(*args: Any) -> Any:
        calls.append(name)
        result = working(*args)  # its tensors are written when the error comes
        if len(calls) == fails_at:
            raise error("now")
        return result

    before, weight = everything(tile), tile.tile.get_weights()
    monkeypatch.setattr(_core, name, failing)
    with pytest.raises(error, match="now"):
        tile.update(torch.randn(1, IN), torch.randn(1, OUT))
    assert len(calls) == fails_at
    assert differences(before, everything(tile)) == []
    assert torch.equal(tile.tile.get_weights(), weight)
    monkeypatch.undo()
    tile.update(torch.randn(1, IN), torch.randn(1, OUT))
    assert differences(before, everything(tile)) != []


# --- state ----------------------------------------------------------------------------------------


def noisy(cell: type[Any], **fields: Any) -> Any:
    """Return a configuration in which everything draws, and all buffers are in use."""
    pair = [
        SoftBoundsReferenceDevice(dw_min=0.01, write_noise_std=0.1, lifetime=300.0, diffusion=1e-3)
        for _ in range(2)
    ]
    given = {
        "unit_cell_devices": pair,
        "in_chop_random": True,
        "in_chop_prob": 0.3,
        "auto_scale": True,
        "gamma": 0.1,
        "units_in_mbatch": True,
        "fast_lr": 0.5,
    }
    config = UnitCellRPUConfig(device=cell(**given | fields), tile_class=TorchTransferTile)
    config.update.desired_bl = 5
    return config


def trained(cell: type[Any], steps: int = 60, **fields: Any) -> TorchTransferTile:
    """Return a tile after a while."""
    torch.manual_seed(5)
    tile = TorchTransferTile(OUT, IN, noisy(cell, **fields), bias=True)
    for _ in range(steps):
        step(tile)
    return tile


def step(tile: Any) -> Tensor:
    """Do what a step of a training does; returns the output."""
    x, d = torch.randn(BATCH, IN), torch.randn(BATCH, OUT)
    y: Tensor = tile.joint_forward(x)
    tile.backward(d)
    tile.update(x, d)
    tile.post_update_step()
    return y


def go_on(tile: Any) -> list[Tensor]:
    """Return what comes of more steps, with fixed inputs."""
    torch.manual_seed(9)
    outputs = [step(tile) for _ in range(12)]
    return [*outputs, tile.tile.get_weights(), tile.tile.get_hidden_parameters()]


def assert_same(tile: Any, other: Any) -> None:
    """Compare all of two tiles bit for bit, then what comes of them."""
    assert differences(everything_of(tile), everything_of(other)) == []
    for one, two in zip(go_on(tile), go_on(other), strict=True):
        assert torch.equal(one, two)
    assert differences(everything_of(tile), everything_of(other)) == []


def everything_of(tile: Any) -> dict[str, Any]:
    """Return all of a tile but what depends on its identity."""
    return {k: v for k, v in everything(tile).items() if "identities" not in k}


def fresh(tile: Any) -> TorchTransferTile:
    """Return another tile of its configuration."""
    return TorchTransferTile(OUT, IN, tile.rpu_config, bias=True)


def by_state_dict(tile: Any) -> Any:
    file = io.BytesIO()
    torch.save(tile.state_dict(), file)
    file.seek(0)
    other = fresh(tile)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


def by_safetensors(tile: Any) -> Any:
    safetensors = pytest.importorskip("safetensors.torch")
    other = fresh(tile)
    other.load_state_dict(safetensors.load(safetensors.save(tile.state_dict())))
    return other


def by_pickle(tile: Any) -> Any:
    return pickle.loads(pickle.dumps(tile))


def by_extra(tile: Any) -> Any:
    other = fresh(tile)
    other.bias.data.copy_(tile.bias)
    other.set_hidden_parameters(tile.get_hidden_parameters())
    other.load_extra(tile.dump_extra(), strict=True)
    return other


def into_a_model(tile: Any) -> Any:
    """Load by a root of torch, which loads module by module."""
    source, target = nn.Sequential(tile), nn.Sequential(fresh(tile))
    target.load_state_dict(source.state_dict())
    return target[0]


WAYS = (copy.deepcopy, by_state_dict, by_safetensors, by_pickle, by_extra, into_a_model)


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_goes_on_with_the_same_bits(
    way: Callable[[Any], Any], cell: type[Any], columns: bool
) -> None:
    tile = trained(cell, transfer_columns=columns)
    raw = tile.tile
    assert raw.hidden_weight.any() and raw.transfer_counter > 0 and raw.analog_tile_calls > 0
    assert_same(tile, way(tile))


@pytest.mark.parametrize("cell", CELLS)
def test_a_copy_is_independent(cell: type[Any]) -> None:
    tile = trained(cell)
    before, other = everything(tile), copy.deepcopy(tile)
    go_on(other)
    assert differences(before, everything(tile)) == []


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    tile = trained(ChoppedTransferCompound)
    other, threads = copy.deepcopy(tile), mho.get_num_threads()
    found = go_on(tile)
    mho.set_num_threads(1)
    try:
        assert all(torch.equal(a, b) for a, b in zip(found, go_on(other), strict=True))
    finally:
        mho.set_num_threads(threads)


@pytest.mark.parametrize("cell", CELLS)
def test_every_entry_of_the_state_has_one_owner(cell: type[Any]) -> None:
    assert ownership_faults(trained(cell)) == []


def test_own_steps_of_the_devices_are_kept() -> None:
    """Hidden parameters whose mean step is not that of the configuration."""
    tile = trained(ChoppedTransferCompound)
    planes = tile.get_hidden_parameters()
    for name in ("dwmin_up_0", "dwmin_down_0"):
        planes[name] *= 3.0
    with pytest.warns(UserWarning, match="dw_min"):
        tile.set_hidden_parameters(planes)
    own = tile.tile.grad_tile.granularity()
    assert own == pytest.approx(0.03, rel=0.2)
    assert "tile.grad_tile.dw_min" in tile.state_dict()
    other = by_state_dict(tile)
    assert other.tile.grad_tile.granularity() == own
    assert_same(tile, other)


def damaged(name: str, value: Any) -> dict[str, Any]:
    """Return the state of a tile with another value of an entry."""
    state = dict(trained(DynamicTransferCompound, 5).state_dict())
    present = state[name]
    state[name] = torch.full_like(present, value) if isinstance(value, (int, float)) else value
    return state


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("tile.in_chopper", 0, "signs must be 1 or -1"),
        ("tile.in_chopper", torch.ones(IN), "int8 of shape"),
        ("tile.in_chopper_switched", 3, "0 or 1"),
        ("tile.hidden_weight", float("nan"), "finite"),
        ("tile.hidden_weight", torch.zeros(OUT, IN), r"of shape \(4, 3\)"),
        ("tile.current_slice_indices", IN, "expected 0 to 3, got 4"),
        ("tile.transfer_counter", -1, "must be a count"),
        ("tile.count_lr", -1.0, "not be negative"),
        ("tile.grad_tile.analog_tile_hidden.persistent_weights", 9.0, "outside of the bounds"),
        ("tile.weight_tile.analog_tile_hidden.max_bound", float("inf"), "finite"),
        ("tile.weight_tile.analog_tile_calls", -5, "expected 0 to"),
    ],
)
def test_damaged_states_are_refused(name: str, value: Any, message: str) -> None:
    state = damaged(name, value)
    tile = trained(DynamicTransferCompound, 3)
    before = everything(tile)
    known = (StateError, InputError, ArgumentError)
    with pytest.raises(known, match=f"^{name}.*{message}|^tile.*{message}"):
        tile.load_state_dict(state)
    model = nn.Sequential(tile)
    with pytest.raises(known, match=r"0\.tile"):
        model.load_state_dict({f"0.{key}": entry for key, entry in state.items()})
    assert differences(before, everything(tile)) == []


def test_missing_and_unexpected_entries_are_told() -> None:
    tile = trained(ChoppedTransferCompound, 3)
    before = everything(tile)
    state = dict(tile.state_dict())
    gone = ("tile.hidden_weight", "tile.grad_tile.analog_tile_weights")
    for name in gone:
        del state[name]
    state |= {"tile.more": torch.zeros(1), "tile.weight_tile.more": torch.zeros(1)}
    missing, unexpected = tile.check_state_dict(state)
    assert sorted(missing) == sorted(gone)
    assert sorted(unexpected) == ["tile.more", "tile.weight_tile.more"]
    with pytest.raises(StateError, match="hidden_weight"):
        tile.load_state_dict(state)
    model = nn.Sequential(tile)
    with pytest.raises(RuntimeError, match="hidden_weight"):
        model.load_state_dict({f"0.{key}": entry for key, entry in state.items()})
    assert differences(before, everything(tile)) == []


def test_states_of_other_cells_do_not_fit() -> None:
    tile = trained(ChoppedTransferCompound, 3)
    state = trained(DynamicTransferCompound, 3).state_dict()
    tile.set_load_rpu_config_state(False)
    before = everything(tile)
    with pytest.raises(StateError, match=r"^tile: the state is that of DynamicTransferCompound"):
        tile.load_state_dict(state)
    assert differences(before, everything(tile)) == []


def test_a_state_brings_its_configuration() -> None:
    """Also that of another cell, whose buffers it has."""
    tile, source = trained(ChoppedTransferCompound, 3), trained(DynamicTransferCompound)
    tile.load_state_dict(source.state_dict())
    assert isinstance(tile.rpu_config.device, DynamicTransferCompound)
    assert_same(tile, source)


def test_the_configuration_can_be_replaced() -> None:
    tile = trained(ChoppedTransferCompound)
    config = copy.deepcopy(tile.rpu_config)
    config.device.in_chop_prob, config.device.momentum, config.device.gamma = 0.0, 0.5, 0.0
    planes = tile.get_hidden_parameters()
    tile.replace_with(config)
    found = tile.get_hidden_parameters()
    assert all(torch.equal(found[name], plane) for name, plane in planes.items())
    assert torch.equal(tile.tile.get_weights(), planes["slow_weight"])
    config.device.transfer_columns = False
    before = everything(tile)
    with pytest.raises(StateError, match=r"of columns, but the tile has .* of rows"):
        tile.replace_with(config)
    assert differences(before, everything(tile)) == []


def test_the_configuration_is_read_from_text() -> None:
    config = noisy(DynamicTransferCompound)
    assert RPUConfigBase.from_json(config.to_json()) == config


def test_the_raw_tile_stands_alone() -> None:
    raw = TransferSimulatorTile(IN, OUT, noisy(DynamicTransferCompound))
    raw.update(torch.randn(BATCH, IN), torch.randn(BATCH, OUT))
    raw.post_update_step()
    other = copy.deepcopy(raw)
    x, d = torch.randn(BATCH, IN), torch.randn(BATCH, OUT)
    for one in (raw, other):
        one.update(x, d)
    assert torch.equal(raw.get_hidden_parameters(), other.get_hidden_parameters())
    assert torch.equal(raw.forward(x), other.forward(x))
    assert torch.equal(raw.backward(d), other.backward(d))


# --- hidden parameters and weights ----------------------------------------------------------------


def test_names_and_order_of_hidden_parameters() -> None:
    tile = trained(DynamicTransferCompound)
    names = list(tile.get_hidden_parameters())
    of_device = tile.tile.grad_tile.tile.get_hidden_parameter_names()
    assert names == [
        *(f"{name}_0" for name in of_device),
        *(f"{name}_1" for name in of_device),
        "fast_weight",
        "slow_weight",
        "hidden_weight",
        "past_mean_weight",
        "reference_weight",
    ]
    assert list(trained(ChoppedTransferCompound).get_hidden_parameters())[-1] == "hidden_weight"


@pytest.mark.parametrize("columns", [True, False])
def test_hidden_parameters_can_be_set(columns: bool) -> None:
    tile = trained(DynamicTransferCompound, transfer_columns=columns)
    planes = tile.get_hidden_parameters()
    buffer = tile.tile.hidden_weight
    assert torch.equal(planes["hidden_weight"], buffer.t() if columns else buffer)
    new = {name: plane.clone() for name, plane in planes.items()}
    for name in ("hidden_weight", "past_mean_weight", "reference_weight"):
        new[name] = torch.arange(12.0).reshape(OUT, IN)
    new["fast_weight"] = torch.full((OUT, IN), 0.05)
    tile.set_hidden_parameters(new)
    found = tile.get_hidden_parameters()
    for name in ("hidden_weight", "past_mean_weight", "reference_weight"):
        assert torch.equal(found[name], new[name])
    # Of devices with write noise the persistent weights count.
    assert torch.equal(found["persistent_weights_0"], planes["persistent_weights_0"])
    signs = tile.tile.in_chopper if columns else tile.tile.in_chopper[:, None]
    outs = tile.tile.out_chopper[:, None] if columns else tile.tile.out_chopper
    expected = 0.1 * signs * outs * found["fast_weight"] + found["slow_weight"]
    torch.testing.assert_close(tile.tile.get_weights(), expected)


def test_impossible_hidden_parameters_change_nothing() -> None:
    tile = trained(ChoppedTransferCompound)
    before, planes = everything(tile), tile.get_hidden_parameters()
    planes["fast_weight"] = torch.zeros(OUT, IN)
    planes["max_bound_1"] = planes["min_bound_1"] - 1.0
    with pytest.raises(ArgumentError, match="bound"):
        tile.set_hidden_parameters(planes)
    assert differences(before, everything(tile)) == []


def test_equal_devices_differ_but_construction_is_repeatable() -> None:
    config = made()
    config.device.unit_cell_devices = [SoftBoundsReferenceDevice() for _ in range(2)]
    config.device.construction_seed = 7
    found = [tile_of(config).get_hidden_parameters() for _ in range(2)]
    of_devices = [name for name in found[0] if name.endswith(("_0", "_1"))]
    assert all(torch.equal(found[0][name], found[1][name]) for name in of_devices)
    assert not torch.equal(found[0]["dwmin_up_0"], found[0]["dwmin_up_1"])
    config.device.construction_seed = 8
    other = tile_of(config).get_hidden_parameters()
    assert not torch.equal(found[0]["dwmin_up_1"], other["dwmin_up_1"])
    config.device.unit_cell_devices[0].construction_seed = 3  # that of the cell counts
    again = tile_of(config).get_hidden_parameters()
    assert torch.equal(again["dwmin_up_0"], other["dwmin_up_0"])


@pytest.mark.parametrize("cell", CELLS)
def test_set_weights_starts_anew(cell: type[Any]) -> None:
    tile = trained(cell)
    calls = int(tile.tile.analog_tile_calls)  # type: ignore[arg-type]
    weight = torch.linspace(-0.2, 0.2, 12).reshape(OUT, IN)
    tile.tile.set_weights(weight)
    raw = tile.tile
    for name in (
        "hidden_weight", "current_update_idx", "current_slice_indices", "transfer_counter",
        "input_error_averages", "count_lr", *(
            ("past_mean_weight", "reference_weight", "in_chopper_switched")
            if cell is DynamicTransferCompound else ()
        ),
    ):  # fmt: skip
        assert not raw.get_buffer(name).any(), name
    assert (raw.in_chopper == 1).all() and (raw.out_chopper == 1).all()
    assert int(raw.analog_tile_calls) == calls  # type: ignore[arg-type]
    planes = raw.get_named_hidden_parameters()
    torch.testing.assert_close(planes["persistent_weights_1"], weight)
    assert not planes["persistent_weights_0"].any()


def test_weights_are_split_by_gamma() -> None:
    tile = tile_of(made(gamma_vec=[0.5, 2.0]))
    weight = torch.linspace(-0.2, 0.2, 12).reshape(OUT, IN)
    tile.set_weights(weight)
    torch.testing.assert_close(tile.get_weights()[0], weight)
    torch.testing.assert_close(tile.tile.weight_tile.weights, weight / 2.0)
    tile.tile.set_weights(torch.full((OUT, IN), 9.0))
    assert torch.equal(tile.tile.get_weights(), torch.full((OUT, IN), 2.0))  # bounds of the device


def test_a_new_tile_has_small_random_weights() -> None:
    weight = tile_of(made(), 40, 50).tile.get_weights()
    assert 0.09 < float(weight.abs().max()) <= 0.1 and abs(float(weight.mean())) < 0.01


def visible(fields: dict[str, Any]) -> tuple[TorchTransferTile, Tensor, Tensor]:
    """Return a tile with weights in both arrays, and these."""
    pair = [device(0.002, **fields), device(0.01, **fields)]
    tile = tile_of(made(gamma=0.5, unit_cell_devices=pair))
    tile.tile.set_weights(torch.full((OUT, IN), 0.4))
    planes = tile.get_hidden_parameters()
    planes["fast_weight"] = torch.full((OUT, IN), 0.2)
    tile.set_hidden_parameters(planes)
    return tile, tile.tile.grad_tile.weights, tile.tile.weight_tile.weights


def test_decay_acts_on_both_arrays() -> None:
    tile, fast, slow = visible({"lifetime": 10.0})
    tile.decay_weights()
    torch.testing.assert_close(fast, torch.full((OUT, IN), 0.2 * 0.9))
    torch.testing.assert_close(slow, torch.full((OUT, IN), 0.4 * 0.9))
    torch.testing.assert_close(tile.tile.get_weights(), 0.5 * fast + slow)
    tile.post_update_step()
    torch.testing.assert_close(slow, torch.full((OUT, IN), 0.4 * 0.81))


def test_diffusion_acts_on_both_arrays() -> None:
    tile, fast, slow = visible({"diffusion": 0.01})
    for act in (tile.diffuse_weights, tile.post_update_step):
        before = fast.clone(), slow.clone()
        act()
        assert not torch.equal(fast, before[0]) and not torch.equal(slow, before[1])
        assert not torch.equal(fast - before[0], slow - before[1])
        torch.testing.assert_close(tile.tile.get_weights(), 0.5 * fast + slow)


def test_drift_acts_on_both_arrays() -> None:
    tile, fast, slow = visible({"drift": mho.simulator.configs.DriftParameter(nu=0.1)})
    tile.drift_weights(9.0)
    tile.drift_weights(90.0)
    assert float(fast[0, 0]) < 0.2 and float(slow[0, 0]) < 0.4
    torch.testing.assert_close(tile.tile.get_weights(), 0.5 * fast + slow)
    assert_same_drift = by_state_dict_of(tile)
    for one in (tile, assert_same_drift):
        one.drift_weights(50.0)
    assert torch.equal(tile.tile.get_weights(), assert_same_drift.tile.get_weights())


def by_state_dict_of(tile: Any) -> Any:
    other = tile_of(tile.rpu_config)
    other.load_state_dict(tile.state_dict())
    return other


def test_reset_acts_on_the_fast_array() -> None:
    tile, fast, slow = visible({"reset": 0.05})
    tile.reset_columns(1, 2)
    torch.testing.assert_close(fast[0], torch.tensor([0.2, 0.05, 0.05, 0.2]))
    assert torch.equal(slow, torch.full((OUT, IN), 0.4))
    torch.testing.assert_close(tile.tile.get_weights(), 0.5 * fast + slow)
    tile.reset()
    torch.testing.assert_close(fast, torch.full((OUT, IN), 0.05))


def test_clipping_acts_on_both_arrays() -> None:
    tile, fast, slow = visible({})
    tile.tile.clip_weights(WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=0.1))
    assert torch.equal(fast, torch.full((OUT, IN), 0.1))
    assert torch.equal(slow, torch.full((OUT, IN), 0.1))
    torch.testing.assert_close(tile.tile.get_weights(), torch.full((OUT, IN), 0.15))


# --- layers ---------------------------------------------------------------------------------------


def learning(cell: type[Any]) -> Any:
    """Return a configuration that learns a small task."""
    name = "ttv3" if cell is ChoppedTransferCompound else "ttv4"
    made_of = SoftBoundsReferenceDevice(dw_min=0.01, subtract_symmetry_point=True)
    config = build_config(name, made_of, perfect())
    config.tile_class = TorchTransferTile
    config.device.fast_lr = 0.5
    config.device.units_in_mbatch = True
    return config


@pytest.mark.parametrize("layer", [AnalogLinear, AnalogLinearMapped])
@pytest.mark.parametrize("cell", CELLS)
def test_layers_learn(cell: type[Any], layer: Any) -> None:
    torch.manual_seed(2)
    config = learning(cell)
    if layer is AnalogLinearMapped:
        config.mapping.max_input_size = config.mapping.max_output_size = 4
    model = AnalogSequential(layer(6, 5, bias=False, rpu_config=config))
    assert len(list(model.analog_tiles())) == (4 if layer is AnalogLinearMapped else 1)
    teacher, optimizer = 0.3 * torch.randn(5, 6), AnalogSGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(600):
        x = torch.rand(10, 6) - 0.5
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), x @ teacher.t(), reduction="sum")
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-50:]) < 0.1 * np.mean(losses[:20])


def test_tiles_of_an_array_have_states_of_their_own() -> None:
    config = learning(ChoppedTransferCompound)
    config.mapping.max_input_size = 4
    torch.manual_seed(1)
    layer = AnalogLinearMapped(6, 5, rpu_config=config)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    for _ in range(9):
        layer(torch.randn(10, 6)).square().sum().backward()
        optimizer.step()
    tiles = list(layer.analog_tiles())
    assert [int(t.tile.current_slice_indices) for t in tiles] == [0, 0]
    assert [len(t.tile.in_chopper) for t in tiles] == [3, 3]
    assert not torch.equal(tiles[0].tile.hidden_weight, tiles[1].tile.hidden_weight)
    other = AnalogLinearMapped(6, 5, rpu_config=config)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(10, 6)
    assert torch.equal(layer(x), other(x))


def test_conversion_both_ways() -> None:
    digital = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        for value in digital.parameters():
            value.clamp_(-0.4, 0.4)
    config = made()
    analog = convert_to_analog(digital, config)
    assert all(type(tile) is TorchTransferTile for tile in analog.analog_tiles())
    back = convert_to_digital(copy.deepcopy(analog))
    x = torch.rand(5, 4)
    torch.testing.assert_close(analog(x), digital(x))
    torch.testing.assert_close(back(x), digital(x))


def test_products_are_differentiated_as_those_of_other_tiles() -> None:
    config = made(gamma=0.5, transfer_every=0.0)
    layer = AnalogLinear(IN, OUT, rpu_config=config)
    tile = next(layer.analog_tiles())
    for _ in range(5):
        tile.update(torch.randn(2, IN), torch.randn(2, OUT))
    weight, bias = layer.get_weights()
    x = torch.randn(2, 7, IN, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y, x @ weight.t() + bias)
    y.sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(0).expand(2, 7, IN))
    with torch.no_grad():
        torch.testing.assert_close(layer(x), x @ weight.t() + bias)
    (pair,) = tile.analog_ctx.pairs()
    assert torch.equal(pair.x, x.detach()) and torch.equal(pair.d, torch.ones(2, 7, OUT))


@pytest.mark.filterwarnings("ignore")
def test_compiled_models_call_it_outside_of_graphs() -> None:
    layer = AnalogLinear(IN, OUT, rpu_config=made()).eval()
    compiled = torch.compile(layer, backend="eager")
    x = torch.randn(2, IN)
    torch.testing.assert_close(compiled(x), layer(x))
    if hasattr(torch.compiler, "is_exporting"):  # since torch 2.7, as torch.export of other tiles
        with pytest.raises(Exception, match="not part of graphs"):
            torch.export.export(layer, (x,))


@pytest.mark.filterwarnings("ignore:.*autocast:FutureWarning")  # torch 2.4, of itself
def test_activation_checkpoints_repeat_the_noise() -> None:
    layer = AnalogLinear(IN, OUT, rpu_config=noisy(ChoppedTransferCompound))
    x = torch.randn(3, IN, requires_grad=True)
    seen: list[Tensor] = []

    def function(value: Tensor) -> Tensor:
        seen.append(layer(value))
        return seen[-1]

    torch.utils.checkpoint.checkpoint(function, x, use_reentrant=True).sum().backward()
    assert len(seen) == 2 and torch.equal(seen[0].detach(), seen[1].detach())


def test_noise_is_that_of_a_seed() -> None:
    """Of products, pulses, reads and signs."""
    first, second = trained(DynamicTransferCompound), trained(DynamicTransferCompound)
    step(second)  # its streams are elsewhere now
    second.load_state_dict(first.state_dict() | streams(second))
    found = []
    for tile in (first, second):
        with mho.same_noise(tile, 3):
            found.append(go_on(tile))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    seeds = {name: value.clone() for name, value in streams(first).items()}
    mho.fork_noise(first, 1)
    moved = [n for n, v in streams(first).items() if not torch.equal(v, seeds[n])]
    assert sorted(moved) == [
        f"tile{at}.analog_tile_seed" for at in ("", ".grad_tile", ".weight_tile")
    ]


def streams(tile: Any) -> dict[str, Tensor]:
    """Return seeds and counters of calls in the state of a tile."""
    ends = ("analog_tile_seed", "analog_tile_calls")
    return {name: value for name, value in tile.state_dict().items() if name.endswith(ends)}


def test_inference_mode_trains() -> None:
    with torch.inference_mode():
        tile = trained(ChoppedTransferCompound, 3)
    step(tile)
    assert not any(value.is_inference() for value in tile.state_dict().values())


def test_it_prints_what_it_is() -> None:
    kind = "TransferSimulatorTile[ChoppedTransferCompound](3,4)"
    tile = tile_of(made())
    assert repr(tile) == f"TorchTransferTile({kind})" and repr(tile.tile) == kind
    assert kind in repr(AnalogLinear(IN, OUT, rpu_config=made()))


def test_its_arrays_are_no_tiles_of_the_model() -> None:
    model = AnalogSequential(AnalogLinear(IN, OUT, rpu_config=made()))
    assert len(list(model.analog_tiles())) == 1


def test_examples_of_the_page_run() -> None:
    text = (Path(__file__).parents[2] / "docs" / "torch_transfer.md").read_text()
    page: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    try:
        for block in blocks:
            exec(compile(block, "docs/torch_transfer.md", "exec"), page)
    finally:
        registry._TILES.pop("PatientTransferTile", None)
