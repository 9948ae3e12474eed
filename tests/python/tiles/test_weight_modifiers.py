"""Closed forms of all weight modifiers, on tiles of the core and on those that compute in torch."""

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.exceptions import ConfigError
from mho.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
from mho.simulator.parameters.enums import RPUDataType, WeightModifierType
from mho.simulator.parameters.inference import WeightModifierParameter
from mho.simulator.parts import modified_weights

T = WeightModifierType
PCM = [0.26348, 1.9650, -1.1731]


def _matrix() -> Tensor:
    """Return 200 x 500 weights between -0.5 and 0.5, the largest of them 0.5."""
    weight = torch.empty(200, 500).uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(1))
    weight[3, 4] = 0.5
    return weight


B = _matrix()


def core(weight: Tensor, **changes: Any) -> Tensor:
    """Return what a step of a tile of the core makes of raw weights."""
    torch.manual_seed(2)
    config = InferenceRPUConfig(modifier=WeightModifierParameter(**changes))
    tile = config.create_tile(*weight.shape)
    tile.tile.set_weights(weight)
    tile.post_update_step()
    assert torch.equal(tile.tile.get_weights(), weight)
    result: Tensor = tile.get_modified_weights()[0]
    return result


def in_torch(weight: Tensor, **changes: Any) -> Tensor:
    """Return what a pass of a tile in torch makes of raw weights."""
    torch.manual_seed(2)
    config = TorchInferenceRPUConfig(modifier=WeightModifierParameter(**changes))
    tile = config.create_tile(*weight.shape)
    tile.tile.set_weights(weight)
    tile(torch.zeros(1, weight.shape[1]))
    assert torch.equal(tile.tile.get_weights(), weight)
    result: Tensor = tile.get_modified_weights()[0]
    return result


ENGINES = [core, in_torch]

STRENGTHS: dict[WeightModifierType, dict[str, Any]] = {
    T.NONE: {},
    T.DISCRETIZE: {"res": 0.1},
    T.MULT_NORMAL: {"std_dev": 0.1},
    T.ADD_NORMAL: {"std_dev": 0.1},
    T.DISCRETIZE_ADD_NORMAL: {"std_dev": 0.1, "res": 0.5},
    T.DOREFA: {"res": 0.1},
    T.POLY: {"std_dev": 1.0},
    T.PCM_NOISE: {"std_dev": 1.0},
    T.PROG_NOISE: {"std_dev": 1.0, "coeffs": PCM},
    T.DROP_CONNECT: {"pdrop": 0.2},
    T.COPY: {"pdrop": 0.2},
}
"""Each kind, with strengths with which it acts."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", list(T))
def test_every_kind_acts(engine: Any, kind: WeightModifierType) -> None:
    found = engine(B, type=kind, **STRENGTHS[kind])
    assert torch.isfinite(found).all()
    assert torch.equal(found, B) == (kind is T.NONE)


def assert_normal(values: Tensor) -> None:
    """Check mean, variance and fourth moment of independent standard normal numbers."""
    count = values.numel()
    values = values.double().flatten()
    # Five standard errors: of the mean, of the variance (2) and of the fourth moment (96).
    assert abs(float(values.mean())) < 5.0 * count**-0.5
    assert abs(float(values.square().mean()) - 1.0) < 5.0 * (2.0 / count) ** 0.5
    assert abs(float(values.pow(4).mean()) - 3.0) < 5.0 * (96.0 / count) ** 0.5


LARGE = B.abs() > 0.05
"""Weights whose relative change does not lose its digits."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("relative", "wmax"), [(True, 0.5), (False, 1.5)])
def test_normal_noise(engine: Any, relative: bool, wmax: float) -> None:
    size = {"rel_to_actual_wmax": relative, "assumed_wmax": 1.5}
    added = engine(B, type=T.ADD_NORMAL, std_dev=0.1, **size)
    assert_normal((added - B) / (0.1 * wmax))
    multiplied = engine(B, type=T.MULT_NORMAL, std_dev=0.1, **size)
    strength = 0.1 if engine is in_torch else 0.1 * wmax
    assert_normal(((multiplied - B) / B / strength)[LARGE])


