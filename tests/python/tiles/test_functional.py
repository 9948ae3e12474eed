"""Inference tiles under `torch.func`: functions of inputs and weights; pulsed tiles are refused."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, stack_module_state, vmap

from mho.exceptions import TileError
from mho.nn import AnalogLinear
from mho.simulator.configs import (
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.enums import BoundManagementType, NoiseManagementType

# What torch says of its own forward derivatives.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")

# Sums of a few products in float32.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def exact(**mapping: Any) -> InferenceRPUConfig:
    config = InferenceRPUConfig(forward=IOParameters(is_perfect=True))
    for name, value in mapping.items():
        setattr(config.mapping, name, value)
    return config


def model(config: Any = exact) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        AnalogLinear(4, 5, rpu_config=config()), nn.Tanh(), AnalogLinear(5, 3, rpu_config=config())
    )


def twin(analog: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(
        AnalogLinear.to_digital(analog[0]), nn.Tanh(), AnalogLinear.to_digital(analog[2])
    )


def named(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Trained tensors of an analog model under the names of a digital one."""
    return {
        name.replace("analog_module.shared_weights", "weight").replace("analog_module.", ""): value
        for name, value in state.items()
        if not name.endswith("analog_ctx")
    }


def trained(analog: nn.Module) -> dict[str, Tensor]:
    return {n: p.detach() for n, p in analog.named_parameters() if not n.endswith("analog_ctx")}


@pytest.mark.parametrize("recording", [True, False])
def test_functional_call_takes_the_given_weights(recording: bool) -> None:
    analog = model()
    other = {n: torch.randn_like(p) for n, p in trained(analog).items()}
    x = torch.randn(2, 4)
    with torch.set_grad_enabled(recording):
        found = functional_call(analog, other, (x,))
        expected = functional_call(twin(analog), named(other), (x,))
    torch.testing.assert_close(found, expected, **CLOSE)
    assert found.requires_grad is False


def test_functional_call_with_own_tensors_is_the_call() -> None:
    analog = model(InferenceRPUConfig)
    other, x = copy.deepcopy(analog), torch.randn(2, 4)
    own = {**dict(analog.named_parameters()), **dict(analog.named_buffers())}
    assert torch.equal(functional_call(analog, own, (x,)), other(x))


def test_weights_may_carry_a_graph() -> None:
    analog = model()
    weights = {n: p.requires_grad_() for n, p in trained(analog).items()}
    digital = {n: p.detach().clone().requires_grad_() for n, p in named(weights).items()}
    x = torch.randn(3, 4)
    functional_call(analog, {n: 2 * w for n, w in weights.items()}, (x,)).square().sum().backward()
    other = functional_call(twin(analog), {n: 2 * w for n, w in digital.items()}, (x,))
    other.square().sum().backward()
    for name, value in named(weights).items():
        torch.testing.assert_close(value.grad, digital[name].grad, **CLOSE)


@pytest.mark.parametrize("transform", [jacrev, jacfwd, hessian])
def test_derivatives_of_inputs(transform: Any) -> None:
    analog = model()
    x = torch.randn(4)
    torch.testing.assert_close(transform(analog)(x), transform(twin(analog))(x), **CLOSE)


@pytest.mark.parametrize("transform", [grad, lambda f: vmap(grad(f), in_dims=(None, 0))])
def test_derivatives_of_weights(transform: Any) -> None:
    analog = model()
    digital, x = twin(analog), torch.randn(5, 4)

    def loss(module: nn.Module) -> Any:
        return lambda weights, x: functional_call(module, weights, (x,)).square().sum()

    found = named(transform(loss(analog))(trained(analog), x))
    expected = transform(loss(digital))(trained(digital), x)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, **CLOSE)


def test_ensembles() -> None:
    models = [model() for _ in range(3)]
    for i, one in enumerate(models):
        for layer in (one[0], one[2]):
            layer.set_weights(layer.get_weights()[0] * (i + 1))
    x = torch.randn(2, 4)
    expected = torch.stack([one(x) for one in models])
    state = stack_module_state(models)
    run = vmap(lambda p, b: functional_call(models[0], (p, b), (x,)))
    torch.testing.assert_close(run(*state), expected, **CLOSE)
    rows = torch.randn(3, 2, 4)
    run = vmap(lambda p, b, x: functional_call(models[0], (p, b), (x,)))
    expected = torch.stack([one(part) for one, part in zip(models, rows, strict=True)])
    torch.testing.assert_close(run(*state, rows), expected, **CLOSE)


