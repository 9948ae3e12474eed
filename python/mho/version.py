"""Version of the package; it is written once, in the crate."""

from mho._core import __version__

VERSION_FILE = __file__

__all__ = ["VERSION_FILE", "__version__"]
