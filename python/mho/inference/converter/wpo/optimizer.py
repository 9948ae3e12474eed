"""Search for the programme with the smallest error, by differential evolution."""

import copy
import multiprocessing
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.inference.converter.base import BaseConductanceConverter
from mho.inference.converter.custom_pair import CustomPairConductanceConverter
from mho.inference.converter.n_pair import DualPairConductanceConverter, NPairConductanceConverter
from mho.inference.converter.single_pair import SinglePairConductanceConverter
from mho.inference.converter.wpo.loss import (
    Problem,
    downsample_weight_distribution,
    loss_fxn,
    loss_weights,
    shuffle_weights,
    with_converter,
)
from mho.inference.converter.wpo.programme import Cube, denormalize
from mho.simulator.parameters.arguments import (
    check_flag,
    check_function,
    check_index,
    check_not_negative,
    check_number,
    check_probability,
    check_size,
)
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.signatures import checked
from mho.simulator.tiles.inference import InferenceRPUConfig
from mho.threads import set_num_threads
from mho.utils.optional import scipy

_BASELINES = (
    SinglePairConductanceConverter,
    DualPairConductanceConverter,
    NPairConductanceConverter,
    CustomPairConductanceConverter,
)


# Errors of a millionth of the largest weight, in units of a tenth: rounding of float32.
_ROUNDING = 1e-10


def stop_criterion(intermediate_result: Any) -> None:
    """Print the smallest loss so far, and stop as soon as it is below zero.

    Args:
        intermediate_result: Result of the minimiser so far.

    Raises:
        StopIteration: The loss is below zero.
    """
    print(f"loss {intermediate_result.fun:.5f}")
    _stop(intermediate_result)


def _stop(intermediate_result: Any) -> None:
    if intermediate_result.fun < 0.0:
        raise StopIteration


