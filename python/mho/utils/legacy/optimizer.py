"""The state of an optimizer of aihwkit, whose parameters are others and in another order.

States of optimizers number the parameters. In aihwkit each tile has a context as its first
parameter; in mho only pulsed tiles have one, and the order within a tile is another.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import AihwkitException, ArgumentError, StateError
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.tiles.module import TileModule
from mho.utils.legacy.checkpoint import state_of_model, tiles_in

_OF_TILES = (Names.CONTEXT, Names.SHARED_WEIGHTS, "tile.weight")
_BUFFERS_HERE = "input_range_update_idx"
_PARAMETERS_OF_TILES = (*_OF_TILES, _BUFFERS_HERE, "bias", "out_scaling_alpha", "input_range")
# Of groups of pulsed weights: momentum and weight decay never acted on them.
_OF_PULSED = ("lr", "initial_lr", "maximize")


def load_aihwkit_optimizer_state(
    optimizer: torch.optim.Optimizer, state: Any, model: nn.Module, model_state: Any
) -> None:
    """Load the state of an optimizer of aihwkit; on any error nothing is changed.

    Momentum, moments and numbers of steps go to the parameters that they belong to, by name, and
    the options of groups (learning rate and so on) to the groups with the same parameters.
    Optimizers must have been made from `model.parameters()`, before or after a call of
    `regroup_param_groups`, in aihwkit and here.

    Args:
        optimizer: Optimizer of the model, of the same kind.
        state: What its `state_dict()` returned in aihwkit.
        model: Model, already with the state of the one in aihwkit.
        model_state: State of that model, as `load_aihwkit_state_dict` takes it: its names say
            which parameters there were.

    Raises:
        ArgumentError: `optimizer` or `model` is none.
        StateError: The state is of another optimizer or model, or of groups that a user has made.
    """
    if not isinstance(optimizer, torch.optim.Optimizer) or not isinstance(model, nn.Module):
        raise ArgumentError("optimizer, model: expected an optimizer and a module of torch")
    try:
        _load(optimizer, state, model, model_state)
    except AihwkitException:
        raise
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        # Values of other types than any optimizer has, such as tensors in the place of options.
        raise StateError(f"state: is damaged: {error}") from error


def _load(optimizer: torch.optim.Optimizer, state: Any, model: nn.Module, model_state: Any) -> None:
    groups, moments = _parts(state)
    names = list(_names(model, state_of_model(model_state)))
    owners = _numbered(names, groups)
    targets = {name: _target(model, name) for name in names}
    present = optimizer.state_dict()
    numbers = _positions(optimizer)
    known = {id(p): name for name, p in targets.items() if p is not None}
    _check_same(optimizer, known)
    group_of = {owners[at]: group for group in groups for at in group["params"]}
    pairs = zip(optimizer.param_groups, present["param_groups"], strict=True)
    new_groups = [_options(group, old, known, group_of) for group, old in pairs]
    new_state = {}
    for at, values in moments.items():
        parameter = targets[owners[at]]
        if values and parameter is None:
            raise StateError(f"state: {owners[at]} has moments, which no parameter here can have")
        if values:
            new_state[numbers[id(parameter)]] = _checked(values, parameter, owners[at])
    optimizer.load_state_dict({**present, "state": new_state, "param_groups": new_groups})


def _parts(state: Any) -> tuple[list[dict[str, Any]], dict[int, Any]]:
    if not isinstance(state, dict) or not {"state", "param_groups"} <= state.keys():
        raise StateError("state: expected what state_dict() of an optimizer returned")
    groups, moments = state["param_groups"], state["state"]
    if not isinstance(groups, list) or not isinstance(moments, dict):
        raise StateError("state: expected what state_dict() of an optimizer returned")
    for group in groups:
        if not isinstance(group, dict) or not isinstance(group.get("params"), list):
            raise StateError("param_groups: a group has no list of parameters")
    numbers = [at for group in groups for at in group["params"]]
    if numbers != list(range(len(numbers))) or not moments.keys() <= set(numbers):
        raise StateError("param_groups: parameters are not numbered one after another")
    return groups, moments


def _names(model: nn.Module, state: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the parameters in the order of `model.parameters()` of aihwkit.

    That is the order of the state dictionary, in which what is shared occurs twice.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    first = {id(modules.get(name)): name for name in reversed(tiles_in(state))}
    tiles = [f"{name}.".lstrip(".") for name in tiles_in(state)]
    here = dict(model.named_parameters(remove_duplicate=False))
    seen: set[int] = set()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            continue
        prefix = max((t for t in tiles if name.startswith(t)), key=len, default=None)
        if prefix is not None and name.removeprefix(prefix) in _PARAMETERS_OF_TILES:
            owner = prefix.removesuffix(".")
            if first[id(modules.get(owner))] == owner:
                yield name
        elif name in here and id(here[name]) not in seen:
            seen.add(id(here[name]))
            yield name


def _numbered(names: list[str], groups: list[dict[str, Any]]) -> list[str]:
    """Return the names in the order of the numbers in a state.

    `regroup_param_groups` of aihwkit moves each context to a group of its own, behind all others.
    """
    contexts = [name for name in names if name.endswith(Names.CONTEXT)]
    others = [name for name in names if not name.endswith(Names.CONTEXT)]
    lengths = [len(group["params"]) for group in groups]
    if lengths == [len(names)]:
        return names
    regrouped = [len(others)] * bool(others) + [1] * len(contexts)
    if lengths == regrouped:
        return others + contexts
    raise StateError(
        f"param_groups: have {lengths} parameters, the model {len(names)}, of which"
        f" {len(contexts)} are contexts; groups that were made by hand cannot be mapped, set their"
        " options here and train on without the moments"
    )


def _target(model: nn.Module, name: str) -> nn.Parameter | None:
    """Return the parameter of a name of aihwkit, None if there is none here."""
    owner, _, last = name.rpartition(".")
    owner = owner.removesuffix("tile").removesuffix(".") if name.endswith("tile.weight") else owner
    tile = dict(model.named_modules(remove_duplicate=False)).get(owner)
    if isinstance(tile, TileModule):
        trained = tile.trained_parameter()
        if last == Names.CONTEXT:
            return tile.analog_ctx if trained is None else None
        if name.removeprefix(owner).lstrip(".") in _OF_TILES:
            return trained
        if last == _BUFFERS_HERE:
            return None
    found = dict(model.named_parameters(remove_duplicate=False)).get(name)
    if found is None:
        raise StateError(f"{name}: is a parameter in the file, and none in the model")
    return found


def _positions(optimizer: torch.optim.Optimizer) -> dict[int, int]:
    parameters = (p for group in optimizer.param_groups for p in group["params"])
    return {id(parameter): at for at, parameter in enumerate(parameters)}


def _check_same(optimizer: torch.optim.Optimizer, known: Mapping[int, str]) -> None:
    numbers = _positions(optimizer)
    if unknown := sum(key not in known for key in numbers):
        raise StateError(f"optimizer: has {unknown} parameters that the saved one had not")
    if absent := [name for key, name in known.items() if key not in numbers]:
        raise StateError(f"optimizer: lacks the parameters {absent}, which the saved one had")


def _options(
    group: Mapping[str, Any],
    present: Mapping[str, Any],
    known: Mapping[int, str],
    saved: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the options of a group from those of the saved groups of its parameters."""
    names = [known[id(parameter)] for parameter in group["params"]]
    wanted = {name for name in present if name != "params"} | {"initial_lr"}
    is_pulsed = all(name.endswith(Names.CONTEXT) for name in names)
    if is_pulsed:
        wanted &= set(_OF_PULSED)
    found = [{k: v for k, v in saved[name].items() if k in wanted} for name in names]
    for name, options in zip(names, found, strict=True):
        if options != found[0]:
            raise StateError(
                f"param_groups: {names[0]} and {name} had other options, and are in one group"
                " here; call optimizer.regroup_param_groups(model)"
            )
    return {**present, **(found[0] if found else {})}


def _checked(values: Any, parameter: Any, name: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise StateError(f"state: moments of {name} are no dictionary")
    for key, value in values.items():
        if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
            raise StateError(
                f"state: {key} of {name} has shape {tuple(value.shape)}, the parameter"
                f" {tuple(parameter.shape)}"
            )
    return values
