"""Drift from the conductances that were programmed, and from the weights converted anew."""

import copy
from typing import Any

import pytest
import torch

from mho.exceptions import ConfigError, InputError, TileError
from mho.inference import (
    BaseNoiseModel,
    DualPairConductanceConverter,
    HermesNoiseModel,
    PCMLikeNoiseModel,
    ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
    SinglePairConductanceConverter,
    StateIndependentNoiseModel,
)
from mho.inference.noise.pcm import CustomDriftPCMLikeNoiseModel
from mho.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig

DRIFT = {"g_lst": [0.0, 25.0], "nu_mean_lst": [0.1, 0.05], "nu_std_lst": [0.0, 0.0]}
MODELS: list[Any] = [
    PCMLikeNoiseModel,
    lambda **k: CustomDriftPCMLikeNoiseModel(DRIFT, **k),
    HermesNoiseModel,
    StateIndependentNoiseModel,
    ReRamWan2022NoiseModel,
    ReRamCMONoiseModel,
]
YEAR = 31536000.0


def tile_with(model: BaseNoiseModel, weights: torch.Tensor, cls: Any = InferenceRPUConfig) -> Any:
    config = cls(noise_model=model)
    config.forward.is_perfect = True
    tile = config.tile_class(*weights.shape, config)
    tile.set_weights(weights)
    return tile.eval()


@pytest.mark.parametrize("make", MODELS)
def test_every_model_takes_the_option(make: Any) -> None:
    kept, usual = make(keep_conductances=True), make()
    assert kept.keep_conductances and not usual.keep_conductances
    assert kept != usual and "keep_conductances=True" in str(kept)
    assert type(kept).from_json(kept.to_json()) == kept
    # Saved configurations of models without it stay as they were.
    assert "keep_conductances" not in usual.to_json()
    kept.check("noise_model")
    with pytest.raises(ConfigError, match="keep_conductances"):
        kept.keep_conductances = "yes"
        kept.check("noise_model")


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
def test_drift_starts_from_programmed_conductances(cls: Any) -> None:
    """Weights are the difference of two devices of their own, in the scale of the targets.

    Statistics of the devices at 10 and 0 microsiemens: programmed, and after a year.
    """
    torch.manual_seed(11)
    weights = torch.full((400, 500), 0.4)
    weights[0, 0] = 1.0
    tile = tile_with(PCMLikeNoiseModel(keep_conductances=True), weights, cls)
    tile.program_weights()
    count = weights.numel() - 1
    cases = [
        (None, 9.9999 - 0.1052, (0.8617**2 + 0.1540**2) ** 0.5),
        (0.0, 9.9997 - 0.1075, (1.0907**2 + 0.1866**2) ** 0.5),
        (YEAR, 5.0024 - 0.0322, (0.8495**2 + 0.0737**2) ** 0.5),
    ]
    for t, mean, std in cases:
        if t is not None:
            tile.drift_weights(t)
        found = 25.0 * tile.tile.get_weights().flatten()[1:]
        # Standard errors of the sample and, in units of the 4th decimal, of the tables.
        assert float(found.mean()) == pytest.approx(mean, abs=5 * (std / count**0.5 + 1e-3))
        assert float(found.std()) == pytest.approx(std, abs=5 * (std / (2 * count) ** 0.5 + 1e-3))


def test_otherwise_the_largest_programmed_weight_has_the_largest_conductance() -> None:
    """With an error of the programming, all relative conductances shrink."""
    torch.manual_seed(2)
    weights = torch.rand(40, 50) * 2 - 1
    model = PCMLikeNoiseModel(read_noise_scale=0.0)
    usual, kept = tile_with(model, weights), tile_with(model, weights)
    kept.rpu_config.noise_model.keep_conductances = True
    for tile in (usual, kept):
        tile.program_weights()
    conductances, _ = model.g_converter.convert_to_conductances(usual.programmed_weights)
    assert usual.programmed_conductances is None
    # Of each pair one device is idle there, which no real pair is.
    assert float(torch.minimum(*conductances).max()) == 0.0
    assert len(kept.programmed_conductances) == 2
    assert float(torch.minimum(*kept.programmed_conductances).mean()) > 0.05


def test_no_noise_changes_nothing_in_either_way() -> None:
    weights = torch.rand(6, 5) - 0.5
    quiet = {"prog_noise_scale": 0.0, "read_noise_scale": 0.0, "drift_scale": 0.0}
    for keep in (False, True):
        tile = tile_with(PCMLikeNoiseModel(keep_conductances=keep, **quiet), weights)  # type: ignore[arg-type]
        for t in (0.0, 1.0, YEAR):
            tile.drift_weights(t)
            torch.testing.assert_close(tile.tile.get_weights(), weights)


