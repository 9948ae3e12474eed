"""Trains the checkpoint that the program in this folder opens, and notes what Python makes of it.

Run with `python examples/embed/train.py`; it takes some seconds. `checkpoint` is a folder of
`save_analog`. `accuracies.json` is what the test of the program compares with: the accuracy of the
checkpoint before it is programmed, and mean and standard deviation over many chips of those later.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm, trange

import mho
from mho.inference import PCMLikeNoiseModel
from mho.nn import convert_to_analog, load_analog, save_analog
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    InferenceRPUConfig,
    MappingParameter,
    WeightModifierParameter,
    WeightModifierType,
)

HERE = Path(__file__).parent
CHECKPOINT = HERE / "checkpoint"
TRAINING, BATCH, EPOCHS, CHIPS = 1078, 22, 40, 32
TIMES = {"programmed": 0.0, "1 hour": 3600.0, "1 day": 86400.0, "1 year": 31536000.0}


def images() -> tuple[Tensor, Tensor]:
    """Return images `[1797, 64]` with values from 0 to 1, and their digits `[1797]`."""
    rows = np.fromfile(HERE.parent / "data" / "digits.bin", dtype=np.uint8).reshape(-1, 33)
    levels = np.stack([rows[:, :32] >> 4, rows[:, :32] & 15], axis=2).reshape(-1, 64)
    pixels = levels.astype(np.float32) / np.float32(15)
    return torch.from_numpy(pixels), torch.from_numpy(rows[:, 32].astype(np.int64))


def network() -> nn.Sequential:
    """Return the network before it is analog."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def chip() -> InferenceRPUConfig:
    """Return a chip of phase-change memory, which adds noise to the weights in training."""
    config = InferenceRPUConfig(
        mapping=MappingParameter(weight_scaling_omega=1.0, weight_scaling_columnwise=True),
        modifier=WeightModifierParameter(type=WeightModifierType.ADD_NORMAL, std_dev=0.05),
        noise_model=PCMLikeNoiseModel(g_max=25.0),
    )
    config.pre_post.input_range.enable = True
    return config


def train(x: Tensor, digits: Tensor) -> nn.Module:
    """Return the network after hardware-aware training."""
    model = convert_to_analog(network(), chip())
    optimizer = AnalogSGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in trange(EPOCHS, unit="epoch", desc="training"):
        for batch in torch.randperm(TRAINING).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), digits[batch]).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def accuracy(model: nn.Module, x: Tensor, digits: Tensor) -> float:
    """Return the share of images whose digit has the largest output."""
    with torch.no_grad():
        return float((model(x).argmax(1) == digits).double().mean())


def loaded() -> nn.Module:
    """Return what is in the folder: its next product is the one that other programs compute."""
    return load_analog(CHECKPOINT, network).eval()


def main() -> None:
    """Train, save, and measure."""
    torch.manual_seed(1)
    x, digits = images()
    save_analog(train(x[:TRAINING], digits[:TRAINING]), CHECKPOINT)
    test = x[TRAINING:], digits[TRAINING:]
    found: dict[str, list[float]] = {time: [] for time in TIMES}
    for number in tqdm(range(CHIPS), unit="chip", desc="programming"):
        model = loaded()
        mho.fork_noise(model, number)
        torch.manual_seed(number)
        for time, t_inference in TIMES.items():
            model.drift_analog_weights(t_inference)
            found[time].append(accuracy(model, *test))
    summary: dict[str, object] = {"before": accuracy(loaded(), *test), "chips": CHIPS}
    for time, values in found.items():
        summary[time] = {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1))}
    (HERE / "accuracies.json").write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
