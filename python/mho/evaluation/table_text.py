"""Tables as text."""

import math
from collections.abc import Sequence
from typing import Any

WIDTH = 100


def number_text(value: Any) -> str:
    """Return a value as it stands in a table.

    Args:
        value: Number or text.
    """
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    if math.isnan(value):
        return "-"
    if value != 0.0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    return f"{value:.4g}" if abs(value) < 1000.0 else f"{value:.0f}"


def table_text(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as text, columns below each other, lines of at most 100 characters.

    Args:
        rows: What to show.
        columns: Names of what is shown of each.
    """
    cells = [list(columns), *([number_text(row.get(c)) for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = []
    for line in cells:
        padded = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip()[:WIDTH])
    return "\n".join(lines)