def test_conductances_do_not_migrate_between_pairs() -> None:
    torch.manual_seed(3)
    converter = DualPairConductanceConverter([1.0, 3.0])
    weights = torch.rand(30, 30) - 0.5
    model = PCMLikeNoiseModel(g_converter=converter, keep_conductances=True, drift_scale=0.0)
    model.read_noise_scale = 0.0
    tile = tile_with(model, weights)
    tile.program_weights()
    programmed = tile.tile.get_weights()
    tile.drift_weights(YEAR)
    torch.testing.assert_close(tile.tile.get_weights(), programmed)


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
def test_state_has_the_conductances(cls: Any) -> None:
    weights = torch.rand(4, 3) - 0.5
    tile = tile_with(PCMLikeNoiseModel(keep_conductances=True, read_noise_scale=0.0), weights, cls)
    tile.drift_weights(10.0)
    state = tile.state_dict()
    assert {"programmed_conductances.0", "programmed_conductances.1"} <= set(state)
    other = tile_with(PCMLikeNoiseModel(), torch.zeros(4, 3), cls)
    other.load_state_dict(state)
    for copied in (other, copy.deepcopy(tile)):
        copied.drift_weights(YEAR)
        tile.drift_weights(YEAR)
        assert torch.equal(copied.tile.get_weights(), tile.tile.get_weights())
    # A state without them takes them away.
    other.load_state_dict(tile_with(PCMLikeNoiseModel(), weights, cls).state_dict())
    assert not other.programmed_conductances


def test_states_without_what_the_conductances_stand_for() -> None:
    tile = tile_with(PCMLikeNoiseModel(keep_conductances=True), torch.rand(4, 3) - 0.5)
    tile.program_weights()
    state = tile.state_dict()
    with pytest.raises(InputError, match=r"programmed_conductances\.1: expected shape"):
        tile.load_state_dict({**state, "programmed_conductances.1": torch.rand(4, 4)})
    del state["reference_combined_weights"]
    tile.load_state_dict(state)
    with pytest.raises(TileError, match=r"programmed_conductances: .* call program_weights"):
        tile.drift_weights(1.0)
    tile.program_weights()
    tile.drift_weights(1.0)


def test_decided_when_weights_are_programmed() -> None:
    weights = torch.rand(4, 3) - 0.5
    tile = tile_with(PCMLikeNoiseModel(), weights)
    tile.program_weights()
    tile.rpu_config.noise_model.keep_conductances = True
    tile.drift_weights(1.0)
    assert tile.programmed_conductances is None
    tile.program_weights()
    assert len(tile.programmed_conductances) == 2
    tile.set_weights(weights)
    assert tile.programmed_conductances is None


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
@pytest.mark.parametrize(
    "other",
    [SinglePairConductanceConverter(g_max=50.0), DualPairConductanceConverter([1.0, 1.0])],
)
def test_kept_conductances_are_the_weights_of_one_conversion_only(cls: Any, other: Any) -> None:
    weights = torch.rand(4, 3) - 0.5
    tile = tile_with(PCMLikeNoiseModel(keep_conductances=True), weights, cls)
    tile.program_weights()
    before, programmed = tile.state_dict(), tile.tile.get_weights()
    tile.rpu_config.noise_model = PCMLikeNoiseModel(g_converter=other, drift_scale=0.0)
    with pytest.raises(TileError, match=r"^noise_model\.g_converter: .* call program_weights"):
        tile.drift_weights(1.0)
    assert torch.equal(tile.tile.get_weights(), programmed)
    # The same with the configuration of a tile that loads its weights.
    fresh = tile_with(PCMLikeNoiseModel(g_converter=other), weights, cls)
    fresh.set_load_rpu_config_state(False)
    fresh.load_state_dict(before)
    with pytest.raises(TileError, match=r"^noise_model\.g_converter"):
        fresh.drift_weights(1.0)
    for one in (tile, fresh):
        one.program_weights()
        one.drift_weights(1.0)


@pytest.mark.parametrize("keep", [False, True])
def test_drift_parameters_are_those_of_one_kind_of_devices(keep: bool) -> None:
    """Exponents of the one are conductances of the other: weights would be near zero."""
    tile = tile_with(PCMLikeNoiseModel(keep_conductances=keep), torch.rand(4, 3) - 0.5)
    tile.program_weights()
    for changed in (PCMLikeNoiseModel(drift_scale=0.5), CustomDriftPCMLikeNoiseModel(DRIFT)):
        tile.rpu_config.noise_model = changed
        tile.drift_weights(1.0)
    tile.rpu_config.noise_model = ReRamWan2022NoiseModel()
    for one in (tile, copy.deepcopy(tile)):
        with pytest.raises(TileError, match=r"^noise_model: .* PCMLike.* call program_weights"):
            one.drift_weights(1.0)
    tile.program_weights()
    tile.drift_weights(1.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_kept_conductances_of_a_tile_that_is_cast(dtype: torch.dtype) -> None:
    weights = torch.rand(40, 30) - 0.5
    quiet = PCMLikeNoiseModel(keep_conductances=True, drift_scale=0.0, read_noise_scale=0.0)
    tile = tile_with(quiet, weights, TorchInferenceRPUConfig)
    tile.program_weights()
    programmed = tile.tile.get_weights()
    for _ in range(2):
        tile.to(dtype)
        tile.drift_weights(YEAR)
        found = tile.tile.get_weights().float()
        torch.testing.assert_close(found, programmed, rtol=0.01, atol=0.005)
        tile.float()


def test_acceptance_range_without_an_entry_warns() -> None:
    with pytest.warns(UserWarning, match=r"acceptance_range: .* none of 1.0 percent; taking 0.2"):
        ReRamCMONoiseModel(acceptance_range=1.0)
    for known in (0.2, 2):
        ReRamCMONoiseModel(acceptance_range=known)
    ReRamCMONoiseModel()
