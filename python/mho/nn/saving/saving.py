"""Saves a model with analog layers in a folder that holds all of it."""

import json
import os
import sys
from typing import Any

from torch import nn

from mho.exceptions import warn_caller
from mho.nn.modules.container import original_class
from mho.nn.saving.analog_map import analog_map
from mho.nn.saving.folder import CONFIG, GENERATION, MAP, check_folder, writing
from mho.nn.saving.shards import INDEX, check_limit, index_of, split
from mho.nn.saving.tensor_file import write
from mho.nn.saving.values import values_of
from mho.simulator.parameters.signatures import checked


@checked
def save_analog(
    model: nn.Module, folder: str | os.PathLike[str], max_shard_size: int | str = "5GB"
) -> None:
    """Save a model with analog layers in a folder, from which `mho.nn.load_analog` makes it again.

    All of its state is there, that of the tiles included: hidden parameters of devices, programmed
    weights, clocks, and the positions of the random numbers, so that it goes on bit for bit. The
    state of an optimizer is its own. The files are:

    - ``model.safetensors``, or several files and ``model.safetensors.index.json`` beyond a size:
      the entries of ``state_dict()``, tied ones once, and buffers that it leaves out;
    - ``analog_map.json``: the map of `mho.nn.analog_map`, and what belongs to the files;
    - ``config.json`` and ``generation_config.json``: those of the model itself, if it has them as
      models of transformers have.

    Files are written under other names first: a save that fails leaves an earlier one as it was.
    Beside the model there is a copy of one tensor in memory at a time.

    Args:
        model: Model; not changed.
        folder: Folder, made if it is not there; files of an earlier save are replaced.
        max_shard_size: Largest size of the values in a file, in bytes or as text such as ``"5GB"``.

    Raises:
        ArgumentError: An argument has the wrong type, `folder` is a file, or a tensor of the model
            cannot be saved: on the meta device, sharded, sparse, or no tensor at all.
        ConfigError: A configuration has a class that no text can name.
        OSError: A file cannot be written.
    """
    target = check_folder(folder)
    limit = check_limit(max_shard_size)
    model = bare(model)
    found = analog_map(model)
    values = values_of(model)
    config, generation = _own_config(model, "config"), _own_config(model, "generation_config")
    skeleton = _skeleton(model, generation is not None)
    if config is not None and skeleton is not None:
        config["architectures"] = [skeleton["class"]]
    parts = split(values.tensors, limit)
    with writing(target) as files:
        checksums = {name: write(files.path(name), part) for name, part in parts.items()}
        if len(parts) > 1:
            files.json(INDEX, index_of(parts))
        if config is not None:
            files.json(CONFIG, config)
        if generation is not None:
            files.json(GENERATION, generation)
        content = {
            **found,
            "skeleton": None if config is None else skeleton,
            "files": {name: f"{value:08x}" for name, value in checksums.items()},
            "tied": values.tied,
            "buffers": values.buffers,
            "frozen": [n for n, value in model.named_parameters() if not value.requires_grad],
        }
        files.json(MAP, content)


def bare(model: nn.Module) -> nn.Module:
    """Return the model inside of what `torch.compile` or data-parallel training put around it.

    Args:
        model: Model.
    """
    compiler: Any = sys.modules.get("torch._dynamo.eval_frame")
    while True:
        if compiler is not None and isinstance(model, compiler.OptimizedModule):
            model = model._orig_mod
        elif isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        else:
            return model


def _skeleton(model: nn.Module, generates: bool) -> dict[str, Any] | None:
    """Return where the class of a model is found again, None if only its author knows."""
    library: Any = sys.modules.get("transformers")
    cls = original_class(model)
    if library is None or not issubclass(cls, library.PreTrainedModel):
        return None
    if getattr(library, cls.__name__, None) is not cls:
        return None
    return {
        "library": "transformers",
        "class": cls.__name__,
        "version": str(library.__version__),
        "generates": generates,
    }


def _own_config(model: nn.Module, name: str) -> dict[str, Any] | None:
    """Return a configuration of the model itself as JSON has it, None if there is none."""
    config: Any = getattr(model, name, None)
    if not callable(getattr(type(config), "to_dict", None)):
        return None
    try:
        content: Any = config.to_dict()
        text = json.dumps(content, allow_nan=False)
    except (TypeError, ValueError) as error:
        warn_caller(f"{name}: {type(config).__name__} is no JSON and is not saved: {error}")
        return None
    return dict(json.loads(text))
