"""Tables of hardware: presets with sources, files of users, and what is refused."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mho.exceptions import ArgumentError, ConfigError
from mho.utils.hardware_cost import (
    HardwareTable,
    Quantity,
    adc_envelope,
    peak,
    presets,
    rounds_and_reloads,
)
from mho.utils.hardware_cost.adc_envelope import envelope_quantity
from mho.utils.hardware_cost.quantity import KINDS, read_quantity, with_prefix
from mho.utils.hardware_cost.table import FOLDER, _content

NAMES = [
    "digital_45nm", "hermes_core_14nm", "hermes_pcm_14nm", "ibm_pcm_14nm_2023", "isaac_ce_32nm",
    "neurram_130nm", "pcm_macro_40nm", "pcm_pulse", "prime", "puma_32nm", "raella",
    "reram_macro_22nm", "rpu_training",
]  # fmt: skip


def test_all_presets_are_there() -> None:
    assert presets() == NAMES


def numbers(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield key and entry of all numbers of a file."""
    if isinstance(content, dict) and "value" not in content:
        for name, value in content.items():
            yield from numbers(value, f"{key}.{name}")
    elif not isinstance(content, str | bool):
        yield key, content


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_preset_has_a_source(name: str) -> None:
    content = _content(FOLDER / f"{name}.toml")
    found = dict(numbers(content))
    assert found
    for key, entry in found.items():
        assert isinstance(entry, dict), f"{key}: a number without a source"
        assert len(entry["source"]) > 20 and entry["kind"] in KINDS, key
    table = HardwareTable.load(name)
    assert table.name == name and table.title and len(table.limits) > 40


@pytest.mark.parametrize("name", NAMES)
def test_spans_enclose_values(name: str) -> None:
    found = peak(HardwareTable.load(name), 3)
    for quantity in vars(found).values():
        assert quantity is None or quantity.low <= quantity.value <= quantity.high


OWN = """
name = "mine"
base = "hermes_pcm_14nm"
limits = "made up"
digital = {add_int8 = "0.03 pJ", add_int32 = "0.1 pJ", rate = "1 GHz", units = 256}
memory = {read_byte = "1.25 pJ"}
adc = {model = "adc_envelope", enob = 8, rate = "1.2 GHz", margin = 10}
update = {slot = "5 ns", voltage = "1 V", conductance = "5 uS", width = "5 ns", line = "0.1 pJ"}
[tile]
rows = 256
cols = 256
devices_per_weight = 4
area = {value = 0.634, low = 0.629, high = 0.636, unit = "mm2", source = "paper", kind = "derived"}
mode.one_phase = {energy = "13.44 nJ", latency = "132.9 ns", gating = 1.0}
"""


def test_file_of_a_user(tmp_path: Path) -> None:
    """The example of the documentation, with what its base adds."""
    file = tmp_path / "mine.toml"
    file.write_text(OWN)
    table = HardwareTable.load(file)
    mode = table.mode_for(8, 8)[1]
    assert mode.energy == Quantity(13.44e-9, 13.44e-9, 13.44e-9, "J", "", "user")
    assert mode.latency is not None and mode.latency.value == 132.9e-9
    area = table.tile.area
    assert area is not None and (area.low, area.high, area.kind) == (0.629e-6, 0.636e-6, "derived")
    assert table.tile.mode.keys() == {"one_phase", "four_phase"}
    assert table.chip.tiles == 64 and table.digital.units == 256
    assert table.digital.mul_fp16 is not None and table.digital.mul_fp16.value == 1.1e-12
    pulse, half = table.update.pulse_energy(), table.update.half_energy()
    assert pulse is not None and half is not None
    assert pulse.value == pytest.approx(25e-15) and half.value == pytest.approx(6.25e-15)
    beside = tmp_path / "second.toml"
    beside.write_text('base = "mine.toml"\nname = "second"\n')
    assert HardwareTable.load(str(beside)).update == table.update


