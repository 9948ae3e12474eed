"""Any module becomes analog through one line: own classes, their subclasses, classes by name."""

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError
from mho.nn import AnalogConv2d, AnalogLinear, conversion_report
from mho.nn import conversion_table as tables
from mho.nn.conversion import convert_to_analog, convert_to_digital, register_analog
from mho.simulator.configs import InferenceRPUConfig, IOParameters

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
TABLES = ("CONVERSIONS", "MAPPED_CONVERSIONS", "ANALOG_CLASSES", "WITH_SUBCLASSES")


@pytest.fixture(autouse=True)
def _same_tables() -> Iterator[None]:
    """Undo what a test registers."""
    before = {name: getattr(tables, name).copy() for name in TABLES}
    yield
    for name, entries in before.items():
        getattr(tables, name).clear()
        getattr(tables, name).update(entries)


def config() -> Any:
    return InferenceRPUConfig(forward=IOParameters(is_perfect=True))


class Plain(nn.Linear):
    """Differs in how it is built, drawn and printed, and has something of its own."""

    limit = 3

    def __init__(self, size: int) -> None:
        super().__init__(size, size)
        self.scale = nn.Parameter(torch.ones(1))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return "plain"

    def own(self) -> int:
        return 3


class Scaled(Plain):
    """Computes something else."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x) * self.scale


class Tied(nn.Linear):
    """Its weights are computed from others."""

    def __init__(self, size: int) -> None:
        nn.Module.__init__(self)
        self.in_features = self.out_features = size
        self.raw = nn.Parameter(torch.ones(size, size))
        self.bias = None  # type: ignore[assignment]

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.raw * 2


class OtherConv(nn.Conv2d):
    """Leaves `forward` as it is, and computes something else nevertheless."""

    def _conv_forward(self, *args: Any) -> Tensor:  # type: ignore[override]
        return super()._conv_forward(*args) * 2


class TestSubclasses:
    def test_only_exact_classes_by_default(self) -> None:
        model = nn.Sequential(Plain(4), nn.Linear(4, 4))
        analog: Any = convert_to_analog(model, config())
        assert type(analog[0]) is Plain and type(analog[1]) is AnalogLinear

    def test_in_one_line(self) -> None:
        register_analog(nn.Linear, subclasses=True)(AnalogLinear)
        model = nn.Sequential(Plain(4), Scaled(4), nn.Linear(4, 4)).eval()
        analog: Any = convert_to_analog(model, config())
        assert type(analog[0]) is AnalogLinear and type(analog[1]) is Scaled
        assert "scale" in dict(analog[0].named_parameters())
        x = torch.randn(3, 4)
        torch.testing.assert_close(analog(x), model(x), **CLOSE)
        reasons = {e.name: e.reason for e in conversion_report(analog).digital}
        assert (
            "(forward)" in reasons["1"] and "register_analog(Scaled)(AnalogLinear)" in reasons["1"]
        )
        back: Any = convert_to_digital(analog)
        assert type(back[0]) is nn.Linear and torch.allclose(back[0].weight, model[0].weight)

    def test_only_those_that_compute_the_same(self) -> None:
        register_analog(nn.Linear, subclasses=True)(AnalogLinear)
        register_analog(nn.Conv2d, subclasses=True)(AnalogConv2d)
        model = nn.ModuleList([Tied(4), OtherConv(1, 1, 1), nn.Linear(1, 1)])
        analog: Any = convert_to_analog(model, config())
        assert [type(part) for part in analog] == [Tied, OtherConv, AnalogLinear]
        reasons = {e.name: e.reason for e in conversion_report(analog).digital}
        assert "(weight)" in reasons["0"] and "(_conv_forward)" in reasons["1"]

    def test_own_base(self) -> None:
        """A rule for the subclasses of one class leaves those of others alone."""
        register_analog(Plain, subclasses=True)(AnalogLinear)

        class Below(Plain):
            pass

        class Other(nn.Linear):
            pass

        model = nn.ModuleList([Below(4), Plain(4), Other(4, 4)])
        analog: Any = convert_to_analog(model, config())
        assert [type(part) for part in analog] == [AnalogLinear, AnalogLinear, Other]

    def test_what_is_registered_itself_wins(self) -> None:
        class Own(AnalogLinear):
            pass

        register_analog(nn.Linear, subclasses=True)(AnalogLinear)
        register_analog(Scaled)(Own)
        analog: Any = convert_to_analog(nn.ModuleList([Scaled(4), Plain(4)]), config())
        assert [type(part) for part in analog] == [Own, AnalogLinear]

    def test_parametrised_ones(self) -> None:
        register_analog(nn.Linear, subclasses=True)(AnalogLinear)
        layer = nn.utils.parametrizations.weight_norm(Plain(4))
        with pytest.warns(UserWarning, match="weight was computed"):
            analog: Any = convert_to_analog(layer, config())
        x = torch.randn(3, 4)
        torch.testing.assert_close(analog(x), layer(x), **CLOSE)


class Outer(nn.Module):
    """A bilinear product with one of its factors fixed: any module with a matrix in it."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.kernel


