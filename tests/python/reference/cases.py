"""Cases: what a tile must hold after each update, to the digits that are written there.

A case makes a tile with ``make(rows, columns, config)``, drives it through the functions of
``Subject`` and yields what it found and what is expected. It runs against any tile for which there
are these functions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from reference.unit_cells import Subject

Make = Callable[[int, int, Any], Subject]

# Sums of a few hundred steps of weights below one are exact to this.
SUMS = 1e-6


@dataclass
class Found:
    """A value of a tile, what it must be, and how many decimals of that are written."""

    what: str
    value: ArrayLike
    expected: ArrayLike
    atol: float

    def check(self) -> None:
        """Compare."""
        np.testing.assert_allclose(
            np.asarray(self.value, np.float64),
            self.expected,
            rtol=0,
            atol=self.atol,
            err_msg=self.what,
        )


Case = Callable[[Make], Iterator[Found]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Add a case to the list."""
    CASES[function.__name__] = function
    return function


def one(make: Make, config: Any) -> Subject:
    """Return a tile of one crosspoint with a weight of zero."""
    tile = make(1, 1, config)
    tile.set_weights([[0.0]])
    return tile


def rest(tile: Subject, lr: float, rows: int = 1, columns: int = 1, batch: int = 1) -> None:
    """Do an update that has no pulses, so that only the cell itself acts."""
    tile.update(np.zeros((batch, columns)), np.zeros((batch, rows)), lr)


def digits(text: str) -> float:
    """Return half a unit of the last decimal of a number, and what sums may be off."""
    decimals = len(text.partition(".")[2])
    return 0.5 * 10.0**-decimals + SUMS


def trace(
    tile: Subject,
    steps: int,
    columns: dict[str, str],
    update: Callable[[], None],
    units: dict[str, float] | None = None,
) -> Iterator[Found]:
    """Do updates; after each, compare the named values with the columns of numbers."""
    expected = {name: text.split() for name, text in columns.items()}
    assert {len(numbers) for numbers in expected.values()} == {steps}
    for step in range(steps):
        update()
        for name, numbers in expected.items():
            value, written = tile.read(name), numbers[step]
            atol = (units or {}).get(name, digits(written))
            yield Found(f"{name} after update {step + 1}", value, float(written), atol)
