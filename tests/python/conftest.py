"""What all tests share: seeds, small configurations, hypothesis profiles."""

import os
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import settings

settings.register_profile("fast", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("slow", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(autouse=True)
def _same_start() -> None:
    """Start every test from the same seed, and with IEEE arithmetic."""
    # `torch.manual_seed` writes down the stack for each kind of device that is not in use.
    torch.default_generator.manual_seed(4711)
    # Loading code that inductor of torch 2.4 has compiled makes the processor flush subnormals.
    torch.set_flush_denormal(False)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Return a function that sets the number of threads; the old number comes back afterwards."""
    import mho

    before = mho.get_num_threads()
    yield mho.set_num_threads
    mho.set_num_threads(before)


@pytest.fixture
def perfect_config() -> object:
    """A pulsed configuration whose products are exact and whose devices are ideal."""
    from mho.simulator.configs import IdealDevice, IOParameters, SingleRPUConfig

    return SingleRPUConfig(
        device=IdealDevice(),
        forward=IOParameters(is_perfect=True),
        backward=IOParameters(is_perfect=True),
    )


@pytest.fixture(params=["ConstantStep", "SoftBounds", "Inference", "FloatingPoint"])
def tiny_config(request: pytest.FixtureRequest) -> object:
    """One default configuration of every family that is built."""
    from mho.simulator import configs

    if request.param == "Inference":
        return configs.InferenceRPUConfig()
    if request.param == "FloatingPoint":
        return configs.FloatingPointRPUConfig()
    return configs.SingleRPUConfig(device=getattr(configs, f"{request.param}Device")())
