"""Modified weights of hardware-aware training: when they are drawn, used, saved and forgotten."""

import copy
import gc
import io
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

import mho
from adapters import needed_adapter
from mho.exceptions import ConfigError, InputError, StateError, TileError
from mho.nn import AnalogLinear, AnalogLinearMapped, AnalogSequential
from mho.optim import AnalogSGD
from mho.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
from mho.simulator.parameters.enums import (
    WeightClipType,
    WeightModifierType,
    WeightRemapType,
)
from mho.simulator.parameters.inference import (
    WeightClipParameter,
    WeightModifierParameter,
    WeightRemapParameter,
)
from mho.simulator.parts import modified_weights

T = WeightModifierType
CONFIGS = [InferenceRPUConfig, TorchInferenceRPUConfig]
KEY = "analog_module.modified_weights"


def config_of(cls: Any, perfect: bool = True, **changes: Any) -> Any:
    changes = {"type": T.ADD_NORMAL, "std_dev": 0.1, **changes}
    config = cls(modifier=WeightModifierParameter(**changes))
    config.forward.is_perfect = perfect
    return config


def layer_of(cls: Any, seed: int = 3, **changes: Any) -> Any:
    torch.manual_seed(seed)
    return AnalogLinear(6, 4, rpu_config=config_of(cls, **changes))


X = torch.linspace(-1.0, 1.0, 30).reshape(5, 6)


def step(layer: Any, lr: float = 0.1) -> Tensor:
    """Train with one mini-batch; returns the output."""
    optimizer = AnalogSGD(layer.parameters(), lr=lr)
    optimizer.zero_grad()
    y: Tensor = layer(X)
    y.square().mean().backward()
    optimizer.step()
    return y.detach()


def clean(layer: Any) -> Tensor:
    weight, bias = layer.get_weights()
    return X @ weight.t() + bias


# Life cycle


def test_of_the_core_is_drawn_at_the_end_of_a_step() -> None:
    layer = layer_of(InferenceRPUConfig)
    tile = layer.analog_module
    torch.testing.assert_close(layer(X), clean(layer))  # the first mini-batch is unmodified
    assert torch.equal(tile.get_modified_weights()[0], tile.get_weights()[0])
    step(layer)
    noisy = layer(X)
    assert torch.equal(noisy, layer(X))  # one chip until the next step
    weight, bias = tile.get_modified_weights()
    torch.testing.assert_close(noisy, X @ weight.t() + bias)
    assert (weight != tile.get_weights()[0]).all()
    with torch.no_grad():
        torch.testing.assert_close(layer(X), noisy)
        torch.testing.assert_close(tile.joint_forward(X), noisy - bias)
    step(layer)
    assert (layer.analog_module.get_modified_weights()[0] != weight).all()
    layer.eval()
    torch.testing.assert_close(layer(X), clean(layer))


def test_in_torch_is_drawn_in_every_pass() -> None:
    layer = layer_of(TorchInferenceRPUConfig)
    tile = layer.analog_module
    assert torch.equal(tile.get_modified_weights()[0], tile.get_weights()[0])
    for _ in range(2):
        y = layer(X)
        weight, bias = tile.get_modified_weights()
        torch.testing.assert_close(y, X @ weight.t() + bias)
        assert (weight != tile.get_weights()[0]).all()
        assert not torch.equal(y, layer(X))
        step(layer)
    layer.eval()
    torch.testing.assert_close(layer(X), clean(layer))
    assert torch.equal(layer(X), layer(X))


def test_in_evaluation_if_asked_for() -> None:
    layer = layer_of(InferenceRPUConfig, enable_during_test=True)
    layer.eval()
    torch.testing.assert_close(layer(X), clean(layer))  # nothing is drawn yet
    layer.train()
    step(layer)
    noisy = layer(X)
    layer.eval()
    assert torch.equal(layer(X), noisy)
    with torch.no_grad():
        assert torch.equal(layer(X), noisy)
    layer.analog_module.rpu_config.modifier.enable_during_test = False
    torch.testing.assert_close(layer(X), clean(layer))
    fresh = layer_of(TorchInferenceRPUConfig, enable_during_test=True).eval()
    assert not torch.equal(fresh(X), fresh(X))


