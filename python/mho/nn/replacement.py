"""One walk over a model that replaces modules and keeps its structure."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mho.nn.fused_paths import follow_fused_paths
from mho.nn.inheritance import hook_tables, inherit
from mho.nn.leftovers import compile_again
from mho.nn.modules.base import AnalogLayerBase
from mho.simulator.tiles.base import TileModuleBase

Replace = Callable[[str, nn.Module], nn.Module]


@dataclass
class Replacement:
    """Replaces modules of a model, each object once, however many names it has.

    All new modules are made before the first one is put in place, so that an error leaves the model
    as it was.
    """

    replace: Replace
    """Returns the module that takes the place of a named module, or that module itself."""

    excluded: Collection[int] = ()
    """Identities of modules that stay, with everything below them."""

    excluded_names: Collection[str] = ()
    """Full names of such modules, for those that are made in the course of the walk."""

    _done: dict[int, tuple[nn.Module, nn.Module]] = field(default_factory=dict)
    _edits: list[tuple[nn.Module, str, nn.Module]] = field(default_factory=list)
    _before: list[tuple[nn.Module, str, nn.Module | None]] = field(default_factory=list)
    _hooks: list[tuple[dict[Any, Any], dict[Any, Any]]] = field(default_factory=list)
    """Tables of hooks of replaced modules, with what was in them."""

    def run(self, module: nn.Module, name: str, replace_root: bool = True) -> nn.Module:
        """Replace a module and everything below it, parents first.

        Args:
            module: Root.
            name: Full name of the root, empty for that of a model.
            replace_root: Whether the root itself may be replaced.

        Returns:
            What the root became.
        """
        root = self._visit(module, name, replace_root)
        for old, new in self.replaced():
            if is_one_layer(new) or is_one_layer(old):
                self._hooks += [(table, dict(table)) for table in hook_tables(old)]
                inherit(old, new)
        for owner, child_name, child in self._edits:
            self._before.append((owner, child_name, owner._modules[child_name]))
            owner._modules[child_name] = child
        follow_fused_paths(root)
        compile_again(root)
        return root

    @contextmanager
    def or_nothing(self, module: nn.Module) -> Iterator[None]:
        """Leave a model as it was if the block raises, an interruption or a warning included.

        Args:
            module: Root, as it is given to `run` in the block.
        """
        try:
            yield
        except BaseException:
            for owner, child_name, child in reversed(self._before):
                owner._modules[child_name] = child
            for table, content in self._hooks:
                table.clear()
                table.update(content)
            follow_fused_paths(module)
            compile_again(module)
            raise

    def replaced(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Yield every module that was replaced, with its replacement."""
        for old, new in self._done.values():
            if old is not new:
                yield old, new

    def _visit(self, module: nn.Module, name: str, replace: bool = True) -> nn.Module:
        if id(module) in self._done:
            return self._done[id(module)][1]
        result = self.replace(name, module) if replace else module
        self._done[id(module)] = (module, result)
        if result is not module and is_layer(result):
            return result
        for child_name, child in result._modules.items():
            full_name = f"{name}.{child_name}" if name else child_name
            if child is None or self._stays(result, child, full_name):
                continue
            new = self._visit(child, full_name)
            if new is not child:
                self._edits.append((result, child_name, new))
        return result

    def _stays(self, parent: nn.Module, child: nn.Module, name: str) -> bool:
        """Return whether a child is left as it is, with everything below it."""
        return (
            isinstance(child, TileModuleBase)
            or id(child) in self.excluded
            or name in self.excluded_names
            # It multiplies with the weights of this layer itself.
            or (isinstance(parent, nn.MultiheadAttention) and child is parent.out_proj)
        )


def is_layer(module: nn.Module) -> bool:
    """Return whether a module is an analog layer, and no container of them.

    Args:
        module: Module.
    """
    return isinstance(module, AnalogLayerBase) and not module.IS_CONTAINER


def is_one_layer(module: nn.Module) -> bool:
    """Return whether a module is analog and has one layer, or one module of torch, as counterpart.

    Args:
        module: Module.
    """
    return is_layer(module) or (isinstance(module, AnalogLayerBase) and module.STANDS_FOR_LAYER)


def subtrees(module: nn.Module, name: str, names: Iterable[str]) -> set[int]:
    """Return the identities of all modules below the root with some full names.

    A module that is reachable under another name as well is among them: it cannot stay and be
    replaced.

    Args:
        module: Root.
        name: Full name of the root; the root itself is never among them.
        names: Full names to look for.
    """
    prefix = f"{name}." if name else ""
    found: set[int] = set()
    for full_name in names:
        if not full_name.startswith(prefix):
            continue
        child = submodule(module, full_name.removeprefix(prefix))
        if child is not None and child is not module:
            found.update(id(below) for below in child.modules())
    return found


def submodule(module: nn.Module, path: str) -> nn.Module | None:
    """Return the module below another one that a path of names leads to, None if there is none.

    Args:
        module: Where the path starts.
        path: Names with dots between them.
    """
    child: nn.Module | None = module
    for part in path.split("."):
        child = None if child is None else child._modules.get(part)
    return child
