"""Where in a model a layer is, for messages."""

import sys
from typing import NoReturn

from torch import nn

from mho.exceptions import AihwkitException, InputError, is_expected


def raise_located(error: InputError, layer: nn.Module) -> NoReturn:
    """Raise an error of a product again, with the layer in its message.

    Args:
        error: Error that is being handled.
        layer: Layer whose tile raised it.

    Raises:
        InputError: Always; without the frames inside of the layer unless they are wanted.
    """
    name = name_on_stack(layer)
    where = f"{name!r}, " if name else ""
    text = str(error.args[0]) if error.args else ""
    error.args = (f"{text}; in layer {where}{type(layer).__name__}({layer.extra_repr()})",)
    raise error.with_traceback(None) if is_expected(error) else error


def raise_in_layer(error: AihwkitException, name: str) -> NoReturn:
    """Raise an error of the construction of a layer again, with the name of the layer.

    Args:
        error: Error that is being handled.
        name: Full name of the layer in its model, empty if it is the model.

    Raises:
        AihwkitException: Always.
    """
    if name and error.args:
        error.args = (f"{error.args[0]}; in layer {name!r}", *error.args[1:])
    raise error.with_traceback(None) if is_expected(error) else error


def name_on_stack(layer: nn.Module) -> str:
    """Return the name of a layer in the outermost module that is being called; empty without one.

    Args:
        layer: Layer.
    """
    name = ""
    frame = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self") if "self" in frame.f_code.co_varnames else None
        if isinstance(owner, nn.Module) and owner is not layer:
            found = next((n for n, module in owner.named_modules() if module is layer), "")
            name = found or name
        frame = frame.f_back  # type: ignore[assignment]
    return name
