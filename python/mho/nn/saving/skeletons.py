"""Models without values, in which a state is filled."""

import copy
import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, StateError
from mho.nn.replacement import is_layer
from mho.nn.saving.folder import CONFIG, GENERATION, read_json
from mho.simulator.parameters.checking import describe

_IMPLEMENTATIONS = (
    "attn_implementation", "attn_implementation_internal", "experts_implementation",
    "experts_implementation_internal",
)  # fmt: skip
"""Entries of a configuration of transformers that say which kernels compute."""

_LOCAL = (None, "eager", "sdpa")

Skeleton = nn.Module | Callable[[], nn.Module]
"""Digital model, of which only the structure counts, or what returns one."""


def skeleton_from(given: Skeleton | None, folder: Path, saved: Any) -> nn.Module:
    """Return a model on the meta device that belongs to nobody else.

    Args:
        given: What the user gave.
        folder: Folder of the saved model.
        saved: What the folder says of its class, None if it says nothing.

    Raises:
        ArgumentError: There is no skeleton, or what was given returns none.
        StateError: The class that the folder names is none.
    """
    if isinstance(given, nn.Module):
        return without_values(given)
    if given is None:
        return _of_transformers(folder, saved)
    return _built(given)


def _built(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a model on the meta device; one that cannot be built there is built on the host."""

    def made() -> nn.Module:
        model = make()
        if not isinstance(model, nn.Module):
            raise ArgumentError(f"skeleton: returned {describe(model)}, expected a module")
        return model

    try:
        with torch.device("meta"):
            return made()
    except (RuntimeError, NotImplementedError):  # torch, of tensors that have no values
        return without_values(made())


def without_values(model: nn.Module) -> nn.Module:
    """Return a copy of a model with its parameters on the meta device, not those of analog layers.

    Args:
        model: Model; not changed.
    """
    memo: dict[int, Any] = {}
    for part in _digital_parts(model):
        for parameter in part._parameters.values():
            if parameter is not None and type(parameter) is nn.Parameter:
                memo[id(parameter)] = _empty(parameter)
    return copy.deepcopy(model, memo)


def _empty(parameter: nn.Parameter) -> nn.Parameter:
    empty = nn.Parameter(
        torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad
    )
    vars(empty).update(vars(parameter))
    return empty


def _digital_parts(module: nn.Module) -> Iterator[nn.Module]:
    if is_layer(module):
        return
    yield module
    for child in module.children():
        yield from _digital_parts(child)


def _of_transformers(folder: Path, saved: Any) -> nn.Module:
    """Return the model of transformers that a folder names."""
    if not isinstance(saved, dict):
        raise ArgumentError(
            "skeleton: the folder does not say how its model is built; hand over the digital model,"
            " or a function that returns it, as skeleton"
        )
    if saved.get("library") != "transformers":
        raise StateError(f"{folder}: the class of the model is in {saved.get('library')!r}")
    try:
        library = importlib.import_module("transformers")
    except ImportError as error:
        raise ImportError(
            "the model is one of transformers; install it, or hand the digital model over as"
            " skeleton"
        ) from error
    name = saved.get("class")
    # A name of the library itself; code in the folder is never run.
    is_name = isinstance(name, str) and name.isidentifier()
    found: Any = getattr(library, str(name), None) if is_name else None
    if not (inspect.isclass(found) and issubclass(found, library.PreTrainedModel)):
        raise StateError(f"{folder}: transformers {library.__version__} has no model {name!r}")
    cls: Any = found
    content = read_json(folder / CONFIG)
    _check_is_local(folder / CONFIG, content)
    try:
        config = cls.config_class.from_dict(content)
        model: Any = _built(lambda: cls(config))
        if saved.get("generates"):
            generation = library.GenerationConfig.from_dict(read_json(folder / GENERATION))
            model.generation_config = generation
    except StateError:
        raise
    except Exception as error:  # whatever the library raises for a configuration
        raise StateError(f"{folder / CONFIG}: {cls.__name__} cannot be built: {error}") from error
    return model  # type: ignore[no-any-return]


def _check_is_local(path: Path, content: Any) -> None:
    """Refuse kernels by name, which transformers would fetch from elsewhere and execute.

    Raises:
        StateError: One is named.
    """
    if isinstance(content, dict):
        for key, value in content.items():
            if key.lstrip("_") in _IMPLEMENTATIONS and value not in _LOCAL:
                raise StateError(
                    f"{path}: {key} is {describe(value)}, which may be code from elsewhere;"
                    " choose it when the model is loaded, by set_attn_implementation"
                )
            _check_is_local(path, value)
    elif isinstance(content, list):
        for value in content:
            _check_is_local(path, value)


def check_filled(model: nn.Module) -> None:
    """Refuse a model with tensors that have no values still.

    Args:
        model: Model after loading.

    Raises:
        StateError: There is one; the message names it.
    """
    for name, part in model.named_modules():
        values: list[tuple[str, Any]] = [*part._parameters.items(), *part._buffers.items()]
        values += [(key, value) for key, value in vars(part).items() if not key.startswith("_")]
        for key, value in values:
            if any(held.is_meta for held in _tensors(value)):
                path = f"{name}.{key}" if name else key
                raise StateError(
                    f"skeleton: {path!r} is a tensor on the meta device for which the folder has"
                    " no values; make it a buffer, or hand over a skeleton that was built on the"
                    " host"
                )


def _tensors(value: Any, depth: int = 2) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item, depth - 1)
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item, depth - 1)
