"""What other packages of the field have and this one has not yet, with one wording for all of it.

`import`, `from ... import`, an attribute, and a configuration that names such a thing all say that
it "is not built yet".
"""

import dis
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

_MODULES = (
    "simulator.tiles.utils",
    "utils.fitting",
)
_NAMES = {
    "simulator.configs.devices": ("parameters_to_bindings",),
    "simulator.parameters.helpers": (
        "ALL_SKIP_FIELD",
        "ALWAYS_INCLUDE",
        "FIELD_MAP",
        "HAS_ORIGIN",
    ),
    "simulator.rpu_base.devices": (
        "AbstractResistiveDeviceParameter",
        "AnalogTileParameter",
        "FloatingPointTileParameter",
        "PulsedBaseResistiveDeviceParameter",
    ),
    "simulator.tiles.analog": ("AnalogTileWithoutPeriphery",),
    "simulator.tiles.rpucuda": ("MAP_TILE_CLASS_TO_CUDA",),
    "utils.legacy": ("convert_legacy_checkpoint",),
}

MODULES = frozenset(f"{__package__}.{name}" for name in _MODULES)
"""Modules that are not there."""

NAMES = {f"{__package__}.{module}": frozenset(names) for module, names in _NAMES.items()}
"""Names that are not in the modules that are there."""


def message(name: str) -> str:
    """Return what is said of something that is not there.

    Args:
        name: Its name.
    """
    return f"{name} is not built yet"


def is_pending(name: str) -> bool:
    """Return whether something is known but not built, by its bare name.

    Args:
        name: Name of a class.
    """
    return any(name in names for names in NAMES.values())


def attribute_of(module: str, depth: int = 1) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module that lacks some names.

    It raises `AttributeError`, as `hasattr` needs it, but `ImportError` for `from ... import`,
    which would put a text of its own in the place of the message.

    Args:
        module: Name of the module.
        depth: Number of calls between it and who asks, 1 if it is the `__getattr__` itself.
    """

    def look_up(name: str) -> Any:
        if name not in NAMES.get(module, ()):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        if _is_import(sys._getframe(depth)):
            raise ImportError(message(f"{module}.{name}"), name=module)
        raise AttributeError(message(f"{module}.{name}"))

    return look_up


def explain(module: str) -> None:
    """Let a module without `__getattr__` say what it lacks.

    Args:
        module: Its name; it is being imported.
    """
    vars(sys.modules[module])["__getattr__"] = attribute_of(module)


def _is_import(frame: Any) -> bool:
    return bool(frame.f_code.co_code[frame.f_lasti] == dis.opmap["IMPORT_FROM"])


class PendingFinder(MetaPathFinder):
    """Is asked last, for modules that nobody else has found."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """Find nothing, and say so for modules and names that are known.

        Args:
            fullname: Name of the module.
            path: Not used.
            target: Not used.

        Raises:
            ImportError: It is not built yet.
        """
        package, _, name = fullname.rpartition(".")
        if fullname in MODULES or name in NAMES.get(package, ()):
            # Not of the class for missing modules: `from package import name` would ignore it.
            raise ImportError(message(fullname), name=fullname)


def install() -> None:
    """Let imports of what is not there say so."""
    if not any(isinstance(finder, PendingFinder) for finder in sys.meta_path):
        sys.meta_path.append(PendingFinder())
