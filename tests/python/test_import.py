"""What importing the package costs those who only import it."""

import subprocess
import sys

PROGRAM = """
import sys, torch, torch.utils.checkpoint  # which loads sympy in torch 2.4
before = set(sys.modules)
import mho.documented
del mho.documented._texts  # what reads sources
import mho, mho.nn, mho.optim, mho.inference, mho.simulator.configs, mho.simulator.presets
mho.nn.AnalogLinear(3, 2)(torch.ones(1, 3)).sum().backward()
print(*(set(sys.modules) - before))
if sys.platform == "linux":
    print(*(line for line in open("/proc/self/maps") if "libvulkan" in line))
"""
COMPILERS = ("torch._dynamo", "torch._inductor", "torch.export", "sympy", "triton")


def test_compiler_drivers_and_sources_are_left_where_they_are() -> None:
    """The compiler takes longer to load than the rest of torch, and most programs never compile."""
    command = [sys.executable, "-c", PROGRAM]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    modules = found[0].split()
    assert "mho.nn" in modules
    assert [name for name in modules if name.startswith(COMPILERS)] == []
    assert found[1:] in ([""], ["", ""])
