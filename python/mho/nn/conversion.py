"""Conversion of whole models between digital and analog layers.

Which class replaces which is one table, filled by `register_analog` where the layers are defined.
"""

import copy
import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, overload

from torch import nn

from mho.exceptions import AihwkitException, ArgumentError, warn_caller
from mho.nn.conversion_table import (
    ANALOG_CLASSES,
    CONVERSIONS,
    MAPPED_CONVERSIONS,
    DigitalClass,
    counterpart,
    register_analog,
)
from mho.nn.copying import copy_around, own_parameters
from mho.nn.inheritance import (
    computed_names,
    digital_class,
    settle,
    warn_of_computed_weights,
)
from mho.nn.leftovers import (
    check_replaceable,
    check_root,
    warn_of_references,
)
from mho.nn.modules.attention import PROJECTIONS, AnalogMultiheadAttention
from mho.nn.modules.base import AnalogLayerBase
from mho.nn.modules.container import AnalogSequential, AnalogWrapper
from mho.nn.modules.conv import AnalogConv1d, AnalogConv2d, AnalogConv3d
from mho.nn.modules.conv_mapped import (
    AnalogConv1dMapped,
    AnalogConv2dMapped,
    AnalogConv3dMapped,
)
from mho.nn.modules.conv_transpose import (
    AnalogConvTranspose1d,
    AnalogConvTranspose2d,
    AnalogConvTranspose3d,
)
from mho.nn.modules.linear import AnalogLinear
from mho.nn.modules.linear_mapped import AnalogLinearMapped
from mho.nn.modules.location import raise_in_layer
from mho.nn.modules.rnn.converted import (
    ConvertedGRU,
    ConvertedGRUCell,
    ConvertedLSTM,
    ConvertedLSTMCell,
    ConvertedRNN,
    ConvertedRNNCell,
)
from mho.nn.modules.transposed_linear import ConvertedConv1D
from mho.nn.replacement import Replacement, is_one_layer, submodule, subtrees
from mho.nn.report import conversion_report
from mho.nn.rules import Choices, by_rules, is_one_layer_class, without_rules
from mho.nn.selection import Key, places, selected
from mho.nn.ties import follow_broken_ties, forget_ties
from mho.simulator.parameters.arguments import check_rpu_config, check_tile_module_class
from mho.simulator.parameters.base import RPUConfigGeneric
from mho.simulator.parameters.signatures import checked
from mho.simulator.parts.clipping import warning_of_clipping
from mho.simulator.tiles.module import TileModule

__all__ = [
    "AnalogConv1d",
    "AnalogConv1dMapped",
    "AnalogConv2d",
    "AnalogConv2dMapped",
    "AnalogConv3d",
    "AnalogConv3dMapped",
    "AnalogConvTranspose1d",
    "AnalogConvTranspose2d",
    "AnalogConvTranspose3d",
    "AnalogLinear",
    "AnalogLinearMapped",
    "AnalogMultiheadAttention",
    "AnalogSequential",
    "AnalogWrapper",
    "ConvertedConv1D",
    "ConvertedGRU",
    "ConvertedGRUCell",
    "ConvertedLSTM",
    "ConvertedLSTMCell",
    "ConvertedRNN",
    "ConvertedRNNCell",
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
    conversion_map: dict[DigitalClass, Any] | None = ...,
    specific_rpu_config_fun: SpecificConfig | None = ...,
    module_name: str = ...,
    ensure_analog_root: Literal[True] = ...,
    exclude_modules: Collection[str] | None = ...,
    inplace: bool = ...,
    verbose: bool = ...,
    rules: Mapping[Any, RPUConfigGeneric | None] | None = ...,
) -> AnalogLayerBase: ...


@overload
def convert_to_analog(
    module: nn.Module,
    rpu_config: RPUConfigGeneric | None,
    tile_module_class: type | None = ...,
    conversion_map: dict[DigitalClass, Any] | None = ...,
    specific_rpu_config_fun: SpecificConfig | None = ...,
    module_name: str = ...,
    *,
    ensure_analog_root: bool,
    exclude_modules: Collection[str] | None = ...,
    inplace: bool = ...,
    verbose: bool = ...,
    rules: Mapping[Any, RPUConfigGeneric | None] | None = ...,
) -> nn.Module: ...


