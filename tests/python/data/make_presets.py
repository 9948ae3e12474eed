"""Makes `presets.json`: what the presets of the standard change in the class they are based on.

Usage: python make_presets.py FOLDER, where FOLDER holds the full `presets.json` and
`defaults.json`.
"""

import json
import sys
from pathlib import Path

PREFIX = "aihwkit."


def trim(value: object, classes: dict[str, dict]) -> object:
    """Return a value in which objects list only what differs from the defaults of their class."""
    if isinstance(value, list):
        return [trim(item, classes) for item in value]
    if not isinstance(value, dict):
        return value
    if "__enum__" in value:
        return {"__enum__": value["__enum__"]}
    name = value.get("__class__")
    listed = changes(value, classes.get(name, {}), classes)
    return {"__class__": name, **listed} if name else listed


def changes(value: dict, defaults: dict, classes: dict[str, dict]) -> dict[str, object]:
    """Return the fields of an object that differ from given defaults."""
    return {
        key: trim(item, classes)
        for key, item in value.items()
        if not key.startswith("__") and not (key in defaults and defaults[key] == item)
    }


def main(folder: Path) -> None:
    """Write the trimmed file beside this script."""
    presets = json.loads((folder / "presets.json").read_text())["presets"]
    entries = json.loads((folder / "defaults.json").read_text())
    classes = {
        name: {key: field.get("default") for key, field in entry["fields"].items()}
        for name, entry in entries.items()
    } | {name: preset["value"] for name, preset in presets.items()}
    trimmed = {
        name: {
            "module": preset["module"].removeprefix(PREFIX),
            "base": preset["bases"][0],
            "changes": changes(preset["value"], classes[preset["bases"][0]], classes),
        }
        for name, preset in presets.items()
    }
    target = Path(__file__).with_name("presets.json")
    # One preset per line keeps changes readable and the file short.
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in trimmed.items())
    target.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
