"""Scripts as users of aihwkit have them, shortened, with the import changed and drawn data."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hugging_face import transformers
from mho.inference import GlobalDriftCompensation, PCMLikeNoiseModel
from mho.inference.utils import drift_analog_weights
from mho.nn import AnalogConv2d, AnalogLinear, AnalogSequential
from mho.nn.conversion import convert_to_analog
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    InferenceRPUConfig,
    MappingParameter,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
    WeightClipParameter,
    WeightClipType,
    WeightModifierParameter,
    WeightModifierType,
    WeightNoiseType,
)
from mho.simulator.presets import (
    GokmenVlasovPreset,
    MixedPrecisionEcRamMOPreset,
    PresetIOParameters,
)
from mho.simulator.rpu_base import cuda


def _step(optimizer: Any, loss: Tensor) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def test_fully_connected_network() -> None:
    device = torch.device("cuda" if cuda.is_compiled() else "cpu")
    config = SingleRPUConfig(device=ConstantStepDevice())
    model = AnalogSequential(
        AnalogLinear(20, 16, True, rpu_config=config), nn.Sigmoid(),
        AnalogLinear(16, 8, True, rpu_config=config), nn.Sigmoid(),
        AnalogLinear(8, 4, True, rpu_config=config), nn.LogSoftmax(dim=1),
    ).to(device)  # fmt: skip
    assert "ConstantStep" in str(model)
    optimizer = AnalogSGD(model.parameters(), lr=0.2)
    optimizer.regroup_param_groups(model)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=20, gamma=0.5)
    label = torch.arange(40) % 4
    x = torch.randn(4, 20)[label] + 0.1 * torch.randn(40, 20)
    losses = []
    for _ in range(40):
        parts = torch.randperm(40).split(4)
        steps = (nn.functional.nll_loss(model(x[part]), label[part]) for part in parts)
        losses.append(sum(_step(optimizer, loss) for loss in steps) / len(parts))
        schedule.step()
    assert losses[-1] < 0.8 * losses[0]
    assert all(group["lr"] == 0.05 for group in optimizer.param_groups)


def test_vgg_of_digital_and_analog_layers() -> None:
    """Recorded inputs and gradients may stay off the device of the tiles."""
    config = GokmenVlasovPreset(mapping=MappingParameter(weight_scaling_omega=0.8))
    config.runtime.offload_input = config.runtime.offload_gradient = True
    model = AnalogSequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(),
        AnalogConv2d(6, 6, 3, padding=1, rpu_config=config), nn.BatchNorm2d(6), nn.ReLU(),
        nn.MaxPool2d(2),
        AnalogConv2d(6, 8, 3, padding=1, rpu_config=config), nn.ReLU(),
        AnalogConv2d(8, 8, 3, padding=1, rpu_config=config), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(),
        AnalogLinear(32, 16, rpu_config=config), nn.ReLU(), nn.Linear(16, 4), nn.LogSoftmax(1),
    )  # fmt: skip
    optimizer = AnalogSGD(model.parameters(), lr=0.05)
    optimizer.regroup_param_groups(model)
    label = torch.arange(32) % 4
    x = torch.randn(4, 3, 8, 8)[label] + 0.2 * torch.randn(32, 3, 8, 8)
    before = [layer.get_weights()[0] for layer in model.analog_layers()]
    losses = [_step(optimizer, nn.functional.nll_loss(model(x), label)) for _ in range(25)]
    assert losses[-1] < 0.8 * losses[0]
    for layer, weight in zip(model.analog_layers(), before, strict=True):
        assert not torch.equal(layer.get_weights()[0], weight)


class Generator(nn.Module):
    """Containers of analog layers, nested in a plain module."""

    def __init__(self, config: Any) -> None:
        super().__init__()

        def block(inputs: int, outputs: int) -> AnalogSequential:
            layer = AnalogLinear(inputs, outputs, bias=True, rpu_config=config)
            return AnalogSequential(layer, nn.BatchNorm1d(outputs), nn.ReLU(inplace=True))

        last = AnalogLinear(32, 9, rpu_config=config)
        self.gen = AnalogSequential(block(4, 16), block(16, 32), last, nn.Sigmoid())

    def forward(self, noise: Tensor) -> Tensor:
        """Return what it makes of noise."""
        images: Tensor = self.gen(noise)
        return images


def test_networks_that_compete() -> None:
    """An analog generator and a digital discriminator step in turn, each with its optimizer."""
    mapping = MappingParameter(max_input_size=20, max_output_size=20)
    generator = Generator(MixedPrecisionEcRamMOPreset(mapping=mapping))
    discriminator = nn.Sequential(nn.Linear(9, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    optimizers = [AnalogSGD(net.parameters(), lr=0.1) for net in (generator, discriminator)]
    for optimizer, net in zip(optimizers, (generator, discriminator), strict=True):
        optimizer.regroup_param_groups(net)
    judged = nn.functional.binary_cross_entropy_with_logits
    real = 0.5 + 0.4 * torch.tensor([1.0, -1.0, 1.0]).repeat(3)

    def states() -> list[Tensor]:
        analog = torch.cat([w.flatten() for w, _ in generator.gen.get_weights().values()])
        return [analog, nn.utils.parameters_to_vector(discriminator.parameters()).detach().clone()]

    ones, zeros = torch.ones(20, 1), torch.zeros(20, 1)
    first = (generator(torch.randn(20, 4)).mean(0) - real).norm()
    for _ in range(150):
        start = states()
        made = discriminator(generator(torch.randn(20, 4)).detach())
        loss = judged(made, zeros) + judged(discriminator(real.expand(20, 9)), ones)
        _step(optimizers[1], loss)
        between = states()
        assert torch.equal(start[0], between[0]) and not torch.equal(start[1], between[1])
        _step(optimizers[0], judged(discriminator(generator(torch.randn(20, 4))), ones))
        assert torch.equal(between[1], states()[1])
    assert not torch.equal(start[0], states()[0])
    assert (generator(torch.randn(20, 4)).mean(0) - real).norm() < first


def _for_hardware(config: Any) -> Any:
    config.modifier = WeightModifierParameter(type=WeightModifierType.ADD_NORMAL, std_dev=0.05)
    config.clip = WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=1.0)
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = config.mapping.learn_out_scaling = True
    config.forward = PresetIOParameters(inp_res=254, out_res=254)
    if not isinstance(config, TorchInferenceRPUConfig):  # whose tiles have none, in aihwkit too
        config.forward.w_noise_type = WeightNoiseType.ADDITIVE_CONSTANT
        config.forward.w_noise = 0.0175
    config.noise_model = PCMLikeNoiseModel(g_max=25.0)
    config.drift_compensation = GlobalDriftCompensation()
    return config


@pytest.mark.filterwarnings("ignore:.* was tied to:UserWarning")
@pytest.mark.parametrize("kind", ["answers", "text"])
def test_fine_tuning_for_hardware(kind: str) -> None:
    if kind == "answers":
        config = _for_hardware(InferenceRPUConfig())
        settings = transformers.BertConfig(
            vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=16,
        )  # fmt: skip
        digital: Any = transformers.BertForQuestionAnswering(settings)
    else:
        config = _for_hardware(TorchInferenceRPUConfig())
        settings = transformers.GPT2Config(
            vocab_size=20, n_positions=16, n_embd=16, n_layer=1, n_head=2,
            bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
        digital = transformers.GPT2LMHeadModel(settings)
    tokens = torch.randint(3, 20, (16, 8))
    start = torch.full((16,), 2)
    targets = {"start_positions": start, "end_positions": start + 3}
    given = {"input_ids": tokens, **(targets if kind == "answers" else {"labels": tokens})}
    model: Any = convert_to_analog(digital, config)
    model.remap_analog_weights()
    for tile in model.analog_tiles():
        assert float(tile.tile.get_weights().abs().max()) == pytest.approx(1.0)
    optimizer = AnalogSGD(model.parameters(), lr=0.05)
    optimizer.regroup_param_groups(model)
    model.train()
    losses = [_step(optimizer, model(**given).loss) for _ in range(30)]
    assert sum(losses[-5:]) < sum(losses[:5])

    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other: Any = convert_to_analog(digital, config).eval()
    found = other.load_state_dict(torch.load(file, weights_only=False), strict=False)
    assert not found.missing_keys and not found.unexpected_keys
    model.eval()
    with torch.no_grad():
        torch.manual_seed(1)
        expected = model(**given).loss
        torch.manual_seed(1)
        assert torch.equal(other(**given).loss, expected)
        for age in (0.0, 3600.0, 86400.0):
            drift_analog_weights(model, age)
            assert model(**given).loss < 2 * losses[0]