@checked
def convert_to_analog(
    module: nn.Module,
    rpu_config: RPUConfigGeneric | None,
    tile_module_class: type | None = None,
    conversion_map: dict[DigitalClass, Any] | None = None,
    specific_rpu_config_fun: SpecificConfig | None = None,
    module_name: str = "",
    ensure_analog_root: bool = True,
    exclude_modules: Collection[str] | None = None,
    inplace: bool = False,
    verbose: bool = False,
    rules: Mapping[Any, Any] | None = None,
) -> nn.Module:
    """Replace the layers of a model that have an analog counterpart.

    Modules that occur several times are converted once and stay shared. Layers are matched by exact
    class; everything else stays digital, see `mho.nn.conversion_report`, and if nothing was
    converted a warning says so. Layers keep their names, hooks, attributes, dtype, training and
    frozen state; what a parametrisation computes is converted with its present values and a
    warning. What still holds a module that was replaced, elsewhere than among its submodules, is
    named in a warning. What `torch.compile` has wrapped is compiled anew. Layers on the meta device
    become tiles on the host with the weights of a fresh layer, for a state to be loaded. An error
    leaves the model unchanged. Weights beyond the bounds of the devices are clipped, with one
    warning that tells their share.

    Args:
        module: Model or layer.
        rpu_config: Configuration of the tiles; None takes the default of every layer. With rules,
            that of the layers that no rule selects, which stay digital with None.
        tile_module_class: Tile or tile array for all layers; by default the configuration chooses.
        conversion_map: Analog class, with the class method ``from_digital``, of each digital class,
            or of its full name ``"package.module.Class"``.
        specific_rpu_config_fun: Called as ``f(full_name, digital_module, copy_of_rpu_config)`` for
            every module that is converted; returns its configuration, for layers never None if one
            is given.
        module_name: Full name of the given module.
        ensure_analog_root: Wrap a model that is not analog itself in `AnalogWrapper`.
        exclude_modules: Full names of modules that stay digital with everything below them, under
            all their names; every one must be there. Projections of attention are
            ``<name>.q_proj``, ``k_proj``, ``v_proj`` and ``out_proj``.
        inplace: Change the given model instead of a copy. The root may be another object even then.
        verbose: Print a line for every conversion.
        rules: Configurations by key, in their order; the first rule that selects a layer counts,
            and None leaves layers digital. A key is the full name of a module, ``"re:"`` with a
            regular expression that a whole full name has to match, or a class of modules. Modules
            that it selects stand for all layers inside of them; of a layer with several names any
            counts. `exclude_modules` comes first, and ``specific_rpu_config_fun`` is called with
            the configuration that the rules have chosen.

    Returns:
        The analog model.

    Raises:
        ArgumentError: An argument has the wrong type, there is no module of an excluded name, a
            rule selects no layer or comes after others that select all of its layers, or the model
            cannot be converted: scripted, wrapped for data-parallel training, or with a
            `forward` that was put on the instance of a module to be replaced.
        ConfigError: The configuration is invalid; the message names the field.
    """
    if rpu_config is not None:
        check_rpu_config(rpu_config)
    if tile_module_class is not None:
        check_tile_module_class(tile_module_class)
    excluded_names = set(exclude_modules or ())
    conversions = CONVERSIONS if conversion_map is None else _check_map(conversion_map)
    check_root(module)
    _check_excluded(module, module_name, excluded_names)
    excluded = _excluded(module, module_name, excluded_names)
    if rules is None:
        choices = without_rules(rpu_config)
    else:
        choices = by_rules(
            rules, rpu_config, module, module_name,
            lambda place: id(place.module) in excluded or place.name in excluded_names,
            lambda part: _analog_class(part, conversions), lambda part: _parts(part, conversions),
        )  # fmt: skip
    for part in module.modules():
        settle(part)
    kept: Mapping[int, Any] = {}
    if not inplace:
        layers = _replaced(module, module_name, conversions, choices, excluded)
        module, kept = copy_around(module, layers)

    replace = _ToAnalog(conversions, choices, tile_module_class, specific_rpu_config_fun, verbose)
    walk = Replacement(replace, subtrees(module, module_name, excluded_names), excluded_names)
    with walk.or_nothing(module):
        with warning_of_clipping():
            root = walk.run(module, module_name, module_name not in excluded_names)
        untied = follow_broken_ties(walk.replaced(), root)
        warn_of_references(walk.replaced(), root)
        for name, names in replace.computed:
            warn_of_computed_weights(name, names)
        if not any(is_one_layer(new) and _has_tiles(new) for _, new in walk.replaced()):
            _warn_of_nothing(root, rpu_config)
        own_parameters(root, kept)
        forget_ties(root, untied)
    if ensure_analog_root and module_name == "" and not isinstance(root, AnalogLayerBase):
        root = AnalogWrapper(root)
    return root


