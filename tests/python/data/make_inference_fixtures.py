"""Makes `tests/rust/inference/fixtures.json`: what the formulas of `mho.inference` give.

Usage: PYTHONPATH=python:tests/python python tests/python/data/make_inference_fixtures.py. The tests
of the crate compare its noise models, converters and compensations with it, so that both languages
have one formula; the tables of statistics are those that the tests of the package have.
"""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from mho.inference import (
    CustomDriftPCMLikeNoiseModel,
    CustomPairConductanceConverter,
    DualPairConductanceConverter,
    HermesNoiseModel,
    NPairConductanceConverter,
    PCMLikeNoiseModel,
    ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
    StateIndependentNoiseModel,
)
from mho.inference.compensation.drift import (
    GlobalDriftCompensation,
    GlobalDriftCompensationWithExactReference,
    PerColumnDriftCompensation,
)
from mho.inference.converter.fusion import FusionConductanceConverter
from mho.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
from mho.simulator.parameters.enums import WeightModifierType
from mho.simulator.parameters.inference import WeightModifierParameter
from mho.simulator.presets import StandardHWATrainingPreset

TESTS = Path(__file__).parents[1]
TARGET = TESTS.parent / "rust" / "inference" / "fixtures.json"
TIMES = [0.0, 1.0, 3600.0, 86400.0, 31536000.0]
TABLES = {
    "g_lst": [0.0, 10.0, 25.0],
    "nu_mean_lst": [0.1, 0.06, 0.05],
    "nu_std_lst": [0.02, 0.01, 0.005],
}
PROGRAMME = [[0.0, 2.0, 0.0, 14.5, 25.0], [25.0, 14.5, 0.0, 2.0, 0.0]]

CONVERTERS = [
    SinglePairConductanceConverter(),
    SinglePairConductanceConverter(20.0, 5.0),
    DualPairConductanceConverter([1.0, 3.0], 20.0, 5.0),
    NPairConductanceConverter([1.0, 2.0, 3.0]),
    CustomPairConductanceConverter([1.0], PROGRAMME),
    SingleDeviceConductanceConverter(),
    FusionConductanceConverter(30.0),
]
# A model, and which of its draws reads take, of several.
MODELS = [
    (PCMLikeNoiseModel(), 0),
    (PCMLikeNoiseModel([0.1, 0.5], SinglePairConductanceConverter(40.0), t_0=30.0, t_read=1e-6), 0),
    (PCMLikeNoiseModel(prog_noise_scale=0.5, read_noise_scale=2.0, drift_scale=1.5), 0),
    (CustomDriftPCMLikeNoiseModel(TABLES), 0),
    (HermesNoiseModel(), 0),
    (HermesNoiseModel(num_devices=1), 0),
    (StateIndependentNoiseModel(), 0),
    (StateIndependentNoiseModel(prog_coeff=[0.1, 0.2], drift_nu_mean=0.05, drift_nu_std=0.01), 0),
    (ReRamWan2022NoiseModel(), 0),
    (ReRamWan2022NoiseModel(noise_scale=2.0, coeff_g_max_reference=40.0), 0),
    (ReRamCMONoiseModel(read_noise_scale=0.0), 0),
    (ReRamCMONoiseModel(drift_scale=0.0, acceptance_range=2.0), 1),
]
COMPENSATIONS = [
    GlobalDriftCompensation(),
    GlobalDriftCompensationWithExactReference(),
    PerColumnDriftCompensation(),
]


def numbers(values: Tensor) -> list[float]:
    """Return values of float32, each as short as it can be read back."""
    return [float(str(value)) for value in values.flatten().numpy()]


def drawn(value: float, formula: Callable[[], Tensor]) -> list[float]:
    """Return what a formula gives if all of its draws have one value."""
    with mock.patch("torch.randn_like", lambda like: torch.full_like(like, value)):
        return numbers(formula())


def converter(g_converter: Any) -> dict[str, Any]:
    """Return what a conversion makes of some weights, there and back."""
    weights = torch.tensor([[0.5, -0.25, 0.125], [0.1, -1.0, 0.0], [0.0, 0.75, 0.3]])
    conductances, params = g_converter.convert_to_conductances(weights)
    changed = [1.05 * g + 0.1 for g in conductances]
    back = g_converter.convert_back_to_weights(changed, params)
    return {
        "config": json.loads(g_converter.to_json()),
        "weights": numbers(weights),
        "columns": 3,
        "conductances": [numbers(g) for g in conductances],
        "changed": [numbers(g) for g in changed],
        "back": numbers(back),
    }


