"""Lets scripts that import aihwkit run on this package without being edited.

>>> import mho.compat
>>> mho.compat.install()
>>> from aihwkit.nn import AnalogLinear
>>> AnalogLinear.__module__
'mho.nn.modules.linear'
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_ALIAS = "aihwkit"
_PACKAGE = "mho"


def install() -> None:
    """Make ``import aihwkit`` and all modules below it resolve to this package.

    Modules are the same objects under both names. Calling it again does nothing.

    Raises:
        ImportError: The original package is imported already; call this before.
    """
    if _finder() is not None:
        return
    original = sys.modules.get(_ALIAS)
    if original is not None and original.__name__ == _ALIAS:
        raise ImportError(
            f"{_ALIAS} is already imported from {original.__file__};"
            " call mho.compat.install() before"
        )
    sys.meta_path.insert(0, _AliasFinder())


def uninstall() -> None:
    """Make ``import aihwkit`` mean the original package again; does nothing if not installed."""
    finder = _finder()
    if finder is None:
        return
    sys.meta_path.remove(finder)
    for name in [name for name in sys.modules if _is_alias(name)]:
        del sys.modules[name]


def _finder() -> "MetaPathFinder | None":
    found = (finder for finder in sys.meta_path if isinstance(finder, _AliasFinder))
    return next(found, None)


def _is_alias(name: str) -> bool:
    return name == _ALIAS or name.startswith(f"{_ALIAS}.")


def _real_name(name: str) -> str:
    return _PACKAGE + name[len(_ALIAS) :]


class _AliasFinder(MetaPathFinder):
    """Finds modules of this package under the other name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _is_alias(fullname):
            return None
        if importlib.util.find_spec(_real_name(fullname)) is None:
            # Not None: the original package may be installed, and a mixture of both must not arise.
            raise ModuleNotFoundError(
                f"{_PACKAGE} has no module {_real_name(fullname)!r} for {fullname!r}", name=fullname
            )
        return ModuleSpec(fullname, _AliasLoader())


class _AliasLoader(Loader):
    """Gives out the module of this package, unchanged."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(_real_name(spec.name))
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just marked the module as the alias.
        module.__spec__ = self._own_spec
