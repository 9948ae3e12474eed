"""The state of a subject, in a form that compares bit for bit; saving and restoring it."""

import copy
import io
import pickle
from typing import Any

import torch
from torch import Tensor

from fuzz.calls import state_of
from fuzz.subjects import Subject, build
from mho.optim.context import AnalogContext
from mho.simulator.tiles.module import TileModule
from unchanged import IDENTITIES, READOUT, TRACE, bits, differences, everything

Snapshot = dict[str, Any]

GRADIENT = "gradient"
"""Gradient of an ordinary parameter."""

__all__ = ["GRADIENT", "IDENTITIES", "READOUT", "TRACE", "Snapshot", "differences", "snapshot"]


def snapshot(subject: Subject) -> Snapshot:
    """Return the state of module and optimizer, gradients and torch's generator apart."""
    found = everything(subject.module)
    for name, parameter in subject.module.named_parameters():
        if parameter.grad is not None:
            found[f"{name}: {GRADIENT}"] = bits(parameter.grad)
    if subject.optimizer is not None:
        found["optimizer"] = plain(subject.optimizer.state_dict())
    return found


def plain(value: Any) -> Any:
    """Return nested values in a form that compares bit for bit, in this and in other processes."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Tensor) and not isinstance(value, AnalogContext):
        # A context may be a placeholder without values; what is not dense was given so.
        is_dense = value.layout is torch.strided and not value.is_nested
        return bits(value) if is_dense else repr(value)
    if value is None or isinstance(value, (bool, int, float, str, torch.dtype, torch.device)):
        return repr(value)
    return type(value).__name__  # modules and other objects, which show their addresses


def without(state: Snapshot, *what: str) -> Snapshot:
    """Return a snapshot without some of its kinds of entries."""
    return {name: value for name, value in state.items() if name.rpartition(": ")[2] not in what}


COPIES = ("deepcopy", "pickle", "state", "file")
"""The ways to go on elsewhere: a copy, or a fresh model of the same build with the state."""


def forget(subject: Subject, way: str) -> None:
    """Drop what no copy has: gradients and what was recorded, and digits of a cast optimizer."""
    if subject.optimizer is not None:
        subject.optimizer.zero_grad()
        if way in ("state", "file"):  # torch gives what it loads the precision of the weights
            subject.optimizer.load_state_dict(copy.deepcopy(subject.optimizer.state_dict()))
    subject.module.zero_grad()
    for tile in subject.tiles():
        tile.analog_ctx.reset()
        tile.analog_ctx.enable_data_view()


def copied(subject: Subject, way: str, seed: int) -> Subject:
    """Return another subject in the same state, which torch's generator has no part in."""
    random = torch.get_rng_state()
    try:
        if way in ("deepcopy", "pickle"):
            both = (subject.module, subject.optimizer)
            both = copy.deepcopy(both) if way == "deepcopy" else pickle.loads(pickle.dumps(both))
            return Subject(subject.kind, subject.part, *both, copy.deepcopy(subject.kept))
        return _loaded(subject, way, seed)
    finally:
        torch.set_rng_state(random)


def _loaded(subject: Subject, way: str, seed: int) -> Subject:
    """Build the subject of a seed anew and load the state of another one into it.

    What a state does not have is what a script sets when it builds its model: where it computes
    and in which precision, what is trained, and the mode.
    """
    torch.manual_seed(seed + 1)
    fresh = build(seed)
    fresh.kept = copy.deepcopy(subject.kept)
    state = state_of(subject.module)
    if way == "file":
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
    _prepare(fresh, subject)
    if subject.optimizer is not None:  # before the tiles get the rates that they had
        if len(fresh.optimizer.param_groups) < len(subject.optimizer.param_groups):
            fresh.optimizer.regroup_param_groups()
        fresh.optimizer.load_state_dict(copy.deepcopy(subject.optimizer.state_dict()))
    fresh.module.load_state_dict(state)
    _finish(fresh, subject)
    return fresh


def _prepare(fresh: Subject, subject: Subject) -> None:
    """Set what has to be as it was before a state is loaded."""
    for mine, other in zip(fresh.tiles(), subject.tiles(), strict=True):
        if other.rpu_config.runtime.backend is not None:
            mine.to_backend(other.backend)
        if mine.io_dtype is not other.io_dtype:
            mine.to(other.io_dtype)
    _cast_digital(fresh, subject)


def _finish(fresh: Subject, subject: Subject) -> None:
    """Set what a state does not have."""
    for mine, other in zip(fresh.tiles(), subject.tiles(), strict=True):
        mine.set_load_rpu_config_state(other.load_rpu_config, other.strict_rpu_config_check)
        mine.analog_ctx.requires_grad_(other.analog_ctx.requires_grad)
    modules = zip(fresh.module.modules(), subject.module.modules(), strict=True)
    for new, old in modules:
        new.training = old.training
    parameters = zip(fresh.module.parameters(), subject.module.parameters(), strict=True)
    for one, another in parameters:
        one.requires_grad_(another.requires_grad)


def _cast_digital(fresh: Subject, subject: Subject) -> None:
    """Give what is digital the precision that it had, parameter by parameter."""
    pairs = zip(fresh.module.modules(), subject.module.modules(), strict=True)
    for mine, other in pairs:
        if isinstance(mine, TileModule):
            continue
        for name, value in mine._parameters.items():
            like = other._parameters[name]
            if value is not None and like is not None:
                value.data = value.data.to(like.dtype)
