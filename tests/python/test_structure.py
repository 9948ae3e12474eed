"""Classes, files and state of the package are built as `docs/design.md` says.

A tile is one raw tile and a fixed list of parts. What the tests ask of them:

* `tile.parts` lists the parts, plain objects which are attributes of the tile as well;
* `part.entries(config)` and `tile.tile.entries(config)` return the entries of the saved state that
  it owns, by name without prefix of the tile; `"name.*"` stands for any number of names. An entry
  has `required`, whether a state without it is incomplete;
* the tile itself owns `analog_tile_config`.
"""

import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import mho
from golden import CASES, analog_tiles, made
from mho.simulator.parameters.base import RPUConfigBase

ROOT = Path(mho.__file__).parent
DATA = Path(__file__).parent / "data"

# --- ancestors ------------------------------------------------------------------------------------

MOST_ANCESTORS = 2
FOLDERS = ("mho.simulator.tiles", "mho.simulator.raw_tiles", "mho.simulator.parts")
# What a tile is for `isinstance` in ported scripts; it is registered with them, or they do nothing.
ROLES = {
    "BaseTile",
    "InferenceTileWithPeriphery",
    "RPUCudaSimulatorTileWrapper",
    "SimulatorTileWrapper",
    "TileModuleBase",
}


def is_role(cls: type) -> bool:
    """Return whether a class only gives a kind of tile its name."""
    kinds = classmethod | property | staticmethod
    own = [value for name, value in vars(cls).items() if not name.startswith("__")]
    methods = [value for value in own if callable(value) or isinstance(value, kinds)]
    abstract = [m for m in methods if getattr(m, "__isabstractmethod__", False)]
    return cls.__name__ in ROLES and abstract == methods


def ancestors(cls: type) -> list[str]:
    """Return the own classes that a class inherits from."""
    own = (c for c in cls.__mro__[1:] if c.__module__.partition(".")[0] == "mho")
    return [c.__name__ for c in own if not is_role(c)]


def classes_of(packages: Iterable[str]) -> list[type]:
    """Return all classes that are defined in packages, but configurations and what they hold."""
    found = []
    for package in packages:
        try:
            front = importlib.import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            continue
        for info in pkgutil.walk_packages(front.__path__, f"{package}."):
            module = importlib.import_module(info.name)
            found += [c for c in vars(module).values() if inspect.isclass(c)]
    own = {c for c in found if c.__module__.startswith(tuple(packages))}
    return [c for c in sorted(own, key=full_name) if not issubclass(c, RPUConfigBase)]


def full_name(cls: type) -> str:
    """Return module and name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def tall(classes: Iterable[type]) -> dict[str, int]:
    """Return the classes with too many own ancestors, and how many they have."""
    counts = {full_name(cls): len(ancestors(cls)) for cls in classes}
    return {name: count for name, count in counts.items() if count > MOST_ANCESTORS}


# It is a `TorchInferenceTile` for `isinstance` in ported scripts, as in aihwkit.
TALL = {"mho.simulator.tiles.quantized_inference_torch.QuantizedTorchInferenceTile": 3}


def test_classes_have_few_ancestors() -> None:
    assert tall(classes_of(FOLDERS)) == TALL


def test_tall_classes_are_found() -> None:
    def derived(name: str, *bases: type, **content: Any) -> type:
        return type(name, bases, {"__module__": "mho.simulator.tiles.x", **content})

    one = derived("One")
    three = derived("Three", derived("Two", one))
    assert tall([one, three]) == {}
    assert tall([derived("Four", three)]) == {"mho.simulator.tiles.x.Four": 3}
    role = derived("BaseTile")
    assert tall([derived("Tile", three, role)]) == {"mho.simulator.tiles.x.Tile": 3}
    assert tall([derived("Tile", one, role)]) == {}
    # A role that does something is an ancestor as any other.
    working = derived("BaseTile", update=lambda self: None)
    assert tall([derived("Tile", derived("Two", one), working)]) != {}


# --- length of files ------------------------------------------------------------------------------

MOST_LINES = 600


def long_files(root: Path) -> list[str]:
    """Return the files that hold more than one idea can need."""
    paths = sorted(root.rglob("*.py"))
    return [p.name for p in paths if len(p.read_text().splitlines()) > MOST_LINES]


def test_files_are_short() -> None:
    assert long_files(ROOT) == []


def test_long_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "long.py").write_text("x = 1\n" * (MOST_LINES + 1))
    (tmp_path / "short.py").write_text("x = 1\n" * MOST_LINES)
    assert long_files(tmp_path) == ["long.py"]


# --- owners of the state --------------------------------------------------------------------------


def owners(tile: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Return names and entries of all that own a part of the state of a tile."""
    config, parts = tile.rpu_config, list(tile.parts)
    attributes = list(vars(tile).values())
    for part in parts:
        assert any(value is part for value in attributes), f"{part}: is no attribute of the tile"
    own = {"analog_tile_config": SimpleNamespace(required=True)}
    # What of a raw tile must be there depends on its devices; it says so itself when it loads.
    raw = dict.fromkeys(tile.tile.entries(config), SimpleNamespace(required=False))
    others = [(type(part).__name__, part.entries(config)) for part in parts]
    return [(type(tile).__name__, own), (type(tile.tile).__name__, raw), *others]


