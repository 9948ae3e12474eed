"""Processes, executors and Ray: what happens to failing units, dead workers and interruptions."""

import multiprocessing
import pickle
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

import mho
from evaluation_cases import FailsOn, batches, inference_config, outputs, two_layers
from mho.evaluation import Evaluation, worker, workers
from mho.evaluation.results_file import ResultsFile
from mho.exceptions import ArgumentError, ConfigError

FOLDER = Path(__file__).parents[1]


def evaluated(**arguments: Any) -> Evaluation:
    given: dict[str, Any] = {
        "metric": outputs, "times": ["1 h"], "n_programmings": 4, "progress": False,
        "reference": None,
    }  # fmt: skip
    return mho.evaluate(two_layers(inference_config()), batches(), **given | arguments)


class Queued(Executor):
    """Does everything at the end, the last first; tells what was asked for."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: fn(*args, **kwargs)))
        if len(self.waiting) == 4:
            for waiting, run in reversed(self.waiting):
                try:
                    waiting.set_result(run())
                except Exception as error:
                    waiting.set_exception(error)
        return future


def test_order_of_completion_does_not_matter() -> None:
    result = evaluated(workers=Queued())
    assert result.samples == evaluated().samples and result.table == evaluated().table


def test_experiments_are_read_once_in_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    loads = pickle.loads

    def counted(content: bytes) -> Any:
        read.append(content)
        return loads(content)

    monkeypatch.setattr(pickle, "loads", counted)
    evaluated(workers=Queued())
    assert len(read) == 1


def test_machines_of_several_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = iter(("x86_64 AVX512", "x86_64 AVX2") * 4)
    monkeypatch.setattr("mho.evaluation.unit.machine", lambda: next(kinds))
    with pytest.raises(ConfigError, match=r"'x86_64 AVX512' and 'x86_64 AVX2'.*allow_mixed=True"):
        evaluated()
    assert evaluated(allow_mixed=True).samples


class LocalClass(Exception):
    """An error with an argument that its pickle does not have."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


def test_errors_survive_the_way_back() -> None:
    kept = worker._sendable(ZeroDivisionError("a"))
    assert type(kept) is ZeroDivisionError
    replaced = worker._sendable(LocalClass("a", "b"))
    assert type(replaced) is RuntimeError and str(replaced) == "LocalClass: a"


@pytest.mark.slow
def test_failing_units_in_processes(tmp_path: Path) -> None:
    metric = FailsOn(tmp_path / "count", "raise")
    with pytest.raises(FloatingPointError, match="as the test wants it"):
        evaluated(metric=metric, workers=1, resume=tmp_path / "run.jsonl")
    assert len((tmp_path / "run.jsonl").read_text().splitlines()) == 3
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_units_of_dead_workers_are_done_again(tmp_path: Path) -> None:
    metric = FailsOn(tmp_path / "count", "die")
    result = evaluated(metric=metric, workers=1)
    assert (
        result.samples == [{**row, "metric": "FailsOn"} for row in evaluated().samples]
        and not result.failures
    )


@pytest.mark.slow
def test_workers_that_keep_dying(tmp_path: Path) -> None:
    metric = FailsOn(tmp_path / "count", "always die")
    with pytest.raises(BrokenProcessPool, match=r"died twice, and 4 units are left.*__main__"):
        evaluated(metric=metric, workers=1)
    assert multiprocessing.active_children() == []


# --- interruption ---------------------------------------------------------------------------------


class Interrupted:
    """A metric during which somebody presses Ctrl-C."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, model: Any, data: Any) -> float:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return outputs(model, data)


def test_interruption_has_what_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with pytest.raises(KeyboardInterrupt) as caught:
        evaluated(metric=Interrupted(2), resume=path)
    partial = vars(caught.value)["result"]
    assert [row["programming"] for row in partial.samples] == [0, 1]
    assert "interrupted" in partial.notes and repr(partial)
    again = evaluated(metric=Interrupted(2), resume=path)  # the other two
    whole = evaluated(metric=Interrupted(100))
    assert again.samples == whole.samples


PROGRAM = """
import sys, time
import mho
from evaluation_cases import batches, inference_config, two_layers

def slow(model, data):
    time.sleep(0.3)
    return float(model(data[0][0]).sum())

