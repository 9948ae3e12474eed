"""Search for programmes of pairs of devices: the cube, the loss, and what the search returns."""

import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch

from mho.exceptions import ArgumentError
from mho.inference import (
    CustomPairConductanceConverter,
    DualPairConductanceConverter,
    PCMLikeNoiseModel,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
)
from mho.inference.converter.wpo import (
    WeightProgrammingOptimizer,
    denormalize,
    downsample_weight_distribution,
    loss_weights,
    partition_parameters,
    reformat_x_g,
    shuffle_weights,
    span_of_remaining_pairs,
    stop_criterion,
)
from mho.inference.converter.wpo.programme import Cube
from mho.nn import AnalogLinear
from mho.simulator.configs import InferenceRPUConfig
from mho.simulator.parameters.idle import idle_fields

WEIGHTS = torch.linspace(-1.0, 1.0, 1001)


def config_of(**fields: Any) -> InferenceRPUConfig:
    config = InferenceRPUConfig(**fields)
    config.forward.is_perfect = True
    return config


def optimizer_of(f_lst: Any = (1.0,), **options: Any) -> WeightProgrammingOptimizer:
    symmetric = options.pop("symmetric", True)
    baseline = options.pop("baseline", SinglePairConductanceConverter())
    config = options.pop("config", config_of())
    weights = options.pop("weights", WEIGHTS)
    times = [1.0, 3600.0, 86400.0]
    return WeightProgrammingOptimizer(
        weights, list(f_lst), config, times, baseline, symmetric, **options
    )


def cube_of(f_lst: Any = (1.0,), **options: Any) -> Cube:
    return optimizer_of(f_lst, **options)._cube()


@pytest.mark.parametrize(
    ("f_lst", "options", "size"),
    [
        ([1.0], {}, 7),
        ([1.0, None], {}, 20),
        ([1.0, 3.0], {"use_max_kw": True, "symmetric": False}, 33),
        ([1.0], {"symmetric": False}, 12),
        ([1.0, 2.0, 3.0], {"nbins": 4}, 21),
    ],
)
def test_number_of_coordinates(f_lst: Any, options: Any, size: int) -> None:
    assert cube_of(f_lst, **options).size == size
    assert optimizer_of(f_lst, **options).generate_hop_bounds() == ((0.0, 1.0),) * size


def test_middle_of_the_cube() -> None:
    f_lst, g_lst = denormalize(torch.full((7,), 0.5), cube_of())
    plus, minus = torch.tensor(g_lst)
    assert f_lst == [1.0] and len(plus) == 11
    torch.testing.assert_close(plus + minus, torch.full((11,), 25.0))
    torch.testing.assert_close(plus, minus.flip(0))
    reach = 0.5 * (25.0 - 1.25) + 1.25
    torch.testing.assert_close(plus - minus, torch.linspace(-reach, reach, 11))


def test_corner_of_a_usual_pair() -> None:
    x = torch.zeros(7)
    x[0] = 1.0
    _, (plus, minus) = denormalize(x, cube_of())
    u = torch.linspace(-25.0, 25.0, 11)
    torch.testing.assert_close(torch.tensor(plus), u.clamp(min=0.0))
    torch.testing.assert_close(torch.tensor(minus), (-u).clamp(min=0.0))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("f_lst", [[1.0], [1.0, 3.0], [0.5, None, 2.0], [None, None]])
@pytest.mark.parametrize("use_max_kw", [True, False])
def test_every_point_is_a_programme(f_lst: Any, symmetric: bool, use_max_kw: bool) -> None:
    """All weights are represented, by devices within their range."""
    baseline = SinglePairConductanceConverter(20.0, 5.0)
    options: Any = {"symmetric": symmetric, "use_max_kw": use_max_kw, "baseline": baseline}
    cube = cube_of(f_lst, **options)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        x = torch.rand(cube.size, generator=generator, dtype=torch.float64)
        found, g_lst = denormalize(x, cube)
        tables = torch.tensor(g_lst, dtype=torch.float64)
        assert tables.shape == (2 * len(f_lst), 11)
        assert tables.min() >= 5.0 and tables.max() <= 20.0
        assert all(0.1 <= f <= 5.0 or f in f_lst for f in found)
        sums = torch.tensor(found, dtype=torch.float64) @ (tables[::2] - tables[1::2])
        torch.testing.assert_close(sums.diff(), sums.diff().mean().expand(10))
        assert float(sums[-1]) > 0.0
        # The converter tests that weights survive.
        CustomPairConductanceConverter(found, g_lst, 20.0, 5.0)
        if use_max_kw:
            assert float(sums[-1]) == pytest.approx(15.0 * sum(found))
        if symmetric:
            torch.testing.assert_close(tables[::2, :5], tables[1::2, 6:].flip(1))


