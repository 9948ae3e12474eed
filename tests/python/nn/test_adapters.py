"""Adapters of PEFT on analog models: their base is the tiles, whatever the kind of adapter."""

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hugging_face import batch_of, model_of
from mho.exceptions import ModuleError
from mho.nn import AnalogLinear, AnalogMultiheadAttention
from mho.nn.conversion import convert_to_analog, convert_to_digital
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    WeightModifierType,
)

peft: Any = pytest.importorskip("peft", reason="PEFT, the client of these tests, is not installed")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.* was tied to:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
TARGETS = {"gpt2": ["c_attn", "c_proj"], "llama": ["q_proj", "v_proj"]}


def exact(config: Any) -> Any:
    """Return a configuration with exact products."""
    config.forward = IOParameters(is_perfect=True)
    if hasattr(config, "backward"):
        config.backward = IOParameters(is_perfect=True)
    return config


CONFIGS = {
    "inference": lambda: exact(InferenceRPUConfig()),
    "pulsed": lambda: exact(SingleRPUConfig(device=IdealDevice())),
}
KINDS: dict[str, Any] = {
    "LoRA": lambda t: peft.LoraConfig(target_modules=t, r=2),
    "rsLoRA": lambda t: peft.LoraConfig(target_modules=t, r=2, use_rslora=True),
    "DoRA": lambda t: peft.LoraConfig(target_modules=t, r=2, use_dora=True),
    "PiSSA": lambda t: peft.LoraConfig(target_modules=t, r=2, init_lora_weights="pissa"),
    "AdaLoRA": lambda t: peft.AdaLoraConfig(target_modules=t, init_r=2, total_step=10),
    "IA3": lambda t: peft.IA3Config(target_modules=t, feedforward_modules=[]),
    "VeRA": lambda t: peft.VeraConfig(target_modules=t, r=2),
    "LoKr": lambda t: peft.LoKrConfig(target_modules=t, r=2),
    "FourierFT": lambda t: peft.FourierFTConfig(target_modules=t, n_frequency=3),
}


def adapted(kind: str, tile: str, config: Any) -> Any:
    """Return a model with adapters, whose own parameters are frozen by PEFT."""
    analog = convert_to_analog(model_of(kind), CONFIGS[tile]())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice on some kinds of adapters
        return peft.get_peft_model(analog, config)


def layers(model: Any) -> list[AnalogLinear]:
    return [part for part in model.modules() if isinstance(part, AnalogLinear)]