def test_replaced_numbers() -> None:
    table = HardwareTable.load("isaac_ce_32nm")
    other = table.replace(adc={"energy": "0.8 pJ"}, tile={"rows": 256}, fixed={"links": "1 nJ"})
    assert other.adc.energy is not None and other.adc.energy.value == 0.8e-12
    assert other.adc.area == table.adc.area and other.tile.rows == 256
    assert other.fixed.keys() == {*table.fixed, "links"}
    assert table.adc.energy is not None and table.adc.energy.value == 1.5625e-12
    assert table.replace(dac=None).dac.energy is None
    one = table.replace(adc={"energy": table.adc.energy})
    assert one.adc == table.adc
    assert other.replace(name="mine").tile.rows == 256


BAD: list[tuple[dict[str, Any], str]] = [
    ({"tiles": 3}, r"pcm_pulse: tiles: unknown key; did you mean tile\?"),
    ({"tile": {"row": 3}}, r"tile\.row: unknown key; did you mean rows\?"),
    ({"tile": {"rows": 0}}, r"tile\.rows: expected a positive integer"),
    ({"tile": {"rows": 2.5}}, r"tile\.rows: expected a positive integer"),
    ({"tile": {"rows": "3 mm"}}, r"tile\.rows\.value: expected a number without a unit"),
    ({"tile": 3}, r"tile: expected a table of keys"),
    ({"tile": {"shared_dac": 1}}, r"tile\.shared_dac: expected true or false"),
    ({"tile": {"mode": 3}}, r"tile\.mode: expected a table of names"),
    ({"tile": {"mode": {"a": {"energy": "3 ns"}}}}, r"tile\.mode\.a\.energy.*J with a prefix"),
    ({"tile": {"mode": {"a": {"gating": 1.5}}}}, r"tile\.mode\.a\.gating: is a share"),
    ({"tile": {"area": "3 mm"}}, r"tile\.area\.value: expected m2 with a prefix, got the unit"),
    ({"adc": {"energy": "3 xJ"}}, r"adc\.energy\.value: expected J with a prefix"),
    ({"adc": {"energy": "much"}}, r"adc\.energy\.value: expected a number with a unit"),
    ({"adc": {"energy": "-1 pJ"}}, r"adc\.energy\.value: must be finite and not negative"),
    ({"adc": {"energy": float("nan")}}, r"adc\.energy\.value: must be finite"),
    ({"adc": {"energy": float("inf")}}, r"adc\.energy\.value: must be finite"),
    ({"adc": {"energy": True}}, r"adc\.energy\.value: expected a number"),
    ({"adc": {"energy": {"low": 1}}}, r"adc\.energy\.value: missing"),
    ({"adc": {"energy": {"value": 1, "low": 2}}}, r"adc\.energy: expected low <= value <= high"),
    ({"adc": {"energy": {"value": 1, "high": 0}}}, r"adc\.energy: expected low <= value <= high"),
    ({"adc": {"energy": {"value": 1, "max": 2}}}, r"adc\.energy\.max: unknown"),
    ({"adc": {"energy": {"value": 1, "kind": "x"}}}, r"adc\.energy\.kind: expected one of"),
    ({"adc": {"energy": {"value": 1, "source": 3}}}, r"adc\.energy\.source: expected text"),
    ({"adc": {"energy": {"value": "1 pJ", "unit": "J"}}}, r"adc\.energy\.value: has a unit of its"),
    ({"adc": {"model": "magic"}}, r"adc\.model: expected 'adc_envelope'"),
    ({"adc": {"model": "adc_envelope"}}, r"adc\.rate: the model adc_envelope needs the rate"),
    ({"adc": {"rate": "0 Hz"}}, r"adc\.rate: must be positive"),
    ({"digital": {"scale": 0}}, r"digital\.scale: must be positive"),
    ({"default_mode": "fast"}, r"default_mode: there is no tile\.mode\.fast"),
    ({"name": 3}, r"name: expected text"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD)
def test_bad_tables_are_refused_with_the_key(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HardwareTable.load("pcm_pulse").replace(**{"name": None, **content})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tile", r"bad\.toml: is no TOML"),
        ('base = "nothing"', r"no preset or file 'nothing'; presets are digital_45nm"),
        ("base = 3", r"bad\.toml: base: expected a preset or a path"),
        ('base = "bad.toml"', r"bad\.toml: base: 'bad\.toml' is based on this file itself"),
        ("[tile]\nrows = -1", r"bad\.toml: tile\.rows\.value: must be finite and not negative"),
        ("[tile]\nrow = 1", r"bad\.toml: tile\.row: unknown key"),
    ],
)
def test_bad_files_are_refused_with_their_name(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        HardwareTable.load(file)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"bad\.toml: is no TOML"):
        HardwareTable.load(file)
    with pytest.raises(ArgumentError, match="hardware: expected the name"):
        HardwareTable.load(3)  # type: ignore[arg-type]


