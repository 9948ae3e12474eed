"""Loading damaged states: equal to a good one, or refused with everything as it was.

What is accepted must be whole: it can be saved and loaded again, and computes.
"""

import io
import warnings
from typing import Any

import torch

from fuzz import rules
from fuzz.calls import state_of
from fuzz.damage import damaged
from fuzz.dice import Dice
from fuzz.snapshots import differences, snapshot
from fuzz.subjects import Subject, build
from mho.exceptions import AihwkitException, InternalError
from unchanged import bits

DAY = 86400.0
"""A time that all noise models know, in seconds."""

LOADS = 3
"""States that are loaded into each subject."""


def problems_of(seed: int) -> list[str]:
    """Load damaged states into the subject of a seed; returns what is wrong.

    Args:
        seed: Seed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dice = Dice(seed ^ 0xDA3A6E)
        torch.manual_seed(seed)
        subject = used(build(seed), dice)
        problems = []
        for _ in range(LOADS):
            state, what = damaged(state_of(subject.module), dice)
            problems += [f"{what}: {problem}" for problem in _loaded(subject, state, dice)]
        return problems


def used(subject: Subject, dice: Dice) -> Subject:
    """Use a subject, so that its state has all entries that it can have."""
    module: Any = subject.module
    shape = (subject.in_size, 2) if subject.features_first() else (2, subject.in_size)
    y = module(dice.normal(*shape))
    y.sum().backward()
    if subject.optimizer is not None:
        subject.optimizer.step()
    module.eval()
    if subject.kind in ("inference", "torch") and dice.chance(0.7):
        for tile in subject.tiles():
            tile.drift_weights(DAY)
    elif subject.kind in ("pulsed", "rich") and dice.chance(0.5):
        for tile in subject.tiles():
            tile.drift_weights(10.0)
    for tile in subject.tiles():
        tile.analog_ctx.reset()
    return subject


def _loaded(subject: Subject, state: Any, dice: Dice) -> list[str]:
    """Load a state into a subject, as it is or from a file; returns what is wrong."""
    before, strict = snapshot(subject), dice.chance(0.8)
    if dice.chance(0.2):
        state = through_a_file(state)
    try:
        # RuntimeError is what torch raises for names that do not match.
        subject.module.load_state_dict(state, strict)
    except (AihwkitException, RuntimeError) as error:
        problems = [f"raised {error!r:.200}"] if isinstance(error, InternalError) else []
        if changed := differences(before, snapshot(subject)):
            problems.append(f"was refused ({error!r:.200}) and changed {changed}")
        return problems
    except Exception as error:
        return [f"raw {type(error).__name__}: {error!s:.200}"]
    # Without names that fit, a tile takes over what is whole and keeps the rest.
    return (_others(subject, state) if strict else []) + _whole(subject, dice)


def through_a_file(state: Any) -> Any:
    """Return what a file with a state has, if torch can write and read it."""
    file = io.BytesIO()
    try:
        torch.save(state, file)
        file.seek(0)
        return torch.load(file, weights_only=True)
    except Exception:  # numbers of NumPy and the like; what is loaded is then the state itself
        return state


def _others(subject: Subject, state: Any) -> list[str]:
    """Return the entries that are not what was loaded."""
    after = subject.module.state_dict()
    return [
        f"{name} is not what was loaded"
        for name, value in state.items()
        if name in after
        and isinstance(value, torch.Tensor)
        and not name.endswith("analog_tile_config")  # where a tile is stays as it was
        and not _equal(value, after[name])
    ]


def _equal(given: torch.Tensor, held: torch.Tensor) -> bool:
    if given.numel() != held.numel() or given.is_meta:
        return False
    return bits(given.to(held).reshape(-1)) == bits(held.reshape(-1))


def _whole(subject: Subject, dice: Dice) -> list[str]:
    """Return what is wrong with a subject that has taken over a state."""
    problems = rules.broken_rules(subject) + rules.cannot_be_saved(subject)
    try:
        shape = (subject.in_size, 2) if subject.features_first() else (2, subject.in_size)
        subject.module(dice.normal(*shape).to(subject.dtype()))
        subject.module.load_state_dict(state_of(subject.module))
    except Exception as error:
        problems.append(f"after it was accepted: {type(error).__name__}: {error!s:.200}")
    return problems
