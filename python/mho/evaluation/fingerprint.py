"""What results depend on, in a form that can be compared."""

import hashlib
import inspect
from typing import Any

import torch
from torch import nn

from mho.evaluation.ablation import REFERENCE
from mho.evaluation.data import first_batch, hash_of, length, same_order
from mho.evaluation.experiment import Experiment
from mho.evaluation.preparation import tiles_of
from mho.exceptions import ConfigError
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.version import __version__

_INDEPENDENT = (Names.CALLS, Names.CONFIG)
"""Entries that results do not depend on, or that have a part of their own."""


def parts_of(experiment: Experiment) -> dict[str, Any]:
    """Return what all results depend on, by name.

    Args:
        experiment: What is evaluated.
    """
    batches = experiment.batches()
    with same_order(batches, experiment.seed):
        first = hash_of(first_batch(batches))
    calibrate = experiment.calibrate
    return {
        "state": state_hash(experiment.model),
        "metric": experiment.metric.name,
        "data": [first, length(batches)],
        "seed": experiment.seed,
        "vary": experiment.new_chips,
        "programming": experiment.keep,
        "calibrate": None if calibrate is None else [_name(calibrate.function), calibrate.when],
        "torch_threads": experiment.torch_threads,
        "mho": __version__,
        "torch": torch.__version__,
        "device": sorted({str(value.device) for value in experiment.model.parameters()}),
    }


def state_hash(model: nn.Module) -> str:
    """Return the SHA-256 hash of a state, as hexadecimal text.

    Args:
        model: Any module.
    """
    state = model.state_dict()
    return hash_of({n: v for n, v in state.items() if not n.endswith(_INDEPENDENT)})


def config_hashes(experiment: Experiment) -> dict[str, str]:
    """Return hashes of the configurations of all variants; each is tried on the model.

    Args:
        experiment: What is evaluated.

    Raises:
        ConfigError: A tile cannot have a configuration.
    """
    found = {}
    for name in experiment.ablation.variants():
        found[name] = _configs_hash(experiment.variant(name))
    own = experiment.own_reference
    found[REFERENCE] = "digital" if own is None else f"{state_hash(own)}{_configs_hash(own)}"
    return found


def _configs_hash(model: nn.Module) -> str:
    texts = [f"{name}: {_text(tile.rpu_config)}" for name, tile in tiles_of(model).items()]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _text(config: Any) -> str:
    try:
        return str(config.to_json())
    except ConfigError:  # of a user, and not registered
        return repr(config)


def _name(function: Any) -> str:
    return str(getattr(inspect.unwrap(function), "__qualname__", type(function).__qualname__))
