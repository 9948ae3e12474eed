"""Every module and name that scripts import exists, except those listed as pending."""

import dataclasses
import enum
import importlib
import inspect
import json
import pydoc
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import mho
import mho.evaluation
import mho.nn
from mho import pending
from mho.documented import documented
from mho.exceptions import ConfigError
from mho.inference import calibration
from mho.simulator import configs, parameters, presets
from mho.simulator.digital_low_precision import quantization_manager
from mho.simulator.parameters.enums import PulseType
from mho.utils import hardware_cost

DATA = Path(__file__).parent / "data"
PROMISED: dict[str, list[str]] = json.loads((DATA / "public_names.json").read_text())
PENDING = json.loads((DATA / "pending_names.json").read_text())
PENDING_MODULES: list[str] = PENDING["modules"]
PENDING_NAMES: dict[str, list[str]] = PENDING["names"]
LEFT_OUT = [
    "mho.cloud",
    "mho.experiments",
    "mho.extension",
]
UPDATE = "run tests/python/data/make_public_names.py to take it off the list"


def has(module: object, name: str) -> bool:
    """Return whether a module has a name, also if it is looked up on first use."""
    try:
        return hasattr(module, name)
    except ConfigError:
        return False


@pytest.mark.filterwarnings("ignore:mho.simulator.noise_models is now:FutureWarning")
@pytest.mark.parametrize("module", [m for m in PROMISED if m not in PENDING_MODULES])
def test_names_can_be_imported(module: str) -> None:
    found = importlib.import_module(module)
    pending = PENDING_NAMES.get(module, [])
    missing = [name for name in PROMISED[module] if name not in pending and not has(found, name)]
    assert missing == []


@pytest.mark.parametrize("module", PENDING_MODULES)
def test_pending_modules_are_pending(module: str) -> None:
    wording = "not built yet|not available in this version"
    with pytest.raises(ImportError, match=wording) as caught:
        importlib.import_module(module)
        pytest.fail(f"{module} is there; {UPDATE}")
    named = str(caught.value).split(" ")[0].removesuffix(":")
    assert f"{module}.".startswith(f"{named}.")  # the module or the package that it is in


