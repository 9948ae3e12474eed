"""Monte-Carlo evaluation of an analog model over time, in one call."""

import copy
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from torch import nn

from mho.evaluation import fingerprint, metrics, preparation
from mho.evaluation.ablation import Ablation, plan_ablation
from mho.evaluation.calibration import BEFORE, Calibrate
from mho.evaluation.collection import Collection
from mho.evaluation.data import first_batch, is_shuffled, same_order
from mho.evaluation.experiment import Experiment
from mho.evaluation.keys import key
from mho.evaluation.moments import DEFAULT, Moment, check_moments
from mho.evaluation.plan import Plan
from mho.evaluation.preparation import prepare, programmable, tiles_of
from mho.evaluation.progress import shown
from mho.evaluation.random_state import kept_random_state, seed_everything, seed_tile
from mho.evaluation.request import Request
from mho.evaluation.result import Evaluation
from mho.evaluation.results_file import ResultsFile
from mho.evaluation.statistics import bootstrap, t_interval
from mho.evaluation.tables import Tables
from mho.evaluation.unit import Outcome, Unit, torch_threads_set
from mho.evaluation.workers import done
from mho.exceptions import ArgumentError, ConfigError
from mho.inference.compensation.base import BaseDriftCompensation
from mho.inference.noise.base import BaseNoiseModel
from mho.simulator.parameters.signatures import checked
from mho.threads import get_num_threads, set_num_threads


@checked
def evaluate(
    model: nn.Module,
    data: Any,
    metric: Any = "accuracy",
    *,
    times: Any = DEFAULT,
    n_programmings: int = 10,
    n_reads: int = 1,
    vary: str = "programming",
    programming: str = "fresh",
    noise_model: BaseNoiseModel | None = None,
    compensation: BaseDriftCompensation | str | None = "config",
    calibrate: Callable[[nn.Module], Any] | Calibrate | None = None,
    reference: nn.Module | str | None = "digital",
    layer_error: int = 0,
    ablation: Any = None,
    confidence: float = 0.95,
    interval: str = "t",
    seed: int = 0,
    workers: Any = 0,
    torch_threads: int = 1,
    resume: Any = None,
    progress: Any = True,
    on_error: str = "raise",
    allow_mixed: bool = False,
) -> Evaluation:
    """Program copies of a model again and again, let them drift, and measure them.

    Results are functions of the arguments: equal bit for bit for any number of workers, any order
    in which they finish, after a resume, and on their own or among more programmings, times, reads
    or variants. The same holds between machines of one family of instruction sets.

    Args:
        model: Any module with inference tiles below it. It is not changed: work is done on copies.
        data: `DataLoader`, list of batches, or a function without arguments that returns one of
            them. Batches of the named metrics are `(inputs, targets)`. A loader that shuffles has
            the same order each time.
        metric: `"accuracy"` or `"top5"` in percent, `"cross_entropy"`, `"mse"`, a function
            `f(model, data)` that returns a number or a dictionary of numbers, or
            `Metric(f, higher_is_better=False)`.
        times: Since programming: seconds, text such as `"1 h"` or `"30 d"`, or `"programmed"`,
            which is without drift. Zero is another moment: drift to it adds the read noise of the
            first reading. Of noise models that know some times only, these are the default.
        n_programmings: Number of independent programmings.
        n_reads: Number of measurements of each programming at each time, each with read noise of
            its own.
        vary: `"programming"`; or `"chip"`: frozen values of lines and hidden parameters of devices
            are drawn anew as well.
        programming: `"fresh"`; or `"keep"`: the programmed weights that the model has, for one
            programming only.
        noise_model: Noise model of all tiles, instead of their own.
        compensation: Drift compensation of all tiles, None for none; `"config"` is their own.
        calibrate: Function of a model, which is called once before programming, or
            `Calibrate(f, when=...)`.
        reference: `"digital"`: exact products of the weights as stored; another module; or None.
        layer_error: Rows of each layer whose errors are measured; 0 for none.
        ablation: What is measured without groups of non-idealities: `"leave_one_out"`,
            `"one_at_a_time"`, `"both"`, or a dictionary of functions that edit a configuration, by
            name; None in it stands for the group of that name.
        confidence: Of intervals, between 0 and 1.
        interval: `"t"`, or `"bootstrap"` of programmings, of which it needs 20.
        seed: Seed of everything that is drawn.
        workers: 0 for this process, the number of processes of a pool, `"ray"` for the Ray cluster
            that is connected, or a `concurrent.futures.Executor`. Threads take turns.
        torch_threads: Threads of torch in each process, on which bits of digital layers may depend.
            In this process kernels keep the number of threads that they had, as if it had been
            set by `mho.set_num_threads`; in pools they share the cores.
        resume: Path of a file of finished units, which is continued if it is there.
        progress: Whether to show a bar; or a function of the number of finished units, of all, and
            a dictionary of what one has found.
        on_error: `"raise"`: the first unit that fails stops everything; `"record"`: its values are
            NaN, and the message is in `failures`.
        allow_mixed: Take results of workers with several sets of instructions.

    Returns:
        Tables, with a note on everything that is special about them.

    Raises:
        ArgumentError: An argument is impossible, data are empty or an iterator, something cannot be
            sent to workers, the file has results of something else, or the metric returns no
            number. The message names the argument.
        BrokenProcessPool: Processes of the pool have died, twice.
        ConfigError: There is nothing to program, a tile was programmed and its targets are gone, a
            tile cannot do without a group, or workers are of several kinds.
        ImportError: Ray is not installed.
        KeyboardInterrupt: Of the user; its attribute `result` has what is finished.
    """
    request = Request(**locals())
    request.check()
    with _threads(request), kept_random_state(model):
        return _evaluated(request)


