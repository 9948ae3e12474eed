"""Results follow from the arguments, bit for bit; models and random states stay as they are."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mho
from evaluation_cases import batches, mean_output, outputs, two_layers
from mho.evaluation import Calibrate, Evaluation
from unchanged import differences, everything

TIMES = ["programmed", "1 h", 0.0]


def evaluated(model: nn.Module | None = None, **changes: Any) -> Evaluation:
    """The case of the acceptance: two layers, one an array of 2x2 tiles."""
    arguments: dict[str, Any] = {
        "times": TIMES, "n_programmings": 4, "n_reads": 2, "progress": False, "layer_error": 4,
    }  # fmt: skip
    model = two_layers() if model is None else model
    return mho.evaluate(model, batches(), mean_output, **arguments | changes)


def values(result: Evaluation, variant: str = "full") -> dict[tuple[Any, ...], float]:
    """Samples by time, programming and read."""
    return {
        (row["time"], row["programming"], row["read"]): row["value"]
        for row in result.samples
        if row["variant"] == variant
    }


@pytest.fixture(scope="module")
def whole() -> Evaluation:
    return evaluated()


def test_there_is_something_to_compare(whole: Evaluation) -> None:
    found = values(whole)
    assert len(found) == 3 * 4 * 2 == len(set(found.values()))
    assert {row["layer"] for row in whole.layers} == {"0", "2"}


def test_number_of_threads(whole: Evaluation, threads: Callable[[int], None]) -> None:
    for number in (1, 4):
        threads(number)
        again = evaluated()
        assert again.samples == whole.samples and again.layers == whole.layers


def test_threads_of_the_user(whole: Evaluation) -> None:
    with ThreadPoolExecutor(3) as executor:
        again = evaluated(workers=executor)
    assert again.samples == whole.samples and again.layers == whole.layers


def test_process(whole: Evaluation) -> None:
    """One process here, several where there is time; what they do is the same."""
    again = evaluated(workers=1)
    assert again.samples == whole.samples and again.layers == whole.layers
    assert again.table == whole.table


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_other_numbers_of_processes(whole: Evaluation, workers: int) -> None:
    again = evaluated(workers=workers)
    assert again.samples == whole.samples and again.layers == whole.layers


def test_prefixes(whole: Evaluation) -> None:
    """Fewer programmings, reads and times, and times in another order, are parts of the whole."""
    known = values(whole)
    for changes in (
        {"n_programmings": 2, "n_reads": 1, "layer_error": 0},
        {"n_programmings": 1, "times": ["1 h"]},
        {"n_programmings": 2, "times": [3600, 0, "programmed"]},
    ):
        found = values(evaluated(**changes))
        assert found and found == {place: known[place] for place in found}


def test_resumed(whole: Evaluation, tmp_path: Path) -> None:
    """More programmings, times and reads than in the file; after an interruption; and once more."""
    path = tmp_path / "run.jsonl"
    few = evaluated(n_programmings=2, times=["1 h"], n_reads=1, resume=path)
    assert values(few).items() <= values(whole).items()
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    told: list[int] = []
    for _ in range(2):
        again = evaluated(resume=path, progress=lambda done, total, row: told.append(total))
        assert again.samples == whole.samples and again.table == whole.table
        assert again.layers == whole.layers and again.reference == whole.reference
    # The reference was kept; of the four programmings one was whole in its points of one hour.
    assert told == [4] * 4


def test_variants_do_not_matter(whole: Evaluation) -> None:
    """Nor does it that layers are measured, or models calibrated with random numbers between."""
    own = {"adc": None, "drift": None}
    again = evaluated(ablation=own, n_programmings=2, layer_error=0)
    assert values(again).items() <= values(whole).items()


def test_other_seeds_are_other_chips(whole: Evaluation) -> None:
    assert not set(values(evaluated(seed=1)).values()) & set(values(whole).values())


def test_torch_tiles(threads: Callable[[int], None]) -> None:
    """Their products draw from torch's generator, which is seeded for each measurement."""
    from mho.simulator.configs import TorchInferenceRPUConfig

    config = TorchInferenceRPUConfig()
    config.mapping.weight_scaling_omega = 1.0
    model = two_layers(config)
    known = values(evaluated(model))
    assert len(set(known.values())) == len(known)
    found = values(evaluated(model, n_programmings=2, n_reads=1, times=["1 h"]))
    assert found == {place: known[place] for place in found}