@pytest.mark.filterwarnings("ignore:modifier.res")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("res", [0.1, 10.0])
def test_levels(engine: Any, res: float) -> None:
    """Of a `res` above one only torch tiles make a number of levels."""
    found = engine(B, type=T.DISCRETIZE, res=res)
    if engine is in_torch:
        step = 2.0 * 0.1 * 0.5
    else:
        step = res * 0.5
    assert float((found - B).abs().max()) <= 0.5 * step * (1.0 + 1e-6)
    torch.testing.assert_close(found, torch.round(found / step) * step, rtol=1e-6, atol=0.0)
    assert len(found.unique()) == (1 if engine is core and res == 10.0 else round(1.0 / step) + 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_stochastic_levels(engine: Any) -> None:
    found = engine(B, type=T.DISCRETIZE, res=0.25 if engine is in_torch else 0.5, sto_round=True)
    assert sorted(found.unique().tolist()) == [-0.5, -0.25, 0.0, 0.25, 0.5]
    error = found - B
    assert float(error.abs().max()) <= 0.25
    assert abs(float(error.mean())) < 5.0 * float(error.std()) * B.numel() ** -0.5
    # The variance of a level at random is that of the distances to both.
    part = B / 0.25 - torch.floor(B / 0.25)
    expected = float((part * (1.0 - part)).double().mean()) * 0.25**2
    # Squares of at most 0.25 vary by less than 0.25^4 / 4.
    limit = 5.0 * 0.25**2 / 2.0 * B.numel() ** -0.5
    assert abs(float(error.double().square().mean()) - expected) < limit


def test_ties() -> None:
    """The core rounds half-way points away from zero, torch tiles to even ones."""
    ties = torch.tensor([[1.0, 0.25, -0.25, 0.75]])
    assert core(ties, type=T.DISCRETIZE, res=0.5).tolist() == [[1.0, 0.5, -0.5, 1.0]]
    assert in_torch(ties, type=T.DISCRETIZE, res=0.25).tolist() == [[1.0, 0.0, 0.0, 1.0]]


@pytest.mark.parametrize("engine", ENGINES)
def test_levels_with_noise(engine: Any) -> None:
    """Where it does not round it is `ADD_NORMAL`, where it adds nothing `DISCRETIZE`."""
    res = 0.25 if engine is in_torch else 0.5
    found = engine(B, type=T.DISCRETIZE_ADD_NORMAL, std_dev=0.1, res=res)
    assert_normal((found - 0.25 * torch.round(B / 0.25)) / 0.05)
    without = engine(B, type=T.DISCRETIZE_ADD_NORMAL, std_dev=0.1, res=0.0)
    assert_normal((without - B) / 0.05)
    plain = engine(B, type=T.DISCRETIZE_ADD_NORMAL, std_dev=0.0, res=res)
    assert torch.equal(plain, engine(B, type=T.DISCRETIZE, res=res))


@pytest.mark.parametrize("engine", ENGINES)
def test_dorefa(engine: Any) -> None:
    scaled = torch.tanh(B.double()) * (0.6 / torch.tanh(torch.tensor(0.5, dtype=torch.float64)))
    ticks = scaled / 0.1
    found = engine(B, type=T.DOREFA, res=0.1)
    # Where float32 may take the other level.
    clear = ((ticks - ticks.floor()) - 0.5).abs() > 1e-5
    torch.testing.assert_close(found[clear], (0.1 * torch.round(ticks)).float()[clear])
    assert len(found.unique()) == 13 and int((~clear).sum()) < 20
    # Its own range, and a number of levels in torch tiles.
    wide = engine(B, type=T.DOREFA, res=0.1, dorefa_clip=-0.9)
    assert float(wide.abs().max()) == pytest.approx(0.9, abs=1e-6)
    if engine is in_torch:
        assert torch.equal(engine(B, type=T.DOREFA, res=10.0), found)


@pytest.mark.parametrize("engine", ENGINES)
def test_dorefa_of_tiny_weights_is_finite(engine: Any) -> None:
    assert bool(engine(1e-40 * B, type=T.DOREFA, res=0.1).isfinite().all())


@pytest.mark.parametrize("engine", ENGINES)
def test_polynomial_noise(engine: Any) -> None:
    a = B.abs() / 0.5
    found = engine(B, type=T.POLY, std_dev=1.0, coeffs=[0.1, 0.2, -0.05])
    assert_normal((found - B) / (0.5 * (0.1 + 0.2 * a - 0.05 * a**2)))
    # The default polynomial is in units of wmax.
    default = engine(B, type=T.POLY, std_dev=2.0)
    strength = 0.0105392 + 0.0768 * a - 0.046925 * a**2
    assert_normal((default - B) / (2.0 * 0.5 * strength))


@pytest.mark.parametrize("engine", ENGINES)
def test_programming_noise(engine: Any) -> None:
    a = B.abs() / 0.5
    sigma = 0.5 * (PCM[0] + PCM[1] * a + PCM[2] * a**2) / 25.0
    found = engine(B, type=T.PROG_NOISE, std_dev=1.0, coeffs=PCM)
    assert not ((found < 0.0) != (B < 0.0)).any()
    # Beyond five standard deviations from zero nothing is folded.
    far = B.abs() > 5.0 * sigma
    assert int(far.sum()) > 50_000
    assert_normal(((found - B) / sigma)[far])
    # Folded at zero: E|n| = sigma sqrt(2 / pi), all weights at zero but one that sets wmax.
    zeros = torch.zeros(200, 500)
    zeros[0, 0] = 0.5
    folded = engine(zeros, type=T.PROG_NOISE, std_dev=1.0, coeffs=[1.0]).flatten()[1:]
    assert float(folded.min()) >= 0.0
    assert float(folded.mean()) == pytest.approx(0.02 * 0.797885, rel=5.0 * 0.756 / 316.0)
    # Default coefficients are meant for POLY: here the noise is 25 times as small.
    weak = engine(B, type=T.PROG_NOISE, std_dev=1.0)
    strength = 0.5 * (0.0105392 + 0.0768 * a - 0.046925 * a**2) / 25.0
    assert_normal(((weak - B) / strength)[B.abs() > 0.1])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [kind for kind in T if kind is not T.NONE])
