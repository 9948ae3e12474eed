"""The two simulators that are compared, behind the names that they share."""

import importlib
import warnings
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Library:
    """Modules of one simulator; both have the same public names."""

    name: str
    configs: ModuleType
    tiles: ModuleType
    nn: ModuleType
    optim: ModuleType


def load(name: str) -> Library | None:
    """Import a simulator.

    Args:
        name: ``"mho"`` or ``"aihwkit"``.

    Returns:
        Its modules, or None if it is not installed.
    """
    paths = ("simulator.configs", "simulator.tiles", "nn", "optim")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            modules = [importlib.import_module(f"{name}.{path}") for path in paths]
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise
    return Library(name, *modules)


def load_all(with_peer: bool) -> list[Library]:
    """Return mho, and aihwkit if it is wanted and installed."""
    names = ("mho", "aihwkit") if with_peer else ("mho",)
    return [library for library in map(load, names) if library is not None]
