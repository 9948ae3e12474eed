"""What of a model would go on computing with the layers that were replaced, without a word.

A conversion puts new modules where modules are registered. Whoever holds an old one otherwise goes
on calling it: a method put on the instance, a compiled wrapper, a plain list.
"""

import functools
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from mho.exceptions import ArgumentError, warn_caller

# What a module has in itself: registries, in which the new modules are, and tables of hooks.
_OWN = frozenset(vars(nn.Module()))
_COMPILED_FROM = "_torchdynamo_orig_callable"


def check_root(module: nn.Module) -> None:
    """Refuse models in which layers cannot be replaced any more.

    Args:
        module: Model that is to be converted.

    Raises:
        ArgumentError: It is scripted, or wrapped for data-parallel training.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise ArgumentError(
            f"module: {type(module).__name__} is compiled by torch.jit and its layers cannot be"
            " replaced; convert the model that it was made from"
        )
    for name, part in module.named_modules():
        where = f"module {name!r}" if name else "module"
        if isinstance(part, nn.DataParallel):
            raise ArgumentError(
                f"{where}: DataParallel copies layers in every call, and copies of tiles change"
                " nothing; convert what it wraps (model.module), and train it in several processes"
                " with DistributedDataParallel"
            )
        if isinstance(part, nn.parallel.DistributedDataParallel):
            raise ArgumentError(
                f"{where}: DistributedDataParallel would go on averaging the gradients of the"
                " layers that are replaced, and of no other; convert first, wrap then"
            )


def check_replaceable(module: nn.Module, name: str) -> None:
    """Refuse a module whose `forward` was put on the instance: it would outlive the conversion.

    Args:
        module: Module that is to be replaced.
        name: Its full name.

    Raises:
        ArgumentError: There is such a method.
    """
    if "forward" in vars(module):
        where = f"module {name!r}" if name else "module"
        raise ArgumentError(
            f"{where}: `forward` was replaced on this instance of"
            f" {type(module).__name__}, and would go on computing digitally; take it off"
            " (del module.forward) before the conversion, or name the module in exclude_modules"
        )


def compile_again(module: nn.Module) -> None:
    """Let what `torch.compile` has wrapped call the modules that are there now.

    Args:
        module: Model after a replacement.
    """
    # Nothing is compiled where the compiler, which takes seconds to load, is not loaded.
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    if compiler is None:
        return
    for part in module.modules():
        if isinstance(part, compiler.OptimizedModule):
            # As after unpickling: the wrapper makes its `forward` anew.
            part.__setstate__(part.__getstate__())
            # What a second `torch.compile` looks for; copies do not have it.
            if _COMPILED_FROM in vars(part):
                vars(part)[_COMPILED_FROM] = part._orig_mod.forward


def warn_of_references(replaced: Iterable[tuple[nn.Module, nn.Module]], model: nn.Module) -> None:
    """Warn if a module keeps one that was replaced elsewhere than among its submodules.

    Attributes are searched, what lists, tuples, sets and dicts hold, and the modules that methods
    and `functools.partial` are bound to.

    Args:
        replaced: Modules that are no longer part of the model, and their replacements.
        model: Model after the replacement.
    """
    gone = {id(old) for old, _ in replaced}
    for name, part in model.named_modules():
        for attribute, value in vars(part).items():
            if attribute not in _OWN and any(id(held) in gone for held in _held_by(value)):
                path = f"{name}.{attribute}" if name else attribute
                warn_caller(
                    f"{path}: still holds a digital module that was replaced, and calls of it"
                    " compute digitally; register modules as submodules, and look methods up when"
                    " they are called"
                )


def _held_by(value: Any, depth: int = 2) -> Iterator[Any]:
    yield value
    yield getattr(value, "__self__", None)
    inner: Iterable[Any] = ()
    if isinstance(value, functools.partial):
        inner = (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        inner = value
    if depth > 0:
        for one in inner:
            yield from _held_by(one, depth - 1)
