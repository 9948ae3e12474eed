"""Which interpreter of its process this is: torch works in the first one only."""

import importlib
from typing import Any

_MODULES = ("_interpreters", "_xxsubinterpreters")
"""What knows the interpreters of a process, from Python 3.13 on and before."""


def refuse_further_ones() -> None:
    """Refuse to run in another interpreter than the first one of the process.

    Raises:
        ImportError: It is another one. There the import of torch never returns, for it waits for a
            lock that belongs to the first one.
    """
    interpreters = _known()
    if interpreters is None or interpreters.get_current() == interpreters.get_main():
        return
    raise ImportError(
        "mho: torch works in the first interpreter of a process only, and its import would never"
        " return in this one; use processes instead"
    )


def _known() -> Any:
    for name in _MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None
