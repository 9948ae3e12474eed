"""A sequence of calls: made from a seed, run twice, saved on its way and resumed.

The same calls from the same seed give the same bits, with any number of threads and from any copy;
after each call the rules hold; a call that is refused raises a documented error and has changed
nothing.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

import mho
from fuzz import rules, snapshots
from fuzz.calls import EXPECTED, Call, calls_of
from fuzz.dice import Dice
from fuzz.snapshots import Snapshot, differences, snapshot
from fuzz.subjects import Subject, build
from mho.exceptions import InternalError

ABSURD = 0.3
"""How many calls have an absurd argument."""

SAVED = "save"
"""The step at which a sequence is saved and resumed elsewhere."""

# They bring back what was before.
_RESTORING = ("load", "load_state_dict", "load_extra", "assign config", "copy")


@dataclass(frozen=True)
class Step:
    """One call of a plan."""

    call: Call | None
    """None for the step `SAVED`."""

    seed: int
    is_absurd: bool


@dataclass
class Plan:
    """What is done from a seed."""

    seed: int
    steps: list[Step]
    way: str
    """How it is saved, one of `snapshots.COPIES`."""

    subject: Subject
    """What the first run is made on."""

    random: torch.Tensor
    """State of torch's generator at its start."""


@dataclass
class Done:
    """What a call did."""

    text: str
    result: Any
    state: Snapshot
    was_accepted: bool


def plan_of(seed: int) -> Plan:
    """Return the plan of a seed: its steps, one of which saves."""
    dice = Dice(seed ^ 0x5EED)
    subject = start(seed)
    known, random = calls_of(subject), torch.get_rng_state()
    weights = [call.weight for call in known]
    steps: list[Step] = []
    for call in dice.choices(known, weights, k=dice.randint(4, 12)):
        steps.append(Step(call, dice.seed_of(), call.absurd and dice.chance(ABSURD)))
    steps.insert(dice.randint(1, len(steps) - 1), Step(None, 0, False))
    return Plan(seed, steps, dice.one(snapshots.COPIES), subject, random)


class Run:
    """One run through a plan, from the start or from a saved subject on."""

    def __init__(self, plan: Plan, subject: Subject, kept: Sequence[int]) -> None:
        self.plan, self.subject, self.kept = plan, subject, kept
        self.done: list[Done] = []
        self.problems: list[str] = []
        self.saved: tuple[int, Subject, torch.Tensor] | None = None

    def run(self, first: int = 0, saves: bool = False) -> None:
        """Make all steps from one on."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before = snapshot(self.subject)
            for index in range(first, len(self.plan.steps)):
                if index not in self.kept:
                    continue
                step = self.plan.steps[index]
                if step.call is None:
                    snapshots.forget(self.subject, self.plan.way)
                    if saves:
                        self._save(index)
                    before = snapshot(self.subject)
                else:
                    before = self._make(index, step.call, step, before)

    def _save(self, index: int) -> None:
        if not rules.is_finite(self.subject):
            return  # what torch has trained to NaN is refused as a state
        try:
            copied = snapshots.copied(self.subject, self.plan.way, self.plan.seed)
        except Exception as error:
            self.problems.append(
                f"step {index}: cannot be saved by {self.plan.way}: {type(error).__name__}: {error}"
            )
            return
        self.saved = index, copied, torch.get_rng_state()

    def _make(self, index: int, call: Call, step: Step, before: Snapshot) -> Snapshot:
        dice = Dice(step.seed)
        text, run = call.prepare(self.subject, dice, step.is_absurd)
        counted = rules.counters(self.subject)
        accepted, result = True, None
        try:
            result = snapshots.plain(run())
        except Exception as error:
            accepted, result = False, f"{type(error).__name__}: {error}"
            if isinstance(error, InternalError) or not isinstance(error, (*EXPECTED, *call.also)):
                self._found(index, text, f"raw {result:.300}")
        except BaseException as error:  # a panic of the core is one
            accepted, result = False, type(error).__name__
            self._found(index, text, f"{type(error).__name__}: {error}")
        after = snapshot(self.subject)
        changed = differences(before, after)
        if not accepted and call.drops_trace:
            recorded = (snapshots.TRACE, snapshots.GRADIENT)
            changed = differences(*(snapshots.without(s, *recorded) for s in (before, after)))
        if changed and not accepted:
            self._found(index, text, f"was refused ({result:.200}) and changed {changed}")
        if changed and accepted and call.reads:
            self._found(index, text, f"only reads, but changed {changed}")
        for problem in rules.broken_rules(self.subject):
            self._found(index, text, problem)
        if not call.name.endswith(_RESTORING):
            for problem in rules.went_back(counted, rules.counters(self.subject)):
                self._found(index, text, problem)
        self.done.append(Done(f"step {index}, {text}", result, after, accepted))
        return after

    def _found(self, index: int, text: str, problem: str) -> None:
        self.problems.append(f"step {index}, {text}: {problem}")


def start(seed: int) -> Subject:
    """Return the subject of a seed, as it is at the start."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build(seed)


