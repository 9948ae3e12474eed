"""Arguments of public functions follow the annotations that document them.

Every argument is checked before the function runs, by the rules of configurations. What those leave
to Python (an array as flag, text as number, a number as model) would fail somewhere inside, with an
error that names neither the argument nor the remedy. What a value means is up to the function.

Binding costs microseconds, so that products of layers check what they get themselves.
"""

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar, Union

import numpy as np
import torch
from torch import Tensor

from mho.exceptions import ArgumentError, short_traceback
from mho.simulator.parameters.arguments import (
    check_flag,
    check_index,
    check_number,
    check_rpu_config,
    is_dense,
)
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.checking import describe, type_name

P = ParamSpec("P")
R = TypeVar("R")

_SCALARS: dict[Any, Callable[[str, Any], Any]] = {
    bool: check_flag,
    int: check_index,
    float: check_number,
}
_SERIES = (Iterable, Collection, Sequence)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments of a function by its annotations before it runs (decorator).

    Numbers and flags of NumPy and tensors of one element become those of Python, what converts to
    an array where one is expected becomes one. Annotations that exist for type checkers only, and
    type variables, are not checked. Errors end at the call of the user.

    Args:
        function: Function or method; calls with other names than its own stay a `TypeError`.
    """

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling():  # annotations cannot be looked up in a captured graph
            return function(*args, **kwargs)
        signature = _signature(function)
        given = _bound(function, signature, args, kwargs)
        hints = _hints(function)
        for name, value in given.arguments.items():
            if name in hints and signature.parameters[name].kind not in _VARIADIC:
                default = signature.parameters[name].default
                if value is not default:
                    given.arguments[name] = check_argument(name, value, hints[name])
        return function(*given.args, **given.kwargs)

    return short_traceback(called)


def _bound(
    function: Callable[..., Any],
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> inspect.BoundArguments:
    """Return the arguments by name; errors say of which function, as those of Python do."""
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        name = function.__qualname__.removesuffix(".__init__").rpartition("<locals>.")[2]
        refused = next((key for key in kwargs if repr(key) in str(error)), "")
        close = difflib.get_close_matches(refused, signature.parameters, n=1) if refused else []
        remedy = f"; did you mean {close[0]!r}?" if close and close[0] != refused else ""
        raise TypeError(f"{name}: {error}{remedy}") from None


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature, which is not looked for while modules are imported."""
    return inspect.signature(function)


@cache
def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the annotations that can be evaluated."""
    found = {}
    for name, hint in inspect.get_annotations(function).items():
        if isinstance(hint, str):
            try:
                hint = eval(hint, inspect.unwrap(function).__globals__)
            except NameError:  # imported for type checkers only
                continue
        found[name] = hint
    return found


def check_argument(name: str, value: Any, hint: Any) -> Any:
    """Return an argument in the form that its annotation says.

    Args:
        name: Name of the argument in messages.
        value: Candidate.
        hint: Annotation.

    Raises:
        ArgumentError: It is something else.
    """
    choices = typing.get_args(hint) if _is_union(hint) else (hint,)
    for choice in choices:
        if choice is type(None) and value is None:
            return value
    choices = tuple(choice for choice in choices if choice is not type(None))
    problem: ArgumentError | None = None
    for choice in choices:
        try:
            return _check(name, value, choice)
        except ArgumentError as error:
            problem = problem or error
    if len(choices) == 1 and problem is not None:
        raise problem
    raise ArgumentError(f"{name}: expected {type_name(hint)}, got {describe(value)}")


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType)


def _check(name: str, value: Any, hint: Any) -> Any:
    if isinstance(hint, str) or hint is Any or isinstance(hint, TypeVar):
        return value
    if hint in _SCALARS:
        return _SCALARS[hint](name, value)
    if hint is Tensor:
        return check_real(name, value)
    kind = typing.get_origin(hint) or hint
    if kind is np.ndarray:
        return check_array(name, value)
    if not isinstance(kind, type):
        return value
    if issubclass(kind, RPUConfigBase) and not isinstance(value, kind):
        check_rpu_config(value)
    if not _is_instance(value, kind):
        # One text in the place of a list of texts is the likeliest slip.
        is_slip = kind in _SERIES and isinstance(value, str) and typing.get_args(hint) == (str,)
        remedy = f"; write [{value!r}]" if is_slip else ""
        raise ArgumentError(f"{name}: expected {type_name(hint)}, got {describe(value)}{remedy}")
    return _check_elements(name, value, kind, typing.get_args(hint))


def _is_instance(value: Any, kind: Any) -> bool:
    if kind is list:
        return isinstance(value, (list, tuple))
    if getattr(kind, "_is_protocol", False) and not getattr(kind, "_is_runtime_protocol", False):
        return True
    # Text and tensors can be iterated over, but they are no lists.
    if kind in _SERIES and isinstance(value, (str, bytes, Tensor, np.ndarray)):
        return False
    return isinstance(value, kind)


def _check_elements(name: str, value: Any, kind: type, of: tuple[Any, ...]) -> Any:
    if issubclass(kind, Mapping) and len(of) == 2:
        for key, item in value.items():
            check_argument(f"{name}: key", key, of[0])
            check_argument(f"{name}[{key!r}]", item, of[1])
    elif kind is tuple and of and of[-1] is not Ellipsis:
        if len(value) != len(of):
            raise ArgumentError(f"{name}: expected {len(of)} values, got {describe(value)}")
        return tuple(
            check_argument(f"{name}[{i}]", item, hint)
            for i, (item, hint) in enumerate(zip(value, of, strict=True))
        )
    elif kind in (list, set, Sequence) and len(of) == 1:
        for i, item in enumerate(value):
            check_argument(f"{name}[{i}]", item, of[0])
    return value


def check_real(name: str, value: Any) -> Tensor:
    """Return a dense tensor of floating-point numbers.

    Args:
        name: Name of the argument in messages.
        value: Candidate.

    Raises:
        ArgumentError: It is something else.
    """
    if not isinstance(value, Tensor) or not value.is_floating_point() or not is_dense(value):
        raise ArgumentError(
            f"{name}: expected a dense tensor of floating-point numbers, got {describe(value)}"
        )
    return value


def check_array(name: str, value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """Return an array of finite numbers.

    Args:
        name: Name of the argument in messages.
        value: Candidate: array, tensor, list or number.

    Raises:
        ArgumentError: It cannot be made one.
    """
    try:
        value = value.detach().cpu() if isinstance(value, Tensor) else value
        array: np.ndarray[Any, np.dtype[Any]] = np.asarray(value, dtype=float)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        array = np.array(np.nan)
    if not np.isfinite(array).all():
        raise ArgumentError(f"{name}: expected finite numbers, got {describe(value)}")
    return array