def state_of_the_process() -> list[Any]:
    python, numpy = random.getstate(), np.random.get_state()
    return [torch.get_rng_state().tolist(), python, repr(numpy), torch.get_num_threads()]


def with_hook(training: bool = True) -> nn.Module:
    model = two_layers()
    model[0].register_forward_hook(lambda *_: None)
    mho.inference.drift_analog_weights(model.eval(), 10.0)
    model.train(training)
    return model


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_changed(fails: bool) -> None:
    def metric(model: nn.Module, data: Any) -> float:
        assert not model.training
        random.random(), np.random.rand(), torch.rand(3)
        if fails:
            raise ZeroDivisionError("as the test wants it")
        return outputs(model, data)

    def calibrate(model: nn.Module) -> None:
        model[0].bias.data.add_(1.0)

    model = with_hook()
    before, process = everything(model), state_of_the_process()
    hooks = [len(m._forward_hooks) for m in model.modules()]
    arguments: dict[str, Any] = {
        "n_programmings": 2, "progress": False, "layer_error": 3, "ablation": {"adc": None},
        "calibrate": Calibrate(calibrate, when="drifted"), "times": ["1 s"], "torch_threads": 2,
    }  # fmt: skip
    if fails:
        with pytest.raises(ZeroDivisionError, match="as the test"):
            mho.evaluate(model, batches(), metric, **arguments)
    else:
        result = mho.evaluate(model, batches(), metric, **arguments)
        assert any("programmed already" in note for note in result.notes)
    assert differences(before, everything(model)) == []
    assert state_of_the_process() == process
    assert [len(m._forward_hooks) for m in model.modules()] == hooks


def test_models_that_have_drifted_are_aimed_at_anew() -> None:
    """What is programmed are the weights that were aimed at, not those that have drifted."""
    drifted = two_layers().eval()
    mho.inference.drift_analog_weights(drifted, "1 year")
    known = values(evaluated(two_layers(), n_programmings=2, layer_error=0))
    seen: list[bool] = []

    def calibrate(model: nn.Module) -> None:
        tiles: list[Any] = list(model.analog_tiles())
        seen.extend(t.programmed_weights is None and float(t.alpha) == 1.0 for t in tiles)

    found = evaluated(drifted, n_programmings=2, layer_error=0, calibrate=calibrate)
    assert values(found) == known and len(seen) == 6 and all(seen)


def loader(generator: torch.Generator | None, shuffle: bool = True) -> DataLoader[Any]:
    data = TensorDataset(torch.randn(12, 12, generator=torch.Generator().manual_seed(1)))
    data = TensorDataset(data.tensors[0], torch.arange(12))
    return DataLoader(data, batch_size=4, shuffle=shuffle, generator=generator)


class Order:
    """A metric that writes the order of the samples down."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def __call__(self, model: nn.Module, data: Any) -> float:
        self.seen.append([int(n) for x, y in data for n in y])
        return outputs(model, data)


@pytest.mark.parametrize("own", [False, True])
def test_shuffled_loaders_have_one_order(own: bool) -> None:
    generator = torch.Generator().manual_seed(9) if own else None
    data, metric = loader(generator), Order()
    state = None if generator is None else generator.get_state().tolist()
    result = mho.evaluate(
        two_layers(), data, metric, n_programmings=3, times=["programmed", "1 s"], progress=False
    )
    assert len(metric.seen) == 7 and all(order == metric.seen[0] for order in metric.seen)
    assert metric.seen[0] != sorted(metric.seen[0])
    assert any("shuffles" in note for note in result.notes)
    assert data.sampler.generator is generator
    if generator is None:
        return
    assert generator.get_state().tolist() == state
    torch.rand(3, generator=generator)  # the order is that of the seed, not of this generator
    mho.evaluate(two_layers(), data, metric, n_programmings=1, progress=False, times=[1.0])
    assert metric.seen[-1] == metric.seen[0]


def test_data_of_a_function_are_made_with_their_own_seed() -> None:
    def random_batches() -> list[Any]:
        return [(torch.randn(6, 12), torch.zeros(6))]

    torch.manual_seed(1)
    first = mho.evaluate(two_layers(), random_batches, outputs, n_programmings=2, progress=False)
    torch.manual_seed(2)
    second = mho.evaluate(two_layers(), random_batches, outputs, n_programmings=2, progress=False)
    assert first.samples == second.samples