def step(model: Any, kind: str, lr: float = 0.1) -> None:
    """Train the adapters with one batch."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=lr)
    model.train()
    model(**batch_of(kind)).loss.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)
    optimizer.step()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("kind", "adapter"),
    [*(("llama", adapter) for adapter in KINDS), *(("gpt2", a) for a in ("LoRA", "DoRA", "IA3"))],
)
def test_trained_merged_and_unloaded(kind: str, adapter: str) -> None:
    model = adapted(kind, "inference", KINDS[adapter](TARGETS[kind]))
    before = [layer.get_weights()[0] for layer in layers(model)]
    called: list[int] = []
    handles = [x.register_forward_hook(lambda *_: called.append(1)) for x in layers(model)]
    step(model, kind)
    assert len(called) == len(before)  # every tile computes, none is gone past
    for handle in handles:
        handle.remove()
    after = [layer.get_weights()[0] for layer in layers(model)]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    model.eval()
    with torch.no_grad():
        expected = model(**batch_of(kind)).logits
        merged = model.merge_and_unload()
        torch.testing.assert_close(merged(**batch_of(kind)).logits, expected, **CLOSE)
    types = {type(layer) for layer in layers(merged)}
    assert types == {type(layer) for layer in layers(convert_to_analog(model_of(kind), None))}


def test_pulsed_base_records_nothing() -> None:
    model = adapted("llama", "pulsed", KINDS["LoRA"](TARGETS["llama"]))
    before = [layer.get_weights()[0] for layer in layers(model)]
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(**batch_of("llama")).loss.backward()
        assert not any(
            tile.analog_ctx.has_gradient() for x in layers(model) for tile in x.analog_tiles()
        )
        optimizer.step()
    after = [layer.get_weights()[0] for layer in layers(model)]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


@pytest.mark.parametrize("gives_all", [True, False])
@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, AnalogSGD])
def test_hardware_aware_on_a_frozen_base(gives_all: bool, optimizer: Any) -> None:
    """Every mini-batch sees another chip, also if no optimizer has the frozen weights."""
    config = CONFIGS["inference"]()
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.1
    analog = convert_to_analog(model_of("llama"), config)
    model = peft.get_peft_model(analog, KINDS["LoRA"](TARGETS["llama"])).train()
    frozen = [layer.get_weights()[0] for layer in layers(model)]
    given = [p for p in model.parameters() if gives_all or p.requires_grad]
    steps = optimizer(given, lr=0.01)
    seen: list[list[Tensor]] = []
    for _ in range(3):
        steps.zero_grad()
        model(**batch_of("llama")).loss.backward()
        steps.step()
        seen.append(
            [t.get_modified_weights()[0].clone() for x in layers(model) for t in x.analog_tiles()]
        )
    for weight, *drawn in zip(frozen, *seen, strict=True):
        assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[1], drawn[2])
        spread = (drawn[2] - weight).std() / weight.abs().max()
        assert 0.05 < spread < 0.2  # a tenth of the largest weight
    assert all(
        torch.equal(x.get_weights()[0], w) for x, w in zip(layers(model), frozen, strict=True)
    )
    model.eval()
    steps.step()
    again = [t.get_modified_weights()[0] for x in layers(model) for t in x.analog_tiles()]
    is_same = [torch.equal(*pair) for pair in zip(again, seen[2], strict=True)]
    # In evaluation nothing is drawn for them, but if an optimizer has them.
    assert all(is_same) or gives_all


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = adapted("gpt2", "inference", KINDS["LoRA"](TARGETS["gpt2"]))
    step(model, "gpt2")
    model.eval().save_pretrained(tmp_path)
    base = convert_to_analog(model_of("gpt2"), CONFIGS["inference"]())
    other = peft.PeftModel.from_pretrained(base, tmp_path)
    with torch.no_grad():
        expected = model(**batch_of("gpt2")).logits
        assert torch.equal(other(**batch_of("gpt2")).logits, expected)
        with model.disable_adapter():
            plain = model(**batch_of("gpt2")).logits
    assert not torch.equal(plain, expected)


def test_generates() -> None:
    model = adapted(
        "llama",
        "inference",
        peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    step(model, "llama")
    tokens = batch_of("llama")["input_ids"][:1, :3]
    output = model.eval().generate(input_ids=tokens, max_new_tokens=3, do_sample=False)
    assert output.shape[1] <= 6


def test_head_that_is_trained_as_well() -> None:
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])
    model = adapted("llama", "inference", config)
    head = model.base_model.model.lm_head
    before = head.modules_to_save["default"].get_weights()[0]
    step(model, "llama")
    assert not torch.equal(head.modules_to_save["default"].get_weights()[0], before)
    assert torch.equal(head.original_module.get_weights()[0], before)


def test_adapters_before_the_conversion() -> None:
    """Adapters are linear layers too; they stay digital if they are named."""
    model = peft.get_peft_model(model_of("llama"), KINDS["LoRA"](TARGETS["llama"]))
    names = [name for name, _ in model.named_modules() if ".lora_" in name]
    analog: Any = convert_to_analog(model, CONFIGS["inference"](), exclude_modules=names)
    assert len(list(analog.analog_layers())) == 15
    assert not any("lora_" in name for name, _ in analog.named_analog_layers())
    step(analog, "llama")
    everything: Any = convert_to_analog(model, CONFIGS["inference"]())
    assert len(list(everything.analog_layers())) == 15 + 2 * 2 * 2
    assert convert_to_digital(everything).state_dict().keys() == model.state_dict().keys()


class TestWhatGoesPastTheTiles:
    """Adapters that multiply with the weights themselves are refused, never computed digitally."""

    @pytest.mark.filterwarnings("ignore::UserWarning")
    @pytest.mark.parametrize(
        "config",
        [
            lambda t: peft.LoraConfig(target_modules=t, use_dora=True, lora_dropout=0.5),
            lambda t: peft.HRAConfig(target_modules=t, r=2),
        ],
        ids=["DoRA with dropout", "HRA"],
    )
    def test_refused(self, config: Any) -> None:
        with pytest.raises(ModuleError, match="digital product"):
            model = adapted("llama", "inference", config(TARGETS["llama"]))
            step(model, "llama")

    def test_attention_by_its_projections(self) -> None:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.attention = nn.MultiheadAttention(8, 2)

            def forward(self, x: Tensor) -> Tensor:
                result: Tensor = self.attention(x, x, x)[0]
                return result

        analog: Any = convert_to_analog(Net(), CONFIGS["inference"]())
        with pytest.raises(ValueError, match="AnalogMultiheadAttention"):
            peft.get_peft_model(
                copy.deepcopy(analog), peft.LoraConfig(target_modules=["attention"])
            )
        config = peft.LoraConfig(target_modules=["q_proj", "out_proj"], r=2)
        model = peft.get_peft_model(analog, config)
        model(torch.randn(3, 2, 8)).sum().backward()
        attention = model.base_model.model.attention
        assert type(attention) is AnalogMultiheadAttention
        assert attention.out_proj.lora_A["default"].weight.grad is not None
