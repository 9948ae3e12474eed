"""What runs in other processes."""

import hashlib
import pickle
import signal
import threading

import torch

from mho.evaluation.experiment import Experiment
from mho.evaluation.unit import Outcome, Unit, run_unit
from mho.threads import set_num_threads

_READING = threading.Lock()


class _Known:
    """What this process was given, so that a model is read once."""

    payload: bytes = b""
    name: str = ""
    experiment: Experiment | None = None


def start(payload: bytes, torch_threads: int, threads: int) -> None:
    """Prepare a process of a pool.

    Args:
        payload: Experiment, pickled.
        torch_threads: Threads of torch.
        threads: Threads of the kernels.
    """
    # Ctrl-C reaches the whole group of processes; the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(torch_threads)
    set_num_threads(threads)
    _Known.payload = payload


def work(unit: Unit) -> Outcome:
    """Do a unit of the experiment that the process was started for.

    Args:
        unit: What to do.
    """
    if _Known.experiment is None:
        _Known.experiment = pickle.loads(_Known.payload)
        _Known.payload = b""
    return _run(_Known.experiment, unit)


def work_with(name: str, payload: bytes, unit: Unit) -> Outcome:
    """Do a unit of an experiment that comes along.

    Args:
        name: What tells experiments apart.
        payload: Experiment, pickled; read once in each process.
        unit: What to do.
    """
    with _READING:
        if _Known.name != name or _Known.experiment is None:
            _Known.experiment = pickle.loads(payload)
            _Known.name = name
        experiment = _Known.experiment
    return _run(experiment, unit)


def name_of(payload: bytes) -> str:
    """Return what tells experiments apart.

    Args:
        payload: Experiment, pickled.
    """
    return hashlib.sha256(payload).hexdigest()


def _run(experiment: Experiment, unit: Unit) -> Outcome:
    try:
        return run_unit(experiment, unit)
    except Exception as error:
        raise _sendable(error) from None


def _sendable(error: Exception) -> Exception:
    """Return an error that survives the way back."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever the error of a user raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
