"""The map of a model: what of it is analog, in plain JSON.

`analog_map` has the keys

- ``format``: 1; ``versions``: of mho and torch that made it;
- ``configs``: the different configurations, as objects of JSON;
- ``layers``: by full name of every analog layer: ``class``; ``config``, a position in ``configs``,
  null without tiles; ``tile``, the class of tile or array where it is not the one that the
  configuration would choose; ``dtype`` of inputs and outputs; ``tiles``, configurations of
  single tiles that differ from that of the layer, by name below the layer;
- ``containers``: classes of containers that a conversion has made, by full name, among them what
  was opened into linear layers;
- ``shared``: further names of layers that a model has under several, with the first one.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mho._core import __version__
from mho.exceptions import ConfigError, StateError
from mho.nn.conversion_table import ANALOG_CLASSES
from mho.nn.modules.base import AnalogLayerBase
from mho.nn.modules.container import AnalogWrapper
from mho.nn.modules.layer_weight import io_dtype
from mho.nn.replacement import is_one_layer
from mho.nn.selection import places
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.registry import registered_tile_classes
from mho.simulator.parameters.signatures import checked
from mho.simulator.tiles.base import TileModuleBase
from mho.simulator.tiles.module import TileModule

FORMAT = 1
FOLDER_KEYS = {"skeleton", "files", "tied", "buffers", "frozen"}
"""What the file of a saved model has beside the map."""

_KEYS = {"format", "versions", "configs", "layers", "containers", "shared"}
_LAYER_KEYS = {"class", "config", "tile", "dtype", "tiles"}


@dataclass(frozen=True)
class LayerEntry:
    """What a map says of a layer."""

    cls: str
    """Full name of its class."""

    config: int | None
    """Position of its configuration, None if it has no tiles."""

    tile: str | None
    """Class of its tile or array, None for the one that the configuration chooses."""

    dtype: torch.dtype
    """Type of its inputs and outputs."""

    tiles: Mapping[str, int] = field(default_factory=dict)
    """Positions of other configurations of single tiles, by name below the layer."""


@dataclass(frozen=True)
class AnalogMap:
    """A map that was read and checked."""

    configs: tuple[RPUConfigBase, ...]
    """Configurations."""

    layers: Mapping[str, LayerEntry]
    """Layers by full name."""

    containers: Mapping[str, str]
    """Full names of the classes of containers, by full name."""

    shared: Mapping[str, str]
    """First name of a layer by its further names."""


@checked
def analog_map(model: nn.Module) -> dict[str, Any]:
    """Return what of a model is analog, in plain JSON: numbers, text, lists and dictionaries.

    With it `mho.nn.convert_by_map` makes a digital model analog in the same way; weights and all
    other state are not in it, see `mho.nn.save_analog`. The keys are described in
    `mho.nn.saving.analog_map`.

    Args:
        model: Model; not changed.

    Returns:
        The map, a new object.

    Raises:
        ArgumentError: `model` is no module.
        ConfigError: A configuration has a class that no text can name; the message tells how to
            register it.
    """
    configs: dict[str, int] = {}
    layers: dict[str, Any] = {}
    containers: dict[str, str] = {}
    for name, module in _outermost(model):
        if _is_listed(module):
            layers[name] = _layer(name, module, configs)
        elif isinstance(module, AnalogWrapper):
            containers[name] = class_name(AnalogWrapper)
        elif type(module) in ANALOG_CLASSES or opens(type(module)):
            containers[name] = class_name(type(module))
    return {
        "format": FORMAT,
        "versions": {"mho": __version__, "torch": str(torch.__version__)},
        "configs": [json.loads(text) for text in configs],
        "layers": layers,
        "containers": containers,
        "shared": shared_names(model, layers),
    }


def class_name(cls: type) -> str:
    """Return the name by which maps know a class.

    Args:
        cls: Class.
    """
    return f"{cls.__module__}.{cls.__qualname__}"


def analog_names(model: nn.Module) -> list[str]:
    """Return the first names of all analog layers of a model, as a map has them.

    Args:
        model: Model.
    """
    return [name for name, module in _outermost(model) if _is_listed(module)]


def opens(cls: Any) -> bool:
    """Return whether a class stands for a module that was opened into linear layers.

    Args:
        cls: Analog class.
    """
    return hasattr(cls, "opened")


def _is_listed(module: nn.Module) -> bool:
    """Return whether a module is one layer of the map."""
    return is_one_layer(module) and not opens(type(module))


def shared_names(model: nn.Module, layers: Mapping[str, Any]) -> dict[str, str]:
    """Return the further names of layers, each with the name under which it is listed.

    Args:
        model: Model.
        layers: Full names of the layers.
    """
    found = {place.name: place.module for place in places(model, "", ())}
    listed = {id(found[name]): name for name in layers if name in found}
    return {
        name: listed[id(module)]
        for name, module in found.items()
        if name not in layers and id(module) in listed
    }


def _outermost(
    module: nn.Module, name: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield analog layers and containers once, and nothing inside of a layer."""
    seen = set() if seen is None else seen
    if id(module) in seen:
        return
    seen.add(id(module))
    if isinstance(module, AnalogLayerBase):
        yield name, module
        if _is_listed(module):
            return
    for child_name, child in module._modules.items():
        if child is not None:
            yield from _outermost(child, f"{name}.{child_name}" if name else child_name, seen)


