"""`layer.weight` has no memory: what would share it works on copies or is refused."""

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import dlpack
from torch.utils.data import default_collate

from mho.exceptions import ModuleError
from mho.nn import AnalogLinear
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig, TorchInferenceRPUConfig

CONFIGS: dict[str, Callable[[], Any]] = {
    "pulsed": SingleRPUConfig,
    "inference": InferenceRPUConfig,
    "torch": TorchInferenceRPUConfig,
}


@pytest.fixture(params=CONFIGS)
def layer(request: pytest.FixtureRequest) -> AnalogLinear:
    return AnalogLinear(6, 3, rpu_config=CONFIGS[request.param]())


@pytest.mark.slow
def test_every_method_of_tensors() -> None:
    """None of them ends the process or reads memory that is not there."""
    worker = Path(__file__).with_name("layer_weight_worker.py")
    done = subprocess.run([sys.executable, str(worker)], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[-1] == "done", (lines[-1:], done.stderr[-500:])
    assert [line for line in lines if line.startswith("differs")] == []


SHARING: dict[str, Callable[[Tensor], Any]] = {
    "share_memory_": lambda w: w.share_memory_(),
    "untyped_storage": lambda w: w.untyped_storage(),
    "storage": lambda w: w.storage(),
    "data_ptr": lambda w: w.data_ptr(),
    "torch.from_dlpack": lambda w: torch.from_dlpack(w),
    "np.from_dlpack": lambda w: np.from_dlpack(w),
    "set_": lambda w: torch.empty(0).set_(w),
}


class TestRefused:
    @pytest.mark.parametrize("name", SHARING)
    @pytest.mark.parametrize(
        "view", [lambda w: w, lambda w: w.detach(), lambda w: w.t()], ids=["own", "detach", "t"]
    )
    def test_sharing(
        self, layer: AnalogLinear, name: str, view: Callable[[Tensor], Tensor]
    ) -> None:
        with pytest.raises(ModuleError, match="analog"):
            SHARING[name](view(layer.weight))

    def test_data_of_another_tensor(self, layer: AnalogLinear) -> None:
        """torch would take over memory that is not there."""
        digital = nn.Linear(6, 3)
        before = digital.weight.detach().clone()
        for value in (layer.weight, layer.weight.data, layer.weight.detach()):
            with pytest.raises(RuntimeError, match="incompatible tensor type"):
                digital.weight.data = value
        assert torch.equal(digital.weight, before)
        digital.weight.data = layer.weight.clone()
        assert torch.equal(digital.weight, layer.get_weights()[0])

    def test_capsules(self, layer: AnalogLinear) -> None:
        """A function in C, which torch lets no subclass answer: an error, or a copy of values."""
        try:
            values = dlpack.from_dlpack(dlpack.to_dlpack(layer.weight.detach()))
        except RuntimeError:
            return
        assert torch.equal(values, layer.get_weights()[0])


class TestElementwise:
    def test_apply(self, layer: AnalogLinear) -> None:
        expected = layer.get_weights()[0] * 0.5
        assert layer.weight.apply_(lambda value: value * 0.5) is not None
        assert torch.equal(layer.get_weights()[0], expected)

    def test_map(self, layer: AnalogLinear) -> None:
        weight = layer.get_weights()[0]
        layer.weight.map_(torch.full((3, 6), 0.01), lambda a, b: 0.5 * a + b)
        torch.testing.assert_close(layer.get_weights()[0], 0.5 * weight + 0.01, atol=0, rtol=1e-6)
        digital = torch.ones(3, 6)
        digital.map_(layer.weight, lambda a, b: a + b)
        assert torch.equal(digital, 1 + layer.get_weights()[0])


class TestNumpy:
    @pytest.mark.parametrize(
        "array",
        [
            lambda w: w.numpy(),
            lambda w: w.numpy(force=True),
            lambda w: w.data.numpy(),
            lambda w: w.detach().numpy(),
            lambda w: w.detach().t().numpy(),
            lambda w: w.detach().cpu().numpy(),
            np.asarray,
        ],
    )
    def test_arrays_cannot_be_written(self, layer: AnalogLinear, array: Any) -> None:
        before = layer.get_weights()[0]
        values = array(layer.weight)
        assert np.array_equal(values.reshape(-1), array(before).reshape(-1))
        with pytest.raises(ValueError, match="read-only"):
            values[:] = 0
        assert torch.equal(layer.get_weights()[0], before)

    def test_copies_can_be_written(self, layer: AnalogLinear) -> None:
        before = layer.get_weights()[0]
        for values in (np.array(layer.weight), layer.weight.detach().clone().numpy()):
            values[:] = 0
        assert torch.equal(layer.get_weights()[0], before)


class TestCopies:
    def test_they_are_ordinary_tensors(self, layer: AnalogLinear) -> None:
        weight = layer.get_weights()[0]
        file = io.BytesIO()
        torch.save(layer.weight.detach(), file)
        file.seek(0)
        shared = pickle.loads(bytes(ForkingPickler.dumps(layer.weight)))
        values = (
            torch.load(file, weights_only=True),
            copy.copy(layer.weight),
            shared,
            default_collate([layer.weight])[0],
        )
        for value in values:
            assert type(value) is Tensor and value.device == torch.device("cpu")
            assert value.untyped_storage().nbytes() > 0 and torch.equal(value, weight)

    def test_new_tensors_are_where_the_layer_is(self, layer: AnalogLinear) -> None:
        view = layer.weight
        assert view.device == torch.device("cpu") and view.is_cpu and not view.is_meta
        for value in (
            view.new_zeros(2),
            view.new_tensor([1.0]),
            view.new_full((2,), 1.0),
            torch.zeros_like(view),
            torch.zeros(2).to(view),
            torch.ones(2, device=view.device),
        ):
            assert type(value) is Tensor and value.device == torch.device("cpu")