@pytest.mark.parametrize("module", PENDING_NAMES)
def test_pending_names_say_so(module: str) -> None:
    found = importlib.import_module(module)
    for name in PENDING_NAMES[module]:
        message = rf"^{module}\.{name} is not built yet$"
        with pytest.raises(AttributeError, match=message):
            getattr(found, name)
        with pytest.raises(ImportError, match=message):
            exec(f"from {module} import {name}")
        assert not hasattr(found, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'Nothing'"):
        found.Nothing  # noqa: B018


def test_the_list_of_the_package_is_complete() -> None:
    left_out = {m for m in PENDING_MODULES if m.startswith(tuple(LEFT_OUT))}
    assert set(pending.MODULES) == set(PENDING_MODULES) - left_out
    assert {m: set(n) for m, n in pending.NAMES.items()} == {
        m: set(n) for m, n in PENDING_NAMES.items()
    }


@pytest.mark.parametrize("module", PENDING_NAMES)
def test_pending_names_are_pending(module: str) -> None:
    found = importlib.import_module(module)
    there = [name for name in PENDING_NAMES[module] if has(found, name)]
    assert there == [], f"already there; {UPDATE}"


def test_nothing_is_pending_that_was_not_promised() -> None:
    assert set(PENDING_MODULES) <= set(PROMISED)
    for module, names in PENDING_NAMES.items():
        assert set(names) <= set(PROMISED[module])


# What is imported under private names all the same, and what is new here.
EXTRA = {
    "mho": [
        "__version__",
        "compare",
        "cost",
        "evaluate",
        "get_num_threads",
        "set_backend",
        "set_num_threads",
    ],
    "mho.evaluation": ["Calibrate", "Comparison", "Evaluation", "Metric", "compare", "evaluate"],
    "mho.exceptions": ["MhoException"],
    "mho.nn.conversion": [
        "_DEFAULT_CONVERSION_MAP",
        "_DEFAULT_MAPPED_CONVERSION_MAP",
        "_DEFAULT_DIGITAL_CONVERSION_SET",
        "register_analog",
    ],
    "mho.compat": ["install", "uninstall"],
    "mho.simulator.tiles.module": ["TileModule"],
    "mho.simulator.tiles.base": ["AnalogTileStateNames"],
    "mho.utils.analog_info": ["cost"],
    "mho.utils.hardware_cost": [
        "CostReport", "DigitalCounts", "HardwareTable", "LayerCost", "LayerCounts", "Mode", "Peak",
        "Precision", "Quantity", "Schedule", "TileCounts", "Timing", "TrainingCost", "UpdateCost",
        "UpdateCounts", "UpdateRecord", "adc_envelope", "counts_of_probabilities",
        "counts_of_vectors", "peak", "presets", "record_updates", "rounds_and_reloads",
        "update_cost",
    ],
}  # fmt: skip


@pytest.mark.parametrize("module", EXTRA)
def test_extra_names(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in EXTRA[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("module", LEFT_OUT)
def test_what_is_left_out_says_so(module: str) -> None:
    with pytest.raises(ImportError, match=module):
        importlib.import_module(module)


def test_the_root_is_light() -> None:
    """Importing the root loads neither torch nor anything below mho.simulator."""
    code = (
        "import sys, mho; print([m for m in sys.modules"
        " if m == 'torch' or m.startswith(('mho.simulator', 'mho.nn'))])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_subpackages_are_loaded_at_their_first_use() -> None:
    code = (
        "import sys, mho; assert 'torch' not in sys.modules;"
        " assert mho.nn.convert_to_analog.__name__ == 'convert_to_analog';"
        " assert {'nn', 'optim', 'simulator', 'inference', 'utils', 'compat'} <= set(dir(mho));"
        " print(mho.optim.AnalogSGD.__name__,"
        " mho.inference.PCMLikeNoiseModel.__name__, hasattr(mho, 'convert'));"
        " print(mho.evaluate.__name__, mho.evaluation.Metric.__name__,"
        " *(m for m in ('ray', 'pandas', 'matplotlib', 'scipy') if m in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == [
        "AnalogSGD",
        "PCMLikeNoiseModel",
        "False",
        "evaluate",
        "Metric",
    ]


def documented_classes() -> list[type]:
    """Configurations, devices, parameters, choices and records that a user meets."""
    modules = (
        mho,
        mho.evaluation,
        hardware_cost,
        mho.nn,
        configs,
        presets,
        parameters.enums,
        calibration,
        quantization_manager,
    )
    named = (value for module in modules for value in vars(module).values())
    found = {value for value in named if isinstance(value, type) and fields_of(value)}
    own = (cls for cls in found if cls.__module__.startswith("mho."))
    return sorted(own, key=lambda cls: cls.__name__)


def fields_of(cls: Any) -> list[str]:
    """Names of the fields of a dataclass or a tuple, or of the members of an enumeration."""
    if issubclass(cls, enum.Enum):
        return list(cls.__members__)
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    return list(getattr(cls, "_fields", ()))


@pytest.mark.parametrize("cls", documented_classes(), ids=lambda cls: cls.__name__)
def test_help_tells_what_fields_mean(cls: type) -> None:
    text = pydoc.render_doc(cls, renderer=pydoc.plaintext)
    missing = [name for name in fields_of(cls) if not re.search(rf"\|      {name}: \S", text)]
    assert not missing


def test_help_tells_what_choices_mean() -> None:
    text = inspect.getdoc(PulseType)
    assert text is not None
    assert "    MEAN_COUNT: " in text


def test_help_without_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(cls: object) -> str:
        raise OSError("no source")

    monkeypatch.setattr(inspect, "getsource", nothing)
    own = documented(dataclass(type("Own", (), {"__doc__": "Summary."})))
    assert inspect.getdoc(own) == "Summary."
