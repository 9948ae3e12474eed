"""Open tables of what a product costs on some hardware."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mho.documented import documented
from mho.exceptions import ArgumentError, ConfigError, short_traceback
from mho.utils.hardware_cost.parts import (
    ChipPart,
    ConverterPart,
    DigitalPart,
    MemoryPart,
    Mode,
    NetworkPart,
    TilePart,
    UpdatePart,
    WritePart,
)
from mho.utils.hardware_cost.quantity import Quantity
from mho.utils.hardware_cost.schema import read_part

FOLDER = Path(__file__).parent / "presets"
_MODELS = ("", "adc_envelope")


@documented
@dataclass(frozen=True)
class HardwareTable:
    """What products, digital operations and updates cost on some hardware.

    Every number has a span and a source. Tables are read from TOML (`load`) or made from others
    (`replace`); `docs/cost.md` lists the keys.
    """

    name: str = ""
    """Name of the table."""

    title: str = ""
    """What it is, in a few words."""

    limits: str = ""
    """What the numbers leave out, for the report."""

    default_mode: str = ""
    """Mode of the tiles; by default the first one, or the one with the bits of a layer."""

    tile: TilePart = field(default_factory=TilePart)
    """Tiles."""

    adc: ConverterPart = field(default_factory=ConverterPart)
    """Output converters."""

    dac: ConverterPart = field(default_factory=ConverterPart)
    """Input converters."""

    cell: ConverterPart = field(default_factory=ConverterPart)
    """Cells; energy of one read in one pass, of all devices of a slice."""

    sample: ConverterPart = field(default_factory=ConverterPart)
    """Sample-and-hold stages."""

    fixed: Mapping[str, Quantity] = field(
        default_factory=dict, metadata={"named": None, "unit": "J"}
    )
    """Further energies of a product on a tile, by name."""

    digital: DigitalPart = field(default_factory=DigitalPart)
    """Digital units."""

    memory: MemoryPart = field(default_factory=MemoryPart)
    """Buffers."""

    network: NetworkPart = field(default_factory=NetworkPart)
    """Connections."""

    chip: ChipPart = field(default_factory=ChipPart)
    """Chip."""

    write: WritePart = field(default_factory=WritePart)
    """Programming."""

    update: UpdatePart = field(default_factory=UpdatePart)
    """Training."""

    content: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False, init=False)
    """What the table was read from, with that of its base."""

    @staticmethod
    @short_traceback
    def load(source: "str | Path | HardwareTable") -> "HardwareTable":
        """Return a table.

        Args:
            source: Name of a preset (`presets()` lists them), path of a TOML file, or a table.

        Raises:
            ArgumentError: It is something else.
            ConfigError: There is no such preset or file, it is no TOML, or a key or value does not
                fit; the message has file and key.
            ImportError: Python 3.10 without the package tomli.
        """
        if isinstance(source, HardwareTable):
            return source
        if not isinstance(source, str | Path):
            raise ArgumentError(
                "hardware: expected the name of a preset, a path or a HardwareTable, got"
                f" {type(source).__name__}"
            )
        path = _path_of(source)
        return _read(_with_base(_content(path), path.parent, (path,)), path.name)

    @short_traceback
    def replace(self, **changes: Any) -> "HardwareTable":
        """Return a table in which some numbers are others.

        Args:
            changes: Values by key, tables as mappings of what changes in them, such as
                `adc={"energy": "0.8 pJ"}`; None takes a key away.

        Raises:
            ConfigError: A key or value does not fit.
        """
        return _read(_merged(self.content, changes), self.name or "table")

    def has_tile_energy(self) -> bool:
        """Return whether the energy of a product is known."""
        modes = self.tile.mode.values()
        parts = (self.adc, self.dac, self.cell, self.sample)
        return (
            any(mode.energy is not None for mode in modes)
            or any(part.energy is not None or bool(part.model) for part in parts)
            or bool(self.fixed)
        )

    def has_latency(self) -> bool:
        """Return whether the time of a product is known."""
        modes = self.tile.mode.values()
        return any(m.latency is not None or m.pass_latency is not None for m in modes)

    def mode_for(self, bits_in: int | None, bits_out: int | None) -> tuple[str, Mode]:
        """Return name and mode for a layer.

        Args:
            bits_in: Bits of its inputs, None if it does not say.
            bits_out: Bits of its outputs.

        Returns:
            The chosen mode of the table; else the first one with as many bits, or the last one if
            none has. An empty mode without any.
        """
        modes = self.tile.mode
        if self.default_mode:
            return self.default_mode, modes[self.default_mode]
        if not modes:
            return "", Mode()
        wanted = bits_in or 0, bits_out or 0
        if bits_in is None and bits_out is None:
            return next(iter(modes.items()))
        for name, mode in modes.items():
            bits = mode.input_bits, mode.output_bits
            if all(b is None or b >= w for b, w in zip(bits, wanted, strict=True)):
                return name, mode
        return list(modes.items())[-1]


def presets() -> list[str]:
    """Return the names of the tables that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def _path_of(source: str | Path) -> Path:
    preset = FOLDER / f"{source}.toml"
    if isinstance(source, str) and source in presets():
        return preset
    if os.path.isfile(source):  # unlike that of a path it is silent on impossible names
        return Path(source)
    raise ConfigError(
        f"hardware: there is no preset or file {str(source)!r}; presets are {', '.join(presets())}"
    )


