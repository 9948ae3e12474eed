"""Means and spreads of the weights of a tile after programming and at several times.

Reference statistics of 300 x 600 weights of six magnitudes, in units of the conductance of a weight
of one, over ten programming events: mean (standard error in units of 1e-3) / standard deviation.
Drift starts from the programmed weights, converted anew.
"""

from typing import Any

import pytest
import torch

from mho.inference import (
    DualPairConductanceConverter,
    HermesNoiseModel,
    PCMLikeNoiseModel,
    StateIndependentNoiseModel,
)
from mho.inference.compensation.drift import (
    GlobalDriftCompensation,
    GlobalDriftCompensationWithExactReference,
    PerColumnDriftCompensation,
)
from mho.simulator.configs import InferenceRPUConfig

LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
TIMES = (None, 0.0, 1.0, 3600.0, 86400.0, 31536000.0)
EVENTS = 2

TABLES: list[tuple[Any, float, dict[float, str], str]] = [
    (
        PCMLikeNoiseModel(),
        25.0,
        {
            0.0: "0.000(1)/0.217(1) 0.001(1)/0.257(1) 0.000(1)/0.256(1) 0.001(1)/0.167(1) "
            "0.000(1)/0.134(1) 0.000(1)/0.097(1)",
            0.2: "4.895(2)/0.629(1) 4.897(2)/0.855(2) 4.882(2)/0.852(2) 3.796(2)/0.761(2) "
            "3.260(2)/0.742(2) 2.468(2)/0.722(2)",
            0.4: "9.893(2)/0.874(2) 9.895(3)/1.145(2) 9.872(3)/1.143(2) 7.674(2)/0.995(3) "
            "6.577(3)/0.945(2) 4.948(2)/0.876(2)",
            0.6: "14.896(3)/1.033(2) 14.895(4)/1.339(2) 14.861(4)/1.337(3) 11.555(4)/1.200(3) "
            "9.904(3)/1.176(2) 7.449(3)/1.152(3)",
            0.8: "19.895(3)/1.097(3) 19.898(3)/1.446(4) 19.846(4)/1.445(4) 15.437(3)/1.354(3) "
            "13.232(3)/1.381(2) 9.954(3)/1.421(2)",
            1.0: "24.899(3)/1.064(2) 24.896(4)/1.475(4) 24.840(3)/1.471(4) 19.322(3)/1.464(3) "
            "16.558(3)/1.553(4) 12.457(4)/1.672(3)",
        },
        "0.9999(1) 1.0023(1) 1.2894(1) 1.5044(2) 1.9995(2)",
    ),
    (
        StateIndependentNoiseModel(),
        25.0,
        {
            0.0: "0.000(1)/0.165(1) 0.000(1)/0.167(1) 0.000(1)/0.166(1) 0.000(1)/0.106(1) "
            "0.000(1)/0.085(1) 0.000(1)/0.061(1)",
            0.4: "9.920(1)/0.231(1) 9.916(4)/1.679(3) 9.876(4)/1.675(3) 6.056(4)/1.915(3) "
            "4.620(4)/2.098(5) 2.945(4)/2.157(4)",
            1.0: "24.920(1)/0.231(1) 24.933(8)/4.171(8) 24.809(8)/4.161(6) 15.204(11)/4.807(7) "
            "11.581(13)/5.260(7) 7.381(10)/5.413(8)",
        },
        "0.9997(2) 1.0046(1) 1.6377(6) 2.1483(12) 3.3698(26)",
    ),
    (
        PCMLikeNoiseModel(g_converter=DualPairConductanceConverter([1.0, 3.0], 25.0, 0.0)),
        25.0,
        {
            0.0: "0.000(1)/0.172(1) 0.000(1)/0.182(1) 0.000(1)/0.181(1) 0.000(1)/0.115(1) "
            "0.000(1)/0.091(1) 0.000(1)/0.065(1)",
            0.2: "4.974(1)/0.319(1) 4.974(1)/0.394(1) 4.962(1)/0.394(1) 3.858(1)/0.359(1) "
            "3.307(1)/0.360(1) 2.487(1)/0.363(1)",
            0.6: "14.895(2)/0.752(1) 14.893(2)/0.972(2) 14.861(2)/0.968(2) 11.554(2)/0.865(2) "
            "9.905(2)/0.848(2) 7.451(2)/0.824(2)",
            1.0: "24.893(2)/0.843(2) 24.892(3)/1.151(2) 24.833(3)/1.147(3) 19.309(3)/1.135(2) "
            "16.553(3)/1.201(2) 12.448(3)/1.288(2)",
        },
        "1.0000(1) 1.0024(1) 1.2895(1) 1.5044(1) 2.0001(2)",
    ),
    (
        HermesNoiseModel(),
        20.7,
        {
            0.0: "0.000(1)/0.137(1) 0.000(1)/0.139(1) 0.000(1)/0.139(1) 0.000(1)/0.101(1) "
            "0.000(1)/0.070(1) 0.000(1)/0.039(1)",
            0.4: "8.216(5)/1.000(2) 8.216(5)/1.166(2) 8.216(6)/1.167(2) 7.017(5)/1.028(2) "
            "5.803(5)/0.909(2) 4.051(4)/0.755(2)",
            1.0: "20.634(3)/1.097(2) 20.637(5)/1.723(4) 20.638(6)/1.722(3) 19.737(6)/1.734(6) "
            "18.707(5)/1.767(5) 16.896(5)/1.897(4)",
        },
        "1.0001(1) 1.0000(2) 1.1017(2) 1.2347(2) 1.5193(2)",
    ),
]
FACTORS = {
    GlobalDriftCompensationWithExactReference: "1.0050(1) 1.0076(1) 1.2961(1) 1.5121(2) 2.0100(3)",
    PerColumnDriftCompensation: "0.9999(1) 1.0024(1) 1.2895(1) 1.5044(2) 1.9997(4)",
}