@contextmanager
def _threads(request: Request) -> Iterator[None]:
    """Give torch its threads, and let kernels keep theirs if they run here."""
    before = get_num_threads()
    with torch_threads_set(request.torch_threads):
        if request.workers == 0 and get_num_threads() != before:
            set_num_threads(before)
        yield


def _evaluated(request: Request) -> Evaluation:
    keep = request.keeps
    prepared = prepare(request.model, keep, request.noise_model, request.compensation)
    moments = _moments(request, prepared.model)
    _check_tiles(request, prepared.model)
    ablation = plan_ablation(request.ablation, prepared.model, keep)
    experiment = _experiment(request, prepared.model, ablation)
    notes = [*prepared.notes, *ablation.notes, *_notes_on_data(experiment)]
    plan = Plan(
        moments,
        request.n_programmings,
        request.n_reads,
        request.metric,
        ablation,
        request.confidence,
        t_interval if request.interval == "t" else bootstrap(key(request.seed, "bootstrap")),
        experiment.has_reference,
        request.layer_error,
    )
    collection = Collection(plan, request.allow_mixed)
    file = _opened_file(request, experiment, collection)
    try:
        _run(request, experiment, collection, file)
    except KeyboardInterrupt as interruption:
        noted = [*notes, "interrupted"]
        partial = Tables(collection).evaluation(noted, request.settings(moments))
        vars(interruption)["result"] = partial
        raise
    return Tables(collection).evaluation(notes, request.settings(moments))


def _moments(request: Request, model: nn.Module) -> list[Moment]:
    known = preparation.known_moments(model) if request.times is DEFAULT else None
    moments = check_moments(request.times) if known is None else known
    preparation.check_drift(model, moments)
    return moments


def _check_tiles(request: Request, model: nn.Module) -> None:
    if not programmable(model) and request.n_programmings > 1:
        raise ConfigError(
            "model: has no tile that a noise model programs, so there is nothing to repeat; convert"
            " it with an InferenceRPUConfig, or use n_programmings=1"
        )


def _experiment(request: Request, model: nn.Module, ablation: Ablation) -> Experiment:
    """Return what units need; data are opened, and the model is calibrated if that comes first."""
    experiment = Experiment(
        model,
        request.data,
        request.metric,
        request.seed,
        ablation,
        has_reference=request.reference is not None,
        own_reference=_own_reference(request.reference),
        calibrate=request.calibrate,
        new_chips=request.vary == "chip",
        keep=request.keeps,
        layer_rows=request.layer_error,
        torch_threads=request.torch_threads,
    )
    with same_order(experiment.batches(), request.seed):
        batch = first_batch(experiment.batches())
    if metrics.is_named(request.metric):
        next(iter(metrics.pairs([batch])))
    calibrate = request.calibrate
    if calibrate is not None and calibrate.when == BEFORE:
        for name, tile in tiles_of(model).items():
            seed_tile(tile, key(request.seed, "calibrate", None, name))
        seed_everything(key(request.seed, "calibrate"))
        calibrate.function(model)
        model.eval()
    return experiment


def _own_reference(reference: nn.Module | str | None) -> nn.Module | None:
    return copy.deepcopy(reference).eval() if isinstance(reference, nn.Module) else None


def _notes_on_data(experiment: Experiment) -> list[str]:
    if not is_shuffled(experiment.batches()):
        return []
    return ["the loader shuffles: the order of samples is the same in each measurement"]


def _opened_file(
    request: Request, experiment: Experiment, collection: Collection
) -> ResultsFile | None:
    """Return the file of results, if there is to be one, after taking what it has."""
    if request.resume is None:
        for variant in experiment.ablation.variants():
            experiment.variant(variant)  # tries it
        return None
    configs = fingerprint.config_hashes(experiment)
    parts = fingerprint.parts_of(experiment)
    file = ResultsFile(request.resume, parts, configs, request.layer_error)
    for outcome in file.read():
        if outcome.unit.variant in configs:
            collection.add(outcome)
    return file


def _run(
    request: Request, experiment: Experiment, collection: Collection, file: ResultsFile | None
) -> None:
    units = collection.missing()
    if experiment.ablation.kinds and request.progress is True:
        variants = len(experiment.ablation.variants())
        print(f"{variants} variants of {request.n_programmings} programmings: {len(units)} units")
    if not units:
        return
    with (
        shown(request.progress, collection, len(units)) as tell,
        closing(done(experiment, units, request.workers)) as found,
    ):
        for unit, outcome in found:
            tell(_taken(request, collection, file, unit, outcome))


def _taken(
    request: Request,
    collection: Collection,
    file: ResultsFile | None,
    unit: Unit,
    found: Outcome | Exception,
) -> Outcome | None:
    """Take what a unit has found into account; returns it, or None if it has failed."""
    error: Exception | None = None
    if isinstance(found, Exception):
        error = found
    else:
        try:
            collection.add(found)
        except ArgumentError as refused:
            error = refused
        else:
            if file is not None:
                file.append(found)
            return found
    if request.on_error == "raise":
        if hasattr(error, "add_note"):  # from Python 3.11 on
            error.add_note(f"in programming {unit.programming} of {unit.variant!r}")
        raise error
    collection.fail(unit, error)
    return None