def _content(path: Path) -> dict[str, Any]:
    """Return what a TOML file says."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError as error:
            raise ImportError(
                "tables of hardware are TOML, which Python 3.10 does not read by itself; install"
                " tomli with `pip install mho[cost]`"
            ) from error
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: is no TOML: {error}") from error


def _with_base(content: dict[str, Any], folder: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Return the content of a file merged into that of its base."""
    base = content.pop("base", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise ConfigError(f"{seen[-1].name}: base: expected a preset or a path, got {base!r}")
    beside = folder / base
    path = beside if beside.is_file() else _path_of(base)
    if path.resolve() in [p.resolve() for p in seen]:
        raise ConfigError(f"{seen[-1].name}: base: {base!r} is based on this file itself")
    below = _with_base(_content(path), path.parent, (*seen, path))
    return _merged(below, content)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings, with values of the second one instead of those of the first."""
    merged = dict(below)
    for name, value in above.items():
        present = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(present, Mapping) and "value" not in value:
            merged[name] = _merged(present, value)
        else:
            merged[name] = value
    return merged


def _read(content: dict[str, Any], file: str) -> HardwareTable:
    table = read_part(HardwareTable, content, f"{file}: ")
    object.__setattr__(table, "content", content)
    _check(table, file)
    return table


def _check(table: HardwareTable, file: str) -> None:
    """Refuse values that contradict each other."""
    modes = table.tile.mode
    if table.default_mode and table.default_mode not in modes:
        raise ConfigError(
            f"{file}: default_mode: there is no tile.mode.{table.default_mode}; modes are"
            f" {', '.join(modes) or 'none'}"
        )
    for name, mode in modes.items():
        if mode.gating is not None and mode.gating.high > 1.0:
            raise ConfigError(f"{file}: tile.mode.{name}.gating: is a share, at most 1")
    for name in (f.name for f in fields(HardwareTable)):
        found = getattr(table, name)
        if isinstance(found, ConverterPart) and found.model not in _MODELS:
            raise ConfigError(f"{file}: {name}.model: expected 'adc_envelope', got {found.model!r}")
    if table.adc.model and table.adc.rate is None:
        raise ConfigError(f"{file}: adc.rate: the model adc_envelope needs the rate")
    for name in ("rate", "enob", "scale"):
        for key, found in (("adc", table.adc), ("digital", table.digital)):
            number = getattr(found, name, None)
            if number is not None and not number.low > 0.0:
                raise ConfigError(f"{file}: {key}.{name}: must be positive")
