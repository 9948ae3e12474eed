"""Language models: conversion and a pass at the size of one billion weights, and fine-tuning.

    python benches/python/decoder.py [--layers 16] [--blocks 12] [--parts torch core finetune]

Each part has a process of its own, so that its peak of memory is its own. Weights are random, the
shapes are those of Llama-3.2-1B and GPT-2; `transformers` makes the models, nothing is downloaded.
Figures are in docs/networks.md.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import psutil
import torch

PARTS = ("torch", "core", "finetune")
TOKENS = 32
STEPS, BATCH, LENGTH = 20, 2, 32
GB = 1e9


class Peak:
    """Memory of this process beyond that at the start."""

    def __init__(self) -> None:
        self.start = psutil.Process().memory_info().rss

    def value(self) -> float:
        """Return the largest so far, in bytes."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - self.start


def decoder(layers: int) -> Any:
    """Return a decoder of the shapes of Llama-3.2-1B, with weights of bfloat16."""
    import transformers

    llama = transformers.models.llama.modeling_llama
    config = transformers.LlamaConfig(
        vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=layers,
        num_attention_heads=32, num_key_value_heads=8, head_dim=64, tie_word_embeddings=True,
    )  # fmt: skip
    # Without first weights of float32, nor two of those that are tied.
    with torch.device("meta"):
        model = llama.LlamaForCausalLM(config).to(torch.bfloat16)
    model = model.to_empty(device="cpu").eval()
    model.tie_weights()
    model.model.rotary_emb = llama.LlamaRotaryEmbedding(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
            else:
                parameter.uniform_(-0.03, 0.03)
    return model


def config_of(part: str) -> Any:
    """Return the configuration of the tiles."""
    from mho.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig

    return TorchInferenceRPUConfig() if part == "torch" else InferenceRPUConfig()


def size_of(model: torch.nn.Module) -> tuple[int, int]:
    """Return number and bytes of the weights of a model, each of them once."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.nbytes for p in parameters)


def convert_and_run(part: str, layers: int) -> dict[str, Any]:
    """Convert in place, and go through once; the head stays tied to the embedding, and digital."""
    from mho.nn import conversion_report, convert_to_analog

    peak = Peak()
    model = decoder(layers)
    before, _ = size_of(model)
    built = peak.value()
    start = time.perf_counter()
    model = convert_to_analog(model, config_of(part), inplace=True, exclude_modules=["lm_head"])
    converted = time.perf_counter() - start
    tokens = torch.randint(1000, (1, TOKENS))
    start = time.perf_counter()
    with torch.inference_mode():
        logits = model(tokens).logits
    passed = time.perf_counter() - start
    assert logits.isfinite().all() and logits.shape == (1, TOKENS, 128256)
    _, weights = size_of(model)
    return {
        "part": f"{part} tiles, {layers} layers",
        "weights": before,
        "analog layers": len(conversion_report(model).converted),
        "tiles": sum(1 for _ in model.analog_tiles()),
        "convert s": converted,
        f"pass of {TOKENS} tokens s": passed,
        "weights GB": weights / GB,
        "digital model GB": built / GB,
        "peak GB": peak.value() / GB,
        "peak / weights": peak.value() / weights,
    }


def gpt2(layers: int = 12) -> Any:
    """Return a model of the shapes of GPT-2."""
    import transformers

    config = transformers.GPT2Config(
        n_layer=layers, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
    )
    return transformers.GPT2LMHeadModel(config)


def sequences() -> torch.Tensor:
    """Return sequences that count in steps of their own, over a hundred tokens."""
    start, step = torch.randint(100, (BATCH, 1)), torch.randint(1, 5, (BATCH, 1))
    return (start + step * torch.arange(LENGTH)) % 100


def fine_tune(layers: int) -> dict[str, Any]:
    """Train hardware-aware: noise on weights, inputs and outputs, input ranges that are learned."""
    from mho.nn import convert_to_analog
    from mho.optim import AnalogAdam
    from mho.simulator.configs import WeightModifierType

    peak = Peak()
    torch.manual_seed(1)
    config = config_of("core")
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.05
    model = convert_to_analog(gpt2(layers), config, inplace=True).train()
    optimizer = AnalogAdam(model.parameters(), lr=5e-4)
    losses, start = [], time.perf_counter()
    for _ in range(STEPS):
        tokens = sequences()
        optimizer.zero_grad()
        loss = model(tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    seconds = (time.perf_counter() - start) / STEPS
    assert losses[-1] < 0.7 * losses[0], losses
    count, weights = size_of(model)
    return {
        "part": f"GPT-2, {layers} layers, {BATCH} x {LENGTH} tokens",
        "weights": count,
        "step s": seconds,
        "first loss": losses[0],
        f"loss of step {STEPS}": losses[-1],
        "weights GB": weights / GB,
        "peak GB": peak.value() / GB,
    }


def in_child(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a part in a process of its own."""
    command = [sys.executable, __file__, "--child", part, "--threads", str(options.threads)]
    command += ["--layers", str(options.layers), "--blocks", str(options.blocks)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Return what was found, one figure a line."""
    for name, value in found.items():
        yield f"{name:>24}: {value:.3g}" if isinstance(value, float) else f"{name:>24}: {value}"


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--layers", type=int, default=16, help="of the decoder, 16 in the original")
    parser.add_argument("--blocks", type=int, default=12, help="of GPT-2, 12 in the original")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--child", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is None:
        for part in options.parts:
            print("\n".join(lines(in_child(part, options))), flush=True)
        return
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    if options.child == "finetune":
        found = fine_tune(options.blocks)
    else:
        found = convert_and_run(options.child, options.layers)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
