"""Which layers of a model become analog, and with which configuration: the first rule wins."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from mho.exceptions import ArgumentError
from mho.nn.modules.base import AnalogLayerBase
from mho.nn.modules.container import AnalogContainerBase
from mho.nn.selection import Key, Place, Selector, nearest, places
from mho.simulator.parameters.arguments import check_rpu_config
from mho.simulator.parameters.base import RPUConfigBase

AnalogClass = Callable[[nn.Module], Any]
"""Returns the analog class that may replace a module, None if there is none."""

Excluded = Callable[[Place], bool]
"""Returns whether a module stays as it is."""

Parts = Callable[[nn.Module], Collection[str]]
"""Returns the names of the linear layers that a module is opened into, none for most modules."""


@dataclass(frozen=True)
class Choice:
    """What becomes of a module."""

    analog: bool
    """Whether its analog class takes its place."""

    config: RPUConfigBase | None = None
    """Configuration of its tiles; None takes the default of the layer."""


class Choices:
    """What becomes of every module of a model, by full name."""

    def __init__(self, by_name: Mapping[str, Choice]) -> None:
        """Keep the choices.

        Args:
            by_name: Choices for all names of all modules.
        """
        self._by_name = by_name

    def of(self, name: str) -> Choice:
        """Return what becomes of a module.

        What a converted module has inside is not in the model from the beginning; it is treated as
        the module itself.

        Args:
            name: Full name.
        """
        while name not in self._by_name and name:
            name = name.rpartition(".")[0]
        return self._by_name[name]


def is_one_layer_class(cls: Any) -> bool:
    """Return whether an analog class stands for one digital layer, and is no container of layers.

    Args:
        cls: Analog class.
    """
    is_container = isinstance(cls, type) and issubclass(cls, AnalogContainerBase)
    return not is_container or cls.STANDS_FOR_LAYER


def without_rules(config: RPUConfigBase | None) -> Choices:
    """Return that every module for which there is an analog class gets one configuration.

    Args:
        config: Configuration; None takes the defaults of the layers.
    """
    return Choices({"": Choice(True, config)})


def by_rules(
    rules: Mapping[Key, RPUConfigBase | None],
    config: RPUConfigBase | None,
    model: nn.Module,
    name: str,
    excluded: Excluded,
    analog_class: AnalogClass,
    parts: Parts,
) -> Choices:
    """Return what becomes of the modules of a model by rules.

    Args:
        rules: Configurations by key, None for layers that stay digital; the first one counts that
            selects a layer.
        config: What layers get that no rule selects; None leaves them digital.
        model: Root.
        name: Full name of the root.
        excluded: Whether a module stays as it is.
        analog_class: Analog class for a module.
        parts: Linear layers that a module is opened into when it is converted.

    Raises:
        ArgumentError: A key or a configuration is none, or a rule changes nothing.
    """
    selectors = [Selector("rules", key) for key in rules]
    configs = list(rules.values())
    for selector, value in zip(selectors, configs, strict=True):
        _check_value(selector, value)
    every = _with_parts(list(places(model, name, selectors)), selectors, parts)
    found = _Found(selectors, configs, config, every, excluded, analog_class, parts)
    found.check()
    return found.choices()


def _with_parts(every: list[Place], selectors: Sequence[Selector], parts: Parts) -> list[Place]:
    """Add the places of layers that will be there when the modules around them are opened."""
    known = {place.name for place in every}
    stand_ins: dict[tuple[int, str], nn.Module] = {}
    found = []
    for place in every:
        found.append(place)
        for part in parts(place.module):
            name = f"{place.name}.{part}" if place.name else part
            if name in known:
                continue
            key = id(place.module), part
            layer = stand_ins.setdefault(key, nn.Linear(1, 1, device="meta"))
            own = {i for i, selector in enumerate(selectors) if selector.takes(name, layer)}
            found.append(Place(name, layer, tuple(sorted(own.union(place.selected_by)))))
    return found


def _check_value(selector: Selector, value: Any) -> None:
    if value is None:
        return
    try:
        check_rpu_config(value)
    except ArgumentError as error:
        text = str(error).removeprefix("rpu_config: ")
        raise ArgumentError(f"rules[{selector}]: {text}; None leaves layers digital") from error


class _Found:
    """The layers of a model that may be converted, and the rules that select them."""

    def __init__(
        self,
        selectors: list[Selector],
        configs: list[RPUConfigBase | None],
        config: RPUConfigBase | None,
        every: list[Place],
        excluded: Excluded,
        analog_class: AnalogClass,
        parts: Parts,
    ) -> None:
        self._selectors, self._configs, self._config = selectors, configs, config
        self._places, self._excluded = every, excluded
        classes = {
            id(place.module): analog_class(place.module) for place in every if not excluded(place)
        }
        self._containers: list[Place] = []
        self._layers: dict[int, list[Place]] = {}
        """Places of each layer that may be converted, by identity."""
        for place in every:
            cls = classes.get(id(place.module))
            if cls is not None and is_one_layer_class(cls) and not parts(place.module):
                self._layers.setdefault(id(place.module), []).append(place)
            elif cls is not None:
                self._containers.append(place)
        self._whole = [
            place
            for layer, names in self._layers.items()
            if self._choice(layer).analog
            for place in names
            if place.module._modules
        ]
        """Layers with something inside, which is converted with them and is no layer of its own."""
        for layer, names in list(self._layers.items()):
            if all(self._around(place) for place in names):
                del self._layers[layer]

    def _around(self, place: Place) -> Place | None:
        """Return the layer that a module is a part of."""
        return next((whole for whole in self._whole if _is_below(place.name, whole.name)), None)

    def _rule_of(self, layer: int) -> int | None:
        """Return the number of the first rule that selects a layer under any of its names."""
        numbers = [n for place in self._layers[layer] for n in place.selected_by]
        return min(numbers, default=None)

    def _choice(self, layer: int) -> Choice:
        rule = self._rule_of(layer)
        config = self._config if rule is None else self._configs[rule]
        return Choice(config is not None, config)

    def choices(self) -> Choices:
        """Return what becomes of every module."""
        # What is inside of a layer that is converted as one goes with it.
        found = {p.name: Choice(False) for p in self._places if self._around(p) is None}
        for layer, names in self._layers.items():
            found.update(dict.fromkeys((place.name for place in names), self._choice(layer)))
        # What has analog layers in it is analog; its own configuration is only shown to functions.
        analog = [name for name, choice in found.items() if choice.analog]
        for place in self._containers:
            if any(_is_below(name, place.name) for name in analog):
                rule = min(place.selected_by, default=None)
                config = self._config if rule is None else self._configs[rule]
                found[place.name] = Choice(True, config)
        return Choices(found)

    def check(self) -> None:
        """Refuse rules that change nothing: they are spelt wrong, or stand in the wrong place."""
        for number, selector in enumerate(self._selectors):
            selected = [place for place in self._places if number in place.selected_by]
            if not selected:
                known = [place.name for place in self._places]
                raise ArgumentError(
                    f"rules: {selector} selects no module of the model{nearest(selector, known)}"
                )
            layers = [
                layer
                for layer, names in self._layers.items()
                if any(number in place.selected_by for place in names)
            ]
            if layers:
                self._check_reached(number, layers)
            elif self._configs[number] is not None:
                raise ArgumentError(
                    f"rules: {selector} selects no layer that can be converted:"
                    f" {self._why_not(selected)}"
                )

    def _check_reached(self, number: int, layers: list[int]) -> None:
        """Refuse a rule that comes too late for all of its layers."""
        deciding = [rule for layer in layers if (rule := self._rule_of(layer)) is not None]
        if number in deciding or all(self._says_the_same(number, rule) for rule in deciding):
            return
        earlier = ", ".join(str(self._selectors[rule]) for rule in sorted(set(deciding)))
        raise ArgumentError(
            f"rules: {self._selectors[number]} comes too late, since the first rule that selects a"
            f" layer counts, and {earlier} before it selects all of its layers; move it up"
        )

    def _says_the_same(self, number: int, rule: int) -> bool:
        return self._configs[number] is self._configs[rule]

    def _why_not(self, selected: list[Place]) -> str:
        """Return why none of some modules can be converted."""
        place = next((p for p in selected if p.module._parameters), selected[0])
        layer = next((p for p in selected if isinstance(p.module, AnalogLayerBase)), None)
        name = place.name or "the model"
        if layer is not None and not layer.module.IS_CONTAINER:
            return (
                f"{layer.name or 'the model'} is analog already and keeps its configuration; use"
                " convert_to_digital first, or mho.nn.edit_by_rules"
            )
        if any(self._excluded(p) for p in selected):
            return f"exclude_modules keeps {name} digital"
        if (whole := self._around(place)) is not None:
            return f"{name} is a part of {whole.name}, which is converted as one layer"
        return (
            f"there is no analog layer for {name} ({type(place.module).__name__}); see"
            " mho.nn.conversion_report(model)"
        )


def _is_below(name: str, other: str) -> bool:
    """Return whether a name is below another one; every name is below that of a model."""
    return name != other and (not other or name.startswith(f"{other}."))
