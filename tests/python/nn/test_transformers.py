"""Models of Hugging Face convert, train, are saved and generate as a user has them do so."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hugging_face import GENERATING, LAYERS, MODELS, VOCABULARY, batch_of, model_of, transformers
from mho.exceptions import ArgumentError
from mho.nn import (
    AnalogLinear,
    analog_map,
    conversion_report,
    convert_by_map,
    load_analog,
    save_analog,
)
from mho.nn.conversion import ConvertedConv1D, convert_to_analog, convert_to_digital
from mho.optim import AnalogAdam, AnalogSGD
from mho.simulator.configs import (
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    MappingParameter,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
    WeightModifierType,
)
from mho.simulator.presets import GokmenVlasovPreset

pytestmark = [
    pytest.mark.filterwarnings("ignore:.* was tied to:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def exact(config: Any) -> Any:
    """Return a configuration with exact products."""
    config.forward = IOParameters(is_perfect=True)
    if hasattr(config, "backward"):
        config.backward = IOParameters(is_perfect=True)
    return config


EXACT = {
    "pulsed": lambda: exact(SingleRPUConfig(device=IdealDevice())),
    "inference": lambda: exact(InferenceRPUConfig()),
    "torch": lambda: exact(TorchInferenceRPUConfig()),
}


def pulsed() -> Any:
    """Return a configuration of devices within whose bounds the weights fit."""
    return GokmenVlasovPreset(mapping=MappingParameter(weight_scaling_omega=0.4))


def weights(model: Any) -> list[Tensor]:
    return [layer.get_weights()[0] for layer in model.analog_layers()]


def train(model: Any, kind: str, optimizer: Any, steps: int = 1) -> list[float]:
    """Train on one batch; returns the losses."""
    losses = []
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(**batch_of(kind)).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("tile", EXACT)
def test_equal_to_digital(kind: str, tile: str) -> None:
    digital, batch = model_of(kind), batch_of(kind)
    analog: Any = convert_to_analog(digital, EXACT[tile]())
    assert isinstance(analog, type(digital))
    report = conversion_report(analog)
    assert len(report.converted) == len(list(analog.analog_layers())) == LAYERS[kind]
    with torch.no_grad():
        expected = digital(**batch)
        torch.testing.assert_close(analog(**batch).logits, expected.logits, **CLOSE)
        back: Any = convert_to_digital(analog)
        torch.testing.assert_close(back(**batch).logits, expected.logits, **CLOSE)
    assert type(back) is type(digital)
    assert [type(m) for m in back.modules()] == [type(m) for m in digital.modules()]
    assert back.state_dict().keys() == digital.state_dict().keys()


@pytest.mark.filterwarnings("ignore:.*beyond the bounds of their devices:UserWarning")
@pytest.mark.parametrize(
    ("kind", "config"),
    [*((kind, InferenceRPUConfig) for kind in MODELS), ("gpt2", pulsed), ("vit", pulsed)],
)
def test_train_save_load(kind: str, config: Any, tmp_path: Path) -> None:
    analog: Any = convert_to_analog(model_of(kind), config())
    optimizer = AnalogSGD(analog.parameters(), lr=0.1)
    before = weights(analog)
    train(analog, kind, optimizer)
    moved = [not torch.equal(*pair) for pair in zip(before, weights(analog), strict=True)]
    # Where gradients are small a step may well send no pulse.
    assert all(moved) if config is InferenceRPUConfig else sum(moved) > len(moved) / 2
    analog.eval()
    save_file(analog.state_dict(), tmp_path / "model.safetensors")
    torch.save(analog.state_dict(), tmp_path / "model.pt")
    for state in (load_file(tmp_path / "model.safetensors"), torch.load(tmp_path / "model.pt")):
        other: Any = convert_to_analog(model_of(kind), config()).eval()
        other.load_state_dict(state)
        with torch.no_grad():
            given, expected = (copy.deepcopy(m)(**batch_of(kind)).logits for m in (other, analog))
        assert torch.equal(given, expected)


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_folders_of_transformers(kind: str, tmp_path: Path) -> None:
    analog: Any = convert_to_analog(model_of(kind), EXACT["inference"]())
    train(analog, kind, AnalogAdam(analog.parameters(), lr=0.01))
    analog.eval().save_pretrained(tmp_path)
    other: Any = convert_to_analog(model_of(kind), EXACT["inference"]()).eval()
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    with torch.no_grad():
        assert torch.equal(other(**batch_of(kind)).logits, analog(**batch_of(kind)).logits)


@pytest.mark.parametrize("kind", ["gpt2", "vit"])
def test_folders_and_maps(kind: str, tmp_path: Path) -> None:
    """Layers and broken ties come back; transformers does not tie again."""
    analog: Any = convert_to_analog(model_of(kind), EXACT["inference"]()).eval()
    save_analog(analog, tmp_path)
    models: list[Any] = [
        load_analog(tmp_path),
        load_analog(tmp_path, lambda: model_of(kind)),
        convert_by_map(model_of(kind), analog_map(analog)),
    ]
    with torch.no_grad():
        expected = analog(**batch_of(kind)).logits
        for model in models:
            assert len(conversion_report(model).converted) == LAYERS[kind]
            model.tie_weights()
            assert torch.equal(model.eval()(**batch_of(kind)).logits, expected)


@pytest.mark.parametrize("kind", GENERATING)
def test_generate(kind: str) -> None:
    digital, tokens = model_of(kind), batch_of(kind)["input_ids"][:2, :3]
    analog: Any = convert_to_analog(digital, EXACT["inference"]())
    for more in ({}, {"num_beams": 2}, {"use_cache": False}):
        arguments = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, **more}
        expected = digital.generate(tokens, **arguments)
        assert torch.equal(analog.generate(tokens, **arguments), expected)
    noisy: Any = convert_to_analog(digital, InferenceRPUConfig()).eval()
    noisy.drift_analog_weights(3600.0)
    sampled = noisy.generate(tokens, max_new_tokens=4, do_sample=True, pad_token_id=0)
    assert sampled.shape[1] <= 7 and int(sampled.max()) < VOCABULARY


class TestTiedWeights:
    @pytest.mark.filterwarnings("default:.* was tied to:UserWarning")
    def test_a_copy_and_said_so(self) -> None:
        digital = model_of("gpt2")
        assert digital.lm_head.weight is digital.transformer.wte.weight
        with pytest.warns(
            UserWarning, match=r"tied to 'transformer\.wte\.weight'.*exclude_modules"
        ):
            analog: Any = convert_to_analog(digital, EXACT["inference"]())
        entry = next(e for e in conversion_report(analog) if e.name == "lm_head")
        assert entry.converted and "tied to 'transformer.wte.weight'" in entry.remark
        assert "lm_head" in str(conversion_report(analog)) and entry.remark in str(
            conversion_report(analog)
        )

    @pytest.mark.parametrize("kind", ["gpt2", "bert"])
    def test_not_tied_again(self, kind: str) -> None:
        """Transformers does that on many occasions, and would assign a parameter."""
        digital = model_of(kind)
        analog: Any = convert_to_analog(digital, EXACT["inference"]())
        before = weights(analog)
        analog.tie_weights()
        assert all(torch.equal(*pair) for pair in zip(before, weights(analog), strict=True))
        assert not analog.config.tie_word_embeddings and digital.config.tie_word_embeddings
        assert not analog.all_tied_weights_keys and digital.all_tied_weights_keys
        digital.tie_weights()

    def test_kept_by_excluding_the_head(self) -> None:
        analog: Any = convert_to_analog(
            model_of("gpt2"), EXACT["inference"](), exclude_modules=["lm_head"]
        )
        assert analog.lm_head.weight is analog.transformer.wte.weight
        assert analog.config.tie_word_embeddings
        analog.tie_weights()
        report = {e.name: e for e in conversion_report(analog)}
        assert not report["lm_head"].converted
        assert "table" in report["transformer.wte"].reason

    def test_untied_models_stay_as_they_are(self) -> None:
        digital = model_of("llama", tie_word_embeddings=False)
        analog: Any = convert_to_analog(digital, EXACT["inference"]())
        assert not any(e.remark for e in conversion_report(analog))


class TestConv1D:
    def test_there_and_back(self) -> None:
        digital = transformers.pytorch_utils.Conv1D(6, 4)
        nn.init.normal_(digital.bias)
        digital.bias.requires_grad_(False)
        analog: Any = convert_to_analog(digital, EXACT["torch"]())
        assert type(analog) is ConvertedConv1D and isinstance(analog, AnalogLinear)
        assert analog.weight.shape == (6, 4) and not analog.bias.requires_grad
        x = torch.randn(3, 5, 4)
        torch.testing.assert_close(analog(x), digital(x), **CLOSE)
        back: Any = convert_to_digital(analog)
        assert type(back) is type(digital) and repr(back) == repr(digital)
        assert vars(back).keys() == vars(digital).keys()
        assert torch.equal(back.weight, digital.weight) and back.weight.is_contiguous()
        assert back.weight.requires_grad and not back.bias.requires_grad

    def test_parametrised_ones(self) -> None:
        digital = transformers.pytorch_utils.Conv1D(6, 4)
        nn.utils.parametrizations.weight_norm(digital)
        with pytest.warns(UserWarning, match="weight was computed"):
            analog: Any = convert_to_analog(digital, EXACT["torch"]())
        x = torch.randn(3, 4)
        torch.testing.assert_close(analog(x), digital(x), **CLOSE)

    def test_nothing_else(self) -> None:
        with pytest.raises(ArgumentError, match="Conv1D"):
            ConvertedConv1D.from_digital(nn.Linear(2, 2), InferenceRPUConfig())


def test_known_by_its_name() -> None:
    """Nothing is imported for it, so there is nothing to be installed."""

    class Conv1D(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = (nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(3)))

    Conv1D.__module__, Conv1D.__qualname__ = "transformers.pytorch_utils", "Conv1D"
    analog: Any = convert_to_analog(Conv1D(), EXACT["torch"]())
    assert type(analog) is ConvertedConv1D and analog(torch.ones(2)).tolist() == [3.0] * 3


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
@pytest.mark.parametrize("tile", ["inference", "torch"])
def test_gradient_checkpointing(kind: str, tile: str) -> None:
    """Noise and all: what is recomputed has that of the first pass, in tiles of the core."""
    config = EXACT["torch"]() if tile == "torch" else InferenceRPUConfig()
    gradients = []
    for is_checkpointed in (False, True):
        torch.manual_seed(1)
        analog: Any = convert_to_analog(model_of(kind), config)
        if is_checkpointed:
            analog.gradient_checkpointing_enable()
        analog.train()
        analog(**batch_of(kind)).loss.backward()
        gradients.append([p.grad for p in analog.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > LAYERS[kind]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", MODELS)
def test_autocast(kind: str) -> None:
    analog: Any = convert_to_analog(model_of(kind), InferenceRPUConfig())
    optimizer = AnalogAdam(analog.parameters(), lr=0.01)
    before = weights(analog)
    analog.train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = analog(**batch_of(kind)).loss
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert not any(torch.equal(*pair) for pair in zip(before, weights(analog), strict=True))


@pytest.mark.parametrize("kind", MODELS)
def test_half_precision(kind: str) -> None:
    """Models in bfloat16: torch tiles compute in it, tiles of the core in float32."""
    digital = model_of(kind).to(torch.bfloat16)
    batch = batch_of(kind)
    if kind == "vit":
        batch["pixel_values"] = batch["pixel_values"].to(torch.bfloat16)
    for tile in ("torch", "inference"):
        analog: Any = convert_to_analog(digital, EXACT[tile]())
        with torch.no_grad():
            given, expected = (model(**batch).logits for model in (analog, digital))
        assert given.dtype == torch.bfloat16
        # Logits of order 0.1 to one after two blocks, each rounded to 8 bits.
        torch.testing.assert_close(given, expected, rtol=0.1, atol=0.05)


@pytest.mark.slow  # dynamo takes ten seconds for a model
@pytest.mark.filterwarnings("ignore:.*attribute of a Tensor that is not a leaf:UserWarning")
# ViT asks for the dtype of the weights of its convolution, where the graph breaks.
@pytest.mark.filterwarnings("ignore:Dynamo does not know how to trace:UserWarning")
@pytest.mark.parametrize("kind", MODELS)
def test_compiled(kind: str) -> None:
    digital, batch = model_of(kind), batch_of(kind)
    analog: Any = convert_to_analog(digital, EXACT["inference"]())
    compiled = torch.compile(analog, backend="aot_eager")
    output = compiled(**batch)
    torch.testing.assert_close(output.logits, digital(**batch).logits, **CLOSE)
    output.loss.backward()
    assert all(tile.shared_weights.grad is not None for tile in analog.analog_tiles())


def test_hardware_aware_training_lowers_the_loss() -> None:
    config = InferenceRPUConfig()
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.05
    analog: Any = convert_to_analog(model_of("gpt2"), config)
    optimizer = AnalogAdam(analog.parameters(), lr=0.01)
    losses = train(analog, "gpt2", optimizer, 20)
    # Guessing costs log 60 = 4.1.
    assert losses[-1] < 0.8 * losses[0]
    analog.eval().drift_analog_weights(3600.0)
    with torch.no_grad():
        assert analog(**batch_of("gpt2")).loss < 0.9 * losses[0]


def test_layers_that_are_replaced_by_transformers() -> None:
    """Resizing makes a digital head anew; the report says so."""
    analog: Any = convert_to_analog(model_of("gpt2"), EXACT["inference"]())
    analog.resize_token_embeddings(VOCABULARY + 4, mean_resizing=False)
    entry = next(e for e in conversion_report(analog) if e.name == "lm_head")
    assert not entry.converted and "added later" in entry.reason
