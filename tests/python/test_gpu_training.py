"""Networks learn as well on a graphics processor as on the host."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from adapters import needed_adapter
from mho.nn import AnalogLinear, AnalogSequential
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
)

ROOT = Path(__file__).parents[2]
TRAINED, TESTED = 600, 1000


@pytest.mark.parametrize("kind", ["pulsed", "inference"])
def test_accuracy_is_that_of_the_host(kind: str) -> None:
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    config = SingleRPUConfig(device=ConstantStepDevice()) if kind == "pulsed" else None
    config = config or InferenceRPUConfig()
    right = {}
    for backend in ("cpu", "wgpu"):
        torch.manual_seed(5)
        model = AnalogSequential(
            AnalogLinear(64, 24, rpu_config=config),
            nn.Tanh(),
            AnalogLinear(24, 10, rpu_config=config),
        )
        if backend == "wgpu":
            model.to_backend(backend, needed_adapter())
        optimizer = AnalogSGD(model.parameters(), lr=0.4)
        for _ in range(2):
            for chosen in torch.randperm(TRAINED).split(30):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
                optimizer.step()
        with torch.no_grad():
            found = model.eval()(x[TRAINED : TRAINED + TESTED]).argmax(1)
        right[backend] = float((found == y[TRAINED : TRAINED + TESTED]).float().mean())
    assert right["cpu"] > 0.7
    # Five standard errors of the difference of two shares.
    share = right["cpu"]
    assert abs(right["wgpu"] - share) < 5 * (2 * share * (1 - share) / TESTED) ** 0.5


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_example_of_digits(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "examples/digits.py"), "--seeds", "1", "--epochs", "2"]
    script += ["--output", str(tmp_path / "digits.png")]
    found = []
    for backend in ([], ["--backend", "wgpu", "--adapter", str(needed_adapter())]):
        done = subprocess.run(script + backend, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        found.append([float(n) for n in re.findall(r"^[a-z].{27} +([\d.]+) ", done.stdout, re.M)])
    host, gpu = found
    assert len(host) == len(gpu) == 5 and min(host) > 60.0
    # 360 images are tested; seeds of the two pulsed models differ by up to one percent as well.
    for a, b in zip(host, gpu, strict=True):
        assert abs(a - b) < 5 * (2 * a * (100 - a) / 360) ** 0.5
