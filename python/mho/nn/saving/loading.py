"""Makes the model of a folder: a skeleton, its layers by the map, then value by value."""

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mho.exceptions import ConfigError, StateError
from mho.nn.saving.analog_map import FOLDER_KEYS, AnalogMap, read_map
from mho.nn.saving.filling import Source, fill, freeze
from mho.nn.saving.folder import MAP, check_folder, read_json
from mho.nn.saving.rebuilding import classes_for, rebuilt
from mho.nn.saving.shards import is_shard_name
from mho.nn.saving.skeletons import check_filled, skeleton_from
from mho.nn.saving.tensor_file import TensorFile
from mho.simulator.parameters.signatures import checked


@checked
def load_analog(
    folder: str | os.PathLike[str],
    skeleton: nn.Module | Callable[[], nn.Module] | None = None,
    analog_classes: Collection[type] = (),
    verify: bool = True,
) -> nn.Module:
    """Return the model that `mho.nn.save_analog` has saved, with all of its state.

    It is in evaluation mode, as pretrained models are. The skeleton says how the model is built: a
    function without arguments, such as the class of the model; or a digital model, of which only
    the structure is used and which does not change. Models of transformers need none: they are
    built from ``config.json``.

    The weights are in memory once: models are built on the meta device, where they have no storage,
    and files are read tensor by tensor. A model that cannot be built there, since it computes with
    values meanwhile, is built on the host, and its parameters are given up first. torch's
    generators are left as they are. Nothing in the folder is executed.

    Args:
        folder: Folder.
        skeleton: Digital model or what returns it; its modules have the names of those that were
            saved.
        analog_classes: Analog classes that the map names beside those that `register_analog`
            knows. Nothing is imported because a map names it.
        verify: Compare the check sums of the files, which reads them once more; False for files
            that were changed on purpose.

    Returns:
        The model, on the host.

    Raises:
        ArgumentError: An argument has the wrong type, or there is no skeleton.
        ConfigError: A configuration in the map cannot be read.
        ImportError: The folder names a model of a library that is not installed.
        StateError: A file is missing, damaged, of another version or not of this save; or the
            model in it has other modules than the skeleton.
        TileError: The state of a tile does not fit.
    """
    path = check_folder(folder)
    saved = _read(path)
    with ExitStack() as opened:
        files = [opened.enter_context(closing(TensorFile(path / name))) for name in saved.files]
        for file in files if verify else ():
            _check_sum(file, saved.files[file.path.name])
        source = Source(files, saved.tied, saved.buffers)
        with torch.random.fork_rng(devices=[]):
            model = skeleton_from(skeleton, path, saved.skeleton)
            classes = classes_for(model, saved.map, analog_classes)
            model = rebuilt(model, saved.map, classes, state_follows=True)
        fill(model, source)
        freeze(model, saved.frozen)
    check_filled(model)
    return model.eval()


@dataclass(frozen=True)
class _Saved:
    """What the file of the map says."""

    map: AnalogMap
    skeleton: Any
    files: Mapping[str, int]
    tied: Mapping[str, str]
    buffers: Collection[str]
    frozen: Collection[str]


def _read(folder: Path) -> _Saved:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "there is no such folder"
        raise StateError(f"folder: {str(folder)!r}: {what}")
    path = folder / MAP
    if not path.exists():
        raise StateError(
            f"{path}: is missing; save models with mho.nn.save_analog (what save_pretrained and"
            " torch.save write is without map, and goes into load_state_dict of a converted model)"
        )
    content = read_json(path)
    own = {key: content.pop(key, None) for key in FOLDER_KEYS}
    try:
        found = read_map(content)
        files = {
            _shard(name): _checksum(value) for name, value in _texts("files", own["files"]).items()
        }
        tied = _texts("tied", own["tied"])
        buffers, frozen = (_names(what, own[what]) for what in ("buffers", "frozen"))
    except (StateError, ConfigError) as error:
        raise type(error)(f"{path}: {error}") from error
    return _Saved(found, own["skeleton"], files, tied, buffers, frozen)


def _shard(name: str) -> str:
    if not is_shard_name(name):
        raise StateError(
            f"files: {name!r} is no name of a file with weights; a path cannot lead elsewhere"
        )
    return name


def _checksum(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise StateError(f"files: {text!r} is no check sum") from None


def _texts(what: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise StateError(f"{what}: must be an object of names")
    return value


def _names(what: str, value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise StateError(f"{what}: must be a list of names")
    return frozenset(value)


def _check_sum(file: TensorFile, expected: int) -> None:
    if file.checksum() != expected:
        raise StateError(
            f"{file.path}: is damaged or of another save than {MAP}, where its check sum is"
            " another one; verify=False reads it all the same"
        )
