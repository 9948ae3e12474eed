"""Containers: AnalogSequential keeps its entries, AnalogWrapper is a citizen of Python."""

import copy
import io
import pickle
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ArgumentError, ModuleError
from mho.nn import AnalogLinear, AnalogSequential, AnalogWrapper


class Net(nn.Module):
    """A model whose class pickle can find."""

    def __init__(self) -> None:
        super().__init__()
        self.first = AnalogLinear(4, 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.first(x))


def other_net() -> type[nn.Module]:
    class Net(nn.Module):
        """A different class of the same name."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -x

    return Net


class TestSequential:
    def test_is_sequential(self) -> None:
        layers = OrderedDict(a=AnalogLinear(4, 3), b=nn.ReLU())
        model = AnalogSequential(layers)
        assert isinstance(model, nn.Sequential)
        assert list(model._modules) == ["a", "b"]
        assert (model(torch.randn(2, 4)) >= 0).all()

    def test_repeated_entries_survive_there_and_back(self) -> None:
        relu = nn.ReLU()
        digital = nn.Sequential(nn.Linear(4, 4), relu, nn.Linear(4, 4), relu)
        model = AnalogSequential.from_digital(digital)
        assert len(model) == 4
        assert model[1] is model[3] is relu
        back = AnalogSequential.to_digital(model)
        assert type(back) is nn.Sequential
        assert [id(m) for m in back] == [id(m) for m in digital]

    def test_the_digital_container_is_left_alone(self) -> None:
        digital = nn.Sequential(nn.Linear(4, 4))
        model = AnalogSequential.from_digital(digital)
        model.append(nn.ReLU())
        assert len(digital) == 1

    def test_mode_and_hooks_are_kept(self) -> None:
        digital = nn.Sequential(nn.Identity()).eval()
        calls: list[str] = []
        digital.register_forward_hook(lambda *_: calls.append("hook"))
        model = AnalogSequential.from_digital(digital)
        assert not model.training
        model(torch.ones(1))
        assert calls == ["hook"]

    def test_as_a_base_class(self) -> None:
        class Model(AnalogSequential):
            def __init__(self) -> None:
                super().__init__()
                self.layer = AnalogLinear(4, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x).tanh()

        assert Model()(torch.ones(2, 4)).abs().max() <= 1
        assert Model().analog_tile_count() == 1


class TestContainerWeights:
    def test_round_trip(self) -> None:
        model = AnalogSequential(AnalogLinear(4, 3), AnalogLinear(3, 2, bias=False))
        weights = model.get_weights()
        assert list(weights) == ["0.analog_module", "1.analog_module"]
        assert weights["1.analog_module"][1] is None
        other = AnalogSequential(AnalogLinear(4, 3), AnalogLinear(3, 2, bias=False))
        # Devices vary from tile to tile, so only weights well within all bounds arrive exactly.
        small = {name: (w * 0.1, None if b is None else b) for name, (w, b) in weights.items()}
        other.set_weights(small)
        for name, (weight, bias) in other.get_weights().items():
            assert torch.equal(weight, small[name][0])
            assert bias is None or torch.equal(bias, small[name][1])

    def test_a_missing_tile_changes_nothing(self) -> None:
        model = AnalogSequential(AnalogLinear(4, 3), AnalogLinear(3, 2))
        before = model.get_weights()
        zeros = {"0.analog_module": (torch.zeros(3, 4), torch.zeros(3))}
        with pytest.raises(ModuleError, match=r"1\.analog_module"):
            model.set_weights(zeros)
        assert torch.equal(model.get_weights()["0.analog_module"][0], before["0.analog_module"][0])


def through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def through_torch_save(value: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


class TestWrapper:
    def test_is_both(self) -> None:
        model = Net()
        wrapped = AnalogWrapper(model)
        assert isinstance(wrapped, Net) and isinstance(wrapped, AnalogWrapper)
        assert type(wrapped).__name__ == "AnalogWrapperNet"
        assert type(wrapped).__module__ == Net.__module__
        assert type(wrapped) is type(AnalogWrapper(Net()))
        assert list(wrapped.state_dict()) == list(model.state_dict())
        assert wrapped.first is model.first

    def test_classes_of_the_same_name_stay_apart(self) -> None:
        one, two = AnalogWrapper(Net()), AnalogWrapper(other_net()())
        assert isinstance(one, Net) and not isinstance(two, Net)
        assert torch.equal(two(torch.ones(2)), -torch.ones(2))

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, through_pickle, through_torch_save])
    def test_copies(self, duplicate: Any) -> None:
        wrapped = AnalogWrapper(Net()).eval()
        new = duplicate(wrapped)
        assert type(new) is type(wrapped) and not new.training
        assert new.first is not wrapped.first
        x = torch.randn(5, 4)
        # A copy continues the random stream of the original where it stood.
        assert torch.equal(new(x), wrapped(x))
        new.first.set_weights(torch.zeros(3, 4), torch.zeros(3))
        assert wrapped.first.get_weights()[0].abs().sum() > 0

    def test_unwrapping_returns_the_class(self) -> None:
        wrapped = AnalogWrapper(Net())
        original = AnalogWrapper.to_digital(wrapped)
        assert type(original) is Net
        assert original.first is wrapped.first

    def test_wrapping_twice_is_wrapping_once(self) -> None:
        wrapped = AnalogWrapper(Net())
        assert AnalogWrapper(wrapped) is wrapped
        assert AnalogWrapper.from_digital(wrapped) is wrapped

    @pytest.mark.parametrize("wrong", [None, 3, Net])
    def test_only_modules(self, wrong: Any) -> None:
        with pytest.raises(ArgumentError, match="module"):
            AnalogWrapper(wrong)


def test_wrapped_classes_are_not_built_by_their_arguments() -> None:
    """As `from_pretrained` of models of transformers tries to."""
    wrapped = type(AnalogWrapper(Net()))
    with pytest.raises(ArgumentError, match=r"AnalogWrapperNet wraps a model.*load_analog"):
        wrapped(3)  # type: ignore[arg-type]