def model(noise: Any, which: int) -> dict[str, Any]:
    """Return the formulas of a model at some conductances, for draws of 0 and of 1."""
    is_bounded = isinstance(noise, ReRamCMONoiseModel)
    low, high = (15.0, 80.0) if is_bounded else (0.0, noise.g_max)
    g = torch.linspace(low, high, 13)
    times = list(noise.coeff_dic) if isinstance(noise, ReRamWan2022NoiseModel) else TIMES
    with mock.patch("torch.randn_like", torch.zeros_like):
        parameters = noise.generate_drift_coefficients(g)
    entry = {
        "config": json.loads(noise.to_json()),
        "which": which,
        "range": [noise.g_min, noise.g_max] if is_bounded else [0.0, 1e30],
        "g": numbers(g),
        "programmed": [
            drawn(xi, lambda: noise.apply_programming_noise_to_conductance(g)) for xi in (0, 1)
        ],
        "parameters": []
        if parameters is None
        else [drawn(xi, lambda: noise.generate_drift_coefficients(g)) for xi in (0, 1)],
        "times": times,
        "read": [],
    }
    for t in times:
        entry["read"].append(
            [
                drawn(xi, lambda: noise.apply_drift_noise_to_conductance(g, parameters, t))  # noqa: B023
                for xi in (0, 1)
            ]
        )
    return entry


def compensation(kind: Any) -> dict[str, Any]:
    """Return what a compensation makes of some outputs."""
    outputs = torch.tensor([[0.5, -0.25], [0.1, -1.0], [1e-9, 0.75]])
    tiny = torch.zeros(3, 2)
    baseline = kind.readout(2 * outputs)
    return {
        "config": json.loads(kind.to_json()),
        "outputs": numbers(outputs),
        "out_size": 2,
        "readout": numbers(kind.readout(outputs)),
        "of_zeros": numbers(kind.readout(tiny)),
        "factor": numbers(kind.apply(outputs, baseline)),
    }


def tables_of(name: str) -> Any:
    """Return a module with the tables of a test of the package."""
    spec = importlib.util.spec_from_file_location(name, TESTS / "inference" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def statistics() -> list[dict[str, Any]]:
    """Return means and spreads of conductances with their standard errors."""
    module = tables_of("test_noise_statistics")
    return [
        {
            "config": json.loads(noise.to_json()),
            "columns": columns,
            "rows": [[g, [module.parse(cell) for cell in row.split()]] for g, row in rows.items()],
        }
        for noise, columns, rows in module.TABLES
    ]


def weight_statistics() -> list[dict[str, Any]]:
    """Return means and spreads of the weights of a tile, and factors of the compensation."""
    module = tables_of("test_weight_statistics")
    found = [
        {
            "config": json.loads(noise.to_json()),
            "compensation": json.loads(GlobalDriftCompensation().to_json()),
            "scale": scale,
            "rows": [
                [level, [module.values(cell.replace("/", " ")) for cell in row.split()]]
                for level, row in rows.items()
            ],
            "factors": module.values(factors),
        }
        for noise, scale, rows, factors in module.TABLES
    ]
    for kind, factors in module.FACTORS.items():
        entry = {"compensation": json.loads(kind().to_json()), "rows": []}
        found.append({**found[0], **entry, "factors": module.values(factors)})
    return found


def configurations() -> list[str]:
    """Return saved configurations of inference tiles."""
    modifier = WeightModifierParameter(type=WeightModifierType.PCM_NOISE, std_dev=0.1)
    configs = [
        StandardHWATrainingPreset(),
        TorchInferenceRPUConfig(),
        InferenceRPUConfig(noise_model=ReRamCMONoiseModel(), drift_compensation=None),
        InferenceRPUConfig(noise_model=HermesNoiseModel(), modifier=modifier),
    ]
    return [config.to_json() for config in configs]


def content() -> dict[str, Any]:
    """Return the whole content of the file."""
    return {
        "converters": [converter(g_converter) for g_converter in CONVERTERS],
        "models": [model(noise, which) for noise, which in MODELS],
        "compensations": [compensation(kind) for kind in COMPENSATIONS],
        "statistics": statistics(),
        "weight_statistics": weight_statistics(),
        "configurations": configurations(),
    }


if __name__ == "__main__":
    # One entry per line keeps changes readable.
    groups = (
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]"
        for name, entries in content().items()
    )
    TARGET.write_text("{\n" + ",\n".join(groups) + "\n}\n")