if __name__ == "__main__":
    told = lambda done, total, row: print("done", done, flush=True)
    try:
        mho.evaluate(two_layers(inference_config()), batches(), slow, times=1.0, workers=2,
                     n_programmings=1000, resume=sys.argv[1], progress=told)
    except KeyboardInterrupt as error:
        print("samples", len(error.result.samples), flush=True)
"""


@pytest.mark.slow
def test_interrupted_pool(tmp_path: Path) -> None:
    """Ctrl-C ends the workers, and what is finished is in the file and in the error."""
    script, path = tmp_path / "script.py", tmp_path / "run.jsonl"
    script.write_text(PROGRAM)
    command = [sys.executable, str(script), str(path)]
    paths = ":".join([str(Path(mho.__file__).parents[1]), str(FOLDER)])
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PATH": ""}, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    started = children.read_text().split() if children.exists() else []
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    count = int(out.strip().rpartition(" ")[2])
    rows = [line for line in path.read_text().splitlines()[1:] if '"full"' in line]
    assert count == len(rows) >= 2
    deadline = time.monotonic() + 10.0
    while any(Path(f"/proc/{pid}").exists() for pid in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


# --- Ray ------------------------------------------------------------------------------------------


class FakeRay(types.ModuleType):
    """As much of the interface of Ray as is used; tasks run when they are waited for."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.started = True
        self.stored: dict[str, Any] = {}
        self.tasks: dict[str, Callable[[], Any]] = {}
        self.cancelled: list[str] = []

    def is_initialized(self) -> bool:
        return self.started

    def put(self, value: Any) -> str:
        self.stored["stored"] = value
        return "stored"

    def remote(self, function: Any) -> Any:
        fake = self

        class Remote:
            @staticmethod
            def remote(*args: Any) -> str:
                given = [fake.stored.get(a, a) if isinstance(a, str) else a for a in args]
                name = f"task {len(fake.tasks)}"
                fake.tasks[name] = lambda: function(*given)
                return name

        return Remote

    def wait(self, pending: list[str], num_returns: int) -> tuple[list[str], list[str]]:
        assert num_returns == 1
        return [pending[-1]], pending[:-1]

    def get(self, name: str) -> Any:
        try:
            return self.tasks[name]()
        except Exception as error:
            wrapped = RuntimeError("RayTaskError")
            vars(wrapped)["cause"] = error
            raise wrapped from error

    def cancel(self, name: str, force: bool) -> None:
        assert force
        self.cancelled.append(name)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


def test_tasks_of_ray(ray: FakeRay) -> None:
    """Through something with the same interface: the model is stored once, one task for a unit."""
    assert evaluated(workers="ray").samples == evaluated().samples
    assert len(ray.tasks) == 4 and list(ray.stored) == ["stored"] and ray.cancelled == []


def test_failing_tasks_of_ray(ray: FakeRay, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="as the test wants it"):
        evaluated(workers="ray", metric=FailsOn(tmp_path / "count", "raise"))
    assert ray.cancelled == ["task 0"]


def test_ray_must_be_running(ray: FakeRay) -> None:
    ray.started = False
    with pytest.raises(ArgumentError, match=r"workers: .*ray\.init"):
        evaluated(workers="ray")


def test_ray_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install mho\[ray\]"):
        evaluated(workers="ray")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray itself
def test_local_cluster_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    real = pytest.importorskip("ray", reason="Ray is not installed: pip install mho[ray]")
    paths = f"{Path(mho.__file__).parents[1]}:{FOLDER}"
    environment = {"env_vars": {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}}
    real.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment,
        object_store_memory=100 * 2**20,
    )  # fmt: skip
    try:
        assert evaluated(workers="ray").samples == evaluated().samples
        with pytest.raises(ZeroDivisionError):
            evaluated(workers="ray", metric=divide)
    finally:
        real.shutdown()


def divide(model: Any, data: Any) -> float:
    return 1 / 0


# --- files ----------------------------------------------------------------------------------------