def matrix() -> torch.Tensor:
    """Equal numbers of all magnitudes, of alternating sign."""
    sizes = torch.tensor(LEVELS)
    # The levels with one sign, then with the other, over and over.
    return torch.cat([sizes, -sizes]).repeat(300 * 50).reshape(300, 600)


def values(text: str) -> list[tuple[float, float]]:
    """Numbers with their standard errors in units of their last digit."""
    found = []
    for item in text.split():
        number, error = item.rstrip(")").split("(")
        found.append((float(number), float(error) * 10.0 ** -len(number.split(".")[1])))
    return found


def events(model: Any, compensation: Any) -> tuple[list[list[torch.Tensor]], list[torch.Tensor]]:
    """Weights by time and event, and factors by time."""
    config = InferenceRPUConfig(noise_model=model, drift_compensation=compensation)
    config.forward.is_perfect = True
    config.mapping.max_input_size = config.mapping.max_output_size = 0
    tile: Any = config.tile_class(300, 600, config)
    read: list[list[torch.Tensor]] = [[] for _ in TIMES]
    factors = [torch.zeros(()) for _ in TIMES[1:]]
    for _ in range(EVENTS):
        tile.set_weights(matrix(), apply_weight_scaling=False)
        for i, t in enumerate(TIMES):
            if t is None:
                tile.program_weights()
            else:
                tile.drift_weights(t)
                factors[i - 1] = factors[i - 1] + tile.alpha.mean() / EVENTS
            read[i].append(tile.tile.get_weights())
    return read, factors


@pytest.mark.parametrize(
    ("model", "scale", "table", "factors"), TABLES, ids=["pcm", "si", "dual", "hermes"]
)
def test_statistics_of_weights(
    model: Any, scale: float, table: dict[float, str], factors: str
) -> None:
    torch.manual_seed(21)
    targets = matrix()
    read, found_factors = events(model, GlobalDriftCompensation())
    for level, row in table.items():
        at_level = (targets.abs() - level).abs() < 1e-3
        signs = torch.where(targets[at_level] < 0.0, -1.0, 1.0)
        for i, cell in enumerate(row.split()):
            (mean, mean_error), (std, std_error) = values(cell.replace("/", " "))
            sample = torch.cat([scale * w[at_level] * signs for w in read[i]]).double()
            assert abs(float(sample.mean()) - mean) < tolerance(mean_error), (level, TIMES[i])
            assert abs(float(sample.std()) - std) < tolerance(std_error), (level, TIMES[i])
    check_factors(found_factors, factors)


def tolerance(error: float) -> float:
    """Five standard errors of the difference of a table and these few events, and rounding."""
    return 5 * error * (10 / EVENTS + 1) ** 0.5 + 5e-4


def check_factors(found: list[torch.Tensor], text: str) -> None:
    for factor, (wanted, error) in zip(found, values(text), strict=True):
        assert abs(float(factor) - wanted) < tolerance(error)


@pytest.mark.parametrize("kind", FACTORS)
def test_factors_of_other_compensations(kind: Any) -> None:
    torch.manual_seed(22)
    _, found = events(PCMLikeNoiseModel(), kind())
    check_factors(found, FACTORS[kind])


def test_factor_with_noisy_products() -> None:
    """Of a 32 x 64 tile with the default converters and noise, over 30 tiles after a day."""
    torch.manual_seed(23)
    found = []
    for _ in range(30):
        config = InferenceRPUConfig()
        tile: Any = config.tile_class(32, 64, config)
        tile.set_weights(torch.rand(32, 64) * 2 - 1)
        tile.drift_weights(86400.0)
        found.append(float(tile.alpha))
    sample = torch.tensor(found)
    assert float(sample.mean()) == pytest.approx(1.497, abs=5 * 0.009 / 30**0.5 * 2**0.5)
    assert 0.005 < float(sample.std()) < 0.014  # 0.009, relative error 1 / sqrt(58)