def _layer(name: str, layer: nn.Module, configs: dict[str, int]) -> dict[str, Any]:
    tiles = {n: m for n, m in layer.named_modules() if isinstance(m, TileModule)}
    numbers = {n: _number(f"{name}.{n}" if name else n, m, configs) for n, m in tiles.items()}
    first = next(iter(numbers.values()), None)
    return {
        "class": class_name(type(layer)),
        "config": first,
        "tile": _tile_class(layer),
        "dtype": str(io_dtype(layer)).removeprefix("torch."),
        "tiles": {n: number for n, number in numbers.items() if number != first},
    }


def _number(name: str, tile: TileModule, configs: dict[str, int]) -> int:
    """Return the position of the configuration of a tile, which is added if it is new."""
    try:
        encoded = json.loads(tile.rpu_config.to_json())
    except ConfigError as error:
        raise ConfigError(f"tile {name!r}: {error}") from error
    # Where kernels run is up to the machine, not to the model.
    encoded["params"]["runtime"]["params"]["backend"] = None
    return configs.setdefault(json.dumps(encoded), len(configs))


def _tile_class(layer: nn.Module) -> str | None:
    """Return the class of all tiles or arrays of a layer if it is not what they would have been."""
    chosen = set()
    usual = True
    for part in _tile_modules(layer):
        chosen.add(type(part))
        sizes = part.out_size, part.in_size
        usual = usual and type(part) is part.rpu_config.get_default_tile_module_class(*sizes)
    if usual or len(chosen) != 1:
        return None
    cls = chosen.pop()
    if registered_tile_classes().get(cls.__name__) is not cls:
        raise ConfigError(
            f"{cls.__name__}: cannot be named in a map; decorate it with"
            " @mho.simulator.parameters.registry.register_tile_class"
        )
    return cls.__name__


def _tile_modules(module: nn.Module) -> Iterator[Any]:
    """Yield tiles and arrays of tiles, nothing inside of them."""
    for child in module.children():
        if isinstance(child, TileModuleBase):
            yield child
        else:
            yield from _tile_modules(child)


def read_map(value: Any) -> AnalogMap:
    """Return a map in a form to work with.

    Args:
        value: Content as `analog_map` returns it, or that of the file of a saved model.

    Raises:
        StateError: It is damaged, or of a version that is not known.
        ConfigError: A configuration in it cannot be read; the message names its number.
    """
    entries = {k: v for k, v in _dict("the map", value).items() if k not in FOLDER_KEYS}
    if "format" not in entries or "layers" not in entries:
        raise StateError("analog map: has no format and no layers, so it is none")
    if type(entries["format"]) is not int or entries["format"] != FORMAT:
        versions = entries.get("versions")
        raise StateError(
            f"analog map: format {entries['format']!r} is not supported by mho {__version__}; it"
            f" was written by {versions if isinstance(versions, dict) else 'another version'}"
        )
    # A key that is not known may mean anything, so nothing is guessed.
    if set(entries) != _KEYS:
        raise StateError(
            f"analog map: expected the keys {sorted(_KEYS)}, got {sorted(map(str, entries))}"
        )
    for what, number in _dict("versions", entries["versions"]).items():
        _text(f"versions[{what!r}]", number)
    configs = tuple(_configs(entries["configs"]))
    layers = {
        name: _entry(f"layers[{name!r}]", entry, len(configs))
        for name, entry in _dict("layers", entries["layers"]).items()
    }
    containers = _texts("containers", entries["containers"])
    shared = _texts("shared", entries["shared"])
    for name, first in shared.items():
        if first not in layers or name in layers:
            raise StateError(f"analog map: shared[{name!r}]: {first!r} is no layer of the map")
    return AnalogMap(configs, layers, containers, shared)


def _configs(value: Any) -> Iterator[RPUConfigBase]:
    if not isinstance(value, list):
        raise StateError("analog map: configs must be a list")
    for number, config in enumerate(value):
        try:
            yield RPUConfigBase.from_json(json.dumps(config))
        except (TypeError, ValueError, RecursionError) as error:
            raise StateError(f"analog map: configs[{number}]: is no JSON: {error}") from error
        except ConfigError as error:
            raise ConfigError(f"analog map: configs[{number}]: {error}") from error


def _entry(where: str, value: Any, n_configs: int) -> LayerEntry:
    entry = _dict(where, value)
    if set(entry) != _LAYER_KEYS:
        raise StateError(f"analog map: {where}: expected the keys {sorted(_LAYER_KEYS)}")
    config, tile = entry["config"], entry["tile"]
    tiles = _dict(f"{where}: tiles", entry["tiles"])
    for number in (*([] if config is None else [config]), *tiles.values()):
        if type(number) is not int or not 0 <= number < n_configs:
            raise StateError(f"analog map: {where}: there is no configuration {number!r}")
    dtype = getattr(torch, _text(f"{where}: dtype", entry["dtype"]), None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise StateError(f"analog map: {where}: {entry['dtype']!r} is no floating-point type")
    if tile is not None:
        _text(f"{where}: tile", tile)
    return LayerEntry(_text(f"{where}: class", entry["class"]), config, tile, dtype, tiles)


def _dict(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise StateError(f"analog map: {where} must be an object with names as keys")
    return value


def _texts(where: str, value: Any) -> dict[str, str]:
    return {name: _text(f"{where}[{name!r}]", text) for name, text in _dict(where, value).items()}


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise StateError(f"analog map: {where} must be text, got {value!r}")
    return value