def test_files_of_something_else(tmp_path: Path) -> None:
    """Everything that results depend on is named, and the file stays as it is."""
    path = tmp_path / "run.jsonl"
    evaluated(n_programmings=2, resume=path, ablation={"adc": None})
    content = path.read_bytes()
    changes: dict[str, dict[str, Any]] = {
        "seed": {"seed": 1},
        "metric": {"metric": "accuracy"},
        "vary": {"vary": "chip"},
        "torch_threads": {"torch_threads": 2},
        "calibrate": {"calibrate": str},
        "the configuration of 'full'": {"compensation": None},
    }
    for name, arguments in changes.items():
        with pytest.raises(ArgumentError, match=f"resume: .*{name}"):
            evaluated(n_programmings=2, resume=path, **arguments)
    with pytest.raises(ArgumentError, match="differ: data"):
        mho.evaluate(two_layers(inference_config()), batches(3), outputs, resume=path)
    other = two_layers(inference_config())
    other[2].bias.data.add_(1.0)
    with pytest.raises(ArgumentError, match="differ: state"):
        mho.evaluate(other, batches(), outputs, resume=path, progress=False)
    with pytest.raises(ArgumentError, match="configuration of 'without adc' differs"):
        evaluated(resume=path, ablation={"adc": lambda config: None})
    assert path.read_bytes() == content


def test_files_do_not_depend_on_products_of_before(tmp_path: Path) -> None:
    model = two_layers(inference_config())
    arguments: dict[str, Any] = {"n_programmings": 2, "progress": False, "times": [1.0]}
    first = mho.evaluate(model, batches(), outputs, resume=tmp_path / "a", **arguments)
    model(batches()[0][0])
    again = mho.evaluate(model, batches(), outputs, resume=tmp_path / "a", **arguments)
    assert again.samples == first.samples


def test_variants_may_come_later(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    evaluated(n_programmings=2, resume=path)
    totals: list[int] = []
    result = evaluated(
        n_programmings=2, resume=path, ablation={"adc": None},
        progress=lambda done, total, row: totals.append(total),
    )  # fmt: skip
    assert totals == [6] * 6  # three variants beside the full model
    assert result.samples == evaluated(n_programmings=2, ablation={"adc": None}).samples


def test_recommended_number_takes_up_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    first = evaluated(n_programmings=3, resume=path)
    n = first.recommend_n(first.table[0]["sd"])
    calls: list[dict[str, Any]] = []
    evaluated(n_programmings=n, resume=path, progress=lambda done, total, row: calls.append(row))
    assert [row["programming"] for row in calls] == list(range(3, n))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing\n", "line 1"),
        ("3\n", "is no result"),
        ('{"format": 99}\n', "is no file of results"),
        ("{", "no whole line"),
    ],
)
def test_other_files(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text(text)
    with pytest.raises(ArgumentError, match=f"resume: .*{message}"):
        evaluated(resume=path)
    assert path.read_text() == text


def test_files_that_cannot_be(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere" / "run.jsonl"):
        with pytest.raises(ArgumentError, match=r"resume: .* cannot be a file"):
            evaluated(resume=path)


def test_broken_lines_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    evaluated(n_programmings=2, resume=path)
    lines = path.read_text().splitlines(keepends=True)
    for broken, message in (("{\n", "line 2"), ('{"variant": "full"}\n', "is no result: KeyError")):
        path.write_text(lines[0] + broken + lines[2])
        with pytest.raises(ArgumentError, match=message):
            evaluated(n_programmings=2, resume=path)


def test_numbers_that_are_not_finite_are_kept(tmp_path: Path) -> None:
    from mho.evaluation.unit import Measurement, Outcome, Point, Unit

    file = ResultsFile(tmp_path / "run.jsonl", {"a": 1}, {"full": "x"}, 0)
    point = Point(0.1, 0)
    values = {"m": float("nan"), "n": float("-inf"), "o": 0.1 + 0.2}
    file.append(Outcome(Unit("full", 0, (point,)), [Measurement(point, values)], "here"))
    (read,) = file.read()
    assert repr(read.measurements[0].values) == repr(values)
    assert read.unit == Unit("full", 0, (point,))


def test_there_are_no_workers_without_units(tmp_path: Path) -> None:
    """A file that has everything needs no process."""
    path = tmp_path / "run.jsonl"
    first = evaluated(resume=path)
    start = time.monotonic()
    assert evaluated(resume=path, workers=8).samples == first.samples
    assert workers.check_workers(8) == 8 and time.monotonic() - start < 30.0