def test_noise_of_ensembles_and_samples() -> None:
    """Stacked models draw as each would alone; samples of a batch get draws of their own."""
    models = [model(InferenceRPUConfig) for _ in range(3)]
    for layer in (*models[1], *models[2]):
        if isinstance(layer, AnalogLinear):
            layer.analog_module.analog_tile_seed += 17
    x = torch.randn(2, 4)
    state = stack_module_state(models)
    found = vmap(lambda p, b: functional_call(models[0], (p, b), (x,)), randomness="different")(
        *state
    )
    torch.testing.assert_close(found, torch.stack([one(x) for one in models]), **CLOSE)
    samples = vmap(models[0], randomness="different")(torch.ones(4, 4))
    assert not torch.equal(samples[0], samples[1])
    calls = models[0][0].analog_module.analog_tile_calls.clone()
    vmap(models[0], randomness="different")(torch.ones(4, 4))
    assert models[0][0].analog_module.analog_tile_calls == calls + 1


@pytest.mark.parametrize(
    "mapping",
    [{"weight_scaling_omega": 0.6, "weight_scaling_columnwise": True}, {"digital_bias": False}],
    ids=["scaled", "analog bias"],
)
def test_jacobian_with_periphery(mapping: dict[str, Any]) -> None:
    analog = model(lambda: exact(**mapping))
    x = torch.randn(4)
    torch.testing.assert_close(jacrev(analog)(x), jacrev(twin(analog))(x), **CLOSE)


def test_clipped_outputs_have_no_derivative() -> None:
    config = InferenceRPUConfig(forward=IOParameters(out_noise=0.0, out_bound=0.5, out_res=-1.0))
    config.forward.noise_management = NoiseManagementType.NONE
    config.forward.bound_management = BoundManagementType.NONE
    layer = AnalogLinear(2, 2, bias=False, rpu_config=config)
    layer.set_weights(torch.tensor([[0.9, 0.0], [0.0, 0.1]]))
    x = torch.tensor([1.0, 1.0], requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(grad(lambda x: layer(x).sum())(x.detach()), x.grad)


def test_torch_tiles_work_as_well() -> None:
    config = TorchInferenceRPUConfig(forward=IOParameters(is_perfect=True))
    layer = AnalogLinear(4, 3, rpu_config=config)
    x = torch.randn(4)
    torch.testing.assert_close(jacrev(layer)(x), layer.get_weights()[0], **CLOSE)


def with_range() -> InferenceRPUConfig:
    config = exact()
    config.pre_post.input_range.enable = True
    return config


def noisy_backward() -> InferenceRPUConfig:
    config = exact()
    config.backward = IOParameters()
    return config


@pytest.mark.parametrize(
    ("config", "message"),
    [(SingleRPUConfig, "pulsed"), (with_range, "input range"), (noisy_backward, "is_perfect")],
)
def test_what_is_no_function_is_refused(config: Any, message: str) -> None:
    layer = AnalogLinear(4, 3, rpu_config=config())
    for run in (lambda: jacrev(layer)(torch.randn(4)), lambda: vmap(layer)(torch.randn(2, 4))):
        with pytest.raises(TileError, match=message):
            run()


@pytest.mark.parametrize("recording", [True, False])
def test_functional_call_with_other_pulsed_weights_is_refused(recording: bool) -> None:
    layer = AnalogLinear(4, 3)
    with torch.set_grad_enabled(recording), pytest.raises(TileError, match="pulsed"):
        functional_call(layer, {"analog_module.analog_ctx": torch.zeros(3, 4)}, (torch.ones(1, 4),))


def test_ranges_work_in_evaluation() -> None:
    layer = AnalogLinear(4, 3, rpu_config=with_range()).eval()
    layer.analog_module.set_input_range(10.0)
    x = torch.randn(4)
    torch.testing.assert_close(jacrev(layer)(x), layer.get_weights()[0], **CLOSE)


def noiseless() -> InferenceRPUConfig:
    """Converters, but nothing that is drawn."""
    return InferenceRPUConfig(forward=IOParameters(out_noise=0.0))


def rounding() -> InferenceRPUConfig:
    return InferenceRPUConfig(forward=IOParameters(out_noise=0.0, inp_sto_round=True))


@pytest.mark.parametrize("config", [InferenceRPUConfig, rounding, TorchInferenceRPUConfig])
def test_draws_are_refused_where_torch_refuses_them(config: Any) -> None:
    layer = AnalogLinear(4, 3, rpu_config=config())
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(layer)(torch.ones(5, 2, 4))
    alone = AnalogLinear(4, 3, rpu_config=noiseless())
    assert vmap(alone)(torch.ones(5, 2, 4)).shape == (5, 2, 3)


@pytest.mark.parametrize("config", [InferenceRPUConfig, rounding, TorchInferenceRPUConfig])
def test_samples_draw_as_randomness_says(config: Any) -> None:
    layer = AnalogLinear(64, 64, rpu_config=config())
    x = torch.rand(64).expand(5, 2, 64)
    different = vmap(layer, randomness="different")(x)
    assert len({tuple(sample.flatten().tolist()) for sample in different}) == 5
    same = vmap(layer, randomness="same")(x)
    assert all(torch.equal(sample, same[0]) for sample in same)
    assert not torch.equal(same[0, 0], same[0, 1])  # rows of a sample are rows of a batch
    assert not torch.equal(vmap(layer, randomness="same")(x), same)  # and calls are calls


def test_same_draws_are_those_of_one_call() -> None:
    layer = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig())
    twin_ = copy.deepcopy(layer)
    x = torch.rand(2, 4)
    same = vmap(layer, randomness="same")(x.expand(3, 2, 4))
    torch.testing.assert_close(same, twin_(x).expand(3, 2, 3))
    assert torch.equal(layer.analog_module.analog_tile_calls, twin_.analog_module.analog_tile_calls)


