"""`layer.weight` and `layer.bias`: what code for digital layers reads, initialises and merges."""

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.exceptions import ModuleError
from mho.nn import AnalogLinear
from mho.nn.conversion import convert_to_analog
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)

UNBOUNDED: dict[str, Callable[[], Any]] = {
    "pulsed": lambda: SingleRPUConfig(device=IdealDevice()),
    "floating": FloatingPointRPUConfig,
    "inference": InferenceRPUConfig,
    "torch": TorchInferenceRPUConfig,
}


def bounded() -> SingleRPUConfig:
    return SingleRPUConfig(device=ConstantStepDevice(w_max_dtod=0.0, w_min_dtod=0.0))


def split(config: Any, size: int = 2) -> Any:
    config.mapping.max_input_size = config.mapping.max_output_size = size
    return config


@pytest.fixture(params=[*UNBOUNDED, "array", "analog bias"])
def layer(request: pytest.FixtureRequest) -> AnalogLinear:
    if request.param == "array":
        return AnalogLinear(5, 3, rpu_config=split(InferenceRPUConfig()))
    if request.param == "analog bias":
        config = InferenceRPUConfig()
        config.mapping.digital_bias = False
        return AnalogLinear(5, 3, rpu_config=config)
    return AnalogLinear(5, 3, rpu_config=UNBOUNDED[request.param]())