def test_dropped_connections(engine: Any, kind: WeightModifierType) -> None:
    weight = torch.full((200, 500), 0.3)
    weight[0, 0] = 0.5
    strengths = {**STRENGTHS[kind], "pdrop": 0.2}
    if kind in (T.DISCRETIZE, T.DISCRETIZE_ADD_NORMAL):
        strengths["res"] = 0.01
    zeros = int((engine(weight, type=kind, **strengths) == 0.0).sum())
    assert abs(zeros - 20_000) < 5.0 * (1e5 * 0.2 * 0.8) ** 0.5


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_type_nothing_acts(engine: Any) -> None:
    assert torch.equal(engine(B, type=T.NONE, pdrop=0.5, std_dev=1.0, res=0.5), B)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("kind", "strengths"),
    [
        (T.DISCRETIZE, {"res": -0.5, "std_dev": 1.0}),
        (T.DOREFA, {"res": 0.0, "std_dev": 1.0}),
        (T.MULT_NORMAL, {"std_dev": -1.0, "res": 0.5}),
        (T.ADD_NORMAL, {"std_dev": 0.0, "res": 0.5}),
        (T.DISCRETIZE_ADD_NORMAL, {"std_dev": -1.0, "res": -1.0}),
        (T.POLY, {"std_dev": 0.0}),
        (T.POLY, {"std_dev": 1.0, "coeffs": []}),
        (T.PROG_NOISE, {"std_dev": -1.0}),
        (T.PROG_NOISE, {"std_dev": 1.0, "coeffs": []}),
        (T.COPY, {"std_dev": 1.0, "res": 0.5}),
        (T.DROP_CONNECT, {"std_dev": 1.0, "res": 0.5}),
    ],
)
def test_strengths_of_zero_or_less_do_nothing(
    engine: Any, kind: WeightModifierType, strengths: dict[str, Any]
) -> None:
    assert torch.equal(engine(B, type=kind, **strengths), B)
    # But for what pdrop does.
    dropped = engine(B, type=kind, **strengths, pdrop=0.5)
    assert torch.equal(dropped[dropped != 0.0], B[dropped != 0.0])
    assert 49_000 < int((dropped == 0.0).sum()) < 51_000


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [kind for kind in T if kind is not T.NONE])
def test_the_last_column_may_stay(engine: Any, kind: WeightModifierType) -> None:
    """It does not count for the largest weight either, where the others tell of that."""
    weight = B.clone()
    weight[:, -1] = 5.0
    strengths = {**STRENGTHS[kind], "pdrop": 0.2, "type": kind, "copy_last_column": True}
    found = engine(weight, **strengths)
    assert torch.equal(found[:, -1], weight[:, -1])
    assert float(found[:, :-1].abs().max()) < 1.5
    added = engine(weight, type=T.ADD_NORMAL, std_dev=0.1, copy_last_column=True)
    assert_normal((added - weight)[:, :-1] / 0.05)


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_of_zero(engine: Any) -> None:
    """The largest weight counts as one then, that of no column at all too."""
    zeros = torch.zeros(200, 500)
    assert_normal(engine(zeros, type=T.ADD_NORMAL, std_dev=0.1) / 0.1)
    column = torch.full((200, 1), 0.3)
    kept = engine(column, type=T.ADD_NORMAL, std_dev=0.1, copy_last_column=True)
    assert torch.equal(kept, column)


