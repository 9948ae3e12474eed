"""The checkpoint of `examples/embed` and the accuracies that a program in Rust is compared with."""

import json
import runpy
from pathlib import Path

import pytest
import torch

EMBED = Path(__file__).parents[2] / "examples/embed"


def test_the_checkpoint_has_the_accuracy_that_is_noted() -> None:
    script = runpy.run_path(str(EMBED / "train.py"))
    x, digits = (part[script["TRAINING"] :] for part in script["images"]())
    model = script["loaded"]()
    noted = json.loads((EMBED / "accuracies.json").read_text())
    assert script["accuracy"](model, x, digits) == noted["before"]
    # One chip: the spread of chips is noted, and one in ten thousand is beyond four of it.
    torch.manual_seed(1)
    model.drift_analog_weights(script["TIMES"]["1 year"])
    year = noted["1 year"]
    found = script["accuracy"](model, x, digits)
    assert found == pytest.approx(year["mean"], abs=4.0 * year["std"])
