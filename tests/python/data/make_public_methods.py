"""Makes `public_methods.json`: methods of the public classes of the standard, and their parameters.

Usage: python make_public_methods.py FOLDER, where FOLDER holds the full `exports.json`.
"""

import json
import re
import sys
from pathlib import Path

PREFIX = "aihwkit."
OUT_OF_SCOPE = ("cloud", "experiments")
# Parameters that stand for anything, or that the standard names as unused.
_ANY = re.compile(r"[*/_]")


def split(text: str) -> list[str]:
    """Return the parts between the commas of the first brackets of a text, at their own level."""
    parts, depth, quote = [""], 0, ""
    for letter in text[text.index("(") :]:
        if quote or letter in "'\"":
            quote = "" if letter == quote else quote or letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        if depth == 0:
            break
        if letter == "," and depth == 1 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.lstrip("(").strip() for part in parts if part.strip("( ")]


def parameters(signature: str) -> list[str]:
    """Return the names of the parameters of a written signature, without the first of a method."""
    names = [re.split(r"[:=]", part)[0].strip() for part in split(signature)]
    return [n for n in names[not signature.startswith("static") :] if not _ANY.match(n)]


def methods(entry: dict) -> dict[str, list[str]]:
    """Return the public methods of a class; constructors of dataclasses are in `defaults.json`."""
    own = {k: parameters(v) for k, v in entry.get("methods", {}).items() if not k.startswith("_")}
    is_known = entry["kind"] == "class" and "(" in entry["init"]
    return ({"__init__": parameters(entry["init"])} if is_known else {}) | own


def main(folder: Path) -> None:
    """Write the trimmed file beside this script."""
    signatures = json.loads((folder / "exports.json").read_text())["signatures"]
    classes = {
        f"mho.{name.removeprefix(PREFIX)}": entry
        for name, entry in sorted(signatures.items())
        if entry["kind"] in ("class", "dataclass")
        and not name.removeprefix(PREFIX).startswith(OUT_OF_SCOPE)
    }
    known = {name.rpartition(".")[2] for name, entry in classes.items() if methods(entry)}
    found = {
        name: {"bases": [c for c in entry["mro"][1:] if c in known], "methods": methods(entry)}
        for name, entry in classes.items()
    }
    # One class per line keeps changes readable and the file short.
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items() if any(v.values())]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    Path(__file__).with_name("public_methods.json").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