PCM_TABLE = {
    0.0: [(4.999, 0.803), (10.0, 1.09), (15.002, 1.277), (19.999, 1.377), (25.001, 1.402)],
    3600.0: [(4.719, 0.853), (9.676, 1.138), (14.516, 1.349), (19.353, 1.489), (24.19, 1.56)],
    86400.0: [(4.561, 0.894), (9.489, 1.186), (14.233, 1.428), (18.973, 1.609), (23.715, 1.736)],
}
"""Mean and standard deviation in microsiemens of the conductances 5, 10, 15, 20 and 25, of 10^6
samples each with standard errors of at most 0.002."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("time", PCM_TABLE)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_phase_change_memory(engine: Any, time: float, sign: float) -> None:
    targets = torch.tensor([5.0, 10.0, 15.0, 20.0, 25.0]).reshape(5, 1)
    weight = sign * (targets / 25.0).expand(5, 200_000).contiguous()
    found = sign * 25.0 * engine(weight, type=T.PCM_NOISE, std_dev=1.0, pcm_t_inference=time)
    assert float(found.min()) >= 0.0
    for values, (mean, spread) in zip(found.double(), PCM_TABLE[time], strict=True):
        # Five standard errors of the table, of these samples, and half a digit.
        error = 5.0 * (0.002**2 + spread**2 / 200_000) ** 0.5 + 0.0005
        assert abs(float(values.mean()) - mean) < error
        assert abs(float(values.std()) - spread) < error


@pytest.mark.parametrize("engine", ENGINES)
def test_noise_of_phase_change_memory_alone(engine: Any) -> None:
    """Programming noise alone at the time of zero; nothing without noise, but clipped weights."""
    pcm = {"type": T.PCM_NOISE, "pcm_t_inference": -20.0}
    found = engine(B, std_dev=0.1, **pcm)
    a = B.abs() / 0.5
    sigma = 0.1 * 0.5 / 25.0 * (PCM[0] + PCM[1] * a + PCM[2] * a**2)
    far = B.abs() > 5.0 * sigma
    assert_normal(((found - B) / sigma)[far])
    exact = engine(B, std_dev=0.0, **pcm)
    torch.testing.assert_close(exact, B, rtol=1e-6, atol=0.0)
    clipped = engine(B, std_dev=0.0, rel_to_actual_wmax=False, assumed_wmax=0.2, **pcm)
    torch.testing.assert_close(clipped, B.clamp(-0.2, 0.2), rtol=1e-6, atol=0.0)
    # Half of a read has no noise yet.
    early = engine(B, std_dev=1e-6, type=T.PCM_NOISE, pcm_t_inference=1e-7 - 20.0)
    torch.testing.assert_close(early, B, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_stuck_devices(engine: Any) -> None:
    pcm = {"type": T.PCM_NOISE, "std_dev": 0.0, "pcm_t_inference": 0.0}
    weight = torch.full((200, 500), 0.4)
    weight[:, 1::2] = -0.4
    weight[0, 0] = 1.0
    rest = torch.ones_like(weight, dtype=torch.bool)
    rest[0, 0] = False

    def share(condition: Tensor, expected: float) -> bool:
        count = int(rest.sum())
        limit = 5.0 * (count * expected * (1.0 - expected)) ** 0.5
        return abs(int((condition & rest).sum()) - count * expected) < limit

    reset = engine(weight, pcm_prob_at_reset=0.1, **pcm)
    assert share(reset == 0.0, 0.1)
    # 0.4 + 1 is clipped to 1, 0.4 - 1 has the size 0.6; the sign stays.
    full = engine(weight, pcm_prob_at_gmax=0.1, **pcm)
    assert share((full - weight.sign()).abs() < 1e-6, 0.05)
    assert share((full - 0.6 * weight.sign()).abs() < 1e-6, 0.05)
    anywhere = engine(weight, pcm_prob_at_random=0.2, **pcm)
    stuck = rest & ((anywhere - weight).abs() > 1e-6)
    assert share(stuck, 0.2)
    sizes = anywhere[stuck] * weight[stuck].sign()
    # Uniform in (0, 1]: mean 1/2, variance 1/12.
    assert float(sizes.min()) > 0.0 and float(sizes.max()) <= 1.0
    assert abs(float(sizes.mean()) - 0.5) < 5.0 * (1.0 / 12.0 / len(sizes)) ** 0.5


@pytest.mark.parametrize("engine", ENGINES)
def test_small_conductances_may_be_zero(engine: Any) -> None:
    found = engine(B, type=T.PCM_NOISE, std_dev=1.0, pcm_zero_thres=2.0)
    # 2 times 0.26348 of 25 microsiemens.
    small = B.abs() * 50.0 <= 2.0 * 0.26348
    assert torch.equal(found == 0.0, small)


# Fields

NEEDED: dict[str, tuple[WeightModifierType, dict[str, Any], Any]] = {
    "std_dev": (T.ADD_NORMAL, {"std_dev": 0.1}, 0.2),
    "res": (T.DISCRETIZE, {"res": 0.1}, 0.2),
    "sto_round": (T.DISCRETIZE, {"res": 0.5}, True),
    "dorefa_clip": (T.DOREFA, {"res": 0.1}, 0.8),
    "pdrop": (T.COPY, {}, 0.2),
    "rel_to_actual_wmax": (T.ADD_NORMAL, {"std_dev": 0.1}, False),
    "assumed_wmax": (T.ADD_NORMAL, {"std_dev": 0.1, "rel_to_actual_wmax": False}, 2.0),
    "copy_last_column": (T.ADD_NORMAL, {"std_dev": 0.1}, True),
    "coeffs": (T.POLY, {"std_dev": 1.0}, [0.1]),
    "type": (T.MULT_NORMAL, {"std_dev": 0.1}, T.ADD_NORMAL),
    "g_max": (T.PROG_NOISE, {"std_dev": 1.0}, 30.0),
    "pcm_zero_thres": (T.PCM_NOISE, {"std_dev": 1.0}, 1.0),
    "pcm_t_inference": (T.PCM_NOISE, {"std_dev": 1.0}, 3600.0),
    "pcm_prob_at_reset": (T.PCM_NOISE, {"std_dev": 1.0}, 0.1),
    "pcm_prob_at_gmax": (T.PCM_NOISE, {"std_dev": 1.0}, 0.1),
    "pcm_prob_at_random": (T.PCM_NOISE, {"std_dev": 1.0}, 0.1),
    "pcm_t0": (T.PCM_NOISE, {"std_dev": 1.0}, 40.0),
}
"""Fields with a kind and strengths with which they act, and another value."""
ELSEWHERE = {"per_batch_sample", "enable_during_test"}
"""Fields that say when there is a draw; see `test_modified_weights`."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("field", [f.name for f in fields(WeightModifierParameter)])
def test_every_field_acts(engine: Any, field: str) -> None:
    if field in ELSEWHERE:
        return
    kind, strengths, value = NEEDED[field]
    base = {"type": kind, **strengths}
    assert torch.equal(engine(B, **base), engine(B, **base))
    assert not torch.equal(engine(B, **base), engine(B, **{**base, field: value}))


