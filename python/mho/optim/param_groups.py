"""Parameter groups in which every analog context stands alone."""

from typing import Any

from mho.optim.context import AnalogContext

_PER_PARAMETER = ("params", "param_names")


def regroup(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Move analog contexts to groups of their own behind the others.

    Args:
        groups: Parameter groups of a torch optimizer. Groups that keep parameters are changed in
            place, since schedulers hold on to them.

    Returns:
        Groups of ordinary parameters in their order, then one group per context with the options of
        the group that it was in. Empty groups are left out.
    """
    ordinary: list[dict[str, Any]] = []
    analog: list[dict[str, Any]] = []
    for group in groups:
        is_analog = [isinstance(parameter, AnalogContext) for parameter in group["params"]]
        analog += [_select(group, [i]) for i, yes in enumerate(is_analog) if yes]
        rest = _select(group, [i for i, yes in enumerate(is_analog) if not yes])
        if rest["params"]:
            group.update(rest)
            ordinary.append(group)
    return ordinary + analog


def _select(group: dict[str, Any], indices: list[int]) -> dict[str, Any]:
    """Return a copy of a group with some of its parameters."""
    selected = dict(group)
    for key in _PER_PARAMETER:
        if key in group:
            selected[key] = [group[key][i] for i in indices]
    return selected
