"""Arguments: good ones by their name, and absurd ones that hardly any argument can take."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fuzz.dice import Dice
from fuzz.subjects import Subject, another, edited
from mho.inference import PCMLikeNoiseModel
from mho.simulator.configs import RuleTile
from mho.simulator.parameters.enums import WeightClipType, WeightRemapType
from mho.simulator.parameters.inference import WeightClipParameter, WeightRemapParameter


class Anything:
    """An object of no use; unlike a bare one it is called the same in every run."""

    def __repr__(self) -> str:
        return "Anything()"


def absurd(rows: int, columns: int) -> list[Any]:
    """Return values that hardly any argument can take, for weights of a size."""
    return [
        None,
        10**400,
        -(10**400),
        2**63,
        -1,
        0,
        1.5,
        float("nan"),
        float("inf"),
        float("-inf"),
        3e38,
        -3e38,
        True,
        "text",
        "",
        b"bytes",
        [],
        [1, "a"],
        {},
        {"a": 1},
        Anything(),
        int,
        len,
        nn.Linear(2, 2),
        np.float32("nan"),
        np.zeros(3),
        torch.tensor(float("nan")),
        torch.zeros(()),
        torch.zeros(0),
        torch.full((rows, columns), float("nan")),
        torch.full((2, columns), float("inf")),
        torch.full((rows, columns), 3e38),
        torch.zeros(2, 2, 2, 2),
        torch.zeros(rows, columns, dtype=torch.complex64),
        torch.zeros(rows, columns, dtype=torch.bool),
        torch.zeros(rows, columns).to_sparse(),
        torch.zeros(rows, columns, device="meta"),
        nested(),
    ]


def nested() -> Tensor:
    """Return a tensor of tensors of several shapes, which torch knows as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is a prototype
        return torch.nested.nested_tensor([torch.zeros(3), torch.zeros(2)])


class Place:
    """What a call is made on, and the numbers that its arguments depend on."""

    def __init__(self, subject: Subject, obj: Any, tile: Any, dice: Dice) -> None:
        self.subject, self.obj, self.tile, self.dice = subject, obj, tile, dice
        self.rows = int(getattr(obj, "out_features", getattr(obj, "out_size", tile.out_size)))
        self.columns = int(getattr(obj, "in_features", getattr(obj, "in_size", tile.in_size)))
        self.is_raw = obj is tile.tile
        if self.is_raw:
            self.rows, self.columns = obj.get_d_size(), obj.get_x_size()
        self.samples = dice.choice([0, 1, 1, 2, 3, dice.randint(1, 60)])
        self.scale = dice.choice([1e-3, 0.3, 1.0, 1.0, 5.0])

    def dtype(self) -> torch.dtype:
        """Precision of inputs."""
        dtype: torch.dtype = self.tile.io_dtype
        moves = self.tile.tile.moves
        return torch.float32 if self.is_raw and not moves else dtype

    def batch(self, size: int, first: bool) -> Tensor:
        """Return a batch of inputs or of errors."""
        first = first and not self.is_raw
        shape = (size, self.samples) if first else (self.samples, size)
        return self.dice.normal(*shape, scale=self.scale).to(self.dtype())

    def weights(self) -> Tensor:
        """Return weights of the object, in logical units."""
        scale = self.dice.choice([0.01, 0.2, 1.0])
        return self.dice.normal(self.rows, self.columns, scale=scale)

    def vector(self) -> Tensor:
        """Return a positive factor, or one for each output."""
        return self.dice.uniform(self.dice.choice([1, self.rows]), low=0.1, high=2.0)


def positive(place: Place) -> float:
    """Return a positive number."""
    return place.dice.choice([1e-3, 0.1, 0.5, 1.0, 3.0])


def same_config(place: Place) -> Any:
    """Return a configuration like that of the tile, with a few changes."""
    text = place.tile.rpu_config.to_json()
    return edited(type(place.tile.rpu_config).from_json(text), place.dice, 2)


def state(place: Place) -> Any:
    """Return the present state, or one that was kept."""
    kept, obj = place.subject.kept, place.obj
    if kept is not None and obj is place.subject.module and place.dice.chance(0.7):
        return kept
    return {name: value.clone() for name, value in obj.state_dict().items()}


def named_weights(place: Place) -> Any:
    """Return weights of all tiles of a container by name."""
    tiles = place.obj.named_analog_tiles()
    return {
        name: (
            place.dice.normal(tile.out_size, tile.in_size, scale=0.2),
            place.dice.normal(tile.out_size) if tile.use_bias else None,
        )
        for name, tile in tiles
    }


def hidden(place: Place) -> Any:
    """Return hidden parameters near the present ones."""
    factor = place.dice.choice([1.0, 0.9, 1.1])
    return {name: value * factor for name, value in place.tile.get_hidden_parameters().items()}


def lines(place: Place, get: str) -> Any:
    """Return frozen values of the lines near the present ones."""
    if place.tile.tile.kernels is None:
        return {}
    values = getattr(place.obj, get)()
    return {name: value * place.dice.choice([1.0, 0.5]) for name, value in values.items()}


def clipping(place: Place) -> Any:
    """Return how weights are clipped."""
    return WeightClipParameter(type=place.dice.one(list(WeightClipType)), fixed_value=0.3)


def remapping(place: Place) -> Any:
    """Return how weights are remapped."""
    return WeightRemapParameter(type=place.dice.one(list(WeightRemapType)))


def bias_of(place: Place) -> Tensor:
    """Return a bias."""
    return place.dice.normal(place.rows, scale=0.3)


def x_of(place: Place) -> Tensor:
    """Return inputs."""
    return place.batch(place.columns, bool(getattr(place.tile, "in_trans", False)))


