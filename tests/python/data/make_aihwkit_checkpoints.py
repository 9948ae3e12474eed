"""Makes `aihwkit/*.pt.gz`: what aihwkit saves of the models of `aihwkit_cases.py` and computes.

Usage: PYTHONPATH=tests/python python make_aihwkit_checkpoints.py [NAME ...], where aihwkit can be
imported. The tests need the files only. They stand for files of users: make new ones for new kinds
of state, never anew for those that are there.
"""

import copy
import gzip
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from aihwkit_cases import CASES, CONTINUED, build, continued, go_on, output, package, train

FOLDER = Path(__file__).with_name("aihwkit")
OTHERS: dict[str, Callable[[Any], Any]] = {}


def other(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Enter a file that is no state dictionary of a trained model."""
    OTHERS[function.__name__] = function
    return function


def found(model: Any, x: Any) -> dict[str, Any]:
    """Return what the tests compare: outputs, weights, hidden parameters and learning rates."""
    model.eval()
    tiles = {
        name: tile for name, tile in model.named_modules() if hasattr(tile, "rpu_config")
        and not name.endswith(("grad_tile", "weight_tile"))
    }  # fmt: skip
    layers = {
        name: layer for name, layer in model.named_modules()
        if type(layer).__name__.startswith("Analog") and hasattr(layer, "get_weights")
        and (hasattr(layer, "analog_module") or hasattr(layer, "array"))
    }  # fmt: skip
    return {
        "x": x,
        "y": output(model, x).detach(),
        "weights": {name: layer.get_weights() for name, layer in layers.items()},
        "hidden": {name: dict(tile.get_hidden_parameters()) for name, tile in tiles.items()},
        "rates": {name: tile.tile.get_learning_rate() for name, tile in tiles.items()},
    }


def trained(p: Any, name: str) -> dict[str, Any]:
    """Return the file of a case: state, and what was found."""
    model, x = build(p, name)
    train(p, model, x)
    if name == "drifting_device":
        tile = next(model.analog_tiles())
        tile.tile.drift_weights(10.0)
    return {"model": model.state_dict(), "found": found(model, x)}


def _drifted(p: Any, noise_model: Any = None, time: float = 100.0) -> Any:
    model, x = build(p, "inference")
    train(p, model, x)
    model.eval()
    if noise_model is not None:
        for tile in model.analog_tiles():
            tile.rpu_config.noise_model = copy.deepcopy(noise_model)
    model.program_analog_weights()
    model.drift_analog_weights(time)
    return model, x


@other
def drifted(p: Any) -> Any:
    model, x = _drifted(p)
    return {"model": model.state_dict(), "found": found(model, x)}


def _whole(p: Any, noise_model: Any, times: tuple[float, float]) -> Any:
    """Return a file with a model, and what comes out when it drifts further."""
    model, x = _drifted(p, noise_model, times[0])
    buffer = io.BytesIO()
    torch.save(model, buffer)
    computed = found(model, x)
    model.drift_analog_weights(times[1])
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=False)
    return {"model": saved, "found": {**computed, "later": output(model, x).detach()}}


@other
def whole_model(p: Any) -> Any:
    return _whole(p, p.PCMLikeNoiseModel(read_noise_scale=0.0), (100.0, 1e6))


@other
def whole_model_hermes(p: Any) -> Any:
    return _whole(p, p.HermesNoiseModel(num_devices=1, read_noise_scale=0.0), (100.0, 1e6))


@other
def whole_model_cmo(p: Any) -> Any:
    model = p.ReRamCMONoiseModel(read_noise_scale=0.0)
    model.decay_dict["std"] = [0.0, 0.0]
    return _whole(p, model, (100.0, 1e6))


@other
def whole_model_wan(p: Any) -> Any:
    return _whole(p, p.ReRamWan2022NoiseModel(noise_scale=0.0), (1.0, 86400.0))


def _optimized(p: Any, kind: str, regroup: bool) -> Any:
    model, x = build(p, "mixed")
    optimizer = train(p, model, x, kind, regroup)
    names = [name for name, _ in model.named_parameters()]
    by_name = {
        name: {k: v.clone() for k, v in optimizer.state.get(parameter, {}).items() if v is not None}
        for name, parameter in model.named_parameters()
    }
    return {
        "epoch": 3,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "names": names,
        "by_name": by_name,
    }


@other
def with_sgd(p: Any) -> Any:
    return _optimized(p, "AnalogSGD", regroup=True)


@other
def with_adam(p: Any) -> Any:
    return _optimized(p, "AnalogAdam", regroup=False)


@other
def configuration(p: Any) -> Any:
    config = p.InferenceRPUConfig()
    config.forward.out_noise = 0.125
    config.forward.out_bound = float("inf")
    config.noise_model = p.ReRamWan2022NoiseModel(noise_scale=2.0)
    config.drift_compensation = None
    config.modifier.type = p.WeightModifierType.ADD_NORMAL
    return config


@other
def misspelt(p: Any) -> Any:
    config = p.InferenceRPUConfig()
    config.forward.__dict__["out_noize"] = 0.1
    return {"analog_module.analog_tile_state": {"rpu_config": config}}


@other
def presets(p: Any) -> Any:
    made = {
        name: getattr(p, name)() for name in dir(p)
        if name.endswith("Preset") and name != "WebComposerInferenceRPUConfig"
    }  # fmt: skip
    models = {
        name: getattr(p, name)() for name in dir(p)
        if name.endswith("NoiseModel") and not name.startswith(("Base", "CustomDrift"))
    }  # fmt: skip
    return made | models


@other
def stream(p: Any) -> Any:
    return trained(p, "soft_bounds")


def _continued(name: str) -> Callable[[Any], Any]:
    def made(p: Any) -> Any:
        layer, optimizer = continued(p, name)
        torch.manual_seed(0)
        inputs, errors = torch.rand(12, 3, 3) - 0.3, torch.randn(12, 3, 2)
        go_on(layer, optimizer, inputs[:5], errors[:5])
        buffer = io.BytesIO()
        torch.save(layer.state_dict(), buffer)
        go_on(layer, optimizer, inputs[5:], errors[5:])
        buffer.seek(0)
        (tile,) = layer.analog_tiles()
        return {
            "model": torch.load(buffer, weights_only=False),
            "inputs": inputs[5:].clone(),
            "errors": errors[5:].clone(),
            "later": dict(tile.get_hidden_parameters()),
        }

    return made


OTHERS |= {f"continued_{name}": _continued(name) for name in CONTINUED}


def no_source(_: Any) -> Any:
    """Stand for what puts the source texts of classes into streams; they are not ours."""
    raise OSError("left out")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    peer = package("aihwkit")
    torch.serialization.get_source_lines_and_file = no_source  # type: ignore[attr-defined]
    for name in sys.argv[1:] or [*CASES, *OTHERS]:
        content = OTHERS[name](peer) if name in OTHERS else trained(peer, name)
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=name != "stream")
        # No time of day in the file.
        (FOLDER / f"{name}.pt.gz").write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
