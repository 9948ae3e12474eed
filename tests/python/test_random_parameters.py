"""Random bad parameters give an error that names a field, or a tile that works; never a panic."""

import json
import math
import random
from typing import Any

import pytest
import torch

from mho import _core
from mho.exceptions import ConfigError, InternalError
from mho.simulator.configs import SingleRPUConfig

GROUPS = ("forward", "backward", "update", "device")
VALUES: list[Any] = [
    0, 1, -1, 2, 7, 0.5, -0.3, 1e-9, 1e9, -1e9, 1e30, -1e30, 1e38, 1e39, 1e300, -1e300, 5e-324,
    None, True, False, "", "None", "AbsMax", "Iterative", "Max", "OnePass", "PosNegSeparate",
    "PosNegSeparateDigitalSum", "AverageAbsMax", "AbsMaxNPSum", "Constant", "PCMRead",
    "AdditiveConstant", "Shift", "BitWise", "MeanCount", "NoneWithDevice", "Stochastic", "x",
    [], [1.0], {}, {"nu": 1}, 2**31, 2**63, -(2**63), 2**64, 10**30,
]  # fmt: skip


def fields_of(wire: dict[str, Any], group: str) -> dict[str, Any]:
    """Return the dictionary in which a random field of a group is changed."""
    if group != "device":
        return wire[group]
    return wire["device"]["params"]["pulsed"]


def mutate(wire: dict[str, Any], dice: random.Random) -> list[str]:
    """Change a few fields in place and return their names."""
    names = []
    for _ in range(dice.randint(1, 4)):
        fields = fields_of(wire, dice.choice(GROUPS))
        name = dice.choice(list(fields)) if dice.random() < 0.97 else "no_such_field"
        fields[name] = dice.choice(VALUES) if dice.random() < 0.8 else dice.gauss(0, 10)
        names.append(name)
    return names


def use(spec: _core.TileSpec, x: torch.Tensor, d: torch.Tensor) -> None:
    """Run every verb of the core once."""
    weight = torch.full((3, 4), 0.1)
    seed, calls, one = torch.tensor([5]), torch.tensor([1]), 1
    hidden = {
        name: torch.frombuffer(plane, dtype=torch.float32).view(3, 4)
        for name, plane in spec.construct(1).items()
        if not isinstance(plane, float)
    }
    y, g = torch.empty(2, 3), torch.empty(2, 4)
    for backward, given, out in ((False, x, y), (True, d, g)):
        drawn = spec.construct_lines(backward, 1)
        lines = {k: torch.frombuffer(v, dtype=torch.float32) for k, v in drawn.items()}
        _core.mvm(spec, backward, given, weight, out, seed, one, False, None, lines)
    _core.update(spec, weight, hidden, x, d, 0.01, seed, calls)


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_thousands_of_parameter_sets(count: int) -> None:
    """Wrong types, impossible, huge and tiny values in any field of the core's configuration."""
    dice = random.Random(20240501)
    text = SingleRPUConfig().core_json()
    x, d = torch.tensor([[0.3, -2.0, 0.0, 1.0], [0.0] * 4]), torch.tensor([[0.2, -0.1, 0.0]] * 2)
    working = 0
    for trial in range(count):
        wire = json.loads(text)
        names = mutate(wire, dice)
        try:
            spec = _core.TileSpec(json.dumps(wire), 3, 4)
        except ConfigError as error:
            assert any(name in str(error) for name in names), (trial, names, str(error))
            continue
        working += 1
        if working % 4 == 0:
            try:
                use(spec, x, d)
            except ConfigError as error:  # of numbers that follow from the draws
                assert "beyond float32" in str(error), (trial, names)
    # Both outcomes have to occur often for the test to say anything.
    assert 0.05 * count < working < 0.95 * count


@pytest.mark.parametrize("group", ["forward", "backward", "update", "device"])
def test_bad_values_in_the_dataclasses(group: str) -> None:
    """The same through the Python configuration, with NaN and infinities."""
    dice = random.Random(7)
    odd: list[Any] = [*VALUES, math.nan, math.inf, -math.inf, object(), torch.tensor(1.0)]
    for _ in range(500):
        config = SingleRPUConfig()
        fields = [name for name in vars(getattr(config, group)) if not name.startswith("_")]
        name = dice.choice(fields)
        setattr(getattr(config, group), name, dice.choice(odd))
        try:
            tile = config.create_tile(3, 4)
        except ConfigError as error:
            assert name in str(error)
            continue
        try:
            tile(torch.tensor([[0.3, -2.0, 0.0, 1.0]]))
        except InternalError as error:  # pragma: no cover - what the test is for
            pytest.fail(f"{group}.{name}: {error}")