def test_errors_of_pairs_let_programmes_leave_the_range() -> None:
    _, (plus, minus) = denormalize(torch.ones(7), cube_of(g_err=0.2))
    assert (plus[0], minus[0]) == (5.0, 25.0)  # the weight needs -25, of which a fifth may lack
    assert (plus[-1], minus[-1]) == (25.0, 5.0)


def test_parts_of_a_point() -> None:
    cube = cube_of([None, 2.0])
    x = torch.arange(float(cube.size))
    factors, reach, rest = partition_parameters(x, cube)
    assert factors.tolist() == [0.0] and reach.tolist() == [1.0] and len(rest) == 18
    shares, places = reformat_x_g(rest, 2, True)
    assert places.tolist() == [list(range(2, 8)), list(range(14, 20))]
    assert shares.tolist() == [list(range(8, 14)), [1.0] * 6]
    assert span_of_remaining_pairs([1.0, 2.0, 4.0], 0) == 6.0
    assert span_of_remaining_pairs([1.0, 2.0, 4.0], 2) == 0.0


def test_downsampling_keeps_the_distribution() -> None:
    weights = torch.randn(3, 400, generator=torch.Generator().manual_seed(2))
    sample = downsample_weight_distribution(weights, (5, 20))
    assert sample.shape == (5, 20)
    assert sample.min() == weights.min() and sample.max() == weights.max()
    level = torch.linspace(0, 1, 100)
    torch.testing.assert_close(sample.flatten(), torch.quantile(weights.flatten(), level))
    assert downsample_weight_distribution(torch.ones(1), (2, 2)).tolist() == [[1.0, 1.0]] * 2
    with pytest.raises(ArgumentError, match="weights"):
        downsample_weight_distribution(torch.ones(0), (2, 2))


def test_shuffling_permutes_rows() -> None:
    torch.manual_seed(3)
    weights = torch.arange(40.0).reshape(20, 2)
    shuffled = shuffle_weights(weights)
    assert not torch.equal(shuffled, weights)
    assert torch.equal(shuffled[shuffled[:, 0].argsort()], weights)


def test_loss_is_the_square_error_of_weights() -> None:
    """Without noise nothing is lost; uniform drift that nobody corrects loses a known share."""
    quiet = PCMLikeNoiseModel(prog_noise_scale=0.0, read_noise_scale=0.0, drift_scale=0.0)
    weights = torch.rand(6, 4) - 0.5
    layer = AnalogLinear(6, 4, bias=False, rpu_config=config_of(noise_model=quiet)).eval()
    largest = float(weights.abs().max())
    arguments: Any = (layer, [1.0, 1e6], weights, largest)
    assert loss_weights(*arguments, 0.0, 0.0, get_baseline=True) == pytest.approx(0.0, abs=1e-9)
    assert loss_weights(*arguments, 2.0, 0.125) == pytest.approx(-0.875)
    drifting = config_of(
        noise_model=type(quiet)(prog_noise_scale=0.0, read_noise_scale=0.0),
        drift_compensation=None,
    )
    from mho.inference import CustomDriftPCMLikeNoiseModel

    nu = {"g_lst": [0.0, 25.0], "nu_mean_lst": [0.1, 0.1], "nu_std_lst": [0.0, 0.0]}
    drifting.noise_model = CustomDriftPCMLikeNoiseModel(
        nu, prog_noise_scale=0.0, read_noise_scale=0.0
    )
    for limit in (512, 3):  # an array of tiles as well
        drifting.mapping.max_input_size = limit
        layer = AnalogLinear(6, 4, bias=False, rpu_config=drifting).eval()
        lost = 1.0 - (1e6 / 20.0 + 1.0) ** -0.1
        wanted = float((10.0 / largest * lost * weights).square().mean())
        for given in (weights, weights.t()):
            found = loss_weights(layer, [1e6], given, largest, 0.0, 0.0, get_baseline=True)
            assert found == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(ArgumentError, match="test_weights"):
        loss_weights(layer, [1e6], weights[:, :3], largest, 1.0, 0.1)