@pytest.mark.parametrize("config", [InferenceRPUConfig, TorchInferenceRPUConfig])
@pytest.mark.parametrize(
    ("field", "value", "others"),
    [
        ("std_dev", float("inf"), {}),
        ("std_dev", float("nan"), {}),
        ("res", 1e16, {}),
        ("pdrop", 1.5, {}),
        ("pdrop", -0.1, {}),
        ("pcm_prob_at_reset", 2.0, {}),
        ("pcm_prob_at_gmax", -1.0, {}),
        ("pcm_prob_at_random", 1.01, {}),
        ("coeffs", [0.1, float("inf")], {}),
        ("coeffs", ["0.1"], {}),
        ("coeffs", 0.1, {}),
        ("assumed_wmax", 0.0, {"rel_to_actual_wmax": False}),
        ("g_max", 0.0, {"type": T.PROG_NOISE}),
        ("g_max", -1.0, {"type": T.PCM_NOISE}),
        ("pcm_t0", 0.0, {"type": T.PCM_NOISE}),
        ("type", "AddNormal", {}),
    ],
)
def test_impossible_values_are_refused(
    config: Any, field: str, value: Any, others: dict[str, Any]
) -> None:
    """When a tile is built, and in a living one, which stays as it is."""
    made = config(modifier=WeightModifierParameter(**{"type": T.ADD_NORMAL, **others}))
    tile = made.create_tile(2, 3)
    with pytest.raises(ConfigError, match=rf"^modifier\.{field}"):
        setattr(tile.rpu_config.modifier, field, value)
    assert tile.rpu_config == made
    setattr(made.modifier, field, value)
    with pytest.raises(ConfigError, match=rf"^modifier\.{field}"):
        made.create_tile(2, 3)


