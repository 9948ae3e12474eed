"""Models of Hugging Face, tiny and of random weights, made from their configurations."""

from typing import Any

import pytest
import torch

transformers: Any = pytest.importorskip(
    "transformers", reason="transformers, the client of these tests, is not installed"
)

VOCABULARY = 60
GENERATING = ["gpt2", "llama"]


def gpt2(**more: Any) -> Any:
    """Linear layers with transposed weights, output tied to the embedding."""
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=16, n_embd=16, n_layer=2, n_head=2,
        bos_token_id=1, eos_token_id=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **more,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def llama(**more: Any) -> Any:
    """No biases, groups of heads."""
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32, **more,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def bert(**more: Any) -> Any:
    """Weights and bias of the output tied to other modules."""
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=16, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, **more,
    )  # fmt: skip
    return transformers.BertForMaskedLM(config)


def vit(**more: Any) -> Any:
    """Patches of images by a convolution."""
    config = transformers.ViTConfig(
        image_size=8, patch_size=4, num_channels=1, hidden_size=16, intermediate_size=32,
        num_hidden_layers=2, num_attention_heads=2, num_labels=3, **more,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


MODELS = {"gpt2": gpt2, "llama": llama, "bert": bert, "vit": vit}
# Linear layers and convolutions: two blocks, and what is before and behind them.
LAYERS = {"gpt2": 2 * 4 + 1, "llama": 2 * 7 + 1, "bert": 2 * 6 + 2, "vit": 2 * 6 + 2}


def model_of(kind: str, **more: Any) -> Any:
    """Return a model in evaluation mode, the same at each call."""
    torch.manual_seed(4)
    return MODELS[kind](**more).eval()


def batch_of(kind: str) -> dict[str, torch.Tensor]:
    """Return a batch with labels."""
    torch.manual_seed(5)
    if kind == "vit":
        return {"pixel_values": torch.rand(3, 1, 8, 8), "labels": torch.tensor([0, 1, 2])}
    tokens = torch.randint(3, VOCABULARY, (3, 8))
    return {"input_ids": tokens, "labels": tokens}
