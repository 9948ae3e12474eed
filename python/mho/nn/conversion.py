"""Conversion of whole models between digital and analog layers.

Which class replaces which is one table, filled by `register_analog` where the layers are defined.
"""

import copy
import difflib
from collections.abc import Callable, Collection
from typing import Any, Literal, overload

from torch import nn

from mho.exceptions import ArgumentError, warn_caller
from mho.nn.conversion_table import ANALOG_CLASSES, CONVERSIONS, MAPPED_CONVERSIONS, register_analog
from mho.nn.inheritance import (
    computed_names,
    digital_class,
    settle,
    warn_of_computed_weights,
)
from mho.nn.modules.base import AnalogLayerBase
from mho.nn.modules.container import AnalogSequential, AnalogWrapper
from mho.nn.modules.linear import AnalogLinear
from mho.nn.modules.linear_mapped import AnalogLinearMapped
from mho.nn.replacement import (
    Replacement,
    submodule,
    subtrees,
    warn_of_untied_parameters,
    without_fused_path,
)
from mho.nn.report import conversion_report
from mho.simulator.parameters.arguments import check_rpu_config, check_tile_module_class
from mho.simulator.parameters.base import RPUConfigGeneric
from mho.simulator.parameters.signatures import checked
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


@overload
def convert_to_analog(
    module: nn.Module,
    rpu_config: RPUConfigGeneric | None,
    tile_module_class: type | None = ...,
    conversion_map: dict[type[nn.Module], Any] | None = ...,
    specific_rpu_config_fun: SpecificConfig | None = ...,
    module_name: str = ...,
    ensure_analog_root: Literal[True] = ...,
    exclude_modules: Collection[str] | None = ...,
    inplace: bool = ...,
    verbose: bool = ...,
) -> AnalogLayerBase: ...


@overload
def convert_to_analog(
    module: nn.Module,
    rpu_config: RPUConfigGeneric | None,
    tile_module_class: type | None = ...,
    conversion_map: dict[type[nn.Module], Any] | None = ...,
    specific_rpu_config_fun: SpecificConfig | None = ...,
    module_name: str = ...,
    *,
    ensure_analog_root: bool,
    exclude_modules: Collection[str] | None = ...,
    inplace: bool = ...,
    verbose: bool = ...,
) -> nn.Module: ...


@checked
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
    class; everything else stays digital, see `mho.nn.conversion_report`, and if nothing was
    converted a warning says so. Layers keep their names, hooks, attributes, dtype, training and
    frozen state; what a parametrisation computes is converted with its present values and a
    warning. Layers on the meta device become tiles on the host with the weights of a fresh layer,
    for a state to be loaded. An error leaves the model unchanged. Weights beyond the
    bounds of the devices are clipped, with one warning that tells their share.

    Args:
        module: Model or layer.
        rpu_config: Configuration of the tiles; None takes the default of every layer.
        tile_module_class: Tile or tile array for all layers; by default the configuration chooses.
        conversion_map: Analog class, with the class method ``from_digital``, of each digital class.
        specific_rpu_config_fun: Called as ``f(full_name, digital_module, copy_of_rpu_config)`` for
            every module that is converted; returns its configuration. Only containers take None.
        module_name: Full name of the given module.
        ensure_analog_root: Wrap a model that is not analog itself in `AnalogWrapper`.
        exclude_modules: Full names of modules that stay digital with everything below them, under
            all their names; every one must be there.
        inplace: Change the given model instead of a copy. The root may be another object even then.
        verbose: Print a line for every conversion.

    Returns:
        The analog model.

    Raises:
        ArgumentError: An argument has the wrong type, or there is no module of an excluded name.
        ConfigError: The configuration is invalid; the message names the field.
    """
    if rpu_config is not None:
        check_rpu_config(rpu_config)
    if tile_module_class is not None:
        check_tile_module_class(tile_module_class)
    excluded_names = set(exclude_modules or ())
    conversions = CONVERSIONS if conversion_map is None else _check_map(conversion_map)
    choose_config: SpecificConfig = specific_rpu_config_fun or specific_rpu_config_id
    for part in module.modules():
        settle(part)
    module = module if inplace else copy.deepcopy(module)

    computed: list[tuple[str, list[str]]] = []

    def replace(name: str, digital: nn.Module) -> nn.Module:
        analog_class = conversions.get(digital_class(digital))
        if analog_class is None:
            return digital
        config = choose_config(name, digital, copy.deepcopy(rpu_config))
        _check_given(config, rpu_config, analog_class, name)
        if names := computed_names(digital):
            computed.append((name, names))
        analog: nn.Module = analog_class.from_digital(digital, config, tile_module_class)
        if verbose:
            print(f"Converted '{name}' to '{analog_class.__name__}'.")
        return analog

    _check_excluded(module, module_name, excluded_names)
    walk = Replacement(replace, subtrees(module, module_name, excluded_names))
    with warning_of_clipping():
        root = walk.run(module, module_name, module_name not in excluded_names)
    warn_of_untied_parameters(walk.replaced(), root)
    for name, names in computed:
        warn_of_computed_weights(name, names)
    _warn_of_nothing(root)
    without_fused_path(root)
    if ensure_analog_root and module_name == "" and not isinstance(root, AnalogLayerBase):
        root = AnalogWrapper(root)
    return root


def _check_given(own: object, common: object, analog_class: type, name: str) -> None:
    """Refuse None of a function that forgot to return: a layer would take its default silently."""
    if own is None and common is not None and not getattr(analog_class, "IS_CONTAINER", False):
        raise ArgumentError(
            f"specific_rpu_config_fun: returned None for {name!r}; return a configuration, such as"
            " the one that it is given"
        )


@checked
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


def _warn_of_nothing(root: nn.Module) -> None:
    """Warn if there is no analog layer, and say why."""
    report = conversion_report(root)
    if report.converted:
        return
    reasons = "; ".join(
        f"{entry.name or 'the model'} ({entry.layer_class}) {entry.reason}"
        for entry in report.digital[:3]
    )
    warn_caller(
        f"nothing was converted, the model is digital: {reasons or 'it has no layers'}; see"
        " mho.nn.conversion_report(model)"
    )


def _check_excluded(module: nn.Module, module_name: str, excluded: set[str]) -> None:
    """Refuse names of modules that are not there: they would be converted without a word."""
    prefix = f"{module_name}." if module_name else ""
    for name in sorted(excluded, key=str):
        below = str(name).removeprefix(prefix)
        is_below = isinstance(name, str) and name.startswith(prefix)
        if name == module_name or (is_below and submodule(module, below) is not None):
            continue
        known = [prefix + path for path, _ in module.named_modules() if path]
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ArgumentError(f"exclude_modules: the model has no module {name!r}{hint}")


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
