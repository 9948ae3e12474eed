"""Copies of models whose layers are about to be replaced, without copies of their weights."""

import copy
from collections.abc import Iterable, Mapping

from torch import Tensor, nn


def copy_around(
    model: nn.Module, layers: Iterable[nn.Module]
) -> tuple[nn.Module, Mapping[int, Tensor]]:
    """Return a copy of a model in which some layers have the very parameters of the original.

    These layers are only read, and replaced. Parameters that another module has too are copied.

    Args:
        model: Model; not changed.
        layers: Modules at or below it, each with everything inside.

    Returns:
        The copy, and the parameters of the original that are in it, by identity.
    """
    inside = {id(part) for layer in layers for part in layer.modules()}
    within: dict[int, Tensor] = {}
    elsewhere: set[int] = set()
    for part in model.modules():
        for parameter in part._parameters.values():
            if parameter is None:
                continue
            if id(part) in inside:
                within[id(parameter)] = parameter
            else:
                elsewhere.add(id(parameter))
    shared = {key: value for key, value in within.items() if key not in elsewhere}
    return copy.deepcopy(model, dict(shared)), shared


def own_parameters(model: nn.Module, shared: Mapping[int, Tensor]) -> None:
    """Give a model copies of those parameters that it has still from the original.

    Args:
        model: Copy, with its layers replaced.
        shared: Parameters of the original, by identity.
    """
    copies: dict[int, object] = {}
    for part in model.modules():
        for name, parameter in part._parameters.items():
            if parameter is None or shared.get(id(parameter)) is not parameter:
                continue
            if id(parameter) not in copies:
                copies[id(parameter)] = copy.deepcopy(parameter)
            part._parameters[name] = copies[id(parameter)]  # type: ignore[assignment]