def test_old_python_needs_tomli(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    monkeypatch.setitem(sys.modules, "tomli", None)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match=r"pip install mho\[cost\]"):
        HardwareTable.load("prime")


@pytest.mark.parametrize(
    ("given", "unit", "value"),
    [
        ("1.5 pJ", "J", 1.5e-12), ("100 ns", "s", 100e-9), ("0.5mm2", "m2", 0.5e-6),
        ("2 um²", "m2", 2e-12), ("3 GHz", "Hz", 3e9), ("5 uS", "S", 5e-6), ("5 µS", "S", 5e-6),
        ("2 kW", "W", 2e3), (3, "J", 3.0), ("1e-12 J", "J", 1e-12), ("4", "", 4.0),
        ({"value": 3, "unit": "fJ"}, "J", 3e-15), ("10 GB/s", "B/s", 1e10),
    ],
)  # fmt: skip
def test_units(given: Any, unit: str, value: float) -> None:
    assert read_quantity(given, unit, "key").value == value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.35e-8, "J", "13.5 nJ"), (0.0, "J", "0 J"), (9.999e-7, "s", "1 us"),
        (1e-6, "m2", "1 mm²"), (634e-9, "m2", "0.634 mm²"), (230_400, "", "230 k"), (17, "", "17"),
        (2e-21, "J", "0.002 aJ"), (float("inf"), "s", "inf s"),
    ],
)  # fmt: skip
def test_printed_numbers(value: float, unit: str, text: str) -> None:
    assert with_prefix(value, unit) == text


def test_spans() -> None:
    a, b = Quantity(2.0, 1.0, 4.0, "J"), Quantity(3.0, 3.0, 5.0, "J")
    assert a + b == Quantity(5.0, 4.0, 9.0, "J")
    assert 2 * a == a * 2 == Quantity(4.0, 2.0, 8.0, "J")
    assert a.times(b, "") == Quantity(6.0, 3.0, 20.0, "")
    assert a.under(4.0, "s") == Quantity(2.0, 1.0, 4.0, "s")
    assert Quantity(0.0, 0.0, 0.0).under(0.0, "") == Quantity(0.0, 0.0, 0.0)
    assert Quantity(1.0, 0.0, 2.0).under(1.0, "").high == float("inf")
    assert (a.span(), b.span(), str(a)) == ("1 - 4 J", "3 - 5 J", "2 J")
    assert Quantity(2.0, 2.0, 2.0, "s").span() == "2 s"


def test_modes_by_bits() -> None:
    """The first mode that has as many bits, the last one if none has."""
    table = HardwareTable.load("neurram_130nm")
    cases = (
        ((1, 3), "in1_out3"), ((2, 3), "in2_out4"), ((4, 6), "in4_out6"), ((3, 8), "in6_out8"),
        ((9, 9), "in8_out10"), ((None, None), "in1_out3"), ((None, 7), "in6_out8"),
    )  # fmt: skip
    for bits, name in cases:
        assert table.mode_for(*bits)[0] == name
    assert HardwareTable.load("hermes_pcm_14nm").mode_for(9, 9)[0] == "one_phase"
    assert HardwareTable.load("prime").mode_for(8, 8)[0] == ""