def test_stacked_weights_may_share_their_draws() -> None:
    """Perturbed weights with one noise: the difference is that of the weights alone."""
    layer = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig())
    weights = {
        name: value.detach().expand(3, *value.shape) for name, value in trained(layer).items()
    }
    x = torch.rand(2, 4)
    run = lambda p: functional_call(layer, p, (x,))  # noqa: E731
    same = vmap(run, randomness="same")(weights)
    assert all(torch.equal(sample, same[0]) for sample in same)
    different = vmap(run, randomness="different")(weights)
    assert not torch.equal(different[0], different[1])


def test_stacked_seeds_cannot_share_their_draws() -> None:
    models = [model(InferenceRPUConfig) for _ in range(2)]
    state = stack_module_state(models)
    x = torch.rand(2, 4)
    with pytest.raises(TileError, match="seeds"):
        vmap(lambda p, b: functional_call(models[0], (p, b), (x,)), randomness="same")(*state)


@pytest.mark.parametrize("bound", list(BoundManagementType)[:2])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_bound_management_of_torch_tiles(bound: Any, noise: float) -> None:
    """All retries are computed, where none can be decided by the data; values are the same."""
    config = TorchInferenceRPUConfig(forward=IOParameters(out_noise=noise, out_bound=0.4))
    config.forward.bound_management = bound
    layer = AnalogLinear(6, 4, rpu_config=config)
    layer.set_weights(torch.rand(4, 6))
    x = torch.rand(3, 2, 6)
    found = vmap(layer, randomness="different")(x)
    assert found.shape == (3, 2, 4)
    if noise == 0.0:
        torch.testing.assert_close(found, layer(x), **CLOSE)
    weights = dict(layer.named_parameters())
    slopes = vmap(
        grad(lambda p, x: functional_call(layer, p, (x,)).square().sum()),
        (None, 0),
        randomness="different",
    )(weights, x)
    assert all(bool(torch.isfinite(slope).all()) for slope in slopes.values())
    assert jacrev(layer)(x[0, 0]).shape == (4, 6)