def d_of(place: Place) -> Tensor:
    """Return gradients of outputs."""
    return place.batch(place.rows, bool(getattr(place.tile, "out_trans", False)))


def flag(place: Place) -> bool:
    """Return a truth value."""
    return place.dice.chance(0.5)


def count(t: RuleTile) -> None:
    """Act on a tile as a rule does."""
    t.state("counted", 1).add_(1)


GOOD: dict[str, Callable[[Place], Any]] = {
    "x_input": x_of,
    "x": x_of,
    "input": x_of,
    "d_input": d_of,
    "values": d_of,
    "x_output": d_of,
    "readout_tensor": lambda p: p.dice.normal(2, p.tile.tile.get_x_size()),
    "x_values": lambda p: p.dice.normal(
        p.dice.randint(1, 9),
        p.tile.tile.get_x_size() if not p.tile.tile.moves else p.tile.in_size,
    ),
    "function": lambda p: count,
    "zero_shift.n": lambda p: p.dice.one([1, 20]),
    "zero_shift.device": lambda p: 0,
    "zero_shift.delta": lambda p: 0.5,
    "zero_shift.mode": lambda p: p.dice.one(["alternate", "random"]),
    "weight": Place.weights,
    "combined_weights": lambda p: p.dice.normal(
        p.tile.tile.get_d_size(), p.tile.tile.get_x_size(), scale=0.3
    ),
    "bias": bias_of,
    "weights_dic": named_weights,
    "state_dict": state,
    "extra": lambda p: p.obj.dump_extra(),
    "ordered_parameters": hidden,
    "params": lambda p: p.obj.get_hidden_parameters() * p.dice.choice([1.0, 0.9]),
    "set_forward_parameters.dic": lambda p: lines(p, "get_forward_parameters"),
    "set_backward_parameters.dic": lambda p: lines(p, "get_backward_parameters"),
    "value": positive,
    "alpha": lambda p: positive(p) if p.dice.chance(0.5) else p.vector(),
    "decay_weights.alpha": positive,
    "scales": Place.vector,
    "remap_weights.scales": lambda p: p.dice.uniform(p.rows, low=0.1, high=2.0),
    "mapping_scales": lambda p: p.dice.choice([None, p.vector(), positive(p)]),
    "learning_rate": lambda p: p.dice.choice([0.0, 0.01, 0.1, 1.0]),
    "weight_scaling_omega": lambda p: p.dice.choice([None, 0.0, 0.3, 1.0]),
    "reset_prob": lambda p: p.dice.choice([0.0, 0.5, 1.0]),
    "start_column_idx": lambda p: p.dice.randrange(p.tile.tile.get_x_size()),
    "num_columns": lambda p: p.dice.choice([-1, 0, 1, 2, 100]),
    "delta_t": lambda p: p.dice.choice([0.0, 1.0, 100.0]),
    "time_since_last_call": lambda p: p.dice.choice([0.0, 1.0, 100.0]),
    "t_inference": lambda p: p.dice.choice([0.0, 1.0, 3600.0, "1 day", "2 weeks"]),
    "max_iter": lambda p: p.dice.randint(1, 3),
    "tolerance": lambda p: p.dice.choice([None, 0.0, 0.01, 0.5]),
    "w_init": lambda p: p.dice.choice([0.0, 0.01, 0.2]),
    "over_sampling": lambda p: p.dice.randint(1, 10),
    "noise_model": lambda p: p.dice.choice([None, PCMLikeNoiseModel(prog_noise_scale=0.5)]),
    "rpu_config": same_config,
    "config": same_config,
    "bmin": lambda p: -positive(p),
    "bmax": positive,
    "weight_clipper_params": clipping,
    "clip": clipping,
    "weight_remap_params": remapping,
    "remap": remapping,
    "tensor_view": lambda p: None,
    "ndim": lambda p: 2,
    "dim": lambda p: -1,
    "ctx": lambda p: None,
    "index": lambda p: 0,
    "indices": lambda p: torch.zeros(1, dtype=torch.int64),
    "image_sizes": lambda p: [1, 2, 2],
    "d_tensor": lambda p: torch.zeros(2, p.rows, 1),
    "x_tensor": lambda p: torch.zeros(2, p.columns, 1),
    "verbose": lambda p: 1,
    "level": lambda p: 1,
    "backend": lambda p: "cpu",
    "adapter": lambda p: None,
    "prefix": lambda p: "",
    "size": lambda p: p.dice.randint(1, 50),
    "split_max_size": lambda p: p.dice.randint(0, 20),
    "fn": lambda p: id,
    "param_name": lambda p: "no_parameter",
    "pairs": lambda p: p.tile.analog_ctx.pairs(),
    "factor": positive,
    "device": lambda p: None,
    "assign": lambda p: False,
    "shared_weights": lambda p: None,
    "dic": lambda p: None,
    "hook": lambda p: None,
}
for _flag in (
    "apply_weight_scaling", "realistic", "strict", "load_rpu_config", "strict_rpu_config_check",
    "from_reference", "is_test", "non_blocking", "update_from_data",
):  # fmt: skip
    GOOD[_flag] = flag
for _flag in ("forward.bias", "backward.bias", "update.bias", "in_trans", "out_trans", "as_ref"):
    GOOD[_flag] = lambda p: False


def good(place: Place, method: str, name: str) -> Any:
    """Return a good argument of a method."""
    chosen = GOOD.get(f"{method}.{name}", GOOD.get(name))
    if chosen is None:
        raise LookupError(f"fuzz/values.py: {method} has a new argument {name!r}, add a good value")
    return chosen(place)


def bad(place: Place) -> Any:
    """Return an absurd argument."""
    return place.dice.one(absurd(place.rows, place.columns))


__all__ = ["Place", "absurd", "another", "bad", "good"]
