"""The plotting library, loaded when the first figure is drawn."""

import importlib
from typing import Any


def pyplot() -> Any:
    """Return `matplotlib.pyplot`.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib; install it with `pip install mho[visualization]`"
        ) from error
