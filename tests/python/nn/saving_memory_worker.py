"""Converts, saves and loads a model of some size; prints the peaks of memory.

Usage: python saving_memory_worker.py FOLDER. One line for each step: its name, and how much more
memory than before the process had at its peak, as a multiple of the weights of the model.
"""

import gc
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from mho.nn import convert_by_map, convert_to_analog, load_analog, save_analog
from mho.nn.saving.analog_map import analog_map
from mho.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig

SIZE = 768
LAYERS = 12
WEIGHTS = 4 * SIZE * SIZE * (LAYERS + 1)
RULES = {"re:layers\\.[0-5]": InferenceRPUConfig(), "layers": TorchInferenceRPUConfig()}


class Net(nn.Module):
    """Layers, and an embedding that stays digital."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__()
        self.embed = nn.Embedding(size, size)
        self.layers = nn.ModuleList(nn.Linear(size, size, bias=False) for _ in range(LAYERS))


def memory(what: str) -> int:
    """Return an entry of what Linux knows of the process, in bytes."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1]) if found else 0


def peak(step: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function and print what it needed."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    result = function(*args, **kwargs)
    print(step, (memory("VmHWM") - before) / WEIGHTS)
    return result


def main(folder: Path) -> None:
    """Take all steps, each once before with a small model."""
    warnings.simplefilter("ignore")
    small = convert_to_analog(Net(8), None, rules=RULES)
    save_analog(small, folder / "small")
    load_analog(folder / "small", lambda: Net(8))
    net = Net()
    model = peak("convert", convert_to_analog, net, None, rules=RULES)
    found = analog_map(model)
    del model
    peak("convert by map", convert_by_map, net, found)
    model = peak("convert in place", convert_to_analog, net, None, rules=RULES, inplace=True)
    del net
    peak("save", save_analog, model, folder, max_shard_size=WEIGHTS // 3)
    del model
    peak("load", load_analog, folder, Net)
    peak("load into the structure of a model", load_analog, folder, Net())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
