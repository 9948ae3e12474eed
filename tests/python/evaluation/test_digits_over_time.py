"""A classifier of digits over a year against published numbers, and what a unit costs."""

import copy
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import mho
from evaluation_cases import inference_config
from mho.nn import convert_to_analog

PEER = {"1 s": 97.1, "1 y": 96.5}
"""Percent on aihwkit 1.2, mean of three networks of five programmings each."""
UNCOMPENSATED = 94.6
"""The same after a year without compensation."""


def split() -> list[torch.Tensor]:
    """Images and classes for training, then those for testing."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    selection = pytest.importorskip("sklearn.model_selection")
    images, labels = datasets.load_digits(return_X_y=True)
    x, test_x, y, test_y = selection.train_test_split(
        (images / 16).astype(np.float32), labels, test_size=0.4, random_state=0, stratify=labels
    )
    return [torch.from_numpy(part) for part in (x, y, test_x, test_y)]


def trained(seed: int, x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(100):
        for batch in torch.randperm(len(x)).split(64):
            loss = functional.cross_entropy(network(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


@pytest.mark.slow
def test_digits_over_a_year() -> None:
    """Within 0.7 points, and in the same order; ten programmings at five times take seconds."""
    x, y, test_x, test_y = split()
    found: dict[str, list[float]] = {name: [] for name in ("reference", *PEER, "bare")}
    for seed in range(3):
        config = inference_config(inp_res=1 / 254, out_res=1 / 254, out_noise=0.04)
        analog = convert_to_analog(trained(seed, x, y), config)
        data = [(test_x, test_y)]
        start = time.monotonic()
        result = mho.evaluate(analog, data, progress=False)
        assert time.monotonic() - start < 60.0
        bare = mho.evaluate(analog, data, times="1 y", compensation=None, progress=False)
        means = {row["time"]: row["mean"] for row in result.table}
        assert list(means) == ["programmed", "1 s", "1 h", "1 d", "1 y"]
        found["reference"].append(result.reference["accuracy"])
        found["bare"].append(bare.table[0]["mean"])
        for name in PEER:
            found[name].append(means[name])
    mean = {name: float(np.mean(values)) for name, values in found.items()}
    for name, expected in (PEER | {"bare": UNCOMPENSATED}).items():
        assert mean[name] == pytest.approx(expected, abs=0.7), name
    assert mean["reference"] > mean["1 s"] > mean["1 y"] > mean["bare"]


@pytest.mark.slow
def test_cost_of_a_unit() -> None:
    """Processor time beside programming, drift and metric: below five milliseconds."""
    units = 1000
    model = convert_to_analog(nn.Sequential(nn.Linear(64, 64)), inference_config())
    x = torch.randn(1, 64)

    def metric(model: nn.Module, data: Any) -> float:
        with torch.no_grad():
            return float(model(data[0][0]).sum())

    start = time.process_time()
    mho.evaluate(
        model, [(x, x)], metric, times="1 d", n_programmings=units, reference=None, progress=False
    )
    whole = time.process_time() - start
    copied = copy.deepcopy(model).eval()
    start = time.process_time()
    for _ in range(units):
        mho.inference.program_analog_weights(copied)
        mho.inference.drift_analog_weights(copied, 86400.0)
        metric(copied, [(x, x)])
    assert (whole - (time.process_time() - start)) / units < 5e-3
