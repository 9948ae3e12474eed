"""Analog in-memory computing for PyTorch: layers whose weights are conductances.

Subpackages are loaded at their first use, since torch takes a second: `mho.nn`, `mho.optim`,
`mho.simulator`, `mho.inference`, `mho.evaluation`, `mho.linalg`, `mho.utils`, `mho.compat`. What is
in them is imported by name, such as `mho.simulator.configs`, `mho.inference.calibration` or
`mho.utils.visualization`.
"""

import importlib
from typing import Any

from mho import interpreters, pending
from mho.adapters import Backend, backends, synchronize
from mho.settings import get_backend, set_backend
from mho.threads import ThreadTeam, get_num_threads, set_num_threads, thread_team
from mho.version import __version__

__all__ = [
    "Backend",
    "ThreadTeam",
    "__version__",
    "backends",
    "calibrate",
    "compare",
    "cost",
    "evaluate",
    "fork_noise",
    "get_backend",
    "get_num_threads",
    "same_noise",
    "set_backend",
    "set_num_threads",
    "synchronize",
    "thread_team",
]

interpreters.refuse_further_ones()
pending.install()

_SUBPACKAGES = frozenset(
    (
        "compat",
        "evaluation",
        "exceptions",
        "inference",
        "linalg",
        "nn",
        "optim",
        "simulator",
        "utils",
    )
)
# Functions of the package that need torch.
_LATER = {
    "calibrate": "inference.calibration.calibration",
    "cost": "utils.analog_info",
    "compare": "evaluation.comparison",
    "evaluate": "evaluation.evaluating",
    "fork_noise": "nn.noise",
    "same_noise": "nn.noise",
}


def __getattr__(name: str) -> Any:
    """Load a subpackage, or a function that needs torch, at its first use."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _LATER:
        value = globals()[name] = getattr(
            importlib.import_module(f"{__name__}.{_LATER[name]}"), name
        )
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBPACKAGES, *_LATER})