def test_loss_of_the_usual_programme() -> None:
    """A reference value: a single pair with the default noise, over three times."""
    options: Any = {"test_in_features": 128, "test_out_features": 20, "baseline_iterations": 20}
    assert optimizer_of(**options).get_loss_baseline() == pytest.approx(0.315, abs=0.006)


QUICK: dict[str, Any] = {
    "test_in_features": 16,
    "test_out_features": 10,
    "baseline_iterations": 5,
    "popsize": 2,
    "maxiter": 2,
    "polish": False,
    "disp": False,
    "workers": 1,
}


def test_search_finds_a_better_programme() -> None:
    """Large read noise at small conductances: a pair that is never idle has less of it."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    config = config_of(noise_model=PCMLikeNoiseModel(prog_coeff=[4.0, -3.5, 0.0]))
    copied = pickle.loads(pickle.dumps(config))
    options = {**QUICK, "popsize": 5, "maxiter": 20, "loss_margin": 0.02, "nbins": 4}
    optimizer = optimizer_of(config=config, **options)
    converter, success = optimizer.run_optimizer()
    assert isinstance(converter, CustomPairConductanceConverter)
    assert success is True
    assert optimizer.best_loss is not None and optimizer.loss_baseline is not None
    assert optimizer.best_loss < 0.98 * optimizer.loss_baseline
    assert config == copied and torch.equal(torch.get_rng_state(), before)
    # It is better for weights and noise that were not looked at.
    layer = AnalogLinear(64, 20, bias=False, rpu_config=config_of()).eval()
    weights = shuffle_weights(downsample_weight_distribution(WEIGHTS, (64, 20)))
    losses = []
    for chosen in (SinglePairConductanceConverter(), converter):
        model = PCMLikeNoiseModel(prog_coeff=[4.0, -3.5, 0.0], g_converter=chosen)
        layer.analog_module.program_weights(noise_model=model)
        found = [
            loss_weights(layer, [1.0, 3600.0, 86400.0], weights, 1.0, 0.0, 0.0, True)
            for _ in range(5)
        ]
        losses.append(sum(found))
    assert losses[1] < losses[0]


def test_search_that_gains_nothing_says_so() -> None:
    _, success = optimizer_of(**{**QUICK, "loss_margin": 5.0}).run_optimizer()
    assert success is False


def test_results_follow_from_the_seed() -> None:
    found = [optimizer_of(**QUICK, seed=seed).run_optimizer()[0] for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_processes_find_what_one_finds() -> None:
    """Noise follows from the seed and the point, whoever looks at it."""
    options = {**QUICK, "maxiter": 1}
    found = [
        optimizer_of(**{**options, "workers": workers}).run_optimizer()[0] for workers in (2, 3)
    ]
    assert found[0] == found[1]


def test_output_of_the_search(capsys: pytest.CaptureFixture[str]) -> None:
    class Result:
        fun = 0.5

    stop_criterion(Result())
    assert "0.5" in capsys.readouterr().out
    Result.fun = -0.1
    with pytest.raises(StopIteration):
        stop_criterion(Result())
    capsys.readouterr()
    optimizer_of(**QUICK).run_optimizer()
    assert capsys.readouterr().out == ""
    seen: list[float] = []
    optimizer_of(**QUICK, callback=lambda intermediate_result: seen.append(1.0)).run_optimizer()
    assert seen


def test_optimizers_and_programmes_can_be_pickled() -> None:
    optimizer = pickle.loads(pickle.dumps(optimizer_of(**QUICK)))
    converter, _ = optimizer.run_optimizer()
    assert pickle.loads(pickle.dumps(converter)) == converter


def test_weights_may_be_parameters() -> None:
    """As those that a script collects from a model; they are not trained by the search."""
    weights = torch.nn.Parameter(WEIGHTS.clone())
    optimizer = optimizer_of(weights=weights, baseline_iterations=1)
    assert not optimizer.weights.requires_grad
    assert optimizer.get_loss_baseline() > 0.0


def test_configuration_without_scales() -> None:
    config = config_of()
    config.mapping.weight_scaling_omega = 0.6
    config.mapping.learn_out_scaling = config.mapping.weight_scaling_columnwise = True
    config.mapping.out_scaling_columnwise = True
    config.mapping.max_input_size = 100
    optimizer = optimizer_of(config=config)
    assert config.mapping.weight_scaling_omega == 0.6 and config.mapping.learn_out_scaling
    assert optimizer.rpu_config.mapping.weight_scaling_omega == 0.0
    assert list(idle_fields(optimizer.rpu_config)) == []  # it is not the setting of the user
    assert optimizer.test_in_features == 100


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"nothing": 1}, "nothing"),
        ({"weights_": 1}, "weights_"),
        ({"nbins": 1}, "nbins"),
        ({"popsize": 0}, "popsize"),
        ({"f_min": 0.0}, "f_min"),
        ({"g_err": -0.1}, "g_err"),
        ({"f_lst": []}, "f_lst"),
        ({"f_lst": [-1.0]}, "f_lst"),
        ({"test_in_features": 0}, "test_in_features"),
        ({"recombination": 2.0}, "recombination"),
        ({"seed": -1}, "seed"),
        ({"workers": "all"}, "workers"),
        ({"callback": 3}, "callback"),
    ],
)
def test_impossible_options(arguments: Any, name: str) -> None:
    f_lst = arguments.pop("f_lst", [1.0])
    with pytest.raises(ArgumentError, match=name):
        optimizer_of(f_lst, **arguments)


@pytest.mark.parametrize(
    ("values", "message"),
    [([], "not all zero"), ([0.0], "not all zero"), ([1.0, float("nan")], "must be finite")],
)
def test_weights_without_a_distribution(values: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^weights: .*{message}"):
        WeightProgrammingOptimizer(
            torch.tensor(values), [1.0], config_of(), [1.0], SinglePairConductanceConverter()
        )


def test_unlimited_tiles_need_a_size() -> None:
    config = config_of()
    config.mapping.max_input_size = 0
    with pytest.raises(ArgumentError, match="test_in_features"):
        optimizer_of(config=config)
    optimizer_of(config=config, test_in_features=10)


def test_baselines_are_pairs() -> None:
    optimizer_of(baseline=DualPairConductanceConverter([1.0, 2.0]))
    with pytest.raises(TypeError, match="pairs"):
        optimizer_of(baseline=SingleDeviceConductanceConverter())


def test_nothing_to_gain() -> None:
    quiet = PCMLikeNoiseModel(prog_noise_scale=0.0, read_noise_scale=0.0, drift_scale=0.0)
    with pytest.raises(ArgumentError, match="expected noise or drift"):
        optimizer_of(config=config_of(noise_model=quiet), **QUICK).run_optimizer()


def test_without_scipy() -> None:
    code = (
        "import sys; sys.modules['scipy'] = None\n"
        "import torch\n"
        "from mho.inference import SinglePairConductanceConverter\n"
        "from mho.inference.converter.wpo import WeightProgrammingOptimizer\n"
        "from mho.simulator.configs import InferenceRPUConfig\n"
        "search = WeightProgrammingOptimizer(torch.rand(9), [1.0], InferenceRPUConfig(), [1.0],\n"
        "                                    SinglePairConductanceConverter())\n"
        "try:\n    search.run_optimizer()\nexcept ImportError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install mho[scipy]" in result.stdout


def test_small_weights_are_tested_as_they_are_used() -> None:
    """Scaling makes the largest raw weight of a tile the same, whatever that of the layer is.

    Otherwise noise of the products would be large against small weights while the factor of the
    compensation is measured, and hide the drift that it is to undo.
    """

    def baseline(scale: float, omega: float, perfect: bool = False) -> float:
        config = InferenceRPUConfig()
        config.forward.is_perfect = perfect
        config.mapping.weight_scaling_omega = omega
        pair, sizes = SinglePairConductanceConverter(), {"test_in_features": 64}
        return WeightProgrammingOptimizer(
            scale * WEIGHTS, [1.0], config, [86400.0], pair, baseline_iterations=10, **sizes
        ).get_loss_baseline()

    assert baseline(0.1, 1.0) == pytest.approx(baseline(1.0, 1.0), rel=1e-3)
    assert baseline(1.0, 1.0) == baseline(1.0, 0.0)
    # What noise of 0.06 and steps of the converters add to an exact readout is small then.
    assert baseline(0.1, 1.0) == pytest.approx(baseline(0.1, 1.0, perfect=True), rel=0.05)
    assert baseline(0.1, 0.0) > 1.5 * baseline(0.1, 1.0)
