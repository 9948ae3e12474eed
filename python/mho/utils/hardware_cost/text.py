"""Reports as text of 100 columns."""

from typing import Any

from mho.utils.hardware_cost.quantity import Quantity, with_prefix

WIDTH = 100
"""Columns of a report."""

_GENERAL_LIMITS = (
    "Good to a factor of 2 to 3 on the chip of the table and of 3 to 10 elsewhere; which layers and"
    " mappings cost most is the useful part. Low and high are a span, no confidence interval."
)


def report_text(report: Any) -> str:
    """Return a report of 100 columns.

    Args:
        report: Costs.
    """
    table = report.table
    head = [
        report.model,
        f"table {table.name} ({table.title})" if table.title else f"table {table.name}",
    ]
    if report.mode:
        head.append(f"mode {report.mode}")
    head.append(f"schedule {report.schedule.kind}")
    rows: list[tuple[str, ...]] = [
        ("layer", "tiles", "util", "MVMs", "MACs", "ADC", "energy", "latency", "share")
    ]
    rows += [
        _row(counts, cost)
        for counts, cost in zip(report.counts, report.layers, strict=True)
        if counts.tiles or cost.share >= 5e-3
    ]
    rows.append(_last_row(report))
    lines = [*_head(head), *_aligned(rows)]
    lines += _efficiency(report)
    if report.training is not None:
        lines += _training_lines(report.training)
    texts = [*report.notes, table.limits, _GENERAL_LIMITS]
    lines += [line for text in texts if text for line in wrapped(text)]
    return "\n".join(lines)


def _head(parts: list[str]) -> list[str]:
    """Return the parts of the first line, on two lines where they are too long for one."""
    line = "   ".join(parts)
    return [line] if len(line) <= WIDTH else ["   ".join(parts[:2]), "  " + "   ".join(parts[2:])]


def _row(counts: Any, cost: Any) -> tuple[str, ...]:
    return (
        shortened(counts.name or counts.layer_class, 24),
        str(counts.physical_tiles * cost.replicas) if counts.tiles else "-",
        f"{100.0 * counts.utilisation:.3g} %" if counts.tiles else "-",
        _count(counts.physical_mvms) if counts.tiles else "-",
        with_prefix(counts.macs) if counts.tiles else "-",
        with_prefix(counts.adc_conversions) if counts.tiles else "-",
        "-" if cost.energy is None else cost.energy.span(),
        "-" if cost.latency is None else str(cost.latency),
        f"{100.0 * cost.share:.0f} %",
    )


def _last_row(report: Any) -> tuple[str, ...]:
    counts = report.counts
    tiles = [tile for layer in counts for tile in layer.tiles]
    room = sum(t.physical_tiles * t.rows * t.cols for t in tiles)
    used = sum(t.cells for t in tiles) / room if room else 0.0
    number = sum(
        c.physical_tiles * cost.replicas for c, cost in zip(counts, report.layers, strict=True)
    )
    return (
        "total", str(number), f"{100.0 * used:.3g} %",
        _count(sum(c.physical_mvms for c in counts)), with_prefix(sum(c.macs for c in counts)),
        with_prefix(sum(c.adc_conversions for c in counts)),
        "-" if report.energy is None else report.energy.span(),
        "-" if report.latency is None else str(report.latency), "",
    )  # fmt: skip


def _count(number: int) -> str:
    return str(number) if number < 100_000 else with_prefix(number)


def _efficiency(report: Any) -> list[str]:
    parts = []
    if report.tops_per_watt is not None and report.peak.tops_per_watt is not None:
        parts.append(
            f"effective {report.tops_per_watt.value:.3g} TOPS/W (peak"
            f" {report.peak.tops_per_watt.value:.3g})"
        )
    if report.interval is not None and report.schedule.kind == "pipelined":
        parts.append(f"one pass every {report.interval}")
    if report.timing is not None and report.timing.reloads:
        parts.append(f"{report.timing.rounds} rounds, {report.timing.reloads} tiles rewritten")
    if report.area is not None:
        parts.append(f"{report.area.value * 1e6:.3g} mm²")
    if report.batch > 1 and report.energy_per_sample is not None:
        parts.append(f"{report.energy_per_sample} a sample")
    return wrapped(", ".join(parts)) if parts else []


def _training_lines(training: Any) -> list[str]:
    names = ("forward", "backward", "update", "digital", "transfers")
    parts = [f"{name} {_or_unknown(getattr(training, name))}" for name in names]
    text = f"training step: {', '.join(parts)}; time {_or_unknown(training.latency)}"
    notes = [line for note in training.notes for line in wrapped(f"not included: {note}")]
    return wrapped(text) + notes


def _or_unknown(quantity: Quantity | None) -> str:
    return "unknown" if quantity is None else quantity.span()


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def shortened(name: str, width: int) -> str:
    """Return the end of a name that is too long.

    Args:
        name: Name.
        width: Most characters.
    """
    return name if len(name) <= width else "..." + name[3 - width :]


def wrapped(text: str) -> list[str]:
    """Return the lines of a text, none of which is longer than a report is wide.

    Args:
        text: Text.
    """
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = "  " + word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines
