"""Makes the files in `tests/rust/state` that the crate reads: states, and what comes next of them.

Usage: PYTHONPATH=tests/python python make_rust_states.py. What comes next must never change by
itself: run it for new kinds of entries, or for a change that users are told about.
"""

import torch
from safetensors.torch import save_file

from golden import numbers
from mho.nn import save_analog
from rust_states import FOLDER, digits, models, outcomes

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    cases = models()
    save_file(cases.state_dict(), FOLDER / "states.safetensors")
    found = outcomes(cases)
    model = digits()
    # Two files of tensors, as large models have them.
    save_analog(model, FOLDER / "model", max_shard_size="24KB")
    model.eval()
    with torch.no_grad():
        found["model.x"] = numbers(3, 7)
        found["model.y"] = model(found["model.x"])
    save_file(found, FOLDER / "next.safetensors")
