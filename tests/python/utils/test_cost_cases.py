"""The cases of `data/cost_cases.json`: printed values, and what follows from formulas."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ConfigError
from mho.nn import AnalogLinear, convert_to_analog
from mho.nn.modules.conv_mapped import AnalogConv2dMapped
from mho.simulator.configs import InferenceRPUConfig
from mho.utils.analog_info import analog_summary, cost
from mho.utils.hardware_cost import (
    HardwareTable,
    Schedule,
    adc_envelope,
    counts_of_probabilities,
    peak,
    rounds_and_reloads,
    update_cost,
)

FILE = Path(__file__).parents[1] / "data" / "cost_cases.json"
CASES: dict[str, Any] = {case["id"]: case for case in json.loads(FILE.read_text())["cases"]}
# Units of the file; numbers here are in units of the SI, operations per joule in 1e12.
UNITS = {"nJ": 1e-9, "pJ": 1e-12, "ns": 1e-9, "W": 1.0, "TOPS": 1.0, "TOPS/W": 1.0, "1": 1.0,
         "TOPS/mm2": 1.0, "%": 1.0}  # fmt: skip
Found = dict[str, Any]


def config_of(bits_in: int, bits_out: int) -> InferenceRPUConfig:
    config = InferenceRPUConfig()
    config.forward.inp_res = 1.0 / (2**bits_in - 2)
    config.forward.out_res = 1.0 / (2**bits_out - 2)
    config.mapping.max_input_size = config.mapping.max_output_size = 0
    return config


def of_peak(tiles: int, preset: str, mode: str | None = None) -> Found:
    found = peak(HardwareTable.load(preset), tiles, mode)
    assert found.energy_per_mvm is not None and found.tops_per_watt is not None
    return {
        "energy_per_mvm": found.energy_per_mvm.value,
        "tops_per_watt": found.tops_per_watt.value,
        "tops": found.tops and found.tops.value,
        "tops_per_mm2": found.tops_per_mm2,
        "power": found.power and found.power.value,
        "latency": found.latency and found.latency.value,
    }


def isaac_product(given: Any) -> Found:
    config = config_of(given.input_bits, given.input_bits)
    layer = AnalogLinear(128, 16, bias=False, rpu_config=config)
    info = analog_summary(layer, (1, 128), hardware="isaac_ce_32nm")
    assert info.cost is not None
    (counts,), (costs,) = info.counts, info.cost.layers
    assert counts.physical_tiles == given.arrays and costs.parts is not None
    parts = {f"energy_{name}": energy.value for name, energy in costs.parts.items()}
    return {
        "adc_conversions": counts.adc_conversions,
        "dac_conversions": counts.dac_conversions,
        "energy_total": costs.energy and costs.energy.value,
        "latency": costs.latency and costs.latency.value,
        **parts,
    }


def conversions_per_mac(given: Any) -> Found:
    table = HardwareTable.load("isaac_ce_32nm").replace(
        tile={
            "weight_bits": given.weight_bits,
            "cell_bits": given.cell_bits,
            "dac_bits": given.dac_bits,
            "rows": given.rows,
        }
    )
    config = config_of(given.input_bits, given.input_bits)
    layer = AnalogLinear(1024, 256, bias=False, rpu_config=config)
    (counts,) = analog_summary(layer, (1, 1024), hardware=table).counts
    return {"adc_conversions_per_mac": counts.adc_conversions / counts.macs}


def mapped_convolution(given: Any) -> Found:
    config = InferenceRPUConfig()
    config.mapping.max_input_size = given.max_input_size
    config.mapping.max_output_size = given.max_output_size
    layer = AnalogConv2dMapped(
        given.in_channels, given.out_channels, tuple(given.kernel), padding=1, rpu_config=config
    )
    (info,) = analog_summary(layer, (1, given.in_channels, *given.output)).layer_summary
    tiles = info.tiles_info
    return {
        "tiles": [[t.log_out_size, t.log_in_size] for t in tiles],
        "reuse_factor": info.reuse_factor,
        "utilization_percent": [t.utilization for t in tiles],
    }


def update_of_a_sample(given: Any) -> Found:
    update = {
        "slot": f"{given.t_slot_ns} ns",
        "line": f"{given.e_line_pj} pJ",
        "pulse": f"{given.e_pulse_pj} pJ",
        "half": f"{given.e_half_pj} pJ",
    }
    table = HardwareTable.load("rpu_training").replace(update=update)
    counts = counts_of_probabilities(
        torch.full((given.cols,), given.p), torch.full((given.rows,), given.q), given.bl
    )
    found = update_cost(counts, table)
    mode = table.mode_for(None, None)[1]
    assert found.energy is not None and found.latency is not None and mode.latency is not None
    assert mode.latency.value == pytest.approx(given.t_mvm_ns * 1e-9)
    return {
        "pulses": counts.pulses,
        "line_pulses": counts.line_pulses,
        "half_selected": counts.half_selected,
        "energy_update": found.energy.value,
        "latency_update": found.latency.value,
        "latency_step": 2 * mode.latency.value + found.latency.value,
    }


def time_shared(given: Any) -> Found:
    rounds, reloads = rounds_and_reloads(given.needed_tiles, given.available_tiles)
    return {"rounds": rounds, "reloads_per_inference": reloads}


def run(case: dict[str, Any]) -> Found:
    """Return what is found for a case."""
    given = SimpleNamespace(**case["input"])
    own: dict[str, Callable[[Any], Found]] = {
        "isaac-array-mvm": isaac_product,
        "adc-count-isaac-16bit": conversions_per_mac,
        "adc-count-isaac-8bit": conversions_per_mac,
        "summary-mapped-conv": mapped_convolution,
        "update-one-sample": update_of_a_sample,
        "time-shared": time_shared,
    }
    if case["id"] in own:
        return own[case["id"]](given)
    if case["preset"] == "adc_envelope":
        return {"energy": adc_envelope(given.enob, given.rate_hz)}
    mode = None
    if case["preset"] == "neurram_130nm":
        mode = f"in{given.input_bits}_out{given.output_bits}"
    return of_peak(given.tiles, case["preset"], mode)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    case, found = CASES[name], run(CASES[name])
    for what, expected in case["expect"].items():
        if expected["unit"] == "[out, in]":
            assert found[what] == expected["value"], what
            continue
        # Where the file says exact, there is the rounding of sums and products of a few numbers.
        tolerance = expected["rel_tol"] or 1e-12
        values = [v * UNITS[expected["unit"]] for v in as_list(expected["value"])]
        own = as_list(found[what])
        assert len(own) == len(values), what
        for mine, wanted in zip(own, values, strict=True):
            assert math.isclose(mine, wanted, rel_tol=tolerance, abs_tol=1e-30), (what, mine)


def test_all_cases_are_there() -> None:
    assert len(CASES) == 18


def test_share_of_converters() -> None:
    """49 % of the chip, 192 of the 330 mW of a tile."""
    case = CASES["isaac-array-mvm"]
    found = run(case)
    whole = found["energy_adc"] / found["energy_total"]
    tile = found["energy_adc"] / (found["energy_total"] - found["energy_io_share"])
    assert whole == pytest.approx(0.49, abs=0.005)
    assert tile == pytest.approx(192 / 330, abs=0.005)


@pytest.mark.parametrize(
    ("bits", "rows", "wanted"), [(16, 128, 1.0), (8, 128, 0.25), (8, 512, 0.0625)]
)
def test_conversions_are_slices_times_passes_over_rows(bits: int, rows: int, wanted: float) -> None:
    given = SimpleNamespace(input_bits=bits, weight_bits=bits, cell_bits=2, dac_bits=1, rows=rows)
    assert conversions_per_mac(given)["adc_conversions_per_mac"] == wanted


def test_conversions_of_a_design_with_large_tiles() -> None:
    layer = AnalogLinear(1024, 256, bias=False, rpu_config=config_of(8, 7))
    (counts,) = analog_summary(layer, (1, 1024), hardware="raella").counts
    assert counts.adc_conversions / counts.macs == pytest.approx(0.063, abs=0.001)


@pytest.fixture
def lenet() -> nn.Module:
    """The network of the report in the documentation: four layers on tiles of 256 x 256."""
    config = InferenceRPUConfig()
    config.mapping.max_input_size = config.mapping.max_output_size = 256
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5), nn.Tanh(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 128), nn.Tanh(), nn.Linear(128, 10),
    )  # fmt: skip
    return convert_to_analog(model, config)


def test_report_of_a_network(lenet: nn.Module) -> None:
    """Tiles, utilisation, products, energy of the arrays and time, to the digits printed."""
    report = cost(lenet, torch.zeros(1, 1, 28, 28))
    analog = [c for c in report.counts if c.tiles]
    assert [c.physical_tiles for c in analog] == [1, 2, 2, 1]
    assert [c.physical_mvms for c in analog] == [576, 128, 2, 1]
    assert analog[0].utilisation == pytest.approx(0.006, abs=0.0005)
    assert (analog[0].macs, analog[0].adc_conversions) == (230_400, 9216)
    everything = [layer.parts for layer in report.layers if layer.parts is not None]
    parts = [found["array"] for found in everything if "array" in found]
    assert parts[0].low == pytest.approx(0.047e-6, rel=0.02)
    assert parts[0].high == pytest.approx(7.74e-6, rel=1e-3)
    assert sum(p.low for p in parts) == pytest.approx(0.23e-6, rel=0.02)
    assert sum(p.high for p in parts) == pytest.approx(9.50e-6, rel=1e-3)
    assert report.latency is not None and report.area is not None
    assert report.latency.value == pytest.approx(85.3e-6, rel=1e-3)
    assert report.area.value == pytest.approx(3.8e-6, rel=2e-3)
    assert report.peak.tops_per_watt is not None and report.tops_per_watt is not None
    assert report.peak.tops_per_watt.value == pytest.approx(9.75, rel=1e-3)
    # 0.24 with the arrays alone; digital operations and buffers are added here.
    assert 0.22 < report.tops_per_watt.value < 0.24
    assert str(report).startswith("AnalogSequential   table hermes_pcm_14nm (measured chip, 14 nm)")


def test_time_shared_without_the_time_of_a_write_is_refused(lenet: nn.Module) -> None:
    x, schedule = torch.zeros(1, 1, 28, 28), Schedule("time_shared", available_tiles=4)
    with pytest.raises(ConfigError, match=r"write\.time.*4 tiles.*2 times"):
        cost(lenet, x, schedule=schedule)
    table = HardwareTable.load("hermes_pcm_14nm").replace(
        write={"time": "1 us", "energy": "100 pJ"}
    )
    shared, resident = cost(lenet, x, table, schedule=schedule), cost(lenet, x, table)
    weights = 400 + 12_800 + 65_536 + 1280
    assert shared.latency is not None and resident.latency is not None
    assert shared.latency.value == pytest.approx(resident.latency.value + weights * 1e-6)
    assert shared.energy is not None and resident.energy is not None
    assert shared.energy.value == pytest.approx(resident.energy.value + weights * 1e-10)
    assert shared.timing is not None
    assert (shared.timing.rounds, shared.timing.reloads) == (2, 6)
    assert "2 rounds, 6 tiles rewritten" in str(shared)
    fits = cost(lenet, x, schedule=Schedule("time_shared"))
    assert fits.timing is not None and fits.timing.reloads == 0