@pytest.mark.parametrize("cls", CONFIGS)
def test_gradients(cls: Any) -> None:
    """Inputs: through the modified weights. Weights: as if they were the modified ones."""
    layer = layer_of(cls, pdrop=0.3)
    step(layer)
    layer.zero_grad()
    x = X.clone().requires_grad_()
    y = layer(x)
    d = torch.randn_like(y)
    y.backward(d)
    weight = layer.analog_module.get_modified_weights()[0]
    assert int((weight == 0.0).sum()) > 0
    torch.testing.assert_close(x.grad, d @ weight)
    parameter = layer.analog_module.trained_parameter()
    torch.testing.assert_close(parameter.grad, d.t() @ X)


@pytest.mark.parametrize("cls", CONFIGS)
def test_steps_change_the_clean_weights(cls: Any) -> None:
    layer = layer_of(cls)
    step(layer)
    before = layer.get_weights()[0]
    optimizer = AnalogSGD(layer.parameters(), lr=0.5)
    optimizer.zero_grad()
    y = layer(X)
    d = torch.randn_like(y)
    y.backward(d)
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], before - 0.5 * d.t() @ X)


@pytest.mark.parametrize("cls", CONFIGS)
def test_second_derivatives(cls: Any) -> None:
    layer = layer_of(cls)
    step(layer)
    layer.zero_grad()
    x = X.clone().requires_grad_()
    y = layer(x)
    weight = layer.analog_module.get_modified_weights()[0]
    (slope,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
    slope.sum().backward()
    y = y.detach()
    expected = 6.0 * y * weight.sum(1) @ weight
    torch.testing.assert_close(x.grad, expected)
    # d/dW of sum(3 y^2 W): through y and through W itself.
    outer = (6.0 * y * weight.sum(1)).t() @ X + 3.0 * y.square().sum(0)[:, None]
    parameter = layer.analog_module.trained_parameter()
    torch.testing.assert_close(parameter.grad, outer)


def test_order_of_what_follows_a_step() -> None:
    """Weights are clipped, remapped, then modified."""
    config = config_of(InferenceRPUConfig, type=T.DISCRETIZE, res=0.5)
    config.clip = WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=0.2)
    config.remap = WeightRemapParameter(type=WeightRemapType.LAYERWISE_SYMMETRIC)
    layer = AnalogLinear(2, 2, bias=False, rpu_config=config)
    tile = layer.analog_module
    tile.tile.set_weights(torch.tensor([[0.8, 0.14], [-0.3, 0.02]]))
    tile.post_update_step()
    torch.testing.assert_close(tile.get_weights(False)[0], torch.tensor([[1.0, 0.7], [-1.0, 0.1]]))
    assert tile.get_modified_weights(False)[0].tolist() == [[1.0, 0.5], [-1.0, 0.0]]
    # Logical weights have the scales.
    torch.testing.assert_close(
        tile.get_modified_weights()[0], torch.tensor([[0.2, 0.1], [-0.2, 0.0]])
    )


def test_scales_and_an_analog_bias() -> None:
    config = config_of(InferenceRPUConfig, copy_last_column=True)
    config.mapping.digital_bias = False
    config.mapping.weight_scaling_omega = 0.7
    config.mapping.weight_scaling_columnwise = True
    config.mapping.learn_out_scaling = True
    config.pre_post.input_range.enable = True
    layer = AnalogLinear(6, 4, rpu_config=config)
    step(layer)
    tile = layer.analog_module
    weight, bias = tile.get_modified_weights()
    assert torch.equal(bias, tile.get_weights()[1])
    assert (weight != tile.get_weights()[0]).all()
    r = float(tile.input_range.detach())
    torch.testing.assert_close(layer(X), X.clamp(-r, r) @ weight.t() + bias)


def test_frozen_layers_see_other_chips_as_well() -> None:
    layer = layer_of(InferenceRPUConfig).requires_grad_(False)
    tile = layer.analog_module
    tile.post_update_step()
    first = tile.get_modified_weights()[0]
    tile.post_update_step()
    assert (tile.get_modified_weights()[0] != first).all()


@pytest.mark.parametrize("change", ["set_weights", "program", "drift", "reset", "realistic"])
def test_other_weights_are_not_modified_by_what_was_drawn_before(change: str) -> None:
    layer = layer_of(InferenceRPUConfig)
    step(layer)
    tile = layer.analog_module
    if change == "set_weights":
        layer.set_weights(torch.full((4, 6), 0.2), torch.zeros(4))
    elif change == "realistic":
        tile.set_weights(torch.full((4, 6), 0.2), torch.zeros(4), realistic=True)
    elif change == "program":
        tile.program_weights()
    elif change == "drift":
        tile.drift_weights(100.0)
    else:
        tile.reset()
    assert layer.training and tile.modified_weights is None
    torch.testing.assert_close(layer(X), clean(layer))
    step(layer)
    assert tile.modified_weights is not None