def test_numbers_of_levels_in_tiles_of_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are distances there: a warning names what torch tiles would have made of it."""
    monkeypatch.setattr(modified_weights, "_warned", set())
    params = WeightModifierParameter(type=T.DISCRETIZE, res=10.0)
    with pytest.warns(UserWarning, match=r"^modifier\.res: .* 2 / res"):
        tile = InferenceRPUConfig(modifier=params).create_tile(200, 500)
    other = TorchInferenceRPUConfig(modifier=params).create_tile(200, 500)
    core = InferenceRPUConfig(modifier=WeightModifierParameter(type=T.DISCRETIZE, res=0.2))
    equal = core.create_tile(200, 500)
    for one in (tile, other, equal):
        one.tile.set_weights(B)
    for one in (tile, equal):
        one.post_update_step()
    other(torch.zeros(1, 500))
    assert not tile.get_modified_weights()[0].any()
    levels = other.get_modified_weights()[0]
    torch.testing.assert_close(equal.get_modified_weights()[0], levels, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [RPUDataType.HALF, RPUDataType.DOUBLE])
@pytest.mark.parametrize("kind", [kind for kind in T if kind is not T.NONE])
def test_precisions_of_torch_tiles(dtype: RPUDataType, kind: WeightModifierType) -> None:
    config = TorchInferenceRPUConfig(
        modifier=WeightModifierParameter(type=kind, **{**STRENGTHS[kind], "pdrop": 0.2})
    )
    config.runtime.data_type = dtype
    config.forward.is_perfect = True
    tile = config.create_tile(200, 500)
    tile.tile.set_weights(B)
    x = torch.eye(500, dtype=dtype.as_torch())
    y = tile(x)
    modified = tile.get_modified_weights()[0]
    assert modified.dtype is dtype.as_torch()
    torch.testing.assert_close(y.t(), modified)
    assert int((modified == 0.0).sum()) > 19_000
