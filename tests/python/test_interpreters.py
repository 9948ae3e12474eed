"""Other interpreters of one process, in which torch does not work."""

import importlib.util
import subprocess
import sys

import pytest

# Seconds; without the refusal, the import of torch waits for ever.
LIMIT = 60

NAMES = ["mho", "mho.nn", "mho._core"]

CODE = """
import sys
import {module} as interpreters

first = sys.argv[1] == "first"
if first:
    import mho.simulator.tiles
CODE = '''
try:
    import NAME
except ImportError as error:
    print("refused:", error, flush=True)
else:
    print("imported", flush=True)
'''
for name in sys.argv[2:]:
    interpreter = interpreters.create()
    interpreters.run_string(interpreter, CODE.replace("NAME", name))
    interpreters.destroy(interpreter)
if first:
    import torch
    from mho.nn import AnalogLinear
    AnalogLinear(2, 2)(torch.ones(1, 2))
print("done")
"""


# Loading torch takes longer than all names.
@pytest.mark.parametrize(
    ("order", "names"), [("first", NAMES), *(("alone", [name]) for name in NAMES)]
)
def test_import_is_refused(order: str, names: list[str]) -> None:
    known = [n for n in ("_interpreters", "_xxsubinterpreters") if importlib.util.find_spec(n)]
    if not known:
        pytest.skip("this Python has no module for interpreters")
    command = [sys.executable, "-c", CODE.format(module=known[0]), order, *names]
    result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    lines = result.stdout.splitlines()
    assert len(lines) == len(names) + 1, result
    for line in lines[:-1]:
        assert line.startswith("refused: mho: torch works in the first"), result
    assert lines[-1] == "done" and result.returncode == 0, result.stderr[-2000:]
