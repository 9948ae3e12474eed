"""Factors that correct drift, and what they ask of a tile."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.exceptions import TileError
from mho.inference import BaseDriftCompensation, GlobalDriftCompensation
from mho.inference.compensation.drift import (
    GlobalDriftCompensationWithExactReference,
    PerColumnDriftCompensation,
)

ALL = [
    GlobalDriftCompensation,
    GlobalDriftCompensationWithExactReference,
    PerColumnDriftCompensation,
]


class Tile:
    """Array without noise, with or without weights from before programming."""

    def __init__(self, weights: Tensor, reference: Tensor | None = None) -> None:
        self.weights = weights
        self.reference_combined_weights = reference

    def drift_readout_size(self) -> int:
        return self.weights.shape[1]

    def drift_readout(self, readout_tensor: Tensor) -> Tensor:
        return readout_tensor @ self.weights.T


WEIGHTS = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.5, -0.5]])


@pytest.mark.parametrize("make", ALL)
def test_uniform_drift_is_undone(make: Any) -> None:
    compensation = make()
    tile = Tile(WEIGHTS, reference=WEIGHTS)
    baseline, readout_tensor = compensation.init_baseline(tile)
    assert torch.equal(readout_tensor, torch.eye(3))
    tile.weights = 0.8 * WEIGHTS
    alpha = compensation.apply(tile.drift_readout(readout_tensor), baseline)
    torch.testing.assert_close(alpha * tile.weights.sum(dim=1), WEIGHTS.sum(dim=1))


def test_global_factor_is_a_scalar_of_the_mean() -> None:
    baseline, _ = GlobalDriftCompensation().init_baseline(Tile(WEIGHTS))
    assert baseline.shape == ()
    torch.testing.assert_close(baseline, WEIGHTS.abs().mean())


def test_factor_per_output_undoes_different_drift() -> None:
    compensation, tile = PerColumnDriftCompensation(), Tile(WEIGHTS)
    baseline, readout_tensor = compensation.init_baseline(tile)
    tile.weights = WEIGHTS * torch.tensor([[0.8], [0.4]])
    alpha = compensation.apply(tile.drift_readout(readout_tensor), baseline)
    torch.testing.assert_close(alpha, torch.tensor([1.25, 2.5]))


def test_exact_reference_ignores_the_programmed_weights() -> None:
    compensation = GlobalDriftCompensationWithExactReference()
    baseline, _ = compensation.init_baseline(Tile(5 * WEIGHTS, reference=WEIGHTS))
    torch.testing.assert_close(baseline, WEIGHTS.abs().mean())
    with pytest.raises(TileError, match="program_weights"):
        compensation.init_baseline(Tile(WEIGHTS))


@pytest.mark.parametrize("make", [GlobalDriftCompensation, PerColumnDriftCompensation])
def test_silent_array_gives_a_finite_factor(make: Any) -> None:
    compensation, tile = make(), Tile(WEIGHTS)
    baseline, readout_tensor = compensation.init_baseline(tile)
    alpha = compensation.apply(torch.zeros(3, 2), baseline)
    assert torch.isfinite(alpha).all()
    torch.testing.assert_close(alpha, baseline / 1e-4)
    assert readout_tensor.shape == (3, 3)


@pytest.mark.parametrize("make", ALL)
def test_value_object(make: Any) -> None:
    compensation = make()
    assert str(compensation) == f"{make.__name__}()"
    assert compensation == make() == copy.deepcopy(compensation)
    assert make.from_json(compensation.to_json()) == compensation
    with pytest.raises(TypeError):
        hash(compensation)


def test_classes_differ() -> None:
    assert GlobalDriftCompensation() != PerColumnDriftCompensation()
    assert GlobalDriftCompensation() != GlobalDriftCompensationWithExactReference()


def test_interface_names_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="get_readout_tensor"):
        BaseDriftCompensation().get_readout_tensor(3)
    with pytest.raises(NotImplementedError, match="readout"):
        BaseDriftCompensation().readout(WEIGHTS)