def test_four_phases_and_efficiencies() -> None:
    four = peak(HardwareTable.load("hermes_pcm_14nm"), 64, "four_phase")
    assert four.tops is not None and four.tops_per_watt is not None
    assert four.tops.value == pytest.approx(16.1, rel=0.002)
    assert four.tops_per_watt.value == pytest.approx(2.48, rel=0.002)
    for mode, efficiency in (("sustained", 12.4), ("system", 6.94)):
        found = peak(HardwareTable.load("ibm_pcm_14nm_2023"), 34, mode).tops_per_watt
        assert found is not None and found.value == pytest.approx(efficiency, rel=1e-3)


def test_chips_on_paper() -> None:
    """Sums of the publications, from what the tables say of one array or unit."""
    isaac = peak(HardwareTable.load("isaac_ce_32nm"), 16128, passes=16)
    assert isaac.tops is not None and isaac.power is not None and isaac.area is not None
    assert isaac.tops.value == pytest.approx(41.29, rel=1e-3)
    assert isaac.power.value == pytest.approx(65.81, rel=1e-3)
    assert isaac.area.value == pytest.approx(85.4e-6, rel=1e-3)
    assert isaac.tops_per_watt is not None
    assert isaac.tops_per_watt.value == pytest.approx(0.6274, rel=1e-3)
    puma = peak(HardwareTable.load("puma_32nm"), 2208)
    assert puma.tops is not None and puma.power is not None and puma.area is not None
    assert puma.tops.value == pytest.approx(52.31, rel=1e-3)
    assert puma.power.low == pytest.approx(62.5, rel=1e-3)
    assert puma.area.value == pytest.approx(90.6e-6, rel=1e-3)
    for name, efficiencies in (
        ("reram_macro_22nm", (21.6, 21.6)),
        ("pcm_macro_40nm", (20.5, 65.0)),
    ):
        found = peak(HardwareTable.load(name)).tops_per_watt
        assert found is not None
        assert (found.low, found.high) == pytest.approx(efficiencies, rel=1e-4)


def test_area_of_components() -> None:
    """Lines, columns that share converters, cells and the rest."""
    table = HardwareTable.load("digital_45nm").replace(
        tile={"rows": 10, "cols": 6, "rest_area": "100 um2"},
        cell={"area": "1 um2"}, dac={"area": "2 um2"}, adc={"area": "30 um2", "share": 3},
    )  # fmt: skip
    found = peak(table, 2).area
    assert found is not None and found.value == pytest.approx(2e-12 * (60 + 20 + 60 + 100))


def test_bound_of_converters() -> None:
    """Twice the levels cost twice as much at few bits; margins span a factor of ten."""
    assert adc_envelope(5, 1e6) == pytest.approx(2 * adc_envelope(4, 1e6))
    assert adc_envelope(6, 4e9) == pytest.approx(2 * adc_envelope(6, 2e9))
    found = envelope_quantity(8, 1e6)
    assert found.high == pytest.approx(5 * found.value) == pytest.approx(10 * found.low)
    for enob, rate in ((0, 1e6), (8, 0), (8, float("nan"))):
        with pytest.raises(ArgumentError, match=r"must be positive|finite"):
            adc_envelope(enob, rate)


def test_bad_numbers_of_tiles() -> None:
    table = HardwareTable.load("hermes_pcm_14nm")
    for given in ({"tiles": 0}, {"passes": -1}, {"tiles": "all"}):
        with pytest.raises(ArgumentError, match=next(iter(given))):
            peak(table, **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="default_mode"):
        peak(table, mode="fast")
    for needed, available in ((0, 3), (3, 0)):
        with pytest.raises(ArgumentError):
            rounds_and_reloads(needed, available)


def test_impossible_names_of_files() -> None:
    for name in ("a\0b", "x" * 5000, ""):
        with pytest.raises(ConfigError, match="no preset or file"):
            HardwareTable.load(name)
