"""Paired comparisons and workers: which noise a model draws is a choice."""

import functools
import multiprocessing
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import mho
from mho.exceptions import ArgumentError
from mho.nn import AnalogLinear, AnalogSequential, edit_config
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig, TorchInferenceRPUConfig
from mho.simulator.tiles.custom import CustomRPUConfig
from unchanged import differences, everything

CONFIGS: dict[str, Any] = {
    "pulsed": SingleRPUConfig,
    "inference": InferenceRPUConfig,
    "torch": TorchInferenceRPUConfig,
    "custom": CustomRPUConfig,
}
X = torch.linspace(-1.0, 1.0, 12).reshape(3, 4)


@pytest.fixture(params=CONFIGS)
def kind(request: pytest.FixtureRequest) -> str:
    """One kind of tile."""
    return str(request.param)


def built(kind: str) -> Any:
    """Model of two layers with fixed weights."""
    layers = [AnalogLinear(4, 4, rpu_config=CONFIGS[kind]()) for _ in range(2)]
    for layer in layers:
        layer.set_weights(0.1 * torch.eye(4), torch.zeros(4))
    return AnalogSequential(*layers).eval()


@torch.no_grad()
def outputs(model: Any) -> torch.Tensor:
    return torch.stack([model(X) for _ in range(3)])


def test_a_seed_repeats_the_noise(kind: str) -> None:
    model = built(kind)
    found = []
    for seed in (1, 2, 1):
        with mho.same_noise(model, seed):
            found.append(outputs(model))
        outputs(model)
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0][0], found[0][1])


def test_another_model_draws_the_same(kind: str) -> None:
    first, second = built(kind), built(kind)
    with mho.same_noise(first, 5):
        one = outputs(first)
    with mho.same_noise(second, 5):
        other = outputs(second)
    torch.testing.assert_close(one, other)
    assert not torch.allclose(outputs(first), outputs(second), atol=1e-4)


def test_layers_have_noise_of_their_own(kind: str) -> None:
    model = built(kind)
    with mho.same_noise(model, 1), torch.no_grad():
        noise = [layer(X) - 0.1 * X for layer in model]
    assert not torch.allclose(noise[0], noise[1], atol=1e-4)


def test_streams_go_on_as_if_nothing_had_been_drawn(kind: str) -> None:
    model = built(kind)
    before, generator = everything(model), torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), mho.same_noise(model, 1):
        outputs(model)
        with mho.same_noise(model, 2):
            outputs(model)
        raise ZeroDivisionError
    assert differences(before, everything(model)) == []
    assert torch.equal(torch.get_rng_state(), generator)


def test_paired_comparisons_see_small_differences(kind: str) -> None:
    """A change far below the noise is seen when both draw the same."""
    model, results = built(kind), []
    for scale in (1.0, 1.001):
        edit_config(model, "forward.out_scale", scale)
        with mho.same_noise(model, 3):
            results.append(outputs(model)[0])
    assert 0.0 < float((results[1] - results[0]).abs().max()) < 0.01


@pytest.mark.parametrize("kind", ["inference", "torch"])
def test_programming_is_repeated_too(kind: str) -> None:
    found = []
    for _ in range(2):
        model = built(kind)
        with mho.same_noise(model, 3):
            model.drift_analog_weights(100.0)
        found.append(model[0].analog_module.tile.get_weights())
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("wrong", [-1, 1.5, None, True, 10**400, "1"])
def test_wrong_arguments(wrong: Any) -> None:
    model = built("pulsed")
    with pytest.raises(ArgumentError, match="seed"), mho.same_noise(model, wrong):
        pass
    with pytest.raises(ArgumentError, match="worker"):
        mho.fork_noise(model, wrong)
    with pytest.raises(ArgumentError, match="model"):
        mho.fork_noise(wrong, 0)


class Noisy(Dataset[Any]):
    """Outputs of an analog model."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __len__(self) -> int:
        return 4

    def __getitem__(self, at: int) -> torch.Tensor:
        torch.set_num_threads(1)
        with torch.no_grad():
            result: torch.Tensor = self.model(torch.ones(1, 4))[0]
        return result


METHODS = [
    pytest.param(method, marks=[] if method == "fork" else pytest.mark.slow)
    for method in multiprocessing.get_all_start_methods()
]


@pytest.mark.parametrize("method", METHODS)
def test_workers_draw_noise_of_their_own(kind: str, method: str) -> None:
    """Without it, the first call of each worker draws the same noise on tiles of the core."""
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        model = built(kind)
        before = everything(model)
        loader = DataLoader(
            Noisy(model),
            num_workers=2,
            batch_size=None,
            multiprocessing_context=method,
            worker_init_fn=functools.partial(mho.fork_noise, model),
        )
        values = torch.stack(list(loader))
        assert len({tuple(value.tolist()) for value in values}) == 4
        assert not differences(before, everything(model))
        found.append(values)
    assert torch.equal(found[0], found[1])


def streams(model: Any) -> list[torch.Tensor]:
    """Seeds and positions as another process that shares the model sees them."""
    names = ("analog_tile_seed", "analog_tile_calls")
    return [getattr(tile, name).data for tile in model.analog_tiles() for name in names]


def test_a_worker_leaves_shared_streams_alone() -> None:
    """torch hands a model to a spawned process in shared memory."""
    torch.manual_seed(1)
    shared, alone = built("inference").share_memory(), built("inference")
    alone.load_state_dict(shared.state_dict())
    others = streams(shared)
    before = [value.clone() for value in others]
    for model in (shared, alone):
        mho.fork_noise(model, 1)
    assert torch.equal(outputs(shared), outputs(alone))
    assert all(map(torch.equal, others, before))


def test_the_same_noise_is_that_of_one_process() -> None:
    shared = built("inference").share_memory()
    others = streams(shared)
    before = [value.clone() for value in others]
    with mho.same_noise(shared, 3):
        outputs(shared)
        assert all(map(torch.equal, others, before))
        others[1].add_(5)  # calls of another process
    assert int(shared[0].analog_module.analog_tile_calls) == int(before[1]) + 5
    outputs(shared)
    assert int(others[1]) == int(before[1]) + 8
