"""Variants of a model: without one group of non-idealities, or with one only."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor, nn

from mho.evaluation.groups import (
    COMPENSATION,
    GROUPS,
    INPUT_CLIPPING,
    KEPT,
    Edit,
    Group,
    cannot_unclip,
)
from mho.evaluation.preparation import tiles_of
from mho.exceptions import ArgumentError, ConfigError, TileError
from mho.simulator.parameters.checking import describe
from mho.simulator.tiles import editing
from mho.simulator.tiles.module import TileModule

FULL = "full"
REFERENCE = "reference"
NONE = "none"
"""The model without any of the groups."""

LEAVE_ONE_OUT = "leave_one_out"
ONE_AT_A_TIME = "one_at_a_time"
_BOTH = "both"
_KINDS = {
    LEAVE_ONE_OUT: (LEAVE_ONE_OUT,),
    ONE_AT_A_TIME: (ONE_AT_A_TIME,),
    _BOTH: (LEAVE_ONE_OUT, ONE_AT_A_TIME),
}


def without(group: str) -> str:
    """Return the name of the variant that lacks a group."""
    return f"without {group}"


def only(group: str) -> str:
    """Return the name of the variant that has a group only."""
    return f"only {group}"


@dataclass(frozen=True)
class Ablation:
    """What is compared."""

    kinds: tuple[str, ...] = ()
    """`leave_one_out`, `one_at_a_time`, both or none."""

    groups: tuple[str, ...] = ()
    """Names, in their order."""

    own: Mapping[str, Edit] = field(default_factory=dict)
    """Edits of the user, by name of the group."""

    notes: tuple[str, ...] = ()

    @property
    def hurting(self) -> tuple[str, ...]:
        """Groups that take something away from a perfect model; compensation gives."""
        return tuple(name for name in self.groups if name != COMPENSATION)

    def variants(self) -> dict[str, tuple[str, ...]]:
        """Return the groups that are removed, by name of the variant, the full model first."""
        found: dict[str, tuple[str, ...]] = {FULL: ()}
        if LEAVE_ONE_OUT in self.kinds:
            found |= {without(name): (name,) for name in self.groups}
        if ONE_AT_A_TIME in self.kinds:
            hurting = self.hurting
            found[NONE] = hurting
            found |= {only(name): tuple(n for n in hurting if n != name) for name in hurting}
        return found

    def edit(self, name: str, config: Any) -> Any:
        """Return a configuration, a copy, without a group.

        Args:
            name: Group.
            config: Configuration, changed.
        """
        changed = self.own[name](config) if name in self.own else GROUPS[name].remove(config)
        return config if changed is None else changed


def plan_ablation(ablation: Any, model: nn.Module, keep: bool) -> Ablation:
    """Return what to compare.

    Args:
        ablation: As for `evaluate`.
        model: Prepared model.
        keep: Whether programmed weights are kept, so that nothing is programmed anew.

    Raises:
        ArgumentError: It is no ablation, or names an unknown group.
    """
    if ablation is None:
        return Ablation()
    configs = [tile.rpu_config for tile in tiles_of(model).values()]
    if isinstance(ablation, Mapping):
        return _named(ablation)
    if not isinstance(ablation, str) or ablation not in _KINDS:
        raise ArgumentError(
            "ablation: expected None, 'leave_one_out', 'one_at_a_time', 'both' or a dictionary of"
            f" functions that edit a configuration, got {describe(ablation)}"
        )
    present = [name for name, group in GROUPS.items() if _is_present(group, configs)]
    notes = []
    if keep and KEPT.intersection(present):
        present = [name for name in present if name not in KEPT]
        notes.append("programmed weights are kept, so what programming decides is not left out")
    refused = {name: why for name in present if (why := _refusal(model, name))}
    present = [name for name in present if name not in refused]
    notes += [f"{name} is not left out: {why}" for name, why in refused.items()]
    if any(map(cannot_unclip, configs)):
        notes.append(
            f"{INPUT_CLIPPING} is not left out where noise management has a constant scale other"
            " than 1"
        )
    return Ablation(_KINDS[ablation], tuple(present), notes=tuple(notes))


def _named(ablation: Mapping[Any, Any]) -> Ablation:
    own = {}
    for name, edit in ablation.items():
        if not isinstance(name, str) or not (callable(edit) or edit is None):
            raise ArgumentError(
                "ablation: expected functions that edit a configuration by name of the group, or"
                f" None for a group of that name; got {name!r}: {describe(edit)}"
            )
        if edit is None and name not in GROUPS:
            raise ArgumentError(f"ablation: unknown group {name!r}; known: {', '.join(GROUPS)}")
        if edit is not None:
            own[name] = edit
    if not ablation:
        raise ArgumentError("ablation: the dictionary is empty; name groups, or use None")
    return Ablation(_KINDS[_BOTH], tuple(ablation), own)


def _refusal(model: nn.Module, name: str) -> str:
    """Return why a tile cannot do without a group, empty if all can."""
    for place, tile in tiles_of(model).items():
        config = copy.deepcopy(tile.rpu_config)
        GROUPS[name].remove(config)
        try:
            with without_idle_warnings():
                editing.check_config(cast(editing.EditedTile, tile), config)
        except (ConfigError, TileError) as error:
            return f"tile {place!r}: {error}"
    return ""


def _is_present(group: Group, configs: list[Any]) -> bool:
    return any(map(group.is_present, configs))


def remove_groups(model: nn.Module, ablation: Ablation, names: tuple[str, ...]) -> None:
    """Take groups of non-idealities out of all tiles.

    Args:
        model: Copy of the prepared model.
        ablation: What is compared.
        names: Groups.

    Raises:
        ConfigError: A tile cannot have the configuration; the message names tile and groups.
    """
    for place, tile in tiles_of(model).items():
        config = copy.deepcopy(tile.rpu_config)
        for name in names:
            config = ablation.edit(name, config)
        try:
            with without_idle_warnings():
                editing.edit({place: tile}, changed_fields(tile.rpu_config, config))
        except (ArgumentError, ConfigError, TileError) as error:
            raise type(error)(f"ablation: without {', '.join(names)}: {error}") from error


@contextmanager
def without_idle_warnings() -> Iterator[None]:
    """Let nobody be told of fields without effect: what they act with has just been taken out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no effect", UserWarning)
        yield


