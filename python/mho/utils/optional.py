"""Libraries that only some features need, loaded when these are used."""

import importlib
from typing import Any


def scipy(module: str) -> Any:
    """Return a module of SciPy.

    Args:
        module: Name below the package, such as `"optimize"`.

    Raises:
        ImportError: SciPy is not installed.
    """
    try:
        return importlib.import_module(f"scipy.{module}")
    except ImportError as error:
        raise ImportError(
            "linear operators and weight programming optimisation need SciPy; install it with"
            " `pip install mho[scipy]`"
        ) from error