def ownership_faults(tile: Any) -> list[str]:
    """Return entries of the state without or with several owners, and promised ones that lack."""
    state, known = list(tile.state_dict()), owners(tile)
    faults = []
    for name in state:
        found = [who for who, entries in known if any(fnmatchcase(name, e) for e in entries)]
        if len(found) != 1:
            faults.append(f"{name}: owned by {found}")
    for who, entries in known:
        required = [name for name, entry in entries.items() if entry.required and "*" not in name]
        faults += [f"{name}: promised by {who}" for name in required if name not in state]
    return faults


KINDS = (
    "AnalogTile",
    "CustomTile",
    "FloatingPointTile",
    "InferenceTile",
    "QuantizedTorchInferenceTile",
    "TorchInferenceTile",
)


@cache
def tiles_by_kind() -> dict[str, list[tuple[str, Any]]]:
    """Return the tiles of all models whose states are pinned, by name of their class."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for name, case in CASES.items():
        for tile in analog_tiles(made(case)):
            found.setdefault(type(tile).__name__, []).append((name, tile))
    return found


def test_all_kinds_are_looked_at() -> None:
    assert sorted(tiles_by_kind()) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_of_a_state_has_one_owner(kind: str) -> None:
    faults = {name: ownership_faults(tile) for name, tile in tiles_by_kind()[kind]}
    assert {name: found for name, found in faults.items() if found} == {}


@dataclass
class FakePart:
    """Part with given entries."""

    required: dict[str, bool]

    def entries(self, config: Any) -> dict[str, Any]:
        return {name: SimpleNamespace(required=value) for name, value in self.required.items()}


@dataclass
class FakeTile:
    """Tile with a state that its parts own, or not."""

    state: list[str]
    tile: FakePart = field(default_factory=lambda: FakePart({"weights": True, "hidden.*": True}))
    first: FakePart = field(default_factory=lambda: FakePart({"bias": True, "range": False}))
    rpu_config: Any = None

    @property
    def parts(self) -> list[FakePart]:
        return [self.first]

    def state_dict(self) -> dict[str, None]:
        return dict.fromkeys(["analog_tile_config", *self.state])


def test_entries_without_one_owner_are_found() -> None:
    whole = ["weights", "hidden.a", "hidden.b", "bias"]
    assert ownership_faults(FakeTile(whole)) == []
    assert ownership_faults(FakeTile([*whole, "range"])) == []
    assert ownership_faults(FakeTile([*whole, "alpha"])) == ["alpha: owned by []"]
    twice = FakeTile(whole, first=FakePart({"bias": True, "hidden.b": True}))
    assert ownership_faults(twice) == ["hidden.b: owned by ['FakePart', 'FakePart']"]
    assert ownership_faults(FakeTile(["weights"])) == ["bias: promised by FakePart"]


def test_parts_that_are_no_attributes_are_found() -> None:
    class Hiding(FakeTile):
        @property
        def parts(self) -> list[FakePart]:
            return [FakePart({})]

    with pytest.raises(AssertionError, match="is no attribute"):
        ownership_faults(Hiding(["weights", "bias"]))


# --- methods of the standard ----------------------------------------------------------------------

METHODS: dict[str, Any] = json.loads((DATA / "public_methods.json").read_text())
PENDING = json.loads((DATA / "pending_names.json").read_text())
# These are looked at in the tiles that stand for them: what they promise is done there.
SHARED = ROLES | {"TileModule", "TileWithPeriphery"}


def promised(name: str) -> dict[str, tuple[str, list[str]]]:
    """Return the methods of a class and of its bases: where defined, and their parameters."""
    full = {known.rpartition(".")[2]: known for known in METHODS}
    found: dict[str, tuple[str, list[str]]] = {}
    own = name.rpartition(".")[2]
    for cls in (own, *METHODS[name]["bases"]):
        for method, parameters in METHODS[full[cls]]["methods"].items():
            if cls == own or method != "__init__":
                found.setdefault(method, (cls, parameters))
    return found


def lacking(cls: type, methods: Mapping[str, tuple[str, list[str]]]) -> set[str]:
    """Return promised methods that a class does not have, and parameters that they do not take."""
    found = set()
    for method, (where, parameters) in methods.items():
        if not callable(getattr(cls, method, None)):
            found.add(f"{where}.{method}")
            continue
        taken = inspect.signature(getattr(cls, method)).parameters
        if issubclass(cls, torch.autograd.Function):
            # torch hands over its context by position, if it does so at all.
            parameters = [p for p in parameters if p != "ctx"]
        if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
            found |= {f"{where}.{method}({p})" for p in parameters if p not in taken}
    return found


def look_up(name: str) -> type | None:
    """Return the class of a name, None if it is not there."""
    module, _, cls = name.rpartition(".")
    try:
        found: type | None = getattr(importlib.import_module(module), cls, None)
    except ImportError:
        return None
    return found


# Methods of features that are not built: weights as a sum with a delta; and a quantised periphery
# of tiles other than the quantised one. A method that is there now leaves the list.
PENDING_METHODS = {
    "RPUCudaSimulatorTileWrapper.reset_delta_weights",
    "RPUCudaSimulatorTileWrapper.set_delta_weights",
    "TileWithPeriphery.add_quant_periphery_bias",
    "TileWithPeriphery.apply_quant_periphery_scales",
}


# Steps of a search that is done in another way.
OTHER_METHODS = {
    "MSE_Estimator.forward(data)",
    "MSE_Estimator.golden_asym_range_loss",
    "MSE_Estimator.golden_asym_shift_loss",
    "MSE_Estimator.golden_sym_loss",
}


def test_classes_have_the_methods_of_the_standard() -> None:
    """With the same parameters, but for what is not built yet."""
    found: set[str] = set()
    for name in METHODS:
        cls = look_up(name)
        if cls is not None and name.rpartition(".")[2] not in SHARED:
            found |= lacking(cls, promised(name))
    assert found == PENDING_METHODS | OTHER_METHODS


def test_only_pending_classes_are_absent() -> None:
    absent = [name.rpartition(".") for name in METHODS if look_up(name) is None]
    assert [
        f"{module}.{cls}"
        for module, _, cls in absent
        if module not in PENDING["modules"] and cls not in PENDING["names"].get(module, ())
    ] == []


def test_lacking_methods_are_found() -> None:
    class Tile:
        """Has one method as promised, one with another parameter, one that takes anything."""

        def one(self, x: int) -> None: ...

        def two(self, y: int) -> None: ...

        def three(self, **_: int) -> None: ...

    methods = {name: ("Base", ["x"]) for name in ("one", "two", "three", "four")}
    assert lacking(Tile, methods) == {"Base.two(x)", "Base.four"}


def test_promises_of_bases_count_unless_a_class_makes_its_own() -> None:
    found = promised("mho.simulator.tiles.inference.InferenceTile")
    assert found["decay_weights"][0] == "RPUCudaSimulatorTileWrapper"
    where, parameters = found["program_weights"]
    assert where == "InferenceTileWithPeriphery" and "noise_model" in parameters
    assert "shared_weights" in found["__init__"][1]
