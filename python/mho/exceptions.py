"""Exception classes of the package.

One tree, with the names that scripts written for aihwkit already catch. And what warnings and
tracebacks show of the package: not its inside.
"""

import os
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class AihwkitException(Exception):
    """Root of every exception that the package raises on purpose."""


MhoException = AihwkitException


class ModuleError(AihwkitException):
    """A layer was used in a way it cannot serve, such as drifting it in training mode."""


class TileError(AihwkitException):
    """A tile was used in a way it cannot serve, or its stored state does not fit."""


class TileModuleError(TileError):
    """A tile cannot be moved, cast or given the requested configuration."""


class InputError(TileError, RuntimeError):
    """A tensor given to a tile has the wrong shape, dtype, layout or device.

    It is a ``RuntimeError`` as well, since scripts written for aihwkit catch that.
    """


class StateError(InputError):
    """A saved state lacks entries, has unknown ones or is of another kind of tile.

    A ``RuntimeError`` is what torch raises for such states.
    """


class InternalError(TileError, RuntimeError):
    """A kernel failed; the tile is as it was before the call."""


class BackendError(TileError, RuntimeError):
    """A graphics processor, its driver or its memory is missing or failed."""


class ArgumentError(AihwkitException, ValueError):
    """An argument has the wrong type or value."""


class AssertedArgumentError(ArgumentError, AssertionError):
    """An argument of a noise model is impossible, in a place where aihwkit asserts."""


class CudaError(AihwkitException):
    """CUDA was requested from something that cannot run on it."""


class ConfigError(AihwkitException):
    """A configuration is invalid; the message names the field."""


class AnalogBiasConfigError(ConfigError):
    """An analog bias was requested from a tile that only has a digital one."""


class TorchTileConfigError(ConfigError):
    """A configuration option is not supported by tiles that compute in torch."""


class CloudError(AihwkitException):
    """A cloud operation failed."""


class FusionExportError(CloudError):
    """The header of an imported conductance file does not match."""


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user's code that called into the package.

    Args:
        message: What to say.
        category: Class of the warning.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and is_inside(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def is_inside(filename: str) -> bool:
    """Return whether a file is part of the package, or of a module that only calls back into it.

    Args:
        filename: Name of the file of a frame.
    """
    return filename.startswith(_PACKAGE) or os.path.basename(filename) == "contextlib.py"


def is_expected(error: BaseException) -> bool:
    """Return whether an error is the user's to mend, so that its traceback can be short.

    The variable `MHO_FULL_TRACEBACK` keeps all tracebacks whole.

    Args:
        error: Error.
    """
    return (
        isinstance(error, AihwkitException)
        and not isinstance(error, InternalError)
        and not os.environ.get("MHO_FULL_TRACEBACK")
    )


def short_traceback(function: Callable[P, R]) -> Callable[P, R]:
    """Cut what happens inside a function from the tracebacks of expected errors (decorator).

    Args:
        function: Function that users call.
    """

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except AihwkitException as error:
            if not is_expected(error):
                raise
            expected = error
        # Outside of the handler, so that the error does not become its own context.
        raise expected.with_traceback(None)

    return called