class WeightProgrammingOptimizer:
    """Finds a programme for pairs of devices with which weights have small errors after drift.

    A programme says for a grid of weights which conductances the devices of all pairs get. It is
    compared with a usual one, by the mean square error of weights that are programmed and then read
    at several times (Mackin et al., Nat. Commun. 13:3765, 2022).

    Everything random follows from `seed`; torch's generator is left as it was.
    """

    @checked
    def __init__(
        self,
        weights: Tensor,
        f_lst: list[float | None],
        rpu_config: InferenceRPUConfig,
        t_steps: list[float],
        g_converter_baseline: BaseConductanceConverter,
        symmetric: bool = True,
        **kwargs: Any,
    ) -> None:
        """Set what is minimised, and how.

        Args:
            weights: Weights whose distribution counts, any shape, such as those of a model.
            f_lst: Factor of each pair; None is found as well.
            rpu_config: Configuration with noise model and compensation; it is not changed. The
                largest weight of the test is that of a tile, `mapping.weight_scaling_omega`, or the
                given one without scaling: the compensation is measured with noisy products, whose
                noise is not relative to the weights.
            t_steps: Times of the reads in seconds, all of one weight.
            g_converter_baseline: Programme to compare with, of pairs; its limits are those of the
                devices.
            symmetric: Exchange the devices of each pair for the opposite weight; otherwise
                programmes of positive and negative weights are found separately.
            kwargs: Options, which are attributes as well. Of the test: `test_in_features` (the
                largest input size of the mapping), `test_out_features` (20), `nbins` (6 weights on
                the grid from the smallest to zero), `g_err` (0: how far pairs may be asked beyond
                their range, as a fraction of it), `f_min`, `f_max` (0.1, 5: limits of factors to
                find), `use_max_kw` (False: give the largest weight all conductance),
                `loss_margin` (0.125: share of the baseline to gain), `baseline_iterations` (100),
                `device` ("cpu"). Of `scipy.optimize.differential_evolution`: `callback`
                (`stop_criterion`), `disp` (True: print progress), `strategy` ("best1bin"),
                `popsize` (100), `maxiter` (200), `tol` (0), `atol` (0.02), `mutation` (0.1),
                `recombination` (0.3), `polish` (True), `workers` (-1: a process per core),
                `seed` (100), `x_init` ("latinhypercube").

        Raises:
            ArgumentError: An option is unknown or impossible.
            TypeError: The programme to compare with is none of pairs.
        """
        if not isinstance(g_converter_baseline, _BASELINES):
            raise TypeError(
                "g_converter_baseline: expected a converter to pairs of devices, got"
                f" {type(g_converter_baseline).__name__}"
            )
        self.weights = weights.detach()
        self.f_lst = list(f_lst)
        self.t_steps = list(t_steps)
        self.g_converter_baseline = g_converter_baseline
        self.symmetric = symmetric
        self.test_in_features: int = rpu_config.mapping.max_input_size
        self.test_out_features = 20
        self.nbins = 6
        self.g_err = 0.0
        self.f_min, self.f_max = 0.1, 5.0
        self.use_max_kw = False
        self.loss_margin = 0.125
        self.baseline_iterations = 100
        self.device = "cpu"
        self.callback: Callable[..., Any] | None = stop_criterion
        self.disp = True
        self.strategy = "best1bin"
        self.popsize = 100
        self.maxiter = 200
        self.tol, self.atol = 0.0, 0.02
        self.mutation: float | tuple[float, float] = 0.1
        self.recombination = 0.3
        self.polish = True
        self.workers = -1
        self.seed = 100
        self.x_init: Any = "latinhypercube"
        options = set(vars(self)) - {"weights", "f_lst", "t_steps", "symmetric"}
        for name, value in kwargs.items():
            if name not in options - {"g_converter_baseline"}:
                raise ArgumentError(f"{name}: is no option of {type(self).__name__}")
            setattr(self, name, value)
        self.rpu_config = _unscaled(rpu_config)
        self._largest_weight = rpu_config.mapping.weight_scaling_omega
        self.best_loss: float | None = None
        self.loss_baseline: float | None = None
        self._check()

    def _check(self) -> None:
        if not self.f_lst or any(f is not None and not f > 0.0 for f in self.f_lst):
            raise ArgumentError(f"f_lst: expected positive factors or None, got {self.f_lst}")
        if not self.t_steps or min(self.t_steps) < 0.0:
            raise ArgumentError(
                f"t_steps: expected times that are not negative, got {self.t_steps}"
            )
        if not all_finite(self.weights):
            raise ArgumentError("weights: values must be finite; found NaN or infinity")
        if self.weights.numel() == 0 or not float(self.weights.abs().max()) > 0.0:
            raise ArgumentError("weights: expected values that are not all zero")
        for name in ("test_in_features", "test_out_features", "baseline_iterations"):
            check_size(name, getattr(self, name))
        self._check_cube()
        self._check_search()

    def _check_cube(self) -> None:
        if check_size("nbins", self.nbins) < 2:
            raise ArgumentError(f"nbins: expected at least 2, got {self.nbins}")
        check_flag("use_max_kw", self.use_max_kw)
        check_not_negative("g_err", self.g_err)
        for name in ("f_min", "f_max"):
            check_number(name, getattr(self, name))
        if not 0.0 < self.f_min <= self.f_max:
            raise ArgumentError(
                f"f_min, f_max: expected 0 < f_min <= f_max, got {self.f_min} and {self.f_max}"
            )

    def _check_search(self) -> None:
        # What SciPy checks itself, when the programme to compare with was measured, is left to it.
        for name in ("popsize", "maxiter"):
            check_size(name, getattr(self, name))
        for name in ("disp", "polish"):
            check_flag(name, getattr(self, name))
        for name in ("loss_margin", "tol", "atol"):
            check_number(name, getattr(self, name))
        check_probability("recombination", self.recombination)
        check_index("workers", self.workers)
        if check_index("seed", self.seed) < 0:
            raise ArgumentError(f"seed: must not be negative, got {self.seed}")
        if self.callback is not None:
            check_function("callback", self.callback)

    def _cube(self) -> Cube:
        limits: Any = self.g_converter_baseline
        return Cube(
            f_lst=tuple(self.f_lst),
            g_min=limits.g_min,
            g_max=limits.g_max,
            symmetric=self.symmetric,
            nbins=self.nbins,
            use_max_kw=self.use_max_kw,
            f_min=self.f_min,
            f_max=self.f_max,
            g_err=self.g_err,
        )

    def _problem(self, loss_baseline: float) -> Problem:
        with self._seeded():
            shape = (self.test_in_features, self.test_out_features)
            weights = downsample_weight_distribution(self.weights.float(), shape)
            if self._largest_weight > 0.0:
                weights = weights * (self._largest_weight / weights.abs().max())
            test_weights = shuffle_weights(weights)
        return Problem(
            cube=self._cube(),
            rpu_config=self.rpu_config,
            t_steps=tuple(self.t_steps),
            test_weights=test_weights,
            loss_baseline=loss_baseline,
            loss_margin=self.loss_margin,
            seed=self.seed,
            device=self.device,
        )

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            yield

    def generate_hop_bounds(self) -> tuple[tuple[float, float], ...]:
        """Return the limits of the coordinates that are looked through, all 0 and 1."""
        return ((0.0, 1.0),) * self._cube().size

    def get_loss_baseline(self) -> float:
        """Return the mean loss of the programme to compare with, over `baseline_iterations`."""
        problem = self._problem(0.0)
        largest = float(problem.test_weights.abs().max())
        with self._seeded():
            layer = problem.layer()
            tile = next(layer.analog_tiles())
            model = with_converter(self.rpu_config, self.g_converter_baseline)
            vars(tile.rpu_config)["noise_model"] = model
            losses = [
                loss_weights(
                    layer, self.t_steps, problem.test_weights, largest, 0.0, 0.0, get_baseline=True
                )
                for _ in range(self.baseline_iterations)
            ]
        return sum(losses) / len(losses)

    def differential_weight_evolution(self) -> tuple[CustomPairConductanceConverter, bool]:
        """Return the best programme found, and whether it gains more than the margin.

        Raises:
            ArgumentError: The programme to compare with has no error, so nothing can be gained.
            ImportError: SciPy is not installed.
        """
        optimize = scipy("optimize")
        if self.loss_baseline is None:
            self.loss_baseline = self.get_loss_baseline()
        if not _ROUNDING < self.loss_baseline < float("inf"):
            raise ArgumentError(
                f"rpu_config: the loss of the programme to compare with is {self.loss_baseline};"
                " expected noise or drift"
            )
        problem = self._problem(self.loss_baseline)
        callback = self.callback
        if callback is stop_criterion and not self.disp:
            callback = _stop
        with _mapping(self.workers) as mapping:
            result = optimize.differential_evolution(
                loss_fxn,
                self.generate_hop_bounds(),
                args=(pickle.dumps(problem),),
                callback=callback,
                disp=self.disp,
                strategy=self.strategy,
                popsize=self.popsize,
                maxiter=self.maxiter,
                tol=self.tol,
                atol=self.atol,
                mutation=self.mutation,
                recombination=self.recombination,
                polish=self.polish,
                rng=self.seed,
                init=self.x_init,
                updating="immediate" if self.workers == 1 else "deferred",
                workers=mapping,
            )
        f_lst, g_lst = denormalize(torch.from_numpy(result.x), problem.cube)
        best = float(result.fun)
        self.best_loss = (best - self.loss_margin) * self.loss_baseline + self.loss_baseline
        limits = (problem.cube.g_max, problem.cube.g_min)
        # The invertibility of a programme with `g_err` is as good as that error.
        converter = CustomPairConductanceConverter(
            f_lst, g_lst, *limits, invertibility_test=self.g_err == 0.0
        )
        return converter, best < 0.0

    def run_optimizer(self) -> tuple[CustomPairConductanceConverter, bool]:
        """Measure the programme to compare with, then look for a better one.

        Returns:
            The best programme found, for the `g_converter` of a noise model, and whether its loss
            is below that of the baseline by more than `loss_margin`. `best_loss` and
            `loss_baseline` have the losses.

        Raises:
            ArgumentError: The programme to compare with has no error.
            ImportError: SciPy is not installed.
        """
        scipy("optimize")
        self.loss_baseline = self.get_loss_baseline()
        return self.differential_weight_evolution()


def _unscaled(rpu_config: InferenceRPUConfig) -> InferenceRPUConfig:
    """Return a copy for one tile whose raw weights are the weights."""
    config = copy.deepcopy(rpu_config)
    mapping = config.mapping
    mapping.weight_scaling_omega = 0.0
    mapping.weight_scaling_columnwise = False
    mapping.learn_out_scaling = mapping.out_scaling_columnwise = False
    mapping.max_input_size = mapping.max_output_size = 0
    return config


@contextmanager
def _mapping(workers: int) -> Iterator[Any]:
    """Provide what calls the loss for many points, in processes of its own unless there is one."""
    if workers == 1:
        yield 1
        return
    # Where a process can be forked, scripts need no guard around their main part.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    with warnings.catch_warnings():
        # The warning is of threads that a child would wait for; torch and the core have none there.
        warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
        pool = context.Pool(None if workers < 1 else workers, _one_thread)
    try:
        yield pool.map
    finally:
        pool.terminate()
        pool.join()


def _one_thread() -> None:
    torch.set_num_threads(1)
    set_num_threads(1)
