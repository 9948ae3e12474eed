"""Training by several processes: equal weights, noise of their own, errors of all of them.

One pair of processes runs all cases of `replicas_worker.py`, which a third argument chooses from.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import distributed

Found = dict[str, dict[str, Any]]

WORKER = Path(__file__).parent / "replicas_worker.py"
# Seconds; two processes take a tenth of it on a machine that does nothing else.
LIMIT = 280

# What all ranks raise; the second text is that of the rank where it went wrong, if another one.
ERRORS = {
    "not_finite_on_one_rank": (r"ArgumentError: rank 1: .*'0'.* finite.*No rank", r"finite"),
    "impossible_learning_rate": (r"ArgumentError: rank 1: lr: .*-1.0", r"ArgumentError: lr: "),
    "other_learning_rate": (r"ModuleError: .*'0', ranks 0 and 1: .*0\.5 and 0\.25",),
    "other_weights": (r"ModuleError: .*'2', ranks 0 and 1: .*weights differ.*prepare_for_ddp",),
    "frozen_on_one_rank": (r"ModuleError: .*'0', ranks 0 and 1: requires_grad differs",),
    "digital_parameters_that_nobody_averages": (r"bias.* differ.*DistributedDataParallel",),
    "layers_that_were_not_prepared": (r"ModuleError: .*'2': .*prepare_for_ddp\(model\)",),
    "other_optimizer": (r"ModuleError: .*\[2, 1\] analog tiles",),
    "other_models": (r"ModuleError: .*rank 1.*rank 0.*same on all ranks",
                     r"ModuleError: .*rank 0.*rank 1.*same on all ranks"),
    "pulsed_tiles_alone_in_the_wrapper": (r"ModuleError: .*Call prepare_for_ddp\(model\)",),
    "joining_the_model_only": (r"ModuleError: .*Join\(\[model, optimizer\]\)",),
    "contexts_in_the_wrapper": (r"ModuleError: .*no gradient.*wrap the model itself",),
    "split_optimizers": (r"(ModuleError: .*'module\.0': ZeroRedundancyOptimizer.*){2}",),
    "prepared_again": (r"ModuleError: .*weights differ.*ModuleError: .*Join\(",),
    "flat_shards_of_pulsed_tiles": (r"RuntimeError: .*ignored_states",),
    "shards_of_pulsed_tiles": (r"TileModuleError: .*cannot be sharded.*ignored_params",),
}  # fmt: skip


def run(folder: Path, chosen: str = "") -> tuple[Found, Found]:
    """Return what both ranks have found."""
    command = [sys.executable, str(WORKER)]
    workers = [
        subprocess.Popen(
            [*command, str(rank), str(folder), chosen],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    found = []
    for worker in workers:
        output, errors = worker.communicate(timeout=LIMIT)
        assert worker.returncode == 0, errors[-3000:]
        found.append(dict(map(json.loads, output.splitlines())))
    return found[0], found[1]


def faults(case: str, first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Return what is wrong with a case."""
    found = [one["raised"] for one in (first, second) if "raised" in one]
    if first.get("digest") != second.get("digest"):
        found.append("the ranks have other weights or states")
    for name, fault in (
        ("as_one", "is not what one process gives"),
        ("moved", "nothing has moved"),
        ("unchanged", "a step that was refused has changed weights"),
    ):
        if not (first.get(name, True) and second.get(name, True)):
            found.append(fault)
    if "differs" in first and first["differs"] == second["differs"]:
        found.append("the ranks have the same noise")
    if first.get("scales") != second.get("scales"):
        found.append("the ranks have other loss scales")
    if case in ERRORS:
        expected = ERRORS[case]
        for one, text in ((first, expected[0]), (second, expected[-1])):
            error = ": ".join(one["error"])
            if not re.search(text, error, re.S):
                found.append(f"expected an error like {text!r}, got {error!r}")
    elif "error" in first:
        found.append(f"an error that nobody expects: {first['error']}")
    return found


@pytest.mark.timeout(300)
@pytest.mark.skipif(not distributed.is_available(), reason="torch without torch.distributed")
def test_two_processes(tmp_path: Path) -> None:
    first, second = run(tmp_path)
    assert list(first) == list(second)
    assert set(ERRORS) - set(first) <= {"shards_of_pulsed_tiles"} and len(first) > 90
    wrong = {case: faults(case, one, second[case]) for case, one in first.items()}
    assert not {case: what for case, what in wrong.items() if what}
    noisy = first["noisy_products"]
    # 600 weights move by about ten pulses of a sample and noise: a slope within a few percent, and
    # a mean within five standard errors.
    assert noisy["slope"] == pytest.approx(1.0, abs=0.03)
    assert abs(noisy["mean"]) < 5 * noisy["std"] / 600**0.5


@pytest.mark.timeout(300)
@pytest.mark.skipif(not distributed.is_available(), reason="torch without torch.distributed")
def test_example() -> None:
    script = Path(__file__).parents[3] / "examples" / "distributed.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*command, str(script)], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 processes, one model" in done.stdout
    found = re.search(r"test: ([\d.]+) % correct", done.stdout)
    assert found is not None and float(found[1]) > 95.0


def test_faults_are_found() -> None:
    """The checks above can fail."""
    right = {"digest": 1, "as_one": True, "moved": True, "differs": 1}
    assert faults("case", right, right | {"differs": 2}) == []
    for wrong in ({"digest": 2}, {"as_one": False}, {"moved": False}, {"raised": "E"}):
        assert len(faults("case", right | {"differs": 3}, right | wrong)) == 1
    assert faults("case", right, right) == ["the ranks have the same noise"]
    assert len(faults("other_weights", {"error": ["ModuleError", "no"]}, {"error": []})) == 2
    assert faults("case", {"error": ["E", ""]}, {"error": ["E", ""]})
