"""The measured rows as tables, and their place in the documents.

Run as a script, it copies the numbers of a JSON file written by `run.py` into docs/performance.md,
where machines with different vectors have a table each, and the most telling rows into README.md.
"""

import argparse
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADER = (
    "| work | threads | mho | torch | aihwkit | mho/torch | aihwkit/mho | notes | target |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
# Rows of the README, by the start of their names.
TELLING = (
    "step, ConstantStep, 784",
    "step, SoftBounds, 784",
    "step, inference, 784",
    "layer as by default",
    "AnalogLinear, inference",
    "update, ConstantStep, 512x512, batch 128, medium",
    "update, SoftBounds, 512x512, batch 128, medium",
    "update, PowStep, 512x512, batch 128, medium",
)


def format_time(seconds: float | None) -> str:
    """Return a time with a unit that fits."""
    if seconds is None:
        return "-"
    scale, unit = (1e6, "us") if seconds < 1e-4 else (1e3, "ms")
    return f"{seconds * scale:.3g} {unit}"


def format_row(row: dict) -> str:
    """Return one line of a Markdown table."""
    seconds = row["seconds"]
    mho, torch, peer = (seconds.get(name) for name in ("mho", "torch", "aihwkit"))
    to_torch = f"{mho / torch:.2f}" if mho and torch else "-"
    to_peer = f"{peer / mho:.1f}" if mho and peer else "-"
    notes = ", ".join(f"{name} {value:.3g}" for name, value in row["notes"].items())
    cells = [row["name"], str(row["threads"]), *map(format_time, (mho, torch, peer))]
    cells += [to_torch, to_peer, notes or "-", row["target"] or "-"]
    return "| " + " | ".join(cells) + " |"


def short_row(row: dict) -> str:
    """Return one line of the README's table."""
    cells = format_row(row).strip("| ").split(" | ")
    return "| " + " | ".join(cells[i] for i in (0, 2, 3, 4, 5, 6)) + " |"


def summary(found: dict, date: str) -> str:
    """Return where, when and how the numbers were taken."""
    machine = found["machine"]
    return (
        f"{date}, {machine['cores']} cores of an {machine['name']} ({machine['capability']}), "
        f"torch {machine['torch']}, aihwkit {machine['aihwkit']}, by `make bench`"
    )


def fill(path: Path, text: str, name: str = "numbers") -> None:
    """Put ``text`` between the markers of this name in a document.

    Raises:
        ValueError: If the document has no markers.
    """
    pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
    document, count = re.subn(
        pattern, lambda match: f"{match[1]}{text}\n{match[2]}", path.read_text(), flags=re.S
    )
    if not count:
        raise ValueError(f"{path}: no markers <!-- {name} --> and <!-- end of {name} -->")
    path.write_text(document)


def main() -> None:
    """Fill both documents."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input", type=Path, default=Path("out/bench.json"))
    parser.add_argument("--date", required=True, help="day of the measurement, YYYY-MM-DD")
    options = parser.parse_args()
    found = json.loads(options.input.read_text())
    rows = found["rows"]
    full = "\n".join([HEADER, *map(format_row, rows)])
    capability = found["machine"]["capability"]
    text = f"{summary(found, options.date)}:\n\n{full}"
    fill(ROOT / "docs" / "performance.md", text, f"numbers, {capability}")
    most = max(row["threads"] for row in rows)
    telling = [r for r in rows if r["threads"] == most and r["name"].startswith(TELLING)]
    columns = ("work", "mho", "torch, exact", "aihwkit", "mho/torch", "aihwkit/mho")
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    short = "\n".join([head, *map(short_row, telling)])
    fill(ROOT / "README.md", f"{summary(found, options.date)}, {most} threads:\n\n{short}")


if __name__ == "__main__":
    main()