def analog_outer() -> type:
    """Return an analog class for it, as a user writes it."""

    class AnalogOuter(AnalogLinear):
        @classmethod
        def from_digital(cls, module: Any, *arguments: Any) -> Any:
            linear = nn.Linear(3, 4, bias=False)
            linear.weight = nn.Parameter(module.kernel.detach().t())
            return super().from_digital(linear, *arguments)

        @classmethod
        def to_digital(cls, module: Any, realistic: bool = False) -> Any:
            digital = Outer()
            digital.kernel.data = AnalogLinear.to_digital(module, realistic).weight.detach().t()
            return digital

    return AnalogOuter


class TestAnyModule:
    def test_by_class(self) -> None:
        cls = register_analog(Outer)(analog_outer())
        model = nn.Sequential(Outer(), nn.ReLU())
        analog: Any = convert_to_analog(model, config())
        assert type(analog[0]) is cls
        x = torch.randn(2, 3)
        torch.testing.assert_close(analog(x), model(x), **CLOSE)
        back: Any = convert_to_digital(analog)
        assert type(back[0]) is Outer and torch.allclose(back[0].kernel, model[0].kernel)

    def test_by_name(self) -> None:
        """So that a package need not import the library whose layer it converts."""
        assert "some_library" not in sys.modules
        cls = register_analog("some_library.layers.Outer")(analog_outer())
        library = types.ModuleType("some_library.layers")
        theirs: Any = type("Outer", (Outer,), {"__module__": library.__name__})
        analog: Any = convert_to_analog(nn.ModuleList([theirs(), Outer()]), config())
        assert type(analog[0]) is cls and type(analog[1]) is Outer
        assert not any(e.name == "0" for e in conversion_report(analog).digital)

    def test_maps_take_names_too(self) -> None:
        name = f"{Outer.__module__}.{Outer.__qualname__}"
        cls = analog_outer()
        analog: Any = convert_to_analog(Outer(), config(), conversion_map={name: cls})
        assert type(analog) is cls


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda: register_analog(5)(AnalogLinear), "digital: expected a class of modules"),  # type: ignore[arg-type]
        (lambda: register_analog(int)(AnalogLinear), "digital: expected a class of modules"),  # type: ignore[arg-type]
        (lambda: register_analog(nn.Linear(1, 1))(AnalogLinear), "digital: expected a class"),  # type: ignore[arg-type]
        (lambda: register_analog("Outer")(AnalogLinear), "no full name; .* 'package.module.Outer'"),
        (lambda: register_analog("a b.C")(AnalogLinear), "digital: expected .* full name"),
        (lambda: register_analog(Plain, mapped="no")(AnalogLinear), "mapped"),  # type: ignore[arg-type]
        (lambda: register_analog(Plain, subclasses=2)(AnalogLinear), "subclasses"),  # type: ignore[arg-type]
        (lambda: register_analog(Plain)(nn.Linear), "from_digital and to_digital, got"),
        (lambda: register_analog(Plain)(AnalogLinear(1, 1)), "expected a class with"),  # type: ignore[type-var]
    ],
)
def test_misuse_changes_nothing(register: Any, message: str) -> None:
    before = {name: getattr(tables, name).copy() for name in TABLES}
    with pytest.raises(ArgumentError, match=message):
        register()
    assert all(getattr(tables, name) == entries for name, entries in before.items())
