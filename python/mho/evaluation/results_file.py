"""A file of finished units, from which an evaluation goes on."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mho.evaluation.moments import Moment
from mho.evaluation.unit import Measurement, Outcome, Point, Unit
from mho.exceptions import ArgumentError

_FORMAT = 1


class ResultsFile:
    """JSON lines: what results depend on, then one line for each finished unit.

    NaN and infinities are written as Python's `json` does.
    """

    def __init__(
        self,
        path: str | Path,
        parts: Mapping[str, Any],
        configs: Mapping[str, str],
        layer_rows: int,
    ) -> None:
        """Prepare to read and write a file.

        Args:
            path: Path; made by the first line that is written.
            parts: What results depend on, by name, as values of JSON.
            configs: Hashes of the configurations, by name of the variant.
            layer_rows: Rows of layers; results of another number are not taken.
        """
        self._path, self._parts = Path(path), dict(parts)
        self._configs, self._layer_rows = configs, layer_rows

    def read(self) -> list[Outcome]:
        """Return the finished units; a last line that is not whole is left out, and cut off.

        Raises:
            ArgumentError: The file is another one, or of other results, and is not changed; or
                there is no such folder.
        """
        if self._path.is_dir() or not self._path.parent.is_dir():
            raise ArgumentError(
                f"resume: {self._path} cannot be a file: it is a folder, or would be in none"
            )
        if not self._path.exists() or self._path.stat().st_size == 0:
            return []
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.decode(errors="replace").splitlines()
        if not lines:
            raise ArgumentError(f"resume: {self._path} has no whole line; delete it")
        self._check_header(self._parsed(0, lines[0]))
        found = [self._outcome(self._parsed(i, line)) for i, line in enumerate(lines[1:], 1)]
        if len(whole) < len(content):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        return found

    def append(self, outcome: Outcome) -> None:
        """Write a finished unit.

        Args:
            outcome: What it has found.
        """
        is_new = not self._path.exists() or self._path.stat().st_size == 0
        with self._path.open("a") as file:
            if is_new:
                header = {"format": _FORMAT, "fingerprint": _hash(self._parts)}
                file.write(json.dumps(header | {"parts": self._parts}) + "\n")
            file.write(json.dumps(self._row(outcome)) + "\n")
            file.flush()

    def _row(self, outcome: Outcome) -> dict[str, Any]:
        unit = outcome.unit
        return {
            "variant": unit.variant,
            "config": self._configs[unit.variant],
            "programming": unit.programming,
            "machine": outcome.machine,
            "layer_rows": self._layer_rows,
            "points": [
                {
                    "time": None if m.point.moment is None else m.point.moment.hex(),
                    "read": m.point.read,
                    "values": m.values,
                    "layers": m.layers,
                }
                for m in outcome.measurements
            ],
        }

    def _parsed(self, number: int, line: str) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ArgumentError(f"resume: {self._path}, line {number + 1}: {error}") from error
        if not isinstance(row, dict):
            raise ArgumentError(f"resume: {self._path}, line {number + 1}: is no result")
        return row

    def _check_header(self, header: dict[str, Any]) -> None:
        if header.get("format") != _FORMAT or not isinstance(header.get("parts"), dict):
            raise ArgumentError(f"resume: {self._path} is no file of results of this version")
        present = json.loads(json.dumps(self._parts))
        names = sorted(present.keys() | header["parts"].keys())
        differing = [n for n in names if present.get(n) != header["parts"].get(n)]
        if differing:
            raise ArgumentError(
                f"resume: {self._path} has results of something else; these differ:"
                f" {', '.join(differing)}. Use another path, or what was used then"
            )

    def _outcome(self, row: dict[str, Any]) -> Outcome:
        try:
            variant = str(row["variant"])
            known = self._configs.get(variant)
            if known is not None and row["config"] != known:
                raise ArgumentError(
                    f"resume: {self._path} has results of something else; the configuration of"
                    f" {variant!r} differs. Use another path, or what was used then"
                )
            fits = row["layer_rows"] == self._layer_rows
            measured = [_measurement(point, fits) for point in row["points"]]
            unit = Unit(variant, int(row["programming"]), tuple(m.point for m in measured))
            return Outcome(unit, measured, str(row["machine"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ArgumentError(f"resume: {self._path}: a line is no result: {error!r}") from error


def _measurement(point: dict[str, Any], has_layers: bool) -> Measurement:
    moment: Moment = None if point["time"] is None else float.fromhex(point["time"])
    values = {str(name): float(value) for name, value in point["values"].items()}
    layers = point["layers"] if has_layers else None
    return Measurement(Point(moment, int(point["read"])), values, layers)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