def problems_of(seed: int, kept: Sequence[int] | None = None) -> list[str]:
    """Run the case of a seed; returns what is wrong.

    Args:
        seed: Seed.
        kept: Numbers of the steps to make, all of them by default.
    """
    return run_case(seed, kept)[0]


def run_case(seed: int, kept: Sequence[int] | None = None) -> tuple[list[str], list[Done]]:
    """Run the case of a seed; returns what is wrong, and what was done."""
    threads = mho.get_num_threads()
    try:
        plan = plan_of(seed)
        chosen = range(len(plan.steps)) if kept is None else kept
        mho.set_num_threads(1)
        torch.set_rng_state(plan.random)
        first = Run(plan, plan.subject, chosen)
        first.run(saves=True)
        at_end = [f"at the end: {problem}" for problem in rules.cannot_be_saved(first.subject)]
        mho.set_num_threads(2 + seed % 3)
        second = Run(plan, start(seed), chosen)
        second.run()
        problems = first.problems + at_end
        problems += _compared(first.done, second.done, "run again with other threads")
        if first.saved is not None:
            problems += _resumed(plan, first, chosen)
        return problems, first.done
    finally:
        mho.set_num_threads(threads)


def _resumed(plan: Plan, first: Run, chosen: Sequence[int]) -> list[str]:
    assert first.saved is not None
    index, subject, random = first.saved
    resumed = Run(plan, subject, chosen)
    torch.set_rng_state(random)
    resumed.run(index + 1)
    rest = [done for done, at in zip(first.done, _numbers(plan, chosen), strict=True) if at > index]
    ignored = [snapshots.READOUT] if plan.way in ("state", "file") else []
    return _compared(rest, resumed.done, f"resumed by {plan.way} at step {index}", *ignored)


def _numbers(plan: Plan, chosen: Sequence[int]) -> list[int]:
    return [i for i in range(len(plan.steps)) if i in chosen and plan.steps[i].call is not None]


def _compared(one: list[Done], other: list[Done], what: str, *ignored: str) -> list[str]:
    """Return the first step at which two runs differ."""
    for mine, its in zip(one, other, strict=True):
        if mine.result != its.result or mine.text != its.text:
            return [f"{mine.text}: {what}, the result differs: {_both(mine.result, its.result)}"]
        ignored = (snapshots.IDENTITIES, *ignored)
        states = (snapshots.without(done.state, *ignored) for done in (mine, its))
        changed = differences(*states)
        if changed:
            return [f"{mine.text}: {what}, the state differs: {changed}"]
    return []


def _both(one: Any, other: Any) -> str:
    return f"{one!r:.150} and {other!r:.150}"


def shrunk(seed: int) -> list[int]:
    """Return as few steps of a case as still show its first problem."""
    kept = list(range(len(plan_of(seed).steps)))
    problems = problems_of(seed)
    for step in reversed(range(len(kept) if problems else 0)):
        fewer = [index for index in kept if index != step]
        if any(_essence(problem) == _essence(problems[0]) for problem in problems_of(seed, fewer)):
            kept = fewer
    return kept


def _essence(problem: str) -> str:
    """Return what a problem is, without the call and the step at which it was seen."""
    return re.sub(r"\d+", "", problem.rpartition("): ")[2] or problem)[:60]


def described(seed: int) -> str:
    """Return what the case of a seed works on."""
    subject = start(seed)
    return f"{subject.part} of kind {subject.kind!r}: {subject.module}\n{_config(subject)}"


def _config(subject: Subject) -> str:
    return str(subject.tiles()[0].rpu_config)
