"""What is kept of the inputs of a tile during calibration, and the range that they ask for."""

import math
from typing import Protocol

import torch
from torch import Tensor


class Observer(Protocol):
    """Looks at the inputs of one tile."""

    follows: bool
    """Whether the tile has the range of the batches so far; otherwise it clips nothing."""

    def observe(self, rows: Tensor) -> None:
        """Look at a batch.

        Args:
            rows: Inputs without rows of zeros, finite, shape `[rows, in]`, at least one.
        """

    def result(self) -> float | None:
        """Return the range, None as long as the inputs ask for none."""


class MovingMean:
    """Mean over batches of something that is computed for each of them."""

    follows = True

    def __init__(self, max_batches: int) -> None:
        """Start without batches.

        Args:
            max_batches: Number of batches that count.
        """
        self._max_batches = max_batches
        self._batches = 0
        self._mean = 0.0

    def of_batch(self, rows: Tensor) -> float:
        """Return the range that a batch asks for.

        Args:
            rows: Inputs, shape `[rows, in]`.
        """
        raise NotImplementedError

    def observe(self, rows: Tensor) -> None:
        """Take a batch into the mean if it asks for a positive range; see `Observer`."""
        if self._batches >= self._max_batches:
            return
        value = self.of_batch(rows)
        if value > 0.0:
            self._mean = (self._mean * self._batches + value) / (self._batches + 1)
            self._batches += 1

    def result(self) -> float | None:
        """Return the mean; see `Observer`."""
        return self._mean if self._batches else None


class MovingStd(MovingMean):
    """Mean over batches of a multiple of the standard deviation."""

    def __init__(self, max_batches: int, alpha: float) -> None:
        """Start without batches.

        Args:
            max_batches: Number of batches that count.
            alpha: Multiple of the standard deviation.
        """
        super().__init__(max_batches)
        self._alpha = alpha

    def of_batch(self, rows: Tensor) -> float:
        """Return the multiple of the standard deviation, 0 for a single value."""
        return self._alpha * float(rows.std()) if rows.numel() > 1 else 0.0


class MovingQuantile(MovingMean):
    """Mean over batches of a quantile; of all is the largest absolute value."""

    def __init__(self, max_batches: int, quantile: float, absolute: bool) -> None:
        """Start without batches.

        Args:
            max_batches: Number of batches that count.
            quantile: Fraction of the values at or below.
            absolute: Take absolute values first.
        """
        super().__init__(max_batches)
        self._quantile, self._absolute = quantile, absolute

    def of_batch(self, rows: Tensor) -> float:
        """Return the quantile of the batch."""
        if self._quantile == 1.0:
            return float(rows.abs().max())
        return quantile_of(rows.abs() if self._absolute else rows, self._quantile)


class CachedQuantile:
    """Quantile of rows that are drawn from all batches, each with the same probability."""

    follows = False

    def __init__(self, max_rows: int, quantile: float, absolute: bool) -> None:
        """Start without rows.

        Args:
            max_rows: Number of rows to keep.
            quantile: Fraction of the values at or below.
            absolute: Take absolute values first.
        """
        self._max_rows = max_rows
        self._quantile, self._absolute = quantile, absolute
        self._rows: Tensor | None = None
        self._keys = torch.empty(0, dtype=torch.float64, device="cpu")

    def observe(self, rows: Tensor) -> None:
        """Draw from the batch and what is kept; see `Observer`."""
        # Those of the largest of independent keys are a sample without replacement of all rows.
        new = torch.rand(len(rows), dtype=torch.float64, device="cpu")
        keys = torch.cat([self._keys, new])
        kept = rows.cpu() if self._rows is None else torch.cat([self._rows, rows.cpu()])
        if len(keys) > self._max_rows:
            chosen = keys.topk(self._max_rows).indices
            keys, kept = keys[chosen], kept[chosen]
        self._keys, self._rows = keys, kept

    def result(self) -> float | None:
        """Return the absolute value of the quantile; see `Observer`."""
        if self._rows is None:
            return None
        return abs(quantile_of(self._rows.abs() if self._absolute else self._rows, self._quantile))


class LargestValue:
    """Largest absolute value."""

    follows = False

    def __init__(self) -> None:
        """Start without values."""
        self._largest: float | None = None

    def observe(self, rows: Tensor) -> None:
        """Compare with the values of a batch; see `Observer`."""
        self._largest = max(self._largest or 0.0, float(rows.abs().max()))

    def result(self) -> float | None:
        """Return the largest one; see `Observer`."""
        return self._largest


def quantile_of(values: Tensor, quantile: float) -> float:
    """Return a quantile with linear interpolation, of any number of values.

    That of torch 2.4 refuses more than 2^24 values.

    Args:
        values: Values, at least one.
        quantile: Fraction of the values at or below.
    """
    flat = values.flatten()
    position = quantile * (flat.numel() - 1)
    below = math.floor(position)
    low = float(flat.kthvalue(below + 1).values)
    high = float(flat.kthvalue(min(below + 2, flat.numel())).values)
    return low + (position - below) * (high - low)
