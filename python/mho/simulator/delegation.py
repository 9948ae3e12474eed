"""Methods that only pass a call on to an object that does it."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
PartT = TypeVar("PartT")


def done_by(
    part: str, method: Callable[Concatenate[PartT, P], R], then: str | None = None
) -> Callable[Concatenate[Any, P], R]:
    """Return a method that hands its call to a part; signature and text are those of the part's.

    Not for what runs in every product: it costs two look-ups and a call.

    Args:
        part: Name of the attribute that holds the part.
        method: Method of the class of the part; one that the part overrides is found by its name.
        then: Name of a method of the object itself that is called afterwards, without arguments.
    """
    signature = inspect.signature(method)

    @functools.wraps(method)
    def handed(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        done: Any = getattr(getattr(self, part), method.__name__)
        if kwargs:
            # By position: the part may name its arguments otherwise, where the standard does so.
            bound = signature.bind(None, *args, **kwargs)
            result: R = done(*bound.args[1:], **bound.kwargs)
        else:
            result = done(*args)
        if then is not None:
            getattr(self, then)()
        return result

    return handed