@pytest.mark.parametrize("mapped", [False, True])
def test_backward_after_another_draw_raises(mapped: bool) -> None:
    """As for weights that changed: gradients would be those of another chip."""
    if mapped:
        config = config_of(InferenceRPUConfig)
        config.mapping.max_input_size = 3
        layer: Any = AnalogLinearMapped(6, 4, rpu_config=config)
    else:
        layer = layer_of(InferenceRPUConfig)
    layer.requires_grad_(False)
    tiles = list(layer.analog_tiles())
    for tile in tiles:
        tile.post_update_step()
    x = X.clone().requires_grad_()
    y = layer(x)
    tiles[0].post_update_step()
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()


def test_raw_products_use_the_weights_themselves() -> None:
    """Programming reads the array, not what training sees."""
    layer = layer_of(InferenceRPUConfig)
    step(layer)
    tile = layer.analog_module
    weight = tile.get_weights()[0]
    torch.testing.assert_close(tile.tile.forward(X), X @ weight.t())
    torch.testing.assert_close(tile.drift_readout(X), X @ weight.t())
    d = torch.randn(5, 4)
    torch.testing.assert_close(tile.backward(d), d @ tile.get_modified_weights()[0])


def test_any_optimizer_of_torch_draws() -> None:
    layer = layer_of(InferenceRPUConfig)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    layer(X).square().mean().backward()
    optimizer.step()
    assert layer.analog_module.modified_weights is not None


def test_on_graphics_processors() -> None:
    """Drawn on the host, with the bits of a tile there, and used by the products there."""
    layer, twin = layer_of(InferenceRPUConfig), layer_of(InferenceRPUConfig)
    layer.to_backend("wgpu", needed_adapter())
    for each in (layer, twin):
        each.set_weights(*twin.get_weights())
        each.analog_module.post_update_step()
    modified, bias = layer.analog_module.get_modified_weights()
    assert torch.equal(modified, twin.analog_module.get_modified_weights()[0])
    x = X.clone().requires_grad_()
    y = layer(x)
    torch.testing.assert_close(y, X @ modified.t() + bias)
    d = torch.randn_like(y)
    y.backward(d)
    torch.testing.assert_close(x.grad, d @ modified)
    torch.testing.assert_close(layer.eval()(X), clean(twin))
    torch.testing.assert_close(layer.train()(X), y.detach())


# Arrays


@pytest.mark.parametrize("grad", [True, False])
def test_arrays_of_tiles(grad: bool) -> None:
    config = config_of(InferenceRPUConfig)
    config.mapping.max_input_size, config.mapping.max_output_size = 4, 3
    layer = AnalogLinearMapped(6, 4, rpu_config=config)
    step(layer)
    array = layer.analog_module
    parts = [torch.cat([tile.get_modified_weights()[0] for tile in part]) for part in array.array]
    weight, bias = torch.cat(parts, dim=1), layer.get_weights()[1]
    assert (weight != layer.get_weights()[0]).all()
    x = X.clone().requires_grad_(grad)
    with torch.set_grad_enabled(grad):
        y = layer(x)
    torch.testing.assert_close(y, X @ weight.t() + bias)
    if grad:
        layer.zero_grad()
        d = torch.randn_like(y)
        y.backward(d)
        torch.testing.assert_close(x.grad, d @ weight)
        found = torch.cat(
            [torch.cat([t.shared_weights.grad for t in part]) for part in array.array], dim=1
        )
        torch.testing.assert_close(found, d.t() @ X)
    layer.eval()
    torch.testing.assert_close(layer(X), clean(layer))


# Random numbers


def test_a_seed_determines_everything() -> None:
    for cls in CONFIGS:
        found = []
        for seed in (1, 1, 2):
            layer = layer_of(cls, seed=seed, type=T.PCM_NOISE, std_dev=1.0, pdrop=0.1)
            step(layer)
            layer(X)
            found.append(layer.analog_module.get_modified_weights()[0])
        assert torch.equal(found[0], found[1])
        assert not torch.equal(found[0], found[2])


