"""Fills the tensors of files into a model, module by module.

A state dictionary with all tensors would be a second copy of the weights, and plans of changes for
all tiles a third one. The model is not in use yet, so each part is changed as soon as it is read.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import _IncompatibleKeys

from mho.exceptions import ArgumentError, ConfigError, StateError, TileError
from mho.nn.modules.location import raise_in_layer
from mho.nn.replacement import is_layer
from mho.nn.saving.tensor_file import TensorFile
from mho.simulator.state.transaction import nobody_sees
from mho.simulator.tiles.base import TileModuleBase
from mho.simulator.tiles.module import TileModule


class Source:
    """Tensors by name, each of which is read when it is asked for."""

    def __init__(
        self, files: Sequence[TensorFile], tied: Mapping[str, str], buffers: Collection[str]
    ) -> None:
        """Check the names.

        Args:
            files: Files.
            tied: Names of tensors that stand under another name, and that one.
            buffers: Names of buffers that are in no state dictionary.

        Raises:
            StateError: A name stands in two files, or in none.
        """
        self._files: dict[str, TensorFile] = {}
        for file in files:
            for name in file.extents:
                if name in self._files:
                    raise StateError(f"{file.path}: {name!r} is in another file as well")
                self._files[name] = file
        for name in (*tied.values(), *buffers):
            if name not in self._files:
                raise StateError(f"analog map: {name!r} is in none of the files")
        for name in tied:
            if name in self._files:
                raise StateError(f"analog map: {name!r} is tied, but in the files itself")
        self.tied = tied
        self.buffers = frozenset(buffers)

    def names(self) -> list[str]:
        """Return the names of the entries of a state dictionary."""
        return [name for name in (*self._files, *self.tied) if name not in self.buffers]

    def read(self, name: str) -> Tensor:
        """Return a tensor with memory of its own.

        Args:
            name: Its name.

        Raises:
            StateError: The file cannot be read any more.
        """
        name = self.tied.get(name, name)
        return self._files[name].read(name)


def fill(model: nn.Module, source: Source) -> None:
    """Give a model all values of a source.

    Args:
        model: Model with its layers converted, in use by nobody.
        source: Tensors.

    Raises:
        StateError: There are missing or unexpected names, or a shape does not fit.
        TileError: The state of a tile does not fit.
    """
    modules = dict(model.named_modules())
    tiles = {name for name, module in modules.items() if isinstance(module, TileModule)}
    owned = _by_owner(source.names(), modules, tiles)
    for name in sorted(tiles):
        _fill_tile(name, modules[name], owned.pop(name, []), source)
    for name, module in modules.items():
        if not _is_in_tile(name, tiles):
            _fill_module(name, module, owned.pop(name, []), source)
    for names in owned.values():
        raise StateError(f"{names[0]!r} is in the files, but there is no such module in the model")
    for name in sorted(source.buffers):
        _fill_buffer(modules, name, source)
    for name, first in source.tied.items():
        _tie(modules, name, first)


def freeze(model: nn.Module, frozen: Collection[str]) -> None:
    """Say of every parameter whether it is trained.

    Args:
        model: Model with all its values.
        frozen: Names of the parameters that are not.

    Raises:
        StateError: There is no parameter of a name.
    """
    parameters = dict(model.named_parameters())
    for name in frozen:
        if name not in parameters:
            raise StateError(f"frozen: the model has no parameter {name!r}")
    for name, parameter in parameters.items():
        if parameter.requires_grad == (name in frozen):
            parameter.requires_grad_(name not in frozen)


def _by_owner(
    names: Sequence[str], modules: Mapping[str, nn.Module], tiles: Collection[str]
) -> dict[str, list[str]]:
    """Return the names of the entries of each module; all that is inside of a tile is its own."""
    owned: dict[str, list[str]] = {}
    for name in names:
        owner = ""
        for path in _paths(name):
            if path in modules:
                owner = path
            if path in tiles:
                break
        owned.setdefault(owner, []).append(name)
    return owned


def _paths(name: str) -> Iterator[str]:
    """Yield the names of the modules around an entry, the outermost first."""
    parts = name.split(".")[:-1]
    for count in range(len(parts) + 1):
        yield ".".join(parts[:count])


def _is_in_tile(name: str, tiles: Collection[str]) -> bool:
    return name in tiles or any(path in tiles for path in _paths(name))


def _fill_tile(name: str, tile: Any, names: Sequence[str], source: Source) -> None:
    prefix = f"{name}." if name else ""
    state = {full.removeprefix(prefix): source.read(full) for full in names}
    try:
        # The method of the tile would check all first, to leave the tile as it is on errors.
        with nobody_sees():
            missing, unexpected = nn.Module.load_state_dict(tile, state, strict=False)
        if missing or unexpected:
            raise StateError(
                f"the state does not fit {type(tile).__name__}; missing {missing}, unexpected"
                f" {unexpected}"
            )
    except (ConfigError, TileError) as error:
        raise_in_layer(error, name)
    except (ArgumentError, RuntimeError) as error:  # torch's for the modules inside of a tile
        raise StateError(f"{error}; in layer {name!r}") from error


def _fill_module(name: str, module: nn.Module, names: Sequence[str], source: Source) -> None:
    """Load what a module has itself as torch does, parameters without storage by assignment."""
    prefix = f"{name}." if name else ""
    state = {full: source.read(full) for full in names}
    _check_kinds(module, prefix, state)
    own = [*module._parameters.values(), *module._buffers.values()]
    is_analog = is_layer(module) or isinstance(module, TileModuleBase)
    assign = not is_analog or any(value is not None and value.is_meta for value in own)
    metadata: dict[str, Any] = {"version": module._version}
    if assign:
        metadata["assign_to_params_buffers"] = True
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []
    module._load_from_state_dict(state, prefix, metadata, True, missing, unexpected, errors)
    for hook in module._load_state_dict_post_hooks.values():
        hook(module, _IncompatibleKeys(missing, unexpected))
    if errors:
        raise StateError(f"{name or 'the model'}: {errors[0]}")
    if missing or unexpected:
        raise StateError(
            f"{name or 'the model'}: the model that was saved is another one than the skeleton;"
            f" missing {missing}, unexpected {unexpected}"
        )


def _check_kinds(module: nn.Module, prefix: str, state: Mapping[str, Tensor]) -> None:
    for name, present in (*module._parameters.items(), *module._buffers.items()):
        value = state.get(f"{prefix}{name}")
        if present is not None and value is not None:
            _check_kind(f"{prefix}{name}", present, value)


def _check_kind(name: str, present: Tensor, value: Tensor) -> None:
    """Refuse values that would be numbers of another kind: precisions may differ, no more."""
    kinds = [(one.is_floating_point(), one.is_complex()) for one in (present, value)]
    if kinds[0] != kinds[1]:
        raise StateError(f"{name!r} is {value.dtype} in the files, {present.dtype} in the model")


def _fill_buffer(modules: Mapping[str, nn.Module], name: str, source: Source) -> None:
    """Give a module a buffer that its state does not have."""
    owner, _, buffer = name.rpartition(".")
    module = modules.get(owner)
    present = None if module is None else module._buffers.get(buffer)
    value = source.read(name)
    if module is None or present is None or present.shape != value.shape:
        raise StateError(
            f"{name!r} is a buffer of shape {tuple(value.shape)}, but not in the model"
        )
    _check_kind(name, present, value)
    module._buffers[buffer] = value


def _tie(modules: Mapping[str, nn.Module], name: str, first: str) -> None:
    """Make two entries one and the same, if both are parameters or both are buffers."""
    (owner, _, key), (other, _, first_key) = name.rpartition("."), first.rpartition(".")
    if owner not in modules or other not in modules:
        return
    for registry in ("_parameters", "_buffers"):
        mine: dict[str, Any] = getattr(modules[owner], registry)
        theirs: dict[str, Any] = getattr(modules[other], registry)
        if key in mine and first_key in theirs:
            mine[key] = theirs[first_key]