class TestReading:
    def test_properties_need_no_reading(
        self, layer: AnalogLinear, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(type(layer), "get_weights", None)
        for value, shape in ((layer.weight, (3, 5)), (layer.bias, (3,))):
            assert value is not None
            assert isinstance(value, Tensor) and tuple(value.shape) == shape
            assert value.dtype is torch.float32 and value.device == torch.device("cpu")
            assert value.numel() == torch.Size(shape).numel() and value.requires_grad
            assert value.grad is None

    def test_values(self, layer: AnalogLinear) -> None:
        weight, bias = layer.get_weights()
        assert torch.equal(layer.weight, weight) and torch.equal(layer.bias, bias)
        assert torch.equal(layer.weight.data[1, 2:], weight[1, 2:])
        assert layer.weight.tolist() == weight.tolist()
        assert (layer.weight.numpy() == weight.numpy()).all()
        assert layer.weight.norm().item() == weight.norm().item()
        assert repr(weight) in repr(layer.weight)
        assert type(layer.weight + 1) is Tensor

    def test_they_follow_the_tile(self, layer: AnalogLinear) -> None:
        weight = layer.weight
        new = torch.full((3, 5), 0.1)
        layer.set_weights(new, torch.zeros(3))
        assert torch.equal(weight, new)

    def test_copies_and_pickles_are_ordinary_tensors(self, layer: AnalogLinear) -> None:
        for value in (copy.deepcopy(layer.weight), pickle.loads(pickle.dumps(layer.weight))):
            assert type(value) is Tensor and torch.equal(value, layer.get_weights()[0])

    def test_dtype_follows_a_cast(self, layer: AnalogLinear) -> None:
        layer.bfloat16()
        assert layer.weight.dtype is torch.bfloat16
        assert layer.weight.abs().sum().dtype is torch.bfloat16
        assert layer(torch.ones(2, 5, dtype=layer.weight.dtype)).dtype is torch.bfloat16

    def test_without_bias(self) -> None:
        assert AnalogLinear(5, 3, bias=False).bias is None

    def test_a_bias_is_true(self) -> None:
        """Scripts ask so whether there is one."""
        assert AnalogLinear(5, 3).bias

    def test_they_are_no_second_parameters(self, layer: AnalogLinear) -> None:
        names = {name for name, _ in layer.named_parameters()}
        assert all(name.startswith("analog_module.") for name in names)
        assert "weight" not in layer.state_dict()


INITIALISERS: dict[str, Callable[[Tensor], Any]] = {
    "uniform": nn.init.uniform_,
    "normal": nn.init.normal_,
    "constant": lambda w: nn.init.constant_(w, 0.3),
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_,
    "kaiming_normal": nn.init.kaiming_normal_,
    "trunc_normal": lambda w: nn.init.trunc_normal_(w, std=0.5, a=-0.7, b=0.7),
    "trunc_normal_tail": lambda w: nn.init.trunc_normal_(w, std=0.5, a=0.6, b=2.0),
    "orthogonal": nn.init.orthogonal_,
    "eye": nn.init.eye_,
    "sparse": lambda w: nn.init.sparse_(w, 0.3),
    "zeros": nn.init.zeros_,
    "data": lambda w: w.data.normal_(0.0, 0.2),
    "part": lambda w: w.data[1].fill_(0.25),
    "transposed": lambda w: w.data.t().copy_(torch.arange(15.0).reshape(5, 3) / 15),
}


class TestCopying:
    def test_into_another_layer(self, layer: AnalogLinear) -> None:
        other = AnalogLinear(5, 3, rpu_config=InferenceRPUConfig())
        other.set_weights(layer.weight, layer.bias)
        for new, old in zip(other.get_weights(), layer.get_weights(), strict=True):
            assert type(new) is Tensor and torch.equal(new, old)

    def test_into_a_digital_layer(self, layer: AnalogLinear) -> None:
        digital = nn.Linear(5, 3)
        with torch.no_grad():
            digital.weight.copy_(layer.weight)
        assert torch.equal(digital.weight, layer.get_weights()[0])
        digital.load_state_dict({"weight": layer.weight * 2, "bias": layer.bias})
        assert torch.equal(digital.weight, 2 * layer.get_weights()[0])
        assert torch.equal(digital.bias, layer.get_weights()[1])


class TestWriting:
    @pytest.mark.parametrize("name", INITIALISERS)
    @pytest.mark.parametrize("kind", [*UNBOUNDED, "bounded", "array"])
    def test_initialisers_write_through(self, name: str, kind: str) -> None:
        """Weights are those of the digital layer, limited by the devices once, at the end."""
        known = {**UNBOUNDED, "bounded": bounded, "array": lambda: split(InferenceRPUConfig())}
        digital = nn.Linear(5, 3)
        analog = AnalogLinear(5, 3, rpu_config=known[kind]())
        with torch.no_grad():
            digital.weight.fill_(0.2)
        analog.set_weights(digital.weight, digital.bias)
        bias = analog.get_weights()[1]
        results = []
        for layer in (digital, analog):
            torch.manual_seed(3)
            with torch.no_grad():
                INITIALISERS[name](layer.weight)
            results.append(torch.get_rng_state())
        expected = digital.weight.detach()
        if kind == "bounded":
            expected = expected.clamp(-0.6, 0.6)
        assert torch.equal(analog.get_weights()[0], expected)
        assert torch.equal(analog.get_weights()[1], bias)
        assert torch.equal(*results)

    def test_bias(self, layer: AnalogLinear) -> None:
        weight = layer.get_weights()[0]
        assert layer.bias is not None
        nn.init.constant_(layer.bias, 0.25)
        assert layer.get_weights()[1].tolist() == [0.25] * 3
        assert torch.equal(layer.get_weights()[0], weight)

    def test_what_the_devices_hold_is_read(self) -> None:
        layer = AnalogLinear(5, 3, rpu_config=bounded())
        weight = layer.weight
        nn.init.constant_(weight, 2.0)
        assert weight.max().item() == layer.weight.max().item() == pytest.approx(0.6)

    def test_scaled_weights(self) -> None:
        config = InferenceRPUConfig()
        config.mapping.weight_scaling_omega = 0.5
        layer = AnalogLinear(5, 3, rpu_config=config)
        nn.init.constant_(layer.weight, 2.0)
        assert layer.get_weights(apply_weight_scaling=False)[0].max().item() == 0.5
        assert layer.weight.mean().item() == 2.0

    def test_data_can_be_assigned(self, layer: AnalogLinear) -> None:
        new = torch.rand(3, 5) * 0.1
        layer.weight.data = new
        assert torch.equal(layer.get_weights()[0], new)
        layer.weight.data += 0.1
        torch.testing.assert_close(layer.get_weights()[0], new + 0.1)

    def test_non_finite_values_are_refused(self, layer: AnalogLinear) -> None:
        before = layer.get_weights()[0]
        with pytest.raises(ValueError, match="finite"):
            nn.init.constant_(layer.weight, float("nan"))
        assert torch.equal(layer.get_weights()[0], before)


class TestRefusals:
    @pytest.mark.parametrize("name", ["weight", "bias"])
    def test_assignment(self, layer: AnalogLinear, name: str) -> None:
        before = layer.get_weights()
        for value in (
            nn.Parameter(torch.ones(3, 5)),
            torch.ones(3),
            None,
            AnalogLinear(5, 3).weight,
        ):
            with pytest.raises(ModuleError, match=rf"{name}: .*set_weights"):
                setattr(layer, name, value)
        setattr(layer, name, getattr(layer, name))  # its own
        for old, new in zip(before, layer.get_weights(), strict=True):
            assert torch.equal(old, new)

    @pytest.mark.parametrize(
        "product",
        [
            lambda layer, x: nn.functional.linear(x, layer.weight, layer.bias),
            lambda layer, x: nn.functional.bilinear(x, x, layer.weight[None, :, :]),
            lambda layer, x: nn.functional.conv1d(x[None], layer.weight[:, :, None]),
        ],
    )
    def test_digital_products(self, layer: AnalogLinear, product: Any) -> None:
        """Nobody would notice that the analog layer is not called."""
        with pytest.raises(ModuleError, match="digital product"):
            product(layer, torch.ones(5, 5))

    def test_attention_that_goes_past_its_layer(self) -> None:
        attention = nn.MultiheadAttention(4, 2)
        attention.out_proj = AnalogLinear(4, 4, rpu_config=InferenceRPUConfig())
        x = torch.ones(3, 1, 4)
        with pytest.raises(ModuleError, match="digital product"):
            attention(x, x, x)

    def test_views_are_no_parameters(self, layer: AnalogLinear) -> None:
        """An optimizer would not move them, without a word."""
        layer.weight.requires_grad_(False)
        for trained in (True, False):
            with pytest.raises(ModuleError, match=r"weight\.clone\(\)"):
                nn.Parameter(layer.weight, requires_grad=trained)
        assert not layer.weight.requires_grad
        assert torch.equal(nn.Parameter(layer.weight.clone()), layer.get_weights()[0])

    def test_shape(self, layer: AnalogLinear) -> None:
        for change in (lambda w: w.t_(), lambda w: w.unsqueeze_(0)):
            with pytest.raises(ModuleError, match="shape"):
                change(layer.weight)


def test_freezing(layer: AnalogLinear) -> None:
    layer.weight.requires_grad_(False)
    assert not layer.weight.requires_grad
    before = layer.get_weights()[0]
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    layer(torch.ones(2, 5, requires_grad=True)).sum().backward()
    optimizer.step()
    assert torch.equal(layer.get_weights()[0], before)
    layer.weight.requires_grad = True
    layer(torch.ones(2, 5, requires_grad=True)).sum().backward()
    optimizer.step()
    assert not torch.equal(layer.get_weights()[0], before)


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Compute in one thread: at these sizes torch's threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Lora(nn.Module):
    """Low-rank adapter around a frozen layer, which uses what such adapters use of the layer."""

    def __init__(self, base: nn.Linear, rank: int = 2) -> None:
        super().__init__()
        self.base_layer = base
        for parameter in base.parameters():
            parameter.requires_grad = False
        like = {"dtype": base.weight.dtype, "device": base.weight.device}
        self.down = nn.Linear(base.in_features, rank, bias=False, **like)
        self.up = nn.Linear(rank, base.out_features, bias=False, **like)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x) + 4.0 * self.up(self.down(x))

    def delta(self) -> Tensor:
        return 4.0 * self.up.weight @ self.down.weight

    def merge(self) -> nn.Module:
        weights = self.base_layer.weight.data.clone()
        weights += self.delta()
        assert torch.isfinite(weights).all()
        self.base_layer.weight.data = weights
        return self.base_layer


