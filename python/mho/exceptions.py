"""Exception classes of the package.

One tree, with the names that scripts written for aihwkit already catch.
"""


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
