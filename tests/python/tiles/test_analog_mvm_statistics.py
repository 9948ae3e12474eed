"""Means and standard deviations of the analog product of torch tiles."""

import math

import pytest
import torch
from torch import Tensor

from mho.exceptions import (
    ConfigError,
)
from mho.simulator.configs import (
    IOParameters,
)
from mho.simulator.tiles.analog_mvm import AnalogMVM
from torch_tiles import BM, NM, ideal
from torch_tiles import W as SMALL

# Statistics: N equal rows; the standard error of a standard deviation is sigma / sqrt(2 N) = 0.5 %,
# so 2.5 % are five of them, and five standard errors of a mean are 5 sigma / sqrt(N).

ROWS = 20000
POINT = torch.tensor([0.6, -0.8])


def samples(
    io: IOParameters, weight: Tensor = SMALL, x: Tensor = POINT, **kwargs: Tensor
) -> Tensor:
    """Return outputs of many equal rows."""
    torch.manual_seed(20)
    return AnalogMVM.matmul(weight, x.expand(ROWS, -1), io, **kwargs)


def check_statistics(y: Tensor, mean: Tensor, std: Tensor) -> None:
    """Compare mean and standard deviation of every output."""
    torch.testing.assert_close(y.std(0), std, rtol=0.025, atol=0)
    assert ((y.mean(0) - mean).abs() <= 5 * std / math.sqrt(ROWS)).all()


EXACT = SMALL @ POINT
MANAGED = {"inp_bound": 1.0, "noise_management": NM.ABS_MAX}


@pytest.mark.parametrize(
    ("io", "factor", "std"),
    [
        (ideal(out_noise=0.06), 1.0, 0.06),
        (ideal(out_noise=0.06, **MANAGED), 1.0, 0.06 * 0.8),
        (ideal(out_noise=0.06, **MANAGED, out_scale=2.0), 2.0, 0.06 * 0.8 * 2.0),
    ],
)
def test_output_noise(io: IOParameters, factor: float, std: float) -> None:
    """Output noise grows with the scale of the input and with `out_scale`."""
    check_statistics(samples(io), factor * EXACT, torch.full((2,), std))


@pytest.mark.parametrize("changes", [{}, {**MANAGED}])
def test_input_noise(changes: dict[str, object]) -> None:
    """Input noise is common to all outputs of a row; a zero row has it too."""
    x = torch.zeros(2) if changes else POINT
    y = samples(ideal(inp_noise=0.1, **changes), x=x)
    check_statistics(y, SMALL @ x, 0.1 * SMALL.norm(dim=1))
    covariance = torch.cov(y.T)[0, 1]
    expected = 0.01 * (SMALL @ SMALL.T)[0, 1]
    # Standard error of a covariance: sqrt((s1^2 s2^2 + cov^2) / N).
    s1, s2 = 0.1 * SMALL.norm(dim=1)
    error = torch.sqrt(((s1 * s2) ** 2 + expected**2) / ROWS)
    assert abs(covariance - expected) < 5 * error


def test_stochastic_rounding() -> None:
    """Rounding up has the probability of the remainder."""
    io = ideal(inp_bound=1.0, inp_res=20, inp_sto_round=True)
    x, fraction = torch.tensor([0.537]), 0.37
    std = torch.tensor([0.1 * math.sqrt(fraction * (1 - fraction))])
    check_statistics(samples(io, torch.ones(1, 1), x), x, std)
    io = ideal(out_bound=1.0, out_res=20, out_sto_round=True)
    check_statistics(samples(io, torch.ones(1, 1), x), x, std)


def test_quantization_error() -> None:
    """The error of a quantiser is uniform over a step."""
    torch.manual_seed(21)
    x = (2 * torch.rand(ROWS, 1) - 1) * 0.95
    error = AnalogMVM.matmul(torch.ones(1, 1), x, ideal(out_bound=1.0, out_res=20)) - x
    # The standard error of the standard deviation of a uniform number is sigma / sqrt(5 N) = 0.3 %.
    torch.testing.assert_close(error.std(), torch.tensor(0.1 / math.sqrt(12)), rtol=0.015, atol=0)
    assert abs(error.mean()) < 5 * 0.1 / math.sqrt(12) / math.sqrt(ROWS)


@pytest.mark.parametrize("shape", [(ROWS, 2), (10, ROWS // 10, 2)])
def test_noise_per_line(shape: tuple[int, ...]) -> None:
    """The spread of output noise follows the last axis of inputs of any rank."""
    io = ideal(out_noise=0.06, out_noise_std=0.3)
    values = torch.tensor([0.02, 0.1])
    torch.manual_seed(22)
    y = AnalogMVM.matmul(SMALL, POINT.expand(shape), io, out_noise_values=values)
    check_statistics(y.reshape(-1, 2), EXACT, values)


def test_noise_per_line_needs_values() -> None:
    """The spread is fixed per tile, so that its values must be given."""
    with pytest.raises(ConfigError, match="out_noise_std"):
        AnalogMVM.matmul(SMALL, POINT, ideal(out_noise_std=0.3))


def test_bound_management_keeps_rows_that_fit() -> None:
    """A row beside one that is redone keeps its small noise."""
    io = ideal(out_bound=1.0, out_noise=0.01, bound_management=BM.ITERATIVE)
    torch.manual_seed(23)
    x = torch.tensor([[0.5], [3.0]]).repeat(ROWS, 1)
    y = AnalogMVM.matmul(torch.ones(1, 1), x, io).reshape(ROWS, 2)
    check_statistics(y, torch.tensor([0.5, 3.0]), torch.tensor([0.01, 0.04]))


def test_seed() -> None:
    """torch's seed makes the product reproducible; calls differ from each other."""
    io = IOParameters(inp_sto_round=True, inp_noise=0.1)
    torch.manual_seed(3)
    first, second = AnalogMVM.matmul(SMALL, POINT, io), AnalogMVM.matmul(SMALL, POINT, io)
    torch.manual_seed(3)
    assert torch.equal(AnalogMVM.matmul(SMALL, POINT, io), first)
    assert not torch.equal(first, second)


def test_compiled_has_the_distribution_of_eager() -> None:
    """With noise and bound management a captured graph has mean and standard deviation of eager."""
    io = ideal(out_bound=0.5, out_noise=0.02, bound_management=BM.ITERATIVE, **MANAGED)
    compiled = torch.compile(AnalogMVM.matmul, fullgraph=True, backend="aot_eager")
    torch.manual_seed(24)
    x = POINT.expand(ROWS, -1)
    eager, captured = AnalogMVM.matmul(SMALL, x, io), compiled(SMALL, x, io)
    # Both sides have a sampling error, hence sqrt(2).
    torch.testing.assert_close(captured.std(0), eager.std(0), rtol=0.025 * math.sqrt(2), atol=0)
    limit = 5 * math.sqrt(2) * eager.std(0) / math.sqrt(ROWS)
    assert ((captured.mean(0) - eager.mean(0)).abs() < limit).all()
    assert not torch.equal(compiled(SMALL, x, io), captured)
