"""Costs of a pass: how they scale, schedules, text, figures and workloads."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from mho.exceptions import ArgumentError, ConfigError
from mho.nn import AnalogConv2d, AnalogLinear, AnalogSequential
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig
from mho.utils.analog_info import analog_summary, cost
from mho.utils.hardware_cost import CostReport, HardwareTable, Quantity, Schedule, presets


@pytest.fixture
def model() -> nn.Module:
    """A convolution with many products and two linear layers with one each."""
    torch.manual_seed(1)
    config = InferenceRPUConfig()
    return AnalogSequential(
        AnalogConv2d(1, 8, 5, rpu_config=config), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        AnalogLinear(800, 300, rpu_config=config), nn.ReLU(),
        AnalogLinear(300, 10, rpu_config=config),
    )  # fmt: skip


def images(number: int = 1) -> torch.Tensor:
    return torch.zeros(number, 1, 24, 24)


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def quantities(value: Any) -> Iterator[Quantity]:
    """Yield all quantities of a report."""
    if isinstance(value, Quantity):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from quantities(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from quantities(part)
    elif hasattr(value, "__dataclass_fields__"):
        yield from quantities(vars(value))


WITH_COSTS = [n for n in presets() if n not in ("prime", "raella", "digital_45nm", "pcm_pulse")]


@pytest.mark.parametrize("name", WITH_COSTS)
def test_all_presets_have_spans_that_enclose_values(name: str, model: nn.Module) -> None:
    report = cost(model, images(), name)
    found = list(quantities({k: v for k, v in vars(report).items() if k != "table"}))
    assert len(found) > 10
    # Sums and products of a few hundred numbers are rounded.
    for q in found:
        assert q.low <= q.value * (1 + 1e-12) and q.value <= q.high * (1 + 1e-12)
    assert max(map(len, str(report).splitlines())) <= 100
    assert report.table.limits.split(".")[0] in str(report).replace("\n  ", " ")


@pytest.mark.parametrize("name", WITH_COSTS)
def test_twice_the_batch_is_twice_the_energy_on_the_same_area(name: str, model: nn.Module) -> None:
    one, two = cost(model, images(1), name), cost(model, images(2), name)
    assert one.area == two.area
    for a, b in zip(one.layers, two.layers, strict=True):
        assert (a.energy is None) == (b.energy is None)
        for end in (
            ("low", "value", "high") if a.energy is not None and b.energy is not None else ()
        ):
            assert getattr(b.energy, end) == pytest.approx(2 * getattr(a.energy, end))
    if two.energy is not None and one.energy is not None:
        per_sample = two.energy_per_sample
        assert per_sample is not None and per_sample.value == pytest.approx(one.energy.value)


def gated(gating: Any) -> HardwareTable:
    return HardwareTable.load("hermes_pcm_14nm").replace(
        tile={"mode": {"one_phase": {"gating": gating}}}
    )


def test_gating(model: nn.Module) -> None:
    """Without any share that is always drawn, the energy is that of the used cells."""
    energy = 13.4375e-9
    for share in (0.0, 0.25, 1.0):
        report = cost(model, images(), gated(share))
        for counts, layer in zip(report.counts, report.layers, strict=True):
            if not counts.tiles:
                continue
            assert layer.parts is not None
            used, full = counts.macs / 256**2, counts.physical_mvms
            found = layer.parts["array"]
            assert found.low == pytest.approx(used * energy)
            assert found.high == pytest.approx(full * energy)
            assert found.value == pytest.approx(energy * (share * full + (1 - share) * used))
            assert layer.tops_per_watt is not None and layer.energy is not None
            wanted = 2e-12 * counts.macs / layer.energy.high
            assert layer.tops_per_watt.low == pytest.approx(wanted)


def test_converters_follow_bits_by_the_model() -> None:
    table = HardwareTable.load("isaac_ce_32nm").replace(
        adc={"energy": None, "model": "adc_envelope", "rate": "1.2 GHz", "margin": 1}
    )
    energies = []
    for steps in (2**4 - 2, 2**6 - 2):
        config = InferenceRPUConfig()
        config.forward.out_res = 1.0 / steps
        layer = AnalogLinear(16, 8, bias=False, rpu_config=config)
        (found,) = cost(layer, torch.zeros(1, 16), table).layers
        assert found.parts is not None
        energies.append(found.parts["adc"].value)
    assert energies[1] == pytest.approx(4 * energies[0])


def test_bits_that_the_table_does_not_have_are_noted() -> None:
    config = InferenceRPUConfig()
    config.forward.inp_res, config.forward.out_res = 1.0 / (2**9 - 2), -1.0
    layer = AnalogLinear(16, 8, bias=False, rpu_config=config)
    report = cost(layer, torch.zeros(1, 16))
    text = " ".join(report.notes)
    assert "input bits: 9 are more than the 8 of the table; its energy is not scaled" in text
    assert "output bits: the configuration has no output converter; those of the table" in text


def test_passes_of_whole_products_are_noted() -> None:
    config = SingleRPUConfig()
    config.forward.mv_type = config.forward.mv_type.POS_NEG_SEPARATE
    layer = AnalogLinear(16, 8, bias=False, rpu_config=config)
    report = cost(layer, torch.zeros(1, 16))
    assert any("passes of mv_type are not multiplied" in note for note in report.notes)
    isaac = cost(layer, torch.zeros(1, 16), "isaac_ce_32nm")
    assert isaac.counts[0].tiles[0].precision.passes == 14
    assert isaac.latency is not None and isaac.latency.value == pytest.approx(1400e-9)


def test_digital_costs(model: nn.Module) -> None:
    """Energy by operation, divided by the scale; times by rate and bandwidth; static power."""
    base = HardwareTable.load("hermes_pcm_14nm")
    table = base.replace(
        digital={"rate": "1 GHz", "units": 4, "scale": 2},
        memory={"bandwidth": "1 GB/s"},
        network={"hop_byte": "2 pJ", "hops": 3},
        chip={"static_power": "1 W"},
    )
    plain, found = cost(model, images(), base), cost(model, images(), table)
    for counts, one, other in zip(found.counts, plain.layers, found.layers, strict=True):
        assert one.parts is not None and other.parts is not None
        if "digital" in one.parts:
            assert other.parts["digital"].value == pytest.approx(one.parts["digital"].value / 2)
        if counts.tiles:
            assert other.parts["network"].value == pytest.approx(counts.bytes_moved * 6e-12)
            assert one.latency is not None and other.latency is not None
            added = counts.digital.operations / 4e9 + counts.bytes_moved / 1e9
            assert other.latency.value == pytest.approx(one.latency.value + added)
    layers = sum(layer.energy.value for layer in found.layers if layer.energy is not None)
    assert found.energy is not None and found.latency is not None
    assert found.energy.value == pytest.approx(layers + found.latency.value)
    assert not any("analog part only" in note for note in found.notes)


def test_schedules(model: nn.Module) -> None:
    """400 products of the convolution after each other, and one of each linear layer."""
    t = 132.9e-9
    resident = cost(model, images())
    assert resident.latency is not None and resident.interval == resident.latency
    assert resident.latency.value == pytest.approx(402 * t)
    pipelined = cost(model, images(), schedule="pipelined")
    assert pipelined.latency == resident.latency and pipelined.interval is not None
    assert pipelined.interval.value == pytest.approx(400 * t)
    assert "one pass every" in str(pipelined)
    four = cost(model, images(), schedule=Schedule("pipelined", replicas={"0": 4}))
    assert four.interval is not None and four.interval.value == pytest.approx(100 * t)
    assert four.area is not None and resident.area is not None
    assert four.area.value == pytest.approx(resident.area.value + 3 * 0.634e-6)
    assert four.energy is not None and resident.energy is not None
    assert four.energy.value == pytest.approx(resident.energy.value)


def test_intervals_of_a_table(model: nn.Module) -> None:
    """Products start before the last one is complete."""
    report = cost(model, images(), "puma_32nm")
    assert report.latency is not None
    assert report.latency.value == pytest.approx(3 * 2304e-9 + 399 * 1383e-9)


def test_balanced_copies(model: nn.Module) -> None:
    """As fast as a linear layer if there are tiles enough, and as fast as they allow otherwise."""
    tiles = 1 + 8 + 2  # 800 inputs on 4 tiles, 300 outputs on 2; 300 inputs on 2
    t = 132.9e-9
    for available, copies in ((tiles + 399, 400), (tiles + 49, 50), (tiles, 1), (tiles - 1, 1)):
        schedule = Schedule("pipelined", available_tiles=available, replicas="balance")
        report = cost(model, images(), schedule=schedule)
        assert report.layers[0].replicas == copies
        assert report.interval is not None
        assert report.interval.value == pytest.approx(400 / copies * t)
    with pytest.raises(ConfigError, match=r"chip\.tiles.*available_tiles"):
        cost(model, images(), "hermes_core_14nm", schedule=Schedule(replicas="balance"))


def test_schedules_without_times_are_refused(model: nn.Module) -> None:
    for schedule in ("pipelined", Schedule(replicas={"0": 2})):
        with pytest.raises(ConfigError, match=r"tile\.mode: the table pcm_macro_40nm has no time"):
            cost(model, images(), "pcm_macro_40nm", schedule=schedule)
        with pytest.raises(ArgumentError, match="hardware: training and schedule need a table"):
            analog_summary(model, inputs=images(), schedule=schedule)
    with pytest.raises(ArgumentError, match="hardware: training and schedule need a table"):
        analog_summary(model, inputs=images(), training=True)


def test_reports_name_what_is_missing(model: nn.Module) -> None:
    times = cost(model, images(), "rpu_training")
    assert times.energy is None and times.area is None and times.latency is not None
    assert any("energy of digital" in note for note in times.notes)
    macro = cost(model, images(), "pcm_macro_40nm")
    assert macro.latency is None and macro.energy is not None
    assert any("times, which the table does not have" in note for note in macro.notes)
    assert "no confidence interval" in str(macro).replace("\n  ", " ")


def test_long_names_keep_the_width() -> None:
    layer = AnalogLinear(3, 2, rpu_config=InferenceRPUConfig())
    inner: nn.Module = AnalogSequential(layer)
    for _ in range(6):
        inner = nn.Sequential(inner)
        inner.add_module("a_rather_long_name_of_a_layer", nn.ReLU())
    text = str(cost(inner, torch.zeros(10**6, 3)))
    assert max(map(len, text.splitlines())) <= 100
    assert "1 M" in text  # products of a vector, with a prefix


@pytest.mark.parametrize("kind", ["energy", "latency", "area", "utilisation"])
def test_figures(kind: str, model: nn.Module) -> None:
    """One bar for each layer with something to show, as long as the number is."""
    info = analog_summary(model, inputs=images(), hardware="hermes_pcm_14nm")
    figure = info.plot(kind)
    assert type(figure).__name__ == "Figure"
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    lengths: dict[int, float] = {}
    for bar in axes.patches:
        row = round(bar.get_y() + bar.get_height() / 2)
        lengths[row] = lengths.get(row, 0.0) + bar.get_width()
    assert info.cost is not None
    report: CostReport = info.cost
    for row, label in enumerate(labels):
        at = next(i for i, counts in enumerate(info.counts) if counts.name == label.split()[0])
        if kind == "utilisation":
            wanted = 100 * info.counts[at].utilisation
        else:
            wanted = getattr(report.layers[at], kind).value * (1e6 if kind == "area" else 1.0)
        assert lengths[row] == pytest.approx(wanted)
    assert {"0 AnalogConv2d", "4 AnalogLinear", "6 AnalogLinear"} <= set(labels)


def test_figures_that_cannot_be_drawn(model: nn.Module) -> None:
    info = analog_summary(model, inputs=images(), hardware="rpu_training")
    with pytest.raises(ArgumentError, match="kind: expected one of energy"):
        info.plot("colour")
    with pytest.raises(ArgumentError, match="kind: the table rpu_training has no energy"):
        info.plot("energy")
    plain = analog_summary(model, inputs=images())
    with pytest.raises(ArgumentError, match="choose hardware"):
        plain.plot("area")
    assert plain.plot("utilisation") is not None


def test_workload_of_einsums(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML, which transformers bring, is missing")
    config = InferenceRPUConfig()
    model = AnalogSequential(
        AnalogConv2d(2, 3, 3, stride=2, dilation=(1, 2), rpu_config=config), nn.Flatten(),
        AnalogLinear(18, 5, rpu_config=config),
    )  # fmt: skip
    info = analog_summary(model, (4, 2, 8, 8))
    file = tmp_path / "workload.yaml"
    info.export_workload(file)
    first, second = yaml.safe_load(file.read_text())["workload"]["einsums"]
    assert first["einsum"] == (
        "L0_out[n, m, p, q] = L0_in[n, c, H: p*2 + r, W: q*2 + s*2] * L0_w[m, c, r, s]"
    )
    assert first["iteration_space_shape"] == [
        "0 <= n < 4", "0 <= m < 3", "0 <= c < 2", "0 <= p < 3", "0 <= q < 2", "0 <= r < 3",
        "0 <= s < 3",
    ]  # fmt: skip
    assert second["einsum"] == "L2_out[n, o] = L2_in[n, i] * L2_w[i, o]"
    assert second["iteration_space_shape"] == ["0 <= n < 4", "0 <= i < 18", "0 <= o < 5"]
    assert second["renames"] == {"output": "L2_out", "input": "L2_in", "weight": "L2_w"}
    bits = {entry["name"]: entry["bits_per_value"] for entry in second["tensor_accesses"]}
    assert bits == {"L2_out": 9, "L2_in": 7, "L2_w": 8}
    for einsum, layer in zip((first, second), (info.counts[0], info.counts[2]), strict=True):
        sizes = [int(bound.rsplit(" ", 1)[1]) for bound in einsum["iteration_space_shape"]]
        assert torch.Size(sizes).numel() == layer.macs


def test_workload_as_counts(tmp_path: Path, model: nn.Module) -> None:
    info = analog_summary(model, inputs=images())
    file = tmp_path / "counts.csv"
    info.export_workload(file, "csv")
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["name"] for row in rows] == [layer.name for layer in info.counts]
    assert int(rows[0]["macs"]) == info.counts[0].macs
    with pytest.raises(ArgumentError, match="format: expected one of accelforge, csv"):
        info.export_workload(tmp_path / "other", "onnx")
    assert not (tmp_path / "other").exists()
