"""Conversion of whole models between digital and analog layers.

Which class replaces which is one table, filled by `register_analog` where the layers are defined.
"""

import copy
from collections.abc import Callable, Collection
from typing import Any

from torch import nn

from mho.exceptions import ArgumentError
from mho.nn.conversion_table import ANALOG_CLASSES, CONVERSIONS, MAPPED_CONVERSIONS, register_analog
from mho.nn.modules.base import AnalogLayerBase
from mho.nn.modules.container import AnalogSequential, AnalogWrapper
from mho.nn.modules.linear import AnalogLinear
from mho.nn.modules.linear_mapped import AnalogLinearMapped
from mho.nn.replacement import (
    Replacement,
    subtrees,
    warn_of_untied_parameters,
    without_fused_path,
)
from mho.simulator.parameters.arguments import check_rpu_config, check_tile_module_class
from mho.simulator.parameters.base import RPUConfigGeneric
from mho.simulator.parts.clipping import warning_of_clipping

__all__ = [
    "AnalogLinear",
    "AnalogLinearMapped",
    "AnalogSequential",
    "AnalogWrapper",
    "RPUConfigGeneric",
    "convert_to_analog",
    "convert_to_digital",
    "register_analog",
    "specific_rpu_config_id",
]

_DEFAULT_CONVERSION_MAP = CONVERSIONS
_DEFAULT_MAPPED_CONVERSION_MAP = MAPPED_CONVERSIONS
_DEFAULT_DIGITAL_CONVERSION_SET = ANALOG_CLASSES

SpecificConfig = Callable[[str, nn.Module, Any], Any]


def specific_rpu_config_id(
    module_name: str, module: nn.Module, rpu_config: RPUConfigGeneric
) -> RPUConfigGeneric:
    """Return the configuration unchanged; default of ``specific_rpu_config_fun``.

    Args:
        module_name: Full name of the module that is converted.
        module: The digital module.
        rpu_config: A copy of the configuration, which may be changed.
    """
    return rpu_config


def convert_to_analog(
    module: nn.Module,
    rpu_config: RPUConfigGeneric | None,
    tile_module_class: type | None = None,
    conversion_map: dict[type[nn.Module], Any] | None = None,
    specific_rpu_config_fun: SpecificConfig | None = None,
    module_name: str = "",
    ensure_analog_root: bool = True,
    exclude_modules: Collection[str] | None = None,
    inplace: bool = False,
    verbose: bool = False,
) -> nn.Module:
    """Replace the layers of a model that have an analog counterpart.

    Modules that occur several times are converted once and stay shared. Layers are matched by exact
    class; everything else stays digital. An error leaves the model unchanged. Weights beyond the
    bounds of the devices are clipped, with one warning that tells their share.

    Args:
        module: Model or layer.
        rpu_config: Configuration of the tiles; None takes the default of every layer.
        tile_module_class: Tile or tile array for all layers; by default the configuration chooses.
        conversion_map: Analog class, with the class method ``from_digital``, of each digital class.
        specific_rpu_config_fun: Called as ``f(full_name, digital_module, copy_of_rpu_config)`` for
            every module that is converted; returns its configuration.
        module_name: Full name of the given module.
        ensure_analog_root: Wrap a model that is not analog itself in `AnalogWrapper`.
        exclude_modules: Full names of modules that stay digital with everything below them, under
            all their names.
        inplace: Change the given model instead of a copy. The root may be another object even then.
        verbose: Print a line for every conversion.

    Returns:
        The analog model.

    Raises:
        ArgumentError: An argument has the wrong type.
        ConfigError: The configuration is invalid; the message names the field.
    """
    _check_module(module)
    if rpu_config is not None:
        check_rpu_config(rpu_config)
    if tile_module_class is not None:
        check_tile_module_class(tile_module_class)
    excluded_names = _check_names(exclude_modules)
    conversions = CONVERSIONS if conversion_map is None else _check_map(conversion_map)
    choose_config: SpecificConfig = specific_rpu_config_fun or specific_rpu_config_id
    module = module if inplace else copy.deepcopy(module)

    def replace(name: str, digital: nn.Module) -> nn.Module:
        analog_class = conversions.get(type(digital))
        if analog_class is None:
            return digital
        config = choose_config(name, digital, copy.deepcopy(rpu_config))
        analog: nn.Module = analog_class.from_digital(digital, config, tile_module_class)
        if verbose:
            print(f"Converted '{name}' to '{analog_class.__name__}'.")
        return analog

    walk = Replacement(replace, subtrees(module, module_name, excluded_names))
    with warning_of_clipping():
        root = walk.run(module, module_name, module_name not in excluded_names)
    replaced = [old for old, _ in walk.replaced()]
    warn_of_untied_parameters(replaced, root)
    if replaced:
        without_fused_path(root)
    if ensure_analog_root and module_name == "" and not isinstance(root, AnalogLayerBase):
        root = AnalogWrapper(root)
    return root


def convert_to_digital(
    module: nn.Module,
    conversion_set: set[type] | None = None,
    module_name: str = "",
    inplace: bool = False,
) -> nn.Module:
    """Replace analog layers by digital ones with the same logical weights.

    Args:
        module: Model or layer.
        conversion_set: Analog classes, with the class method ``to_digital``, to convert; by default
            all layers and `AnalogSequential`. Wrapped models are always unwrapped.
        module_name: Full name of the given module.
        inplace: Change the given model instead of a copy. The root may be another object even then.

    Returns:
        The digital model.

    Raises:
        ArgumentError: An argument has the wrong type.
    """
    _check_module(module)
    classes = ANALOG_CLASSES if conversion_set is None else _check_set(conversion_set)
    module = module if inplace else copy.deepcopy(module)

    def replace(name: str, analog: nn.Module) -> nn.Module:
        if isinstance(analog, AnalogWrapper):
            return AnalogWrapper.to_digital(analog)
        if type(analog) in classes:
            digital: nn.Module = type(analog).to_digital(analog)  # type: ignore[attr-defined]
            return digital
        return analog

    return Replacement(replace).run(module, module_name)


def _check_module(module: Any) -> None:
    if not isinstance(module, nn.Module):
        raise ArgumentError(f"module: must be a torch.nn.Module, got {type(module).__name__}")


def _check_names(names: Any) -> set[str]:
    if names is None:
        return set()
    if isinstance(names, str) or not isinstance(names, Collection):
        raise ArgumentError(f"exclude_modules: must be a list of full names, got {names!r}")
    return set(names)


def _check_map(conversions: Any) -> dict[type[nn.Module], Any]:
    if not isinstance(conversions, dict):
        raise ArgumentError(
            f"conversion_map: must be a dict of digital to analog classes, got {conversions!r}"
        )
    for analog in conversions.values():
        if not hasattr(analog, "from_digital"):
            raise ArgumentError(f"conversion_map: {analog!r} has no class method from_digital")
    return conversions


def _check_set(classes: Any) -> set[type]:
    if not isinstance(classes, set):
        raise ArgumentError(f"conversion_set: must be a set of analog classes, got {classes!r}")
    for analog in classes:
        if not hasattr(analog, "to_digital"):
            raise ArgumentError(f"conversion_set: {analog!r} has no class method to_digital")
    return classes
