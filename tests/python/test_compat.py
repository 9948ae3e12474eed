"""Importing the package under the name of aihwkit."""

import importlib
import sys
from collections.abc import Iterator

import pytest

import mho
from mho import compat


@pytest.fixture(autouse=True)
def _no_original() -> Iterator[None]:
    """Hide an installed original that other tests compare with, and bring it back afterwards."""
    names = [name for name in sys.modules if name.split(".")[0] == "aihwkit"]
    hidden = {name: sys.modules.pop(name) for name in names}
    yield
    compat.uninstall()
    sys.modules.update(hidden)


@pytest.fixture
def installed() -> None:
    compat.install()


@pytest.mark.usefixtures("installed")
def test_modules_are_the_same_objects() -> None:
    assert importlib.import_module("aihwkit") is mho
    for name in (
        "simulator.configs",
        "simulator.parameters.enums",
        "optim.context",
        "nn.modules.linear",
    ):
        alias = importlib.import_module(f"aihwkit.{name}")
        assert alias is importlib.import_module(f"mho.{name}")


@pytest.mark.usefixtures("installed")
def test_names_are_the_same_objects() -> None:
    namespace: dict[str, object] = {}
    exec(
        "from aihwkit.nn import AnalogLinear\n"
        "from aihwkit.simulator import parameters\n"
        "import aihwkit.optim.analog_optimizer as optim\n"
        "import aihwkit.exceptions\n"
        "error = aihwkit.exceptions.ConfigError",
        namespace,
    )
    from mho.exceptions import ConfigError
    from mho.nn import AnalogLinear
    from mho.optim import analog_optimizer
    from mho.simulator import parameters

    assert namespace["AnalogLinear"] is AnalogLinear
    assert namespace["parameters"] is parameters
    assert namespace["optim"] is analog_optimizer
    assert namespace["error"] is ConfigError


@pytest.mark.usefixtures("installed")
def test_the_modules_keep_their_identity() -> None:
    module = importlib.import_module("aihwkit.simulator.parameters.io")
    assert module.__name__ == "mho.simulator.parameters.io"
    assert module.__spec__ is not None and module.__spec__.name == "mho.simulator.parameters.io"
    version = importlib.import_module("aihwkit.version")
    assert importlib.reload(version) is sys.modules["mho.version"]


@pytest.mark.usefixtures("installed")
def test_unknown_modules_are_refused_by_name() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"aihwkit\.nowhere"):
        importlib.import_module("aihwkit.nowhere")


@pytest.mark.usefixtures("installed")
def test_out_of_scope_modules_say_so() -> None:
    with pytest.raises(ImportError, match="out of scope"):
        importlib.import_module("aihwkit.cloud.client")


def test_installing_twice_is_installing_once() -> None:
    before = list(sys.meta_path)
    compat.install()
    compat.install()
    assert len(sys.meta_path) == len(before) + 1
    compat.uninstall()
    assert sys.meta_path == before
    compat.uninstall()
    assert sys.meta_path == before


def test_uninstalling_forgets_the_alias() -> None:
    compat.install()
    importlib.import_module("aihwkit.simulator.configs")
    compat.uninstall()
    assert not [name for name in sys.modules if name.split(".")[0] == "aihwkit"]
    assert "mho.simulator.configs" in sys.modules


def test_an_imported_original_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    original = type(sys)("aihwkit")
    original.__file__ = "elsewhere"
    monkeypatch.setitem(sys.modules, "aihwkit", original)
    with pytest.raises(ImportError, match="already imported from elsewhere"):
        compat.install()
    assert sys.modules["aihwkit"] is original
