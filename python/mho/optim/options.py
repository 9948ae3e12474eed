"""Which options of a group of parameters act on its analog weights."""

from collections.abc import Iterator
from typing import Any

from mho.exceptions import ArgumentError
from mho.optim.context import AnalogContext, context_of
from mho.optim.place_in_model import layer_of
from mho.simulator.parameters.arguments import check_not_negative

_NO_STATE = "pulses are added to the weights at once, there is no tensor that could collect them"
_REFUSED = {
    "momentum": _NO_STATE,
    "dampening": _NO_STATE,
    "nesterov": _NO_STATE,
    "weight_decay": (
        "it would read and rewrite every crosspoint in every step, which the array cannot; devices"
        " decay by their lifetime"
    ),
}
"""Options that have no meaning for pulsed weights, and why."""


def contexts_of(group: dict[str, Any]) -> Iterator[AnalogContext]:
    """Yield the contexts of the tiles whose weights are in a group.

    Args:
        group: Group of parameters of an optimizer.
    """
    for parameter in group["params"]:
        context = context_of(parameter)
        if context is not None:
            yield context


def check_options(group: dict[str, Any]) -> None:
    """Refuse options that cannot act on the weights of a group.

    Args:
        group: Group of parameters of an optimizer.

    Raises:
        ArgumentError: A learning rate is not finite, or an option has no meaning for pulsed
            weights; the message names it.
    """
    contexts = list(contexts_of(group))
    if contexts:
        _check(group.get("lr"))
    pulsed = next((context for context in contexts if not context.use_torch_update), None)
    if pulsed is None:
        return
    name = next((name for name in _REFUSED if group.get(name)), None)
    if name is not None:
        scheduled = "base_momentum" in group or "max_momentum" in group
        raise ArgumentError(
            f"{name}: has no meaning for the pulsed weights of {layer_of(pulsed.analog_tile)}:"
            f" {_REFUSED[name]}. Give the parameters of type AnalogContext a group of their own"
            f" with {name}={type(group[name])(0)}"
            + (", and the scheduler cycle_momentum=False" if scheduled else "")
        )


def _check(learning_rate: Any) -> None:
    if learning_rate is not None:
        check_not_negative("lr", learning_rate)
