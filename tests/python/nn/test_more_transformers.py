"""Further families of models: every layer that is converted is called, and none is gone past."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hugging_face import transformers
from mho.exceptions import ModuleError
from mho.nn.conversion import convert_to_analog
from mho.simulator.configs import IOParameters, TorchInferenceRPUConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TEXT = {
    "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 32,
}  # fmt: skip
VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 8, "patch_size": 4,
}  # fmt: skip
SEQUENCES = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
}  # fmt: skip
STAGES = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1]}

# Name of the model, its configuration, the number of its layers and the kind of its inputs.
FAMILIES: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "T5": (
        "T5ForConditionalGeneration",
        {"vocab_size": 64, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2,
         "decoder_start_token_id": 0},
        33, "tokens",
    ),
    "Bart": (
        "BartForConditionalGeneration",
        {"vocab_size": 64, "max_position_embeddings": 32, **SEQUENCES},
        17, "tokens",
    ),
    "Mixtral": (
        "MixtralForCausalLM",
        {"num_key_value_heads": 1, "num_local_experts": 2, **TEXT},
        9, "tokens",
    ),
    "Gemma2": (
        "Gemma2ForCausalLM", {"num_key_value_heads": 1, "head_dim": 8, **TEXT}, 15, "tokens",
    ),
    "GPTNeoX": ("GPTNeoXForCausalLM", TEXT, 9, "tokens"),
    "DebertaV2": ("DebertaV2ForMaskedLM", TEXT, 14, "tokens"),
    "Mamba2": (
        "Mamba2ForCausalLM",
        {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4,
         "num_heads": 4, "head_dim": 8, "n_groups": 1, "chunk_size": 4},
        5, "tokens",
    ),
    "Whisper": (
        "WhisperForConditionalGeneration",
        {"vocab_size": 64, "num_mel_bins": 4, "max_source_positions": 8, "max_target_positions": 16,
         "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
         **SEQUENCES},
        19, "features",
    ),
    "Wav2Vec2": (
        "Wav2Vec2ForCTC",
        {"vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
         "intermediate_size": 32, "conv_dim": (8, 8), "conv_kernel": (4, 3), "conv_stride": (2, 2),
         "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4,
         "num_conv_pos_embedding_groups": 2, "mask_time_prob": 0.0},
        11, "sound",
    ),
    "CLIP": (
        "CLIPModel",
        {"text_config": TEXT, "vision_config": VISION, "projection_dim": 8},
        21, "both",
    ),
    "Swin": (
        "SwinForImageClassification",
        {"image_size": 8, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
         "window_size": 2, "num_labels": 2},
        15, "images",
    ),
    "ConvNext": (
        "ConvNextForImageClassification",
        {"hidden_sizes": [4, 8], "depths": [1, 1], "num_stages": 2, "patch_size": 2,
         "num_labels": 2, "image_size": 8},
        9, "images",
    ),
    "ResNet": ("ResNetForImageClassification", {"num_labels": 2, **STAGES}, 9, "images"),
}  # fmt: skip


def build(family: str) -> Any:
    name, arguments, _, _ = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**arguments)
    return getattr(transformers, name)(config).eval()


def inputs(kind: str) -> dict[str, Any]:
    torch.manual_seed(1)
    tokens = torch.randint(3, 60, (2, 8))
    return {
        "tokens": {"input_ids": tokens, "labels": tokens},
        "features": {"input_features": torch.rand(2, 4, 16), "labels": tokens},
        "sound": {"input_values": torch.rand(2, 64), "labels": torch.randint(1, 16, (2, 3))},
        "images": {"pixel_values": torch.rand(2, 3, 8, 8), "labels": torch.tensor([0, 1])},
        "both": {"input_ids": tokens, "pixel_values": torch.rand(2, 3, 8, 8), "return_loss": True},
    }[kind]


def exact() -> Any:
    return TorchInferenceRPUConfig(forward=IOParameters(is_perfect=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_to_digital(family: str) -> None:
    digital = build(family)
    # Its convolution is computed by a function that takes the weights.
    kept = [n for n, p in digital.named_modules() if family == "Mamba2" and type(p) is nn.Conv1d]
    analog: Any = convert_to_analog(digital, exact(), exclude_modules=kept)
    names = {name for name, _ in analog.named_analog_layers()}
    assert len(names) == FAMILIES[family][2]
    called: set[str] = set()
    for name, layer in analog.named_analog_layers():
        layer.register_forward_hook(lambda *_, name=name: called.add(name))
    batch = inputs(FAMILIES[family][3])
    with torch.no_grad():
        expected = digital(**batch).loss
    loss = analog(**batch).loss
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-5, atol=1e-6)
    assert called == names
    loss.backward()
    analog.tie_weights()


def test_models_that_multiply_with_weights_themselves() -> None:
    """Mamba does so with two of its layers: training is refused, never computed digitally."""
    config = transformers.MambaConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, state_size=4
    )
    digital = transformers.MambaForCausalLM(config)
    own = [n for n, _ in digital.named_modules() if n.endswith(("conv1d", "dt_proj"))]
    for kept in ([], own[::2], own[1::2]):
        analog: Any = convert_to_analog(digital, exact(), exclude_modules=kept)
        with pytest.raises(ModuleError, match="digital product"):
            analog(**inputs("tokens"))
    analog = convert_to_analog(digital, exact(), exclude_modules=own)
    analog(**inputs("tokens")).loss.backward()


def test_fine_tuning_at_the_width_of_gpt2(tmp_path: Path) -> None:
    """Twenty steps that lower the loss, which the script checks; two blocks instead of twelve."""
    script = Path(__file__).parents[3] / "benches" / "python" / "decoder.py"
    command = [sys.executable, str(script), "--parts", "finetune", "--blocks", "2"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "loss of step 20" in result.stdout