def test_tiles_and_steps_draw_apart() -> None:
    torch.manual_seed(0)
    draws = []
    for _ in range(2):
        tile = config_of(InferenceRPUConfig, rel_to_actual_wmax=False).create_tile(200, 500)
        for _ in range(2):
            tile.post_update_step()
            draws.append(tile.get_modified_weights()[0].flatten() / 0.1)
    correlation = torch.corrcoef(torch.stack(draws)).fill_diagonal_(0.0)
    assert float(correlation.abs().max()) < 5.0 * 100_000**-0.5


@pytest.mark.parametrize("kind", [T.DISCRETIZE_ADD_NORMAL, T.PCM_NOISE, T.POLY])
def test_bits_do_not_depend_on_threads(kind: WeightModifierType) -> None:
    changes = {"type": kind, "res": 0.1, "sto_round": True, "std_dev": 0.3, "pdrop": 0.1}
    before, found = mho.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            mho.set_num_threads(threads)
            torch.manual_seed(5)
            tile = config_of(InferenceRPUConfig, **changes).create_tile(700, 311)
            tile.tile.set_weights_uniform_random(-0.4, 0.3)
            tile.post_update_step()
            found.append(tile.get_modified_weights()[0])
    finally:
        mho.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_without_a_modifier_no_number_is_taken() -> None:
    counts = []
    for changes in ({"type": T.NONE}, {"std_dev": 0.0}, {}):
        tile = layer_of(InferenceRPUConfig, **changes).analog_module
        before = int(tile.analog_tile_calls)
        tile.post_update_step()
        counts.append(int(tile.analog_tile_calls) - before)
    assert counts == [0, 0, 1]


def test_samples_of_a_batch_may_have_draws_of_their_own() -> None:
    """For every kind in torch tiles; those of the core have one matrix."""
    strengths = {"std_dev": 0.3, "res": 0.1, "sto_round": True}
    for kind in T:
        if kind is T.NONE:
            continue
        layer = layer_of(
            TorchInferenceRPUConfig, type=kind, per_batch_sample=True, pdrop=0.2, **strengths
        )
        x = X[:1].expand(3, 2, 6).clone().requires_grad_()
        y = layer(x)
        weight, bias = layer.analog_module.get_modified_weights()
        assert weight.shape == (3, 4, 6), kind
        torch.testing.assert_close(y, x @ weight.mT + bias)
        assert torch.equal(y[:, 0], y[:, 1]) and not torch.equal(y[0], y[1])
        d = torch.randn_like(y)
        y.backward(d)
        torch.testing.assert_close(x.grad, d @ weight)
        parameter = layer.analog_module.trained_parameter()
        torch.testing.assert_close(parameter.grad, torch.einsum("bko,bki->oi", d, x.detach()))


def test_draws_for_samples_have_the_right_statistics() -> None:
    layer = layer_of(TorchInferenceRPUConfig, per_batch_sample=True)
    weight, _ = layer.get_weights()
    layer(torch.zeros(4000, 6))
    noise = (layer.analog_module.get_modified_weights()[0] - weight) / (0.1 * weight.abs().max())
    assert float(noise.std()) == pytest.approx(1.0, rel=5.0 * (0.5 / noise.numel()) ** 0.5)
    rows = noise.reshape(4000, 24).t()
    correlation = torch.corrcoef(rows).fill_diagonal_(0.0)
    assert float(correlation.abs().max()) < 5.0 * 4000**-0.5


@pytest.mark.parametrize("shape", [(6,), (0, 6), (1, 6), (2, 0, 6)])
def test_draws_for_samples_of_any_shape(shape: tuple[int, ...]) -> None:
    layer = layer_of(TorchInferenceRPUConfig, per_batch_sample=True)
    x = torch.rand(shape)
    y = layer(x)
    assert y.shape == (*shape[:-1], 4)
    layer.zero_grad()
    y.sum().backward()