def task() -> tuple[Tensor, Tensor]:
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()


def fit(model: nn.Module) -> float:
    x, y = task()
    optimizer = AnalogSGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    return loss.item()


class Net(nn.Module):
    """Two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("kind", UNBOUNDED)
def test_low_rank_adapters(kind: str) -> None:
    """The analog weights stay, the digital adapters learn, and merging writes the sum."""
    model: Any = convert_to_analog(Net(), UNBOUNDED[kind]())
    layers = [model.first, model.second]
    before = [layer.get_weights()[0] for layer in layers]
    model.first, model.second = Lora(model.first), Lora(model.second)
    # Guessing costs 0.69.
    assert fit(model) < 0.3
    for layer, weight in zip(layers, before, strict=True):
        assert torch.equal(layer.get_weights()[0], weight)
        assert not any(tile.analog_ctx.has_gradient() for tile in layer.analog_tiles())
    expected = [
        layer.delta() + w for layer, w in zip((model.first, model.second), before, strict=True)
    ]
    merged = [model.first.merge(), model.second.merge()]
    assert all(new is old for new, old in zip(merged, layers, strict=True))
    for layer, weight in zip(layers, expected, strict=True):
        torch.testing.assert_close(layer.get_weights()[0], weight.detach())


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("kind", UNBOUNDED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_peft(kind: str) -> None:
    peft = pytest.importorskip("peft")
    model: Any = convert_to_analog(Net(), UNBOUNDED[kind]())
    before = [layer.get_weights()[0] for layer in model.analog_layers()]
    config = peft.LoraConfig(target_modules=["first", "second"], r=2)
    adapted = peft.get_peft_model(model, config)
    assert fit(adapted) < 0.3
    layers = [adapted.model.first, adapted.model.second]
    expected = []
    for layer, weight in zip(layers, before, strict=True):
        assert torch.equal(layer.base_layer.get_weights()[0], weight)
        expected.append(weight + layer.get_delta_weight("default").detach())
    adapted.merge_adapter()
    adapted.unmerge_adapter()
    merged = adapted.merge_and_unload(safe_merge=True)
    for layer, weight in zip((merged.first, merged.second), expected, strict=True):
        assert type(layer) is AnalogLinear
        torch.testing.assert_close(layer.get_weights()[0], weight)
