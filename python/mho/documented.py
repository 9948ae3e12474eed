"""What the fields of a class mean, in `help()`.

The text of a field stands below it in the source, where editors and the reference read it. Python
throws such strings away, so `__doc__` of the classes marked here reads the source when it is asked
for.
"""

import ast
import inspect
import itertools
from textwrap import dedent, indent
from typing import Any, SupportsIndex, TypeVar

ClassT = TypeVar("ClassT", bound=type)


def documented(cls: ClassT) -> ClassT:
    """Add the texts of fields, own and inherited ones, to the documentation (class decorator).

    Args:
        cls: Class with strings below its annotated or assigned names.

    Returns:
        The class.
    """
    cls.__doc__ = _FieldTexts(cls, cls.__doc__ or "")
    return cls


class _FieldTexts(str):
    """Documentation of a class, put together at its first use: reading sources takes time.

    As an attribute it is the whole text. `help` takes that of an enumeration past its attributes,
    expects a string, and expands its tabs first.
    """

    _cls: type
    _summary: str
    _whole: str | None

    def __new__(cls, owner: type, summary: str) -> "_FieldTexts":
        self = super().__new__(cls, summary)
        self._cls, self._summary, self._whole = owner, summary, None
        return self

    def expandtabs(self, tabsize: SupportsIndex = 8) -> str:
        return self.__get__(None, self._cls).expandtabs(tabsize)

    def __get__(self, instance: object, owner: type) -> str:
        if self._whole is None:
            self._whole = _whole_text(self._cls, inspect.cleandoc(self._summary))
        return self._whole


def _whole_text(cls: type, summary: str) -> str:
    texts: dict[str, str] = {}
    for part in reversed(cls.__mro__):
        texts.update(_texts(part))
    if not texts:
        return summary
    lines = [indent(f"{name}: {text}", "        ")[4:] for name, text in texts.items()]
    return "\n".join([summary, "", "Attributes:", *lines])


def _texts(cls: type) -> dict[str, str]:
    """Return what stands below the names in the body of a class; nothing without its source."""
    if cls.__module__ == "builtins":
        return {}
    try:
        body: list[Any] = ast.parse(dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined]
    except (OSError, TypeError, SyntaxError):  # defined in a shell, or installed without sources
        return {}
    found = {}
    for statement, below in itertools.pairwise(body):
        name, text = _name(statement), _string(below)
        if name and text:
            found[name] = inspect.cleandoc(text)
    return found


def _name(statement: ast.stmt) -> str | None:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return str(name)
    return None


def _string(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
    return None
