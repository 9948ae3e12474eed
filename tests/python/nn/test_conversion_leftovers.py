"""Conversions in which something would go on computing with the digital layers."""

import functools
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, InputError
from mho.nn import convert_to_analog, convert_to_digital
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig, TorchInferenceRPUConfig


def loud() -> InferenceRPUConfig:
    """Return a configuration whose noise no digital layer could hide."""
    config = InferenceRPUConfig()
    config.forward.out_noise = 50.0
    return config


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def is_noisy(model: nn.Module) -> bool:
    x = torch.ones(3, 4)
    with torch.no_grad():
        return not torch.equal(model(x), model(x))


@pytest.fixture(autouse=True)
def _forget_graphs() -> Iterator[None]:
    """Leave nothing to the limit of graphs for one piece of code, which other tests need too."""
    yield
    torch._dynamo.reset()


compiled = functools.partial(torch.compile, backend="eager")


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    "build",
    [
        lambda: compiled(nn.Linear(4, 4)),
        lambda: compiled(nn.Sequential(nn.Linear(4, 4))),
        lambda: compiled(Net()),
        lambda: nn.Sequential(compiled(nn.Linear(4, 4))),
        lambda: nn.Sequential(compiled(nn.Sequential(nn.Linear(4, 4)))),
    ],
)
def test_compiled_models_are_compiled_anew(build: Callable[[], Any], inplace: bool) -> None:
    """The wrapper of torch keeps what it has compiled, whatever its modules become."""
    digital = build()
    digital(torch.ones(3, 4))
    analog = convert_to_analog(digital, loud(), inplace=inplace)
    assert is_noisy(analog)
    assert not is_noisy(convert_to_digital(analog))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    "build", [lambda: nn.Linear(4, 4), lambda: nn.Sequential(nn.Linear(4, 4)), Net]
)
def test_modules_compiled_in_place(build: Callable[[], nn.Module], inplace: bool) -> None:
    part = build()
    part.compile(backend="eager")
    digital = nn.Sequential(part)
    digital(torch.ones(3, 4))
    analog = convert_to_analog(digital, loud(), inplace=inplace)
    assert is_noisy(analog)
    analog[0].compile(backend="eager")
    assert not is_noisy(convert_to_digital(analog, inplace=inplace))


@pytest.mark.parametrize("build", [lambda: nn.Linear(4, 4), lambda: nn.Sequential(nn.ReLU())])
def test_forward_on_the_instance_is_refused(build: Callable[[], nn.Module]) -> None:
    """A method that was put on a layer would be taken over, and compute digitally."""
    part = build()
    part.forward = types.MethodType(lambda self, x: x, part)  # type: ignore[method-assign]
    digital = nn.Sequential(nn.Linear(4, 4), part)
    with pytest.raises(ArgumentError, match=r"module '1': `forward`.*exclude_modules"):
        convert_to_analog(digital, loud(), inplace=True)
    assert type(digital[0]) is nn.Linear
    assert is_noisy(convert_to_analog(digital, loud(), exclude_modules=["1"]))
    del part.forward
    assert is_noisy(convert_to_analog(digital, loud()))


class Keeper(Net):
    """Holds its layer twice, once where torch does not look."""

    def __init__(self, keep: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.kept = keep(self.layer)


@pytest.mark.parametrize(
    "keep",
    [
        lambda layer: [layer],
        lambda layer: (layer,),
        lambda layer: {"a": [layer]},
        lambda layer: layer.forward,
        lambda layer: functools.partial(layer.forward),
        lambda layer: functools.partial(torch.utils.checkpoint.checkpoint, layer),
    ],
)
def test_what_keeps_a_digital_layer_warns(keep: Callable[[nn.Module], Any]) -> None:
    digital = nn.Sequential(Keeper(keep))
    with pytest.warns(UserWarning, match=r"0\.kept: still holds a digital module"):
        convert_to_analog(digital, loud())


def test_other_attributes_do_not_warn() -> None:
    digital = nn.Sequential(Keeper(lambda layer: [layer.in_features, torch.ones(2), layer.weight]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert_to_analog(digital, loud(), exclude_modules=None)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_scripted_models_are_refused() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4)))
    with pytest.raises(ArgumentError, match=r"compiled by torch\.jit"):
        convert_to_analog(scripted, loud())


class FakeDDP(nn.parallel.DistributedDataParallel):
    """The wrapper without the process group that its constructor needs."""

    def __init__(self, module: nn.Module) -> None:
        nn.Module.__init__(self)
        self.module = module


@pytest.mark.parametrize("wrap", [lambda m: m, nn.Sequential])
def test_data_parallel_models_are_refused(wrap: Callable[[nn.Module], nn.Module]) -> None:
    """Its hooks stay with the parameters of the digital layers, and ranks would drift apart."""
    with pytest.raises(ArgumentError, match=r"DistributedDataParallel.*convert first"):
        convert_to_analog(wrap(FakeDDP(Net())), loud())


def test_copies_in_every_call_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"module .0.: DataParallel .*model\.module"):
        convert_to_analog(nn.Sequential(nn.DataParallel(nn.Linear(2, 2))), loud())


class TestConfigurations:
    def test_function_that_returns_nothing(self) -> None:
        """It stood for the default of the layer, a pulsed tile."""
        digital = nn.Sequential(nn.Linear(4, 4))
        with pytest.raises(ArgumentError, match=r"specific_rpu_config_fun: returned None for '0'"):
            convert_to_analog(digital, loud(), specific_rpu_config_fun=lambda *_: None)

    def test_nothing_for_containers_or_without_a_configuration(self) -> None:
        def choose(_: str, module: nn.Module, config: Any) -> Any:
            return config if isinstance(module, nn.Linear) else None

        digital = nn.Sequential(nn.Linear(4, 4))
        nn.init.constant_(digital[0].weight, 0.1)  # within all bounds
        convert_to_analog(digital, loud(), specific_rpu_config_fun=choose)
        convert_to_analog(digital, None, specific_rpu_config_fun=lambda *_: None)

    def test_second_conversion_with_another_configuration(self) -> None:
        analog = convert_to_analog(nn.Sequential(nn.Linear(4, 4)), loud())
        with pytest.warns(UserWarning, match="nothing was converted.*analog already"):
            again = convert_to_analog(analog, TorchInferenceRPUConfig())
        assert next(again.analog_tiles()).rpu_config == loud()

    def test_conversion_step_by_step(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            analog = convert_to_analog(nn.Sequential(nn.Linear(4, 4)), loud())
            convert_to_analog(analog, loud())
            convert_to_analog(nn.Sequential(analog, nn.Linear(4, 4)), TorchInferenceRPUConfig())


class TestMessages:
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_not_finite(self, value: float) -> None:
        digital = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)))
        digital[1][0].weight.data[0, 0] = value
        with pytest.raises(ArgumentError, match=r"finite.*in layer '1\.0'"):
            convert_to_analog(digital, loud())

    def test_weight_of_another_shape(self) -> None:
        digital = nn.Sequential(nn.Linear(4, 4))
        digital[0].weight = nn.Parameter(torch.ones(6, 4))
        with pytest.raises(InputError, match=r"expected shape.*in layer '0'"):
            convert_to_analog(digital, loud())

    def test_share_of_clipped_weights(self) -> None:
        digital = nn.Sequential(nn.Linear(4, 4))
        nn.init.constant_(digital[0].weight, 9.0)
        with pytest.warns(UserWarning, match=r"16 of 16 weights \(100 %\)"):
            convert_to_analog(digital, SingleRPUConfig())
