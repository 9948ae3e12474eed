"""Pulses of devices simulated one by one in NumPy, and comparisons of what comes out.

The formula of a device stands in its own test file, ``devices/test_<name>.py``:

* ``size(w, up, cell, device)`` is the mean size of one pulse at the weights ``w`` (raw weights,
  with the reference added, where there is one), positive in the direction of the pulse;
* ``noise(size, w, up, cell, device)`` is the standard deviation of that size, if it is not
  ``dw_min_std`` times the size;
* ``SETTINGS`` are fields with which the device shall be tested beside its defaults.
"""

import functools
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from mho import _core
from mho.simulator.configs import SingleRPUConfig, devices
from mho.simulator.tiles import AnalogTile

Array = NDArray[np.float64]
PULSED = sorted(set(_core.device_names()) - {"FloatingPoint", "Ideal"})


@functools.cache
def formula(name: str) -> Any:
    """Return the test file of the named device as a module."""
    snake = re.sub("(?<!^)(?=[A-Z])", "_", name).lower()
    path = Path(__file__).parent / "devices" / f"test_{snake}.py"
    spec = importlib.util.spec_from_file_location(f"formula_of_{snake}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases() -> list[tuple[str, int]]:
    """Return all devices with the numbers of their settings."""
    return [(name, at) for name in PULSED for at in range(1 + len(formula(name).SETTINGS))]


def build(name: str, at: int = 0, **fields: Any) -> Any:
    """Return the named device with its setting number ``at``; number 0 are the defaults."""
    own = formula(name).SETTINGS[at - 1] if at else {}
    if fields.get("dw_min") == 0.0 and "write_noise_std" in own:
        # Infinitely fine steps are no unit: as much as with the step of the defaults.
        own = own | {"write_noise_std": 1e-3 * own["write_noise_std"]}
    return getattr(devices, f"{name}Device")(**(own | fields))


def equal(device: Any) -> Any:
    """Take all spreads between cells from a device."""
    for field in list(vars(device)):
        if field.endswith("_dtod") or field == "reference_std":
            setattr(device, field, 0.0)
    return device


def tile_of(device: Any, rows: int, columns: int, **config: Any) -> AnalogTile:
    """Return a tile whose learning rate makes one pulse of ``|x| = |d| = 1``."""
    tile = AnalogTile(rows, columns, SingleRPUConfig(device=device, **config))
    tile.tile.set_learning_rate(tile.tile.spec.weight_granularity)
    return tile


def cells_of(tile: AnalogTile) -> Any:
    """Return the hidden parameters with double precision, and a reference of 0 where none is."""
    values = {name: plane.double().numpy() for name, plane in tile.get_hidden_parameters().items()}
    return SimpleNamespace(**({"reference": 0.0} | values))


def raw(tile: AnalogTile) -> Array:
    """Return the weights that pulses move: the persistent ones where there is write noise."""
    hidden = tile.get_hidden_parameters()
    weights = hidden.get("persistent_weights", tile.tile.get_weights())
    return np.asarray(weights.double().numpy())


def put(tile: AnalogTile, weights: Array) -> Array:
    """Set weights; returns those that the bounds let through."""
    tile.tile.set_weights(torch.from_numpy(weights.astype(np.float32)))
    return raw(tile)


def pulse(rule: Any, device: Any, cell: Any, w: Array, up: bool, xi: Array | float) -> Array:
    """Return the weights after one pulse at each cell with the given normal draws."""
    v = w + cell.reference
    size = rule.size(v, up, cell, device)
    if hasattr(rule, "noise"):
        noise = rule.noise(size, v, up, cell, device)
    else:
        noise = device.dw_min_std * size
    v = v + (1 if up else -1) * (size + noise * xi)
    return np.asarray(np.clip(v, cell.min_bound, cell.max_bound) - cell.reference)


@dataclass
class Sample:
    """Pulses of one sample: direction, slots, and how likely a slot has a pulse."""

    up: bool
    slots: int
    p: float = 1.0


def samples(count: int, seed: int) -> list[Sample]:
    """Return samples of mixed lengths and probabilities, more up than down."""
    rng = np.random.default_rng(seed)
    slots = rng.choice([1, 2, 5, 12, 20, 31, 31, 31], count)
    p = rng.choice([1.0, 1.0, 0.8, 0.5, 0.1], count)
    return [
        Sample(bool(rng.random() < 0.6), int(n), float(p)) for n, p in zip(slots, p, strict=True)
    ]


def simulate(
    name: str, device: Any, cell: Any, start: Array, batch: list[Sample], seed: int
) -> Array:
    """Return the weights after all pulses, one after another, independently for every cell.

    They have single precision: that is twice as fast, and its rounding is random.
    """
    rng, w = np.random.default_rng(seed), start.astype(np.float32)
    cell = SimpleNamespace(**{k: np.float32(v) for k, v in vars(cell).items()})
    for sample in batch:
        number = rng.binomial(sample.slots, sample.p, w.shape).astype(np.int8)
        for at in range(number.max()):
            xi = rng.standard_normal(w.shape, np.float32)
            moved = pulse(formula(name), device, cell, w, sample.up, xi)
            w = np.where(number > at, moved, w)
    return w.astype(np.float64)


def apply(tile: AnalogTile, batch: list[Sample]) -> None:
    """Make one update of the samples of a tile with one row.

    The first column always fires, so that the others have the probabilities of the samples; the row
    fires in all slots. Cells are thus independent.
    """
    longest = tile.rpu_config.update.desired_bl
    sign = torch.tensor([-1.0 if sample.up else 1.0 for sample in batch])
    x = torch.tensor([sample.p for sample in batch]).unsqueeze(1).repeat(1, tile.in_size)
    x[:, 0] = 1.0
    d = sign.unsqueeze(1) * torch.tensor([[sample.slots / longest] for sample in batch])
    # Rounded down, a probability of 1 would miss one of 3e7 pulses; rounded up, it costs no slot.
    tile.tile.set_learning_rate(longest * tile.tile.spec.weight_granularity * (1 + 5e-7))
    tile.update(x, d)


def differences(ours: Array, other: Array, rounding: float = 2e-6) -> dict[str, float]:
    """Return how far two samples of numbers are from having one distribution.

    Each entry is 1 at the limit: five standard errors for the mean and for the variance (by the
    samples' own fourth moments), and a probability of 1e-4 for the distance of Kolmogorov and
    Smirnov. ``rounding`` is what rounding may shift the mean by; samples that hardly spread are not
    compared in shape.
    """
    n = ours.size
    mean_error = 5 * np.sqrt((ours.var() + other.var()) / n) + rounding
    fourth = [((v - v.mean()) ** 2).var() for v in (ours, other)]
    variance_error = 5 * np.sqrt(sum(fourth) / n) + rounding**2
    result = {
        "mean": abs(ours.mean() - other.mean()) / mean_error,
        "variance": abs(ours.var() - other.var()) / variance_error,
    }
    if other.std() > 10 * rounding:
        # Cells at a bound are there in both, up to the precision of a weight.
        rounded = [v.astype(np.float32) for v in (ours, other)]
        probability = stats.ks_2samp(*rounded, method="asymp").pvalue
        result["distance"] = np.log(max(probability, 1e-300)) / np.log(1e-4)
    return result


def worst(found: dict[str, float]) -> float:
    """Return the largest of the differences."""
    return max(found.values())