@dataclass
class _ToAnalog:
    """Makes the analog module that takes the place of a digital one."""

    conversions: dict[DigitalClass, Any]
    choices: Choices
    tile_module_class: type | None
    choose_config: SpecificConfig | None
    verbose: bool
    computed: list[tuple[str, list[str]]] = field(default_factory=list)
    """Full names of layers, with the names of what they computed from other parameters."""

    def __call__(self, name: str, digital: nn.Module) -> nn.Module:
        """Return the analog module, or the digital one where there is none."""
        analog_class = _analog_class(digital, self.conversions)
        if analog_class is None or not self.choices.of(name).analog:
            return digital
        check_replaceable(digital, name)
        config = self._config(name, digital, analog_class)
        if names := computed_names(digital):
            self.computed.append((name, names))
        try:
            analog: nn.Module = self._made(analog_class, digital, config)
        except AihwkitException as error:
            raise_in_layer(error, name)
        if self.verbose:
            print(f"Converted '{name}' to '{analog_class.__name__}'.")
        return analog

    def _made(self, analog_class: Any, digital: nn.Module, config: Any) -> Any:
        # The walk goes on with the linear layers of what is opened, if it converts linear layers.
        opened = getattr(analog_class, "opened", None)
        if opened is not None and nn.Linear in self.conversions:
            return opened(digital)
        return analog_class.from_digital(digital, config, self.tile_module_class)

    def _config(self, name: str, digital: nn.Module, analog_class: type) -> Any:
        chosen = self.choices.of(name).config
        given = copy.deepcopy(chosen)
        if self.choose_config is None:
            return given
        config = self.choose_config(name, digital, given)
        if config is None and chosen is not None and is_one_layer_class(analog_class):
            # What a function without `return` returns would stand for the default of the layer.
            where = f" for {name!r}" if name else ""
            raise ArgumentError(
                f"specific_rpu_config_fun: returned None{where}; return a configuration, such as"
                " the one that it was given"
            )
        return config


@checked
def convert_to_digital(
    module: nn.Module,
    conversion_set: set[type] | None = None,
    module_name: str = "",
    inplace: bool = False,
    layers: Key | Collection[Key] | None = None,
) -> nn.Module:
    """Replace analog layers by digital ones with the same logical weights.

    Of programmed tiles these are the weights that were programmed, or what the last drift has made
    of them; the factor of a drift compensation, ``alpha``, belongs to products, not to weights. If
    nothing was converted a warning says so.

    Args:
        module: Model or layer.
        conversion_set: Analog classes, with the class method ``to_digital``, to convert; by default
            all layers and `AnalogSequential`. Wrapped models are always unwrapped.
        module_name: Full name of the given module.
        inplace: Change the given model instead of a copy. The root may be another object even then.
        layers: Key, or several, as in the rules of `convert_to_analog`: only modules that one
            selects become digital.

    Returns:
        The digital model.

    Raises:
        ArgumentError: An argument has the wrong type, or a key selects no analog layer.
    """
    classes = ANALOG_CLASSES if conversion_set is None else _check_set(conversion_set)
    names = None if layers is None else _selected(module, module_name, layers)
    module = module if inplace else copy.deepcopy(module)

    def replace(name: str, analog: nn.Module) -> nn.Module:
        if names is not None and name not in names:
            return analog
        if isinstance(analog, AnalogWrapper):
            return AnalogWrapper.to_digital(analog)
        if type(analog) in classes:
            digital: nn.Module = type(analog).to_digital(analog)  # type: ignore[attr-defined]
            return digital
        return analog

    walk = Replacement(replace)
    with walk.or_nothing(module):
        root = walk.run(module, module_name)
        if not any(True for _ in walk.replaced()):
            is_analog = any(isinstance(part, AnalogLayerBase) for part in root.modules())
            which = " of the classes in conversion_set" if is_analog else ""
            warn_caller(f"nothing was converted: the model has no analog layers{which}")
        return root


