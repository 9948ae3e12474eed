"""Makes a digital model analog in the way of a map."""

import copy
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from typing import Any

from torch import nn

from mho.exceptions import AihwkitException, ArgumentError, StateError
from mho.nn.conversion_table import ANALOG_CLASSES
from mho.nn.copying import copy_around, own_parameters
from mho.nn.inheritance import settle
from mho.nn.leftovers import check_replaceable, check_root, warn_of_references
from mho.nn.modules.base import AnalogLayerBase
from mho.nn.modules.construction import weights_follow
from mho.nn.modules.container import AnalogWrapper
from mho.nn.modules.layer_weight import io_dtype
from mho.nn.modules.location import raise_in_layer
from mho.nn.replacement import Replacement, is_one_layer, submodule
from mho.nn.saving.analog_map import (
    AnalogMap,
    analog_names,
    class_name,
    opens,
    read_map,
    shared_names,
)
from mho.nn.ties import follow_broken_ties, forget_ties
from mho.simulator.parameters.registry import tile_class
from mho.simulator.parameters.signatures import checked
from mho.simulator.parts.clipping import warning_of_clipping
from mho.simulator.state.plan import deferred_commits


@checked
def convert_by_map(
    model: nn.Module,
    analog_map: Mapping[str, Any],
    inplace: bool = False,
    analog_classes: Collection[type] = (),
) -> nn.Module:
    """Make a digital model analog in the way of another one, of which there is a map.

    Layers that are analog already and of the class in the map stay as they are. Weights are those
    of the given model; layers on the meta device become tiles on the host with the weights of a
    fresh layer, for a state to be loaded. An error leaves the model unchanged.

    Args:
        model: Digital model whose modules have the names that are in the map.
        analog_map: Map as returned by `mho.nn.analog_map`, also after a way through JSON, or the
            content of ``analog_map.json`` of a saved model.
        inplace: Change the given model instead of a copy. The root may be another object even then.
        analog_classes: Analog classes that the map names beside those that `register_analog`
            knows. Nothing is imported because a map names it.

    Returns:
        The analog model.

    Raises:
        ArgumentError: An argument has the wrong type, or the model cannot be converted, as for
            `convert_to_analog`.
        ConfigError: A configuration in the map cannot be read or is invalid.
        StateError: The map is damaged, of another version, or that of another model.
    """
    found = read_map(dict(analog_map))
    check_root(model)
    classes = classes_for(model, found, analog_classes)
    for part in model.modules():
        settle(part)
    kept: Mapping[int, Any] = {}
    if not inplace:
        model, kept = copy_around(model, _to_be_replaced(model, found))
    root = rebuilt(model, found, classes, state_follows=False)
    own_parameters(root, kept)
    return root


def rebuilt(
    model: nn.Module, found: AnalogMap, classes: Mapping[str, Any], state_follows: bool
) -> nn.Module:
    """Return a model with its layers replaced in place, or as it was on any error.

    Args:
        model: Digital model.
        found: Map that fits it.
        classes: Analog classes by the names in the map.
        state_follows: Whether a state is loaded next, so that no weights need be drawn.

    Raises:
        AihwkitException: What a layer raises when it is built.
    """
    names = {id(submodule_at(model, name)): name for name in (*found.layers, *found.containers)}

    def replace(path: str, module: nn.Module) -> nn.Module:
        # Layers that come to light when a module is opened have no other name.
        name = names.get(id(module), path)
        if name in found.layers:
            return _layer(module, name, found, classes, state_follows)
        if name in found.containers:
            return _container(module, name, found, classes)
        return module

    walk = Replacement(replace)
    with walk.or_nothing(model):
        with nullcontext() if state_follows else warning_of_clipping():
            root = walk.run(model, "")
        warn_of_references(walk.replaced(), root)
        # Who loads a state has been warned when the model was converted.
        untied = follow_broken_ties(walk.replaced(), root, warns=not state_follows)
        forget_ties(root, untied)
    return root


