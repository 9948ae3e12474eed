"""Modules of presets are imported when a preset is used first, which nobody notices."""

import importlib
import subprocess
import sys

import pytest

from mho.simulator import presets
from mho.simulator.parameters import registry

MODULES = ("compounds", "configs", "devices", "inference", "utils")


def run(program: str) -> str:
    """Return what a fresh process prints."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_name_is_that_of_a_class_in_one_of_the_modules() -> None:
    """The table of the package knows all presets and where they are."""
    for name in presets.__all__:
        cls = getattr(presets, name)
        assert cls.__name__ == name
        assert getattr(importlib.import_module(cls.__module__), name) is cls
    homes = tuple(f"{presets.__name__}.{module}" for module in MODULES)
    registered = registry.registered_config_classes()
    found = {name for name, cls in registered.items() if cls.__module__ in homes}
    assert found == set(presets.__all__)


def test_names_and_modules_are_listed_and_others_are_missing() -> None:
    """`dir`, attributes and errors are those of a package that has imported all."""
    assert set(presets.__all__) | set(MODULES) <= set(dir(presets))
    assert presets.configs.ReRamESPreset is presets.ReRamESPreset
    with pytest.raises(AttributeError, match="has no attribute 'ReRamXYPreset'"):
        _ = presets.ReRamXYPreset
    with pytest.raises(ImportError, match="ReRamXYPreset"):
        from mho.simulator.presets import ReRamXYPreset  # noqa: F401


def test_importing_layers_makes_no_preset() -> None:
    """Their classes take as long as the rest of the import."""
    assert run("import mho.nn, sys; print('mho.simulator.presets.configs' in sys.modules)") == (
        "False\n"
    )


def test_saved_texts_name_presets_that_were_not_imported() -> None:
    """Whoever reads a text need not know what is in it."""
    text = presets.TikiTakaReRamSBPreset().to_json()
    program = (
        "import mho.nn\nfrom mho.simulator.parameters.config_base import ConfigBase\n"
        f"config = ConfigBase.from_json({text!r})\n"
        "print(type(config).__module__, config.to_json())"
    )
    assert run(program) == f"mho.simulator.presets.configs {text}\n"


@pytest.mark.parametrize("use", ["", "presets.ReRamESPreset()\n"])
def test_an_own_class_cannot_take_the_name_of_a_preset(use: str) -> None:
    """The error comes whether or not the preset was used before."""
    program = (
        "import dataclasses, mho.nn\nfrom mho.simulator import presets\n"
        "from mho.simulator.configs import SingleRPUConfig\n"
        "from mho.simulator.parameters.registry import register_config_class\n"
        f"{use}"
        "class ReRamESPreset(SingleRPUConfig): pass\n"
        "try: register_config_class(ReRamESPreset)\n"
        "except mho.exceptions.ConfigError as error: print(error)\n"
    )
    assert "mho.simulator.presets.configs has one of that name" in run(program)


def test_all_registered_classes_include_presets() -> None:
    """The view is that of a package that has imported all."""
    program = (
        "import mho.nn\nfrom mho.simulator.parameters import registry\n"
        "print('ReRamESPreset' in registry.registered_config_classes())"
    )
    assert run(program) == "True\n"
