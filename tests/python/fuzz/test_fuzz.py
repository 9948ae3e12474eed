"""Random use of everything that is public finds nothing; planted faults are found.

The slow tests run for half an hour; by hand, with their progress:

    PYTHONPATH=tests/python python -m fuzz sequences --count 20000
"""

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from fuzz import border, damage_cases, runner, sequences
from fuzz.calls import EXPECTED, calls_of
from fuzz.dice import Dice
from fuzz.subjects import KINDS, Subject, built, optimizer_of
from mho import _core
from mho.simulator.state import header
from mho.simulator.tiles import loading
from mho.simulator.tiles.periphery import TileWithPeriphery

PROCESSES = os.cpu_count() or 1


def told(findings: list[runner.Finding]) -> str:
    """Findings in the words of a failed test, the first ones of many."""
    return f"{len(findings)} findings\n" + "\n".join(map(str, findings[:20]))


@pytest.fixture(autouse=True)
def _torch_random() -> Iterator[None]:
    """Leave torch's generator as it was."""
    before = torch.get_rng_state()
    yield
    torch.set_rng_state(before)


@pytest.mark.parametrize(("kind", "count"), [("sequences", 25), ("damage_cases", 25)])
def test_a_few_cases(kind: str, count: int) -> None:
    findings = runner.run_here(kind, 10**9, count)
    assert not findings, told(findings)


def test_a_few_calls_of_the_core() -> None:
    """In a process of their own, which may die of them."""
    findings = runner.run_in_children("border", 10**9, 150, processes=1)
    assert not findings, told(findings)


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize(
    ("kind", "count"), [("sequences", 20_000), ("damage_cases", 10_000), ("border", 20_000)]
)
def test_many_cases(kind: str, count: int) -> None:
    findings = runner.run_in_children(kind, 0, count, PROCESSES, show=True)
    assert not findings, told(findings)


ALWAYS_REFUSED = {
    "tile.cuda",  # the machine has no such device
    "tile.set_indexed",  # a table is for one size of images, which no call here has
    "tile.update_indexed",
    "tile.backward_indexed",
    "tile.joint_forward_indexed",
    # A parameter that is gone is gone: nothing that was saved would fit any more.
    "layer.unregister_parameter",
    "model.unregister_parameter",
}


@pytest.mark.filterwarnings("ignore")
def test_every_call_is_accepted_by_some_subject() -> None:
    """Otherwise its good arguments would be none, and a sequence would say nothing about it."""
    refused, accepted = {}, set()
    for kind in KINDS:
        for part in ("mapped", "model", "wrapped", "model"):
            dice = Dice(f"{kind} {part} {len(accepted)}")
            subject = Subject(kind, part, built(part, kind, dice))
            subject.optimizer = optimizer_of(subject, dice)
            for call in calls_of(subject):
                if call.name in accepted or call.name in ("cast", "copy"):
                    continue
                try:
                    call.prepare(subject, dice, False)[1]()
                    accepted.add(call.name)
                except (*EXPECTED, *call.also) as error:
                    refused[call.name] = str(error)
                subject.module.eval()
    left = {name: why for name, why in refused.items() if name not in accepted}
    assert set(left) <= ALWAYS_REFUSED, left


def test_every_function_of_the_core_is_called_or_left_out_with_a_reason() -> None:
    names = {name for name in dir(_core) if not name.startswith("_")}
    assert names == border.FUNCTIONS.keys() | border.LEFT_OUT.keys()


def finds(module: Any, text: str, seeds: int = 40) -> bool:
    """Whether one of the first cases has a problem of this text."""
    return any(text in problem for seed in range(seeds) for problem in module.problems_of(seed))


def test_raw_errors_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise KeyError("planted")

    monkeypatch.setattr(TileWithPeriphery, "forward", fail)
    assert finds(sequences, "raw KeyError")


def test_draws_that_do_not_repeat_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    unrepeatable = random.Random()
    forward = TileWithPeriphery.forward

    def noisy(self: Any, *args: Any) -> Any:
        return forward(self, *args) + unrepeatable.random()

    monkeypatch.setattr(TileWithPeriphery, "forward", noisy)
    assert finds(sequences, "run again with other threads, the result differs")
    assert finds(sequences, "resumed by")


def test_changes_by_refused_calls_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = TileWithPeriphery.forward

    def changing(self: Any, *args: Any) -> Any:
        self.set_learning_rate(random.random())
        return forward(self, *args)

    monkeypatch.setattr(TileWithPeriphery, "forward", changing)
    assert finds(sequences, "was refused")


def test_headers_that_fail_badly_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(value: Any) -> Any:
        read: dict[str, Any] = {"learning_rate": 0.1}
        return read[value.numpy().tobytes().decode()]

    monkeypatch.setattr(loading, "decode_header", careless)
    assert header.decode_header is not careless
    assert finds(damage_cases, "raw KeyError")


@pytest.mark.parametrize("where", [-1, 10**4])
def test_writes_beside_a_tensor_are_found(monkeypatch: pytest.MonkeyPatch, where: int) -> None:
    def spoiling(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            result = function(*args)
            for value in args:
                if type(value) is not torch.Tensor or value.dtype is not torch.float32:
                    continue
                at = value.storage_offset() + min(where, value.numel())
                if 0 <= at < value.untyped_storage().nbytes() // 4:
                    value.as_strided((1,), (1,), at).fill_(5.0)
            return result

        return called

    for name in border.FUNCTIONS:
        monkeypatch.setattr(_core, name, spoiling(getattr(_core, name)))
    assert finds(border, "wrote beside")


def test_processes_that_die_or_hang_are_findings() -> None:
    findings = runner.run_in_children("faulty", 0, 9, processes=2, seconds=4.0)
    by_seed = {finding.seed: finding.problem for finding in findings}
    assert sorted(by_seed) == [1, 3, 4, 5, 7]
    assert "SIGSEGV" in by_seed[1]
    assert "a fault of the case" in by_seed[3]
    assert "code 7" in by_seed[4]
    assert by_seed[5] == "a finding"
    assert "longer than 4.0 seconds" in by_seed[7]
    assert "python -m fuzz faulty --seed 5" in str(findings[3])


def test_cases_are_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise KeyError("planted")

    monkeypatch.setattr(TileWithPeriphery, "forward", fail)
    seed = next(seed for seed in range(9) if sequences.problems_of(seed))
    kept = sequences.shrunk(seed)
    assert len(kept) == 1
    assert "planted" in sequences.problems_of(seed, kept)[0]
