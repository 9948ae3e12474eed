"""Makes `defaults.json`: names, types and defaults of the configuration classes of the standard.

Usage: python make_defaults.py FOLDER, where FOLDER holds the full `defaults.json` and `enums.json`.
"""

import json
import sys
from pathlib import Path

PREFIX = "aihwkit."
MODULES = (
    "simulator.parameters.",
    "simulator.configs.",
    "simulator.presets.utils",
    "simulator.tiles.custom",
    "simulator.digital_low_precision.config_utils",
)
KEYS = ("type", "default", "required", "init", "compare", "default_factory")
ENUM_MODULES = ("simulator.parameters.", "simulator.digital_low_precision.range_estimators")


def kept(module: str, modules: tuple[str, ...]) -> bool:
    """Return whether a module of the full file is needed by the tests."""
    return module.removeprefix(PREFIX).startswith(modules)


def trim_class(entry: dict, classes: dict) -> dict:
    """Return the part of a class that the tests compare."""
    fields = {}
    for name, field in entry["fields"].items():
        kept_keys = {key: field[key] for key in KEYS if key in field}
        fields[name] = trim_value(kept_keys, classes)
    return {"module": entry["module"].removeprefix(PREFIX), "fields": fields}


def trim_value(value: object, classes: dict) -> object:
    """Return a value in which objects list only what differs from the defaults of their class."""
    if isinstance(value, list):
        return [trim_value(item, classes) for item in value]
    if isinstance(value, str):
        return value.replace(PREFIX, "")
    if not isinstance(value, dict):
        return value
    own = classes.get(value.get("__class__"), {"fields": {}})["fields"]
    return {
        key: trim_value(item, classes)
        for key, item in value.items()
        if key != "__module__" and not (key in own and own[key].get("default") == item)
    }


def main(folder: Path) -> None:
    """Write the trimmed file beside this script."""
    classes = json.loads((folder / "defaults.json").read_text())
    enums = json.loads((folder / "enums.json").read_text())
    trimmed = {
        "classes": {
            name: trim_class(entry, classes)
            for name, entry in classes.items()
            if kept(entry["module"], MODULES)
        },
        "enums": {
            name: {"module": entry["module"].removeprefix(PREFIX), "members": entry["members"]}
            for name, entry in enums.items()
            if kept(entry["module"], ENUM_MODULES)
        },
    }
    target = Path(__file__).with_name("defaults.json")
    target.write_text(json.dumps(trimmed, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
