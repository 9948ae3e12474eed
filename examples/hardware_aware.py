"""Hardware-aware training of a network that was trained digitally, as a function to copy.

`docs/hardware_aware.md` says where each step comes from; `digits.py` uses it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import trange

import mho
from mho.nn import convert_to_analog, edit_config
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    InferenceRPUConfig,
    WeightClipParameter,
    WeightClipType,
    WeightModifierParameter,
    WeightModifierType,
)


def hardware_aware(
    model: nn.Module,
    loader: Any,
    config: InferenceRPUConfig,
    *,
    epochs: int = 25,
    lr: float = 0.1,
    noise: float = 0.1,
    ramp: float = 0.3,
    sigma: float | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    quiet: bool = False,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Move a trained network to analog tiles and train on with their noise and that of the weights.

    Args:
        model: The trained network, which stays as it is.
        loader: Batches of inputs and targets, such as a `DataLoader`; gone through once more, to
            calibrate input ranges.
        config: The chip.
        epochs: Passes through `loader`.
        lr: Largest rate of SGD with momentum 0.9, of one cycle.
        noise: Standard deviation of the noise on the weights, over the largest of a tile.
        ramp: Fraction of the epochs in which the noise grows to that, and the clipping tightens.
        sigma: Clips weights beyond that many standard deviations of their tile, at first twice as
            many; None leaves what `config` has.
        loss: Of outputs and targets.
        quiet: Without a progress bar.

    Returns:
        The analog network, in evaluation, and per epoch `loss`, `noise` and `lr`.
    """
    analog = convert_to_analog(model, config)
    with mho.calibrate(analog, quantile=0.999, absolute=True):
        for x, _ in loader:
            analog(x)
    edit_config(analog, "modifier", WeightModifierParameter(type=WeightModifierType.ADD_NORMAL))
    optimizer = AnalogSGD(analog.parameters(), lr=lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * len(loader), cycle_momentum=False
    )
    history: list[dict[str, float]] = []
    bar = trange(epochs, disable=quiet, unit="epoch", desc="hardware-aware training")
    for epoch in bar:
        strength = min(1.0, (epoch + 1) / (ramp * epochs)) if ramp > 0.0 else 1.0
        edit_config(analog, "modifier.std_dev", noise * strength)
        if sigma is not None:
            kind, width = WeightClipType.LAYER_GAUSSIAN, sigma * (2.0 - strength)
            edit_config(analog, "clip", WeightClipParameter(type=kind, sigma=width))
        analog.train()
        losses = []
        for x, target in loader:
            optimizer.zero_grad()
            value = loss(analog(x), target)
            value.backward()
            nn.utils.clip_grad_norm_(analog.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            losses.append(value.detach())
        mean = torch.stack(losses).mean().item()
        rate = optimizer.param_groups[0]["lr"]
        history.append({"loss": mean, "noise": noise * strength, "lr": rate})
        bar.set_postfix(loss=f"{mean:.3f}")
    return analog.eval(), history
