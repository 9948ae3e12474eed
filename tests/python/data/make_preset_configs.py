"""Makes `tests/rust/preset_configs.json`: what the core is told of the presets of the package.

Usage: PYTHONPATH=python python tests/python/data/make_preset_configs.py. The tests of the crate
compare its constructors with it. What is itself a preset stands there by its name. Configurations
for inference are as they are saved.
"""

import importlib
import json
from pathlib import Path
from typing import Any

from mho.simulator import presets
from mho.simulator.parameters.base import RPUConfigBase

TARGET = Path(__file__).parents[2] / "rust" / "preset_configs.json"
PARAMETERS = ("PresetIOParameters", "StandardIOParameters", "PresetUpdateParameters")


def content() -> dict[str, Any]:
    """Return the content of the file."""
    parameters = {name: getattr(presets, name)().to_wire(name) for name in PARAMETERS}
    devices = importlib.import_module("mho.simulator.presets.devices")
    named = [*parameters.items()]
    named += [(name, getattr(devices, name)().to_wire(name)) for name in devices.__all__]

    def short(value: Any) -> Any:
        for name, known in named:
            if value == known:
                return name
        if isinstance(value, dict):
            return {key: short(item) for key, item in value.items()}
        return [short(item) for item in value] if isinstance(value, list) else value

    configs = importlib.import_module("mho.simulator.presets.configs")
    kinds = {name: cls for name in presets.__all__ if (cls := getattr(presets, name))}
    training = {
        name: short(cls().to_wire())
        for name, cls in kinds.items()
        if issubclass(cls, RPUConfigBase) and cls.__module__ == configs.__name__
    }
    unit_cell = short(presets.PCMPresetUnitCell().to_wire("device"))
    saved = importlib.import_module("mho.simulator.presets.inference")
    inference = {
        name: json.loads(getattr(saved, name)().to_json()) for name in sorted(saved.__all__)
    }
    return {
        "parameters": parameters,
        "PCMPresetUnitCell": unit_cell,
        "inference": inference,
        "training": training,
    }


if __name__ == "__main__":
    found = content()
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found["training"].items())
    head = json.dumps({key: found[key] for key in ("parameters", "PCMPresetUnitCell", "inference")})
    TARGET.write_text(f'{head[:-1]},\n"training": {{\n{lines}\n}}}}\n')
