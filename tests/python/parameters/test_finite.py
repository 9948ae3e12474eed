"""The test for NaN and infinities, in the core where it can be."""

import math

import pytest
import torch
from torch import Tensor

from mho.simulator.parameters.finite import all_finite

LARGEST = torch.finfo(torch.float32).max
VIEWS = {
    "contiguous": torch.full((70, 3000), LARGEST),
    "transposed": torch.full((70, 30), LARGEST).t(),
    "part": torch.full((70, 30), LARGEST)[:, 3:9],
    "expanded": torch.full((1, 30), LARGEST).expand(5, 30),
    "one": torch.full((), -LARGEST),
    "double": torch.full((7,), 1e300, dtype=torch.float64),
    "half": torch.full((7,), 6e4, dtype=torch.float16),
    "parameter": torch.nn.Parameter(torch.ones(7)),
}


@pytest.mark.parametrize("value", VIEWS.values(), ids=VIEWS)
def test_large_values_are_finite_and_the_last_one_tells(value: Tensor) -> None:
    assert all_finite(value)
    for bad in (math.nan, math.inf, -math.inf):
        changed = value.detach().clone(memory_format=torch.preserve_format)
        changed.view(-1)[-1:].fill_(bad) if changed.is_contiguous() else changed[-1].fill_(bad)
        assert not all_finite(changed)


def test_infinities_that_would_cancel_in_a_sum_are_seen() -> None:
    assert not all_finite(torch.tensor([math.inf, -math.inf]))


def test_nothing_and_whole_numbers_are_finite() -> None:
    assert all_finite(torch.empty(0)) and all_finite(torch.empty(0, 3))
    assert all_finite(torch.ones(3, dtype=torch.int64))


def test_values_that_are_negated_lazily() -> None:
    value = torch.complex(torch.ones(3), torch.full((3,), math.inf)).conj()
    assert value.imag.is_neg()
    assert not all_finite(value.imag) and all_finite(value.real)


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_values_that_the_core_cannot_read(bad: float) -> None:
    values = torch.ones(9)
    values[4] = bad
    content = bytearray(3) + values.numpy().tobytes()
    found = torch.frombuffer(content, dtype=torch.float32, offset=3)
    assert found.data_ptr() % 4 != 0
    assert all_finite(found) == math.isfinite(bad)
    assert torch.func.grad(lambda v: v.sum() * all_finite(v))(values).all() == math.isfinite(bad)


def test_one_bad_value_tells_among_all_tensors() -> None:
    """Tensors that the core reads and others may be mixed."""
    values = list(VIEWS.values())
    assert all_finite(*values) and all_finite()
    for at in range(len(values)):
        bad = values[at].detach().clone(memory_format=torch.contiguous_format)
        bad.view(-1)[-1:].fill_(math.nan)
        assert not all_finite(*values[:at], bad, *values[at + 1 :])
