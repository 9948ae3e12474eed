"""Makes `public_names.json` and brings `pending_names.json` up to date.

Usage: python make_public_names.py [FOLDER], where FOLDER holds the full `exports.json`. Without it
    only the
list of pending names is made anew, from what can be imported now.
"""

import importlib
import json
import sys
from pathlib import Path

from mho.exceptions import ConfigError

HERE = Path(__file__).parent
PREFIX = "aihwkit."
OUT_OF_SCOPE = ("cloud", "experiments")
# A deprecated collection that re-exports on purpose; every other module that is no package only
# defines.
COLLECTIONS = ("simulator.configs.utils", "simulator.configs.configs", "simulator.configs.devices")


def promised(details: dict[str, dict[str, dict[str, object]]]) -> dict[str, list[str]]:
    """Return the names of every module: what it defines, or what a package collects."""
    modules = {
        name.removeprefix(PREFIX): names for name, names in details.items() if PREFIX in name
    }
    result = {}
    for module, names in sorted(modules.items()):
        if module.startswith(OUT_OF_SCOPE):
            continue
        collects = module in COLLECTIONS or any(m.startswith(f"{module}.") for m in modules)
        kept = [
            name
            for name, entry in names.items()
            if entry["kind"] != "submodule" and (collects or entry["defined_here"])
        ]
        result[f"mho.{module}"] = sorted(kept)
    return result


def is_available(module: str, name: str | None = None) -> bool:
    """Return whether a module, or a name in it, can be imported."""
    try:
        found = importlib.import_module(module)
    except ImportError:
        return False
    try:
        return name is None or hasattr(found, name)
    except ConfigError:  # tile classes that are looked up on first use
        return False


def pending(names: dict[str, list[str]]) -> dict[str, object]:
    """Return the modules and names that cannot be imported yet."""
    modules = [module for module in names if not is_available(module)]
    missing = {
        module: [name for name in names[module] if not is_available(module, name)]
        for module in names
        if module not in modules
    }
    return {"modules": modules, "names": {m: found for m, found in missing.items() if found}}


def write(name: str, value: object) -> None:
    """Write one of the two files."""
    (HERE / name).write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        exports = json.loads((Path(sys.argv[1]) / "exports.json").read_text())
        write("public_names.json", promised(exports["details"]))
    write("pending_names.json", pending(json.loads((HERE / "public_names.json").read_text())))