def classes_for(model: nn.Module, found: AnalogMap, given: Collection[type]) -> dict[str, Any]:
    """Return the analog classes by which modules of a model are replaced, if a map fits it.

    Args:
        model: Digital model.
        found: Map.
        given: Classes beside the registered ones.

    Returns:
        Classes by the names that the map has for them.

    Raises:
        ArgumentError: One of the given classes is none.
        StateError: A class is not known, or the map is that of another model.
    """
    for other in given:
        if not isinstance(other, type):
            raise ArgumentError(f"analog_classes: expected classes, got {other!r} among them")
    known = {class_name(cls): cls for cls in (*ANALOG_CLASSES, AnalogWrapper, *given)}
    opened = {name for name, cls in found.containers.items() if opens(known.get(cls))}
    _check_names(model, found, opened)
    entries = {name: entry.cls for name, entry in found.layers.items()}
    needed = {}
    for name, wanted in {**entries, **found.containers}.items():
        module = submodule_at(model, name)
        if isinstance(module, AnalogLayerBase) and name in found.layers:
            if class_name(type(module)) != wanted:
                raise StateError(
                    f"analog map: {name!r} is {wanted}, but {class_name(type(module))} in the model"
                )
            continue
        cls: Any = known.get(wanted)
        if cls is None or not hasattr(cls, "from_digital"):
            raise StateError(
                f"analog map: the class {wanted!r} of {name!r} is not known; import its module,"
                " which registers it with register_analog, or hand it over in analog_classes"
            )
        needed[wanted] = cls
    return needed


def submodule_at(model: nn.Module, name: str) -> nn.Module | None:
    """Return the module with a full name, the model itself for an empty one.

    Args:
        model: Model.
        name: Full name.
    """
    return submodule(model, name) if name else model


def _layer(
    module: nn.Module,
    name: str,
    found: AnalogMap,
    classes: Mapping[str, Any],
    state_follows: bool,
) -> nn.Module:
    """Return the analog layer in the place of a module."""
    entry = found.layers[name]
    if is_one_layer(module):
        return module
    check_replaceable(module, name)
    config = None if entry.config is None else copy.deepcopy(found.configs[entry.config])
    tile = None if entry.tile is None else tile_class(entry.tile)
    try:
        with weights_follow() if state_follows else nullcontext():
            layer: nn.Module = classes[entry.cls].from_digital(module, config, tile)
        if state_follows and io_dtype(layer) is not entry.dtype:
            layer = layer.to(dtype=entry.dtype)
        _give_configs(layer, entry.tiles, found)
    except AihwkitException as error:
        raise_in_layer(error, name)
    return layer


def _give_configs(layer: nn.Module, numbers: Mapping[str, int], found: AnalogMap) -> None:
    """Give single tiles of a layer the configurations that only they have."""
    with deferred_commits():
        for name, number in numbers.items():
            tile: Any = submodule_at(layer, name)
            if not hasattr(tile, "replace_with"):
                raise StateError(f"analog map: there is no tile {name!r}")
            tile.replace_with(found.configs[number])


def _container(
    module: nn.Module, name: str, found: AnalogMap, classes: Mapping[str, Any]
) -> nn.Module:
    """Return the container in the place of a module."""
    cls = classes[found.containers[name]]
    is_there: bool = isinstance(module, cls)
    if is_there:
        return module
    container: nn.Module = cls.opened(module) if opens(cls) else cls.from_digital(module)
    prefix = f"{name}." if name else ""
    for layer in found.layers:
        below = layer.removeprefix(prefix)
        if layer.startswith(prefix) and submodule(container, below) is None and "." not in below:
            raise StateError(f"analog map: {name!r} has no layer {below!r}")
    return container


def _check_names(model: nn.Module, found: AnalogMap, opened: Collection[str]) -> None:
    """Refuse a map of another model."""
    for name in (*found.layers, *found.containers):
        if submodule_at(model, name) is None and name.rpartition(".")[0] not in opened:
            raise StateError(
                f"analog map: the model has no module {name!r}; it is of another model"
            )
    further = [name for name in analog_names(model) if name not in found.layers]
    if further:
        raise StateError(
            f"analog map: {further[0]!r} of the model is analog, but no layer of the map"
        )
    shared = shared_names(model, found.layers)
    if shared != found.shared or _repeated(model, found):
        raise StateError(
            "analog map: other layers than those of the model are one and the same under several"
            f" names: {dict(found.shared)} in the map, {shared} in the model"
        )


def _repeated(model: nn.Module, found: AnalogMap) -> bool:
    layers = [submodule_at(model, name) for name in found.layers]
    present = [id(layer) for layer in layers if layer is not None]
    return len(set(present)) != len(present)


def _to_be_replaced(model: nn.Module, found: AnalogMap) -> list[nn.Module]:
    modules = [submodule_at(model, name) for name in found.layers]
    return [module for module in modules if module is not None and not is_one_layer(module)]