def _selected(model: nn.Module, name: str, layers: Key | Collection[Key]) -> set[str]:
    """Return all names of the analog modules that keys select; every one must select a layer."""

    def is_analog(module: nn.Module) -> bool:
        return isinstance(module, AnalogLayerBase)

    selected(
        "layers", model, name, layers, lambda m: is_analog(m) and is_one_layer(m), "analog layer"
    )
    found = selected("layers", model, name, layers, is_analog, "analog module")
    wanted = {id(place.module) for place in found}
    return {place.name for place in places(model, name, ()) if id(place.module) in wanted}


def _analog_class(module: nn.Module, conversions: Mapping[DigitalClass, Any]) -> Any:
    """Return the class that may replace a module, None if there is none."""
    return counterpart(digital_class(module), conversions)


def _parts(module: nn.Module, conversions: Mapping[DigitalClass, Any]) -> Collection[str]:
    """Return the names of the linear layers that a module is opened into."""
    cls = _analog_class(module, conversions)
    is_opened = hasattr(cls, "opened") and nn.Linear in conversions
    return cls.OWN_ENTRIES if is_opened else ()


def _excluded(module: nn.Module, module_name: str, names: set[str]) -> set[int]:
    """Return the identities of the modules that stay as they are, the root included."""
    found = subtrees(module, module_name, names)
    return found | {id(module)} if module_name in names else found


def _replaced(
    module: nn.Module,
    module_name: str,
    conversions: Mapping[DigitalClass, Any],
    choices: Choices,
    excluded: Collection[int],
) -> list[nn.Module]:
    """Return the layers that are going to be replaced."""
    found = []
    for place in places(module, module_name, ()):
        cls = _analog_class(place.module, conversions)
        is_layer = cls is not None and is_one_layer_class(cls) and not hasattr(cls, "opened")
        if is_layer and id(place.module) not in excluded and choices.of(place.name).analog:
            found.append(place.module)
    return found


def _warn_of_nothing(root: nn.Module, rpu_config: RPUConfigGeneric | None) -> None:
    """Warn that no layer became analog, and say why."""
    report = conversion_report(root)
    if report.converted:
        tiles = [tile for tile in root.modules() if isinstance(tile, TileModule)]
        if rpu_config is not None and any(tile.rpu_config != rpu_config for tile in tiles):
            warn_caller(
                f"nothing was converted: {report.converted[0].name or 'the model'} and all other"
                " layers for which there is an analog one are analog already, and keep their"
                " configurations; use convert_to_digital first, or mho.nn.edit_config"
            )
        return
    reasons = "; ".join(
        f"{entry.name or 'the model'} ({entry.layer_class}): {entry.reason}"
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
        if name == module_name or (is_below and _is_there(module, below)):
            continue
        known = [prefix + path for path, _ in module.named_modules() if path]
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ArgumentError(f"exclude_modules: the model has no module {name!r}{hint}")


def _is_there(module: nn.Module, path: str) -> bool:
    """Return whether there is a module, or will be one when its parent has been opened."""
    if submodule(module, path) is not None:
        return True
    parent, _, name = path.rpartition(".")
    above = submodule(module, parent) if parent else module
    return isinstance(above, nn.MultiheadAttention) and name in PROJECTIONS


def _has_tiles(module: nn.Module) -> bool:
    return any(isinstance(part, TileModule) for part in module.modules())


def _check_map(conversions: Any) -> dict[DigitalClass, Any]:
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
