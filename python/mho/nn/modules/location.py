"""Where in a model a layer is, for messages."""

import sys
from typing import NoReturn

from torch import nn

from mho.exceptions import InputError, is_expected


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
