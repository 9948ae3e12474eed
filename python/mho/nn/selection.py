"""Which modules of a model a key stands for: by name, by pattern or by class.

A key selects modules, and every module that it selects stands for all that is inside of it.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import nn

from mho.exceptions import ArgumentError
from mho.simulator.parameters.checking import describe

Key: TypeAlias = str | type[nn.Module]
"""Full name of a module; ``"re:"`` with a regular expression that a whole name has to match; or a
class of modules, which has its subclasses with it."""

PATTERN = "re:"
"""What a key that is a regular expression starts with; no name of a module has a colon in it."""


@dataclass(frozen=True)
class Place:
    """A module under one of its names."""

    name: str
    """Full name."""

    module: nn.Module
    """The module."""

    selected_by: tuple[int, ...]
    """Numbers of the keys that select it or a module around it, in their order."""


class Selector:
    """A key that was read."""

    def __init__(self, argument: str, key: Key) -> None:
        """Read a key.

        Args:
            argument: Name of the argument that it is from, for messages.
            key: Key.

        Raises:
            ArgumentError: It is neither text nor a class of modules, or its pattern is none.
        """
        self.key = key
        self._pattern: re.Pattern[str] | None = None
        if isinstance(key, type) and issubclass(key, nn.Module):
            return
        if not isinstance(key, str):
            raise ArgumentError(
                f"{argument}: a key is the name of a module, 're:' with a regular expression, or a"
                f" class of modules; got {describe(key)}"
            )
        if key.startswith(PATTERN):
            try:
                self._pattern = re.compile(key.removeprefix(PATTERN))
            except (re.error, RecursionError, OverflowError) as error:
                raise ArgumentError(
                    f"{argument}: {key!r} is no regular expression: {error}"
                ) from error

    def __str__(self) -> str:
        return self.key.__name__ if isinstance(self.key, type) else repr(self.key)

    def takes(self, name: str, module: nn.Module) -> bool:
        """Return whether the key selects a module, not counting what is around it.

        Args:
            name: Full name of the module.
            module: The module.
        """
        if isinstance(self.key, type):
            return isinstance(module, self.key)
        if self._pattern is not None:
            return self._pattern.fullmatch(name) is not None
        return name == self.key

    def hint(self, names: Collection[str]) -> str | None:
        """Return how the key could be written to select modules, None if it is not about that.

        Args:
            names: Full names of the modules that it could select.
        """
        if isinstance(self.key, type):
            return None
        if self._pattern is not None:
            found = next((name for name in names if self._pattern.search(name)), None)
            whole = f"{PATTERN}.*{self.key.removeprefix(PATTERN)}.*"
            return found and f"a whole name has to match, as {found!r} does {whole!r}"
        if not any(sign in self.key for sign in "*?["):
            return None
        regular = re.escape(self.key).replace(r"\*", ".*").replace(r"\?", ".")
        return f"patterns are regular expressions, such as {PATTERN + regular!r}"


def places(model: nn.Module, name: str, selectors: Sequence[Selector]) -> Iterator[Place]:
    """Yield every module of a model under every name that it has, parents first.

    A module that is inside of itself would have names without end; inside of itself it is left out.

    Args:
        model: Root.
        name: Full name of the root, empty for that of a model.
        selectors: Keys.
    """
    yield from _places(model, name, selectors, (), frozenset())


def _places(
    module: nn.Module,
    name: str,
    selectors: Sequence[Selector],
    around: tuple[int, ...],
    above: frozenset[int],
) -> Iterator[Place]:
    if id(module) in above:
        return
    selected = tuple(
        number
        for number, selector in enumerate(selectors)
        if number in around or selector.takes(name, module)
    )
    yield Place(name, module, selected)
    for child_name, child in module._modules.items():
        if child is not None:
            full_name = f"{name}.{child_name}" if name else child_name
            yield from _places(child, full_name, selectors, selected, above | {id(module)})


def selectors_of(argument: str, keys: Key | Collection[Key]) -> list[Selector]:
    """Return what one key or several select.

    Args:
        argument: Name of the argument that they are from.
        keys: Key, or several.

    Raises:
        ArgumentError: One is no key, or there are none.
    """
    alone = isinstance(keys, (str, type)) or not isinstance(keys, Collection)
    listed: Collection[Key] = [keys] if alone else keys  # type: ignore[assignment,list-item]
    if not listed:
        raise ArgumentError(f"{argument}: no keys; leave it out to mean all layers")
    return [Selector(argument, key) for key in listed]


def selected(
    argument: str,
    model: nn.Module,
    name: str,
    keys: Key | Collection[Key],
    counts: Callable[[nn.Module], bool],
    what: str,
) -> list[Place]:
    """Return the places of modules of a kind that any of some keys selects.

    Args:
        argument: Name of the argument that the keys are from.
        model: Root.
        name: Full name of the root, empty for that of a model.
        keys: Key, or several.
        counts: Whether a module is of the kind.
        what: Name of the kind, for messages.

    Raises:
        ArgumentError: One is no key, or selects no such module.
    """
    selectors = selectors_of(argument, keys)
    every = list(places(model, name, selectors))
    found = [place for place in every if place.selected_by and counts(place.module)]
    for number, selector in enumerate(selectors):
        if not any(number in place.selected_by for place in found):
            known = [place.name for place in every if counts(place.module)]
            raise ArgumentError(
                f"{argument}: {selector} selects no {what}{nearest(selector, known)}"
            )
    return found


def nearest(selector: Selector, known: Collection[str]) -> str:
    """Return the end of a message about a key that selects nothing: what could be meant.

    Args:
        selector: Key.
        known: Full names that there are.
    """
    names = list(dict.fromkeys(name for name in known if name))
    if (hint := selector.hint(names)) is not None:
        return f"; {hint}"
    key = selector.key
    text = key.__name__ if isinstance(key, type) else key.removeprefix(PATTERN)
    around = {
        ".".join(parts[:n]) for parts in (x.split(".") for x in names) for n in range(len(parts))
    }
    close = difflib.get_close_matches(text, sorted({*names, *around} - {""}), n=3, cutoff=0.5)
    if close and not isinstance(key, type):
        return f"; did you mean {' or '.join(map(repr, close))}?"
    if not names:
        return "; the model has none"
    shown = ", ".join(map(repr, names[:3]))
    return f"; there are {shown}{' and others' if len(names) > 3 else ''}"
