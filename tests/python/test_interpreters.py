"""Other interpreters of one process, in which torch does not work."""

import importlib.util
import subprocess
import sys

import pytest

# Seconds; without the refusal, the import of torch waits for ever.
LIMIT = 60

CODE = """
import sys
import {module} as interpreters

first = sys.argv[1] == "first"
if first:
    import mho.simulator.tiles
CODE = '''
try:
    import {name}
except ImportError as error:
    print("refused:", error, flush=True)
else:
    print("imported", flush=True)
'''
interpreter = interpreters.create()
interpreters.run_string(interpreter, CODE)
interpreters.destroy(interpreter)
if first:
    import torch
    from mho.nn import AnalogLinear
    AnalogLinear(2, 2)(torch.ones(1, 2))
print("done")
"""


@pytest.mark.parametrize("order", ["first", "alone"])
@pytest.mark.parametrize("name", ["mho", "mho.nn", "mho._core"])
def test_import_is_refused(order: str, name: str) -> None:
    known = [n for n in ("_interpreters", "_xxsubinterpreters") if importlib.util.find_spec(n)]
    if not known:
        pytest.skip("this Python has no module for interpreters")
    code = CODE.format(module=known[0], name=name)
    result = subprocess.run(
        [sys.executable, "-c", code, order], capture_output=True, text=True, timeout=LIMIT
    )
    lines = result.stdout.splitlines()
    assert lines and lines[0].startswith("refused: mho: torch works in the first"), result
    assert lines[1:] == ["done"] and result.returncode == 0, result.stderr[-2000:]