@pytest.mark.parametrize("split", [False, True])
def test_the_core_has_no_draws_for_samples(split: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes in training are refused before anything changes, those in evaluation are not.

    So that a model of torch tiles can be evaluated in tiles of the core with its settings.
    """
    monkeypatch.setattr(modified_weights, "_warned", set())
    config = config_of(InferenceRPUConfig, per_batch_sample=True)
    config.mapping.max_input_size = 4 if split else 512
    config.pre_post.input_range.enable = True
    with pytest.warns(UserWarning, match=r"^modifier\.per_batch_sample: .* refuses passes"):
        layer = AnalogLinear(6, 4, rpu_config=config)
    x = torch.rand(2, 6)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    for grad in (True, False):
        with torch.set_grad_enabled(grad), pytest.raises(ConfigError, match="per_batch_sample"):
            layer(x)
    after = layer.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    layer.eval()
    layer(x).sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    assert all(tile.modified_weights is None for tile in layer.analog_tiles())
    layer.drift_analog_weights(60.0)
    layer(x)
    layer.train()
    for tile in layer.analog_tiles():
        tile.rpu_config.modifier.per_batch_sample = False
    layer(x)


# State


def through_torch(state: dict[str, Tensor]) -> dict[str, Tensor]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return dict(torch.load(buffer, weights_only=True))


@pytest.mark.parametrize("carry", [through_torch, lambda state: load(save(state)), copy.deepcopy])
def test_a_resumed_run_goes_on_with_the_same_weights(carry: Any) -> None:
    layer = layer_of(InferenceRPUConfig, perfect=False)
    step(layer)
    resumed = layer_of(InferenceRPUConfig, seed=9, perfect=False)
    state = layer.state_dict()
    assert KEY in state
    resumed.load_state_dict(carry(state))
    for _ in range(3):
        assert torch.equal(step(layer), step(resumed))
    assert torch.equal(layer.analog_module.modified_weights, resumed.analog_module.modified_weights)


def test_copies_are_independent() -> None:
    layer = layer_of(InferenceRPUConfig)
    step(layer)
    other = copy.deepcopy(layer)
    assert torch.equal(layer(X), other(X))
    before = other.analog_module.get_modified_weights()[0]
    step(layer)
    assert torch.equal(other.analog_module.get_modified_weights()[0], before)
    assert not torch.equal(layer.analog_module.get_modified_weights()[0], before)


def test_states_without_it() -> None:
    """From before the first step, or without modifier: passes use the weights themselves."""
    fresh = layer_of(InferenceRPUConfig)
    assert KEY not in fresh.state_dict()
    used = layer_of(InferenceRPUConfig)
    step(used)
    used.load_state_dict(fresh.state_dict())
    torch.testing.assert_close(used(X), clean(used))
    assert KEY not in layer_of(TorchInferenceRPUConfig).state_dict()
    plain = layer_of(InferenceRPUConfig, type=T.NONE)
    step(plain)
    assert KEY not in plain.state_dict()


def test_states_of_torch_tiles_load_into_the_core() -> None:
    source = layer_of(TorchInferenceRPUConfig)
    step(source)
    layer = layer_of(InferenceRPUConfig, seed=8)
    step(layer)
    layer.load_state_dict(source.state_dict(), load_rpu_config=False)
    torch.testing.assert_close(layer(X), clean(source))


def test_a_matrix_is_dropped_where_nothing_modifies() -> None:
    layer = layer_of(InferenceRPUConfig)
    step(layer)
    state = layer.state_dict()
    tile = layer.analog_module
    tile.rpu_config.forward.out_noise = 0.01  # other edits keep it
    assert tile.modified_weights is not None
    tile.rpu_config.modifier.type = T.NONE
    torch.testing.assert_close(layer(X), clean(layer))
    assert KEY not in layer.state_dict()
    layer.load_state_dict(state, load_rpu_config=False)
    assert KEY not in layer.state_dict()
    layer.load_state_dict(state, load_rpu_config=True)
    assert KEY in layer.state_dict()
    tile.replace_with(config_of(InferenceRPUConfig, std_dev=0.2))
    assert KEY in layer.state_dict()
    tile.replace_with(config_of(InferenceRPUConfig, type=T.NONE))
    assert KEY not in layer.state_dict()


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (torch.zeros(4, 5), InputError),
        (torch.full((4, 6), float("nan")), StateError),
        (torch.zeros(4, 6, dtype=torch.int64), InputError),
    ],
)
def test_damaged_entries_are_refused(value: Tensor, error: type[Exception]) -> None:
    layer = layer_of(InferenceRPUConfig)
    step(layer)
    before = layer.analog_module.get_modified_weights()[0]
    with pytest.raises(error, match="modified_weights"):
        layer.load_state_dict({**layer.state_dict(), KEY: value})
    assert torch.equal(layer.analog_module.get_modified_weights()[0], before)


def test_averages_of_a_model() -> None:
    """The matrix comes with the first step, after the average was made, and is none of it."""
    torch.manual_seed(0)
    config = config_of(InferenceRPUConfig)
    model = AnalogSequential(
        AnalogLinear(6, 4, rpu_config=config), AnalogLinear(4, 4, rpu_config=config)
    )
    averaged = AveragedModel(model)
    for _ in range(2):
        step(model)
        averaged.update_parameters(model)
    torch.testing.assert_close(averaged.module(X), averaged.module.eval()(X))
    assert [name for name, _ in model.named_buffers() if "modified" in name] == []


# Graphs, functional calls, checkpoints of activations


@pytest.mark.parametrize("cls", CONFIGS)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_passes(cls: Any, backend: str) -> None:
    # What other tests compiled counts towards a limit of the process.
    torch.compiler.reset()
    layer = layer_of(cls, pdrop=0.2)
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    for _ in range(3):
        layer.zero_grad()
        x = X.clone().requires_grad_()
        torch.manual_seed(4)
        y = layer(x)
        d = torch.randn_like(y)
        y.backward(d)
        expected = [y.detach(), x.grad, layer.analog_module.trained_parameter().grad]
        layer.zero_grad()
        x = X.clone().requires_grad_()
        torch.manual_seed(4)
        y = compiled(x)
        y.backward(d)
        found = [y.detach(), x.grad, layer.analog_module.trained_parameter().grad]
        torch.testing.assert_close(found, expected)
        step(layer)


@pytest.mark.parametrize("cls", CONFIGS)
def test_exported_passes(cls: Any) -> None:
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 7):
        pytest.skip("torch.export of tiles needs torch 2.7")
    layer = layer_of(cls)
    step(layer)
    program = torch.export.export(layer, (X,))
    torch.manual_seed(6)
    expected = layer(X)
    torch.manual_seed(6)
    torch.testing.assert_close(program.module()(X), expected)


def test_functional_calls_have_no_chip_for_other_weights() -> None:
    layer = layer_of(InferenceRPUConfig)
    step(layer)
    name = "analog_module.shared_weights"
    own = dict(layer.named_parameters())
    other = {**own, name: own[name].detach() * 0.5}
    assert torch.equal(torch.func.functional_call(layer, own, (X,)), layer(X))
    with pytest.raises(TileError, match=r"torch\.func: modified weights"):
        torch.func.functional_call(layer, other, (X,))
    layer.eval()
    half = torch.func.functional_call(layer, other, (X,))
    weight, bias = layer.get_weights()
    torch.testing.assert_close(half, 0.5 * X @ weight.t() + bias)


@pytest.mark.parametrize("cls", CONFIGS)
def test_transforms_of_functions_of_the_input(cls: Any) -> None:
    layer = layer_of(cls)
    step(layer)
    torch.manual_seed(7)
    layer(X[0])
    weight = layer.analog_module.get_modified_weights()[0]
    torch.manual_seed(7)
    torch.testing.assert_close(torch.func.jacrev(layer)(X[0]), weight)


# torch 2.4 warns of itself.
@pytest.mark.filterwarnings("ignore:.torch.cpu.amp.autocast:FutureWarning")
@pytest.mark.parametrize("cls", CONFIGS)
@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpoints(cls: Any, reentrant: bool) -> None:
    layer = layer_of(cls)
    step(layer)
    layer.zero_grad()
    x = X.clone().requires_grad_()
    y = checkpoint(layer, x, use_reentrant=reentrant)
    weight = layer.analog_module.get_modified_weights()[0]
    d = torch.randn_like(y)
    y.backward(d)
    torch.testing.assert_close(x.grad, d @ weight)


# Training


@pytest.mark.parametrize("cls", CONFIGS)
@pytest.mark.parametrize("kind", list(T))
def test_training_with_every_kind(cls: Any, kind: WeightModifierType) -> None:
    """The loss of the clean weights falls, of tangents (`DOREFA`) that of the modified ones."""
    strengths = {
        T.DISCRETIZE: {"res": 0.05},
        T.DISCRETIZE_ADD_NORMAL: {"res": 0.05, "std_dev": 0.02},
        T.DOREFA: {"res": 0.05, "enable_during_test": True, "rel_to_actual_wmax": False},
        T.MULT_NORMAL: {"std_dev": 0.1},
        T.ADD_NORMAL: {"std_dev": 0.05},
        T.POLY: {"std_dev": 1.0},
        T.PROG_NOISE: {"std_dev": 1.0, "coeffs": [0.26348, 1.9650, -1.1731]},
        T.PCM_NOISE: {"std_dev": 1.0, "pcm_t_inference": 3600.0},
        T.DROP_CONNECT: {"pdrop": 0.05},
    }
    torch.manual_seed(11)
    layer: Any = AnalogLinear(6, 4, rpu_config=config_of(cls, type=kind, **strengths.get(kind, {})))
    target = nn.Linear(6, 4).requires_grad_(False)
    target.weight.uniform_(-0.5, 0.5)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    x = torch.randn(64, 6)

    def loss() -> Tensor:
        return (layer(x) - target(x)).square().mean()

    layer.eval()
    before = float(loss().detach())
    layer.train()
    for _ in range(150):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    layer.eval()
    assert float(loss().detach()) < 0.1 * before


class TestFrozenTiles:
    """Adapters on a frozen base are trained hardware-aware too; no optimizer has the base."""

    def frozen(self, **changes: Any) -> Any:
        layer = layer_of(InferenceRPUConfig, **changes).train()
        layer.weight.requires_grad_(False)
        return layer

    def drawn(self, layer: Any) -> Tensor:
        matrix = next(layer.analog_tiles()).modified_weights
        assert matrix is not None
        return matrix.clone()

    def step_of_others(self, optimizer: Any = torch.optim.SGD) -> None:
        parameter = nn.Parameter(torch.ones(1))
        steps = optimizer([parameter], lr=0.1)
        parameter.sum().backward()
        steps.step()

    @pytest.mark.parametrize("optimizer", [torch.optim.SGD, AnalogSGD])
    def test_drawn_after_steps_of_others(self, optimizer: Any) -> None:
        layer, weights = self.frozen(), []
        for _ in range(3):
            self.step_of_others(optimizer)
            weights.append(self.drawn(layer))
        assert not torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[1], weights[2])
        weight = layer.get_weights()[0]
        assert torch.equal(layer.weight, weight)
        expected = X @ next(layer.analog_tiles()).get_modified_weights()[0].t()
        torch.testing.assert_close(layer(X) - layer.bias, expected, rtol=1e-4, atol=1e-5)

    def test_not_while_trained_or_in_evaluation(self) -> None:
        trained = layer_of(InferenceRPUConfig).train()
        evaluated = self.frozen().eval()
        self.step_of_others()
        for layer in (trained, evaluated):
            assert next(layer.analog_tiles()).modified_weights is None

    def test_copies_and_edits(self) -> None:
        layer = self.frozen()
        copied = copy.deepcopy(layer)
        edited = self.frozen(type=T.NONE)
        self.step_of_others()
        assert self.drawn(copied).shape == self.drawn(layer).shape
        tile = next(edited.analog_tiles())
        assert tile.modified_weights is None
        tile.rpu_config.modifier.std_dev = 0.1
        tile.rpu_config.modifier.type = T.ADD_NORMAL
        edited(X)
        self.step_of_others()
        assert not torch.equal(self.drawn(edited), edited.weight)

    def test_once_where_an_optimizer_has_them(self) -> None:
        layers = [self.frozen(), self.frozen()]
        steps = torch.optim.SGD([*layers[0].parameters(), nn.Parameter(torch.ones(1))], lr=0.1)
        steps.step()
        assert torch.equal(self.drawn(layers[0]), self.drawn(layers[1]))

    def test_a_skipped_step_draws_nothing(self) -> None:
        layer = self.frozen()
        parameter = nn.Parameter(torch.ones(1))
        steps = torch.optim.SGD([parameter], lr=0.1, fused=True)
        steps.found_inf = torch.ones(1)  # type: ignore[attr-defined]
        steps.grad_scale = None  # type: ignore[attr-defined]
        parameter.sum().backward()
        steps.step()
        assert next(layer.analog_tiles()).modified_weights is None

    def test_tiles_that_are_gone_are_forgotten(self) -> None:
        from mho.optim import after_step

        before = len(after_step._MODIFIED)
        layer = self.frozen()
        assert len(after_step._MODIFIED) == before + 1
        del layer
        gc.collect()
        assert len(after_step._MODIFIED) <= before