def changed_fields(before: Any, after: Any) -> dict[str, Any]:
    """Return the fields of a configuration that differ, with their new values.

    Args:
        before: Configuration.
        after: The same, edited.

    Raises:
        ConfigError: It is another kind of configuration.
    """
    if type(after) is not type(before):
        raise ConfigError(
            f"the edit must return {type(before).__name__} or nothing, got {describe(after)}"
        )
    old, new = vars(before), vars(after)
    return {name: value for name, value in new.items() if name not in old or value != old[name]}


def let_through(model: nn.Module, ablation: Ablation, names: tuple[str, ...]) -> None:
    """Let tiles divide by their input range without clipping, if input clipping is taken out.

    The division sets signal against noise and stays. Only what goes into the arrays of this copy
    changes, not what is saved of them.

    Args:
        model: Copy that is measured.
        ablation: What is compared.
        names: Groups that are taken out.
    """
    if INPUT_CLIPPING in names and INPUT_CLIPPING not in ablation.own:
        for tile in tiles_of(model).values():
            replace_entry(tile, _divided)


def replace_entry(tile: TileModule, entry: Any) -> None:
    """Let inputs enter the array of a tile in another way.

    Args:
        tile: Tile of a copy.
        entry: Called with inputs and the positive input range, as `enter_range` of raw tiles.
    """
    object.__setattr__(tile.tile, "enter_range", entry)


def _divided(values: Tensor, magnitude: Tensor) -> Tensor:
    return values / magnitude
