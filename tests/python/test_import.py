"""What importing the package costs those who only import it."""

import subprocess
import sys

PROGRAM = """
import sys, torch, torch.utils.checkpoint  # which loads sympy in torch 2.4
before = set(sys.modules)
import mho, mho.nn, mho.optim, mho.inference, mho.simulator.configs, mho.simulator.presets
mho.nn.AnalogLinear(3, 2)(torch.ones(1, 3)).sum().backward()
print(*(set(sys.modules) - before))
"""
COMPILERS = ("torch._dynamo", "torch._inductor", "torch.export", "sympy", "triton")


def test_the_compiler_is_left_where_it_is() -> None:
    """It takes longer to load than the rest of torch, and most programs never compile."""
    command = [sys.executable, "-c", PROGRAM]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "mho.nn" in found
    assert [name for name in found if name.startswith(COMPILERS)] == []
