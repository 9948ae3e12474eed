"""Loops of Hugging Face's accelerate, and the trainer of transformers, with analog models."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from hugging_face import batch_of, model_of, transformers
from mho.nn import AnalogWrapper
from mho.nn.conversion import convert_to_analog
from mho.optim import AnalogAdam, AnalogSGD
from mho.simulator.configs import InferenceRPUConfig
from mho.simulator.presets import GokmenVlasovPreset

accelerate: Any = pytest.importorskip(
    "accelerate", reason="accelerate, the client of these tests, is not installed"
)
pytestmark = [
    pytest.mark.filterwarnings("ignore:.* was tied to:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def data(kind: str) -> list[dict[str, torch.Tensor]]:
    """Return the samples of a batch."""
    batch = batch_of(kind)
    return [{name: values[i] for name, values in batch.items()} for i in range(3)]


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    """Precision and device are of the process otherwise."""
    accelerate.state.AcceleratorState._reset_state(True)
    yield
    accelerate.state.AcceleratorState._reset_state(True)


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("config", [InferenceRPUConfig, GokmenVlasovPreset])
def test_loop(config: Any, precision: str, tmp_path: Path) -> None:
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision=precision)
    model: Any = convert_to_analog(model_of("gpt2"), config())
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    model, optimizer, batches = accelerator.prepare(
        model,
        optimizer,
        DataLoader(data("gpt2"), batch_size=3),  # type: ignore[arg-type]
    )
    own = accelerator.unwrap_model(model)
    assert isinstance(own, AnalogWrapper)
    before = [layer.get_weights()[0] for layer in own.analog_layers()]
    model.train()
    for batch in batches:
        with accelerator.accumulate(model):
            loss = model(**batch).loss
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    after = [layer.get_weights()[0] for layer in own.analog_layers()]
    assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))
    accelerator.save_state(str(tmp_path))
    for layer in own.analog_layers():
        layer.set_weights(torch.zeros_like(layer.get_weights()[0]))
    accelerator.load_state(str(tmp_path))
    again = [layer.get_weights()[0] for layer in own.analog_layers()]
    assert all(torch.equal(*pair) for pair in zip(again, after, strict=True))


def test_trainer(tmp_path: Path) -> None:
    """It goes on from a checkpoint bit by bit, noise included."""

    def run(checkpoint: Path | None) -> list[torch.Tensor]:
        torch.manual_seed(1)
        model: Any = convert_to_analog(model_of("gpt2"), InferenceRPUConfig())
        before = [layer.get_weights()[0] for layer in model.analog_layers()]
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path), max_steps=2, use_cpu=True, report_to=[], save_steps=1,
            save_strategy="steps", per_device_train_batch_size=3, disable_tqdm=True,
            logging_strategy="no",
        )  # fmt: skip
        optimizer = AnalogAdam(model.parameters(), lr=0.01)
        trainer = transformers.Trainer(
            model, arguments, train_dataset=data("gpt2"), optimizers=(optimizer, None)
        )
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        after = [layer.get_weights()[0] for layer in model.analog_layers()]
        assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))
        return after

    expected = run(None)
    resumed = run(tmp_path / "checkpoint-1")
    assert all(torch.equal(*pair) for pair in zip(resumed, expected, strict=True))
