"""Who does the units: this process, a pool, an executor of the user, or Ray."""

import importlib
import multiprocessing.context
import pickle
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

from mho.evaluation import worker
from mho.evaluation.experiment import Experiment
from mho.evaluation.unit import Outcome, Unit, run_unit
from mho.exceptions import ArgumentError
from mho.simulator.parameters.arguments import check_index
from mho.simulator.parameters.checking import describe
from mho.threads import get_num_threads

RAY = "ray"
Workers = int | str | Executor
Found = Generator[tuple[Unit, Outcome | Exception], None, None]
"""Units with what they have found, or what went wrong."""

_ATTEMPTS = 2


def check_workers(workers: Any) -> Workers:
    """Return who does the units.

    Args:
        workers: As for `evaluate`.

    Raises:
        ArgumentError: It is nobody, or no Ray cluster is running.
        ImportError: Ray is not installed.
    """
    if isinstance(workers, Executor):
        return workers
    if isinstance(workers, str) and workers == RAY:
        if not _ray().is_initialized():
            raise ArgumentError("workers: no Ray cluster is connected; call ray.init() first")
        return RAY
    if isinstance(workers, str):
        raise ArgumentError(
            f"workers: expected a number, 'ray' or a concurrent.futures.Executor, got {workers!r}"
        )
    number = check_index("workers", workers)
    if number < 0:
        raise ArgumentError(f"workers: expected 0 for this process or more, got {number}")
    return number


def leaves_the_process(workers: Workers) -> bool:
    """Return whether model, data and metric are sent somewhere.

    Args:
        workers: As returned by `check_workers`.
    """
    return workers != 0


def done(experiment: Experiment, units: list[Unit], workers: Workers) -> Found:
    """Yield units with what they have found, as they finish.

    Whatever runs for it is ended when the iterator is closed.

    Args:
        experiment: All that units need.
        units: What to do.
        workers: Who does it.

    Raises:
        BrokenProcessPool: Processes of the pool have died, twice.
    """
    if workers == 0:
        return _here(experiment, units)
    payload = check_sendable(experiment)
    if workers == RAY:
        return _on_ray(payload, units)
    if isinstance(workers, Executor):
        return _by_executor(payload, units, workers)
    assert isinstance(workers, int)
    return _in_pool(payload, experiment.torch_threads, units, min(workers, len(units)))


def check_sendable(experiment: Experiment) -> bytes:
    """Return an experiment as it is sent to other processes.

    Args:
        experiment: All that units need.

    Raises:
        ArgumentError: Something cannot be pickled; the message names it.
    """
    advice = "define it at the top of a module"
    pieces = {
        "model": (experiment.model, "make its classes and hooks picklable"),
        "reference": (experiment.own_reference, "make its classes and hooks picklable"),
        "data": (experiment.data, "pass a function without arguments that returns it"),
        "metric": (experiment.metric.function, advice),
        "calibrate": (experiment.calibrate, advice),
    }
    for name, edit in experiment.ablation.own.items():
        pieces[f"ablation[{name!r}]"] = (edit, advice)
    for name, (value, remedy) in pieces.items():
        try:
            pickle.dumps(value)
        except Exception as error:  # whatever the object of a user raises
            raise ArgumentError(
                f"{name}: {describe(value)} cannot be sent to workers ({error}); {remedy}, or use"
                " workers=0"
            ) from error
    return pickle.dumps(experiment)


def _here(experiment: Experiment, units: list[Unit]) -> Found:
    for unit in units:
        yield unit, _outcome(partial(run_unit, experiment, unit))


def _outcome(run: Callable[[], Outcome]) -> Outcome | Exception:
    try:
        return run()
    except Exception as error:  # goes to whoever decides what becomes of it
        return error


class _Recorded(multiprocessing.context.SpawnContext):
    """Starts processes, and knows them, so that they can be ended."""

    def __init__(self) -> None:
        self.processes: list[Any] = []

    def Process(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Return a new process."""
        process = super().Process(*args, **kwargs)
        self.processes.append(process)
        return process


def _in_pool(payload: bytes, torch_threads: int, units: list[Unit], count: int) -> Found:
    threads = max(1, get_num_threads() // count)
    left = list(units)
    for _ in range(_ATTEMPTS):
        context = _Recorded()
        pool = ProcessPoolExecutor(count, context, worker.start, (payload, torch_threads, threads))
        try:
            for unit, found in _finished(pool, left, lambda unit: (worker.work, unit)):
                if not isinstance(found, BrokenProcessPool):
                    yield unit, found
                    left = [one for one in left if one != unit]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if left:  # otherwise they end by themselves
                _end(context.processes)
        if not left:
            return
    raise BrokenProcessPool(
        f"workers: processes of the pool have died twice, and {len(left)} units are left. They may"
        " lack memory; and a script that starts processes needs its calls below"
        " `if __name__ == '__main__':`"
    )


def _end(processes: list[Any]) -> None:
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        if process.pid is not None:
            process.join()


def _finished(
    executor: Executor, units: list[Unit], call: Callable[[Unit], tuple[Any, ...]]
) -> Found:
    futures: dict[Future[Outcome], Unit] = {executor.submit(*call(unit)): unit for unit in units}
    try:
        for future in as_completed(futures):
            yield futures[future], _outcome(future.result)
    finally:
        for future in futures:
            future.cancel()


def _by_executor(payload: bytes, units: list[Unit], executor: Executor) -> Found:
    name = worker.name_of(payload)
    return _finished(executor, units, lambda unit: (worker.work_with, name, payload, unit))


def _on_ray(payload: bytes, units: list[Unit]) -> Found:
    ray = _ray()
    name, sent = worker.name_of(payload), ray.put(payload)
    task = ray.remote(worker.work_with)
    pending = {task.remote(name, sent, unit): unit for unit in units}
    try:
        while pending:
            ready, _ = ray.wait(list(pending), num_returns=1)
            unit = pending.pop(ready[0])
            yield unit, _outcome(partial(_got, ray, ready[0]))
    finally:
        for waiting in pending:
            ray.cancel(waiting, force=True)


def _got(ray: Any, result: Any) -> Outcome:
    try:
        outcome: Outcome = ray.get(result)
    except Exception as error:
        # Ray wraps what a task has raised.
        cause = getattr(error, "cause", None)
        raise (cause if isinstance(cause, Exception) else error) from None
    return outcome


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ImportError(
            "workers='ray' needs Ray; install it with `pip install mho[ray]`"
        ) from error
