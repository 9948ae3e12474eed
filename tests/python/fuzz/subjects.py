"""What sequences work on: random tiles, layers and models, with an optimizer where they train."""

import enum
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import nn

from cells_for_tests import CELLS
from fuzz.dice import Dice
from golden import GoldenConfig, GoldenDevice, GoldenModel
from mho import inference
from mho.exceptions import AihwkitException, ConfigError
from mho.nn import AnalogLinear, AnalogLinearMapped, AnalogSequential
from mho.nn.conversion import convert_to_analog
from mho.optim import AnalogAdam, AnalogSGD
from mho.simulator import configs
from mho.simulator.devices import rules
from mho.simulator.tiles.array import TileModuleArray
from mho.simulator.tiles.custom import CustomRPUConfig
from mho.simulator.tiles.module import TileModule

PULSED = (
    "ConstantStepDevice",
    "LinearStepDevice",
    "SoftBoundsDevice",
    "SoftBoundsPmaxDevice",
    "SoftBoundsReferenceDevice",
    "ExpStepDevice",
    "PowStepDevice",
    "PowStepReferenceDevice",
    "PiecewiseStepDevice",
)
NOISE_MODELS = (
    inference.PCMLikeNoiseModel,
    inference.HermesNoiseModel,
    inference.ReRamWan2022NoiseModel,
    inference.ReRamCMONoiseModel,
)


def pulsed(dice: Dice) -> Any:
    """Pulsed tiles of any single device."""
    device = getattr(configs, dice.one(PULSED))()
    if dice.chance(0.3):
        device.drift.nu = 0.1
    if dice.chance(0.3):
        device.count_pulses = True
    return configs.SingleRPUConfig(device=device)


def inferring(cls: type[Any], dice: Dice) -> Any:
    """Inference, of the core or in torch."""
    config = cls()
    if dice.chance(0.3):
        config.noise_model = dice.one(NOISE_MODELS)()
    if dice.chance(0.2):
        config.drift_compensation = None
    if dice.chance(0.4):
        config.modifier = configs.WeightModifierParameter(
            type=dice.one(list(configs.WeightModifierType)),
            std_dev=0.1,
            res=0.1,
            sto_round=dice.chance(0.5),
            pdrop=0.1,
            enable_during_test=dice.chance(0.3),
        )
    return config


def rich(dice: Dice) -> Any:
    """Pulsed tiles with everything that devices can do beside pulses."""
    names = ["SoftBoundsDevice", "LinearStepDevice", "ExpStepDevice", "PowStepDevice"]
    device = getattr(configs, dice.one(names))(
        count_pulses=True, lifetime=10.0, diffusion=0.01, write_noise_std=0.1
    )
    device.drift.nu = 0.1
    return configs.SingleRPUConfig(device=device)


def ruled(dice: Dice) -> Any:
    """Tiles whose update is a rule in Python."""
    device = configs.SoftBoundsDevice(count_pulses=True, lifetime=10.0, diffusion=0.01)
    cell = configs.CustomCompound(
        unit_cell_devices=[device, configs.LinearStepDevice()],
        rule=dice.one([rules.agad, rules.c_ttv2, rules.residual]),
        every=dice.one([0, 1, 3]),
        params={"fast_lr": 0.5, "bl": 5, "n": 2, "forget": False, "chop": 0.3, "tail": 2.0},
    )
    cell.params |= {"period": 2, "base": 2, "rate": 0.5, "growth": 1.2, "warm_start": True}
    return configs.UnitCellRPUConfig(device=cell)


KINDS: dict[str, Callable[[Dice], Any]] = {
    "pulsed": pulsed,
    "cell": lambda dice: dice.one(list(CELLS.values()))(),
    "rich": rich,
    "python device": lambda dice: configs.SingleRPUConfig(device=GoldenDevice()),
    "rule": ruled,
    "ideal": lambda dice: configs.SingleRPUConfig(device=configs.IdealDevice()),
    "floating point": lambda dice: configs.FloatingPointRPUConfig(),
    "inference": lambda dice: inferring(configs.InferenceRPUConfig, dice),
    "torch": lambda dice: inferring(configs.TorchInferenceRPUConfig, dice),
    "custom": lambda dice: dice.one([CustomRPUConfig, GoldenConfig])(),
}
WEIGHTS = {"pulsed": 4, "cell": 4, "inference": 3, "torch": 2}  # how often, where not once


PARTS = ("tile", "layer", "mapped", "model", "wrapped")


@dataclass
class Subject:
    """A module, what trains it, and what a user has kept of it."""

    kind: str
    """Key of `KINDS`."""

    part: str
    """`tile`, `layer`, `mapped`, `model` or `wrapped`, a converted model of a user."""

    module: nn.Module
    optimizer: Any = None
    kept: Any = None
    """State that was saved earlier, together with that of the optimizer."""

    def tiles(self) -> list[Any]:
        """Return all tiles."""
        return [m for m in self.module.modules() if isinstance(m, TileModule)]

    def arrays(self) -> list[Any]:
        """Return all arrays of tiles."""
        return [m for m in self.module.modules() if isinstance(m, TileModuleArray)]

    def layers(self) -> list[Any]:
        """Return all analog layers."""
        return [m for m in self.module.modules() if isinstance(m, AnalogLinear)]

    @property
    def in_size(self) -> int:
        """Number of inputs."""
        first: Any = next(m for m in self.module.modules() if hasattr(m, "in_size"))
        return int(getattr(self._outer(), "in_features", first.in_size))

    def _outer(self) -> Any:
        return self.module[0] if isinstance(self.module, AnalogSequential) else self.module

    def features_first(self) -> bool:
        """Whether inputs have their features on the first axis."""
        return bool(getattr(self.module, "in_trans", False))

    def dtype(self) -> torch.dtype:
        """Precision of inputs and outputs."""
        dtype: torch.dtype = self.tiles()[0].io_dtype
        return dtype


def nested(config: Any, path: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield dotted name, object and name of all fields of a configuration, inner ones included."""
    for field in fields(config):
        name = f"{path}{field.name}"
        value = getattr(config, field.name)
        yield name, config, field.name
        if is_dataclass(value) and not isinstance(value, type):
            yield from nested(value, f"{name}.")


def another(value: Any, dice: Dice) -> Any:
    """Return another value of the kind of a field; not all of them are possible."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, enum.Enum):
        return dice.one(list(type(value)))
    if isinstance(value, int):
        return dice.one([0, 1, 2, 7, value + 1, value * 2])
    if isinstance(value, float):
        return dice.one([0.0, 1e-3, 0.01, 0.1, 0.5, 1.0, 2.0, value * 0.5, value * 2.0])
    return value


# What decides about cost or machine, not about results.
KEPT = ("tile_class", "runtime", "max_bm_factor", "construction_seed")


def edited(config: Any, dice: Dice, most: int) -> Any:
    """Change up to `most` random fields that can be changed."""
    names = [item for item in nested(config) if not any(word in item[0] for word in KEPT)]
    for _, owner, name in dice.some(names, most):
        value = getattr(owner, name)
        with suppress(AihwkitException):
            setattr(owner, name, another(value, dice))
    return config


def usual(config: Any, dice: Dice) -> Any:
    """Switch on what much depends on, more often than by a random field."""
    mapping = config.mapping
    if dice.chance(0.4):
        mapping.weight_scaling_omega = dice.one([0.3, 0.6, 1.0])
        mapping.weight_scaling_columnwise = dice.chance(0.5)
    mapping.learn_out_scaling = dice.chance(0.2)
    if dice.chance(0.2):
        mapping.digital_bias = False
    if dice.chance(0.3):
        config.pre_post.input_range.enable = True
    if dice.chance(0.3) and hasattr(config, "forward"):
        config.forward.out_noise_std = 0.2
    return config


def size_of(dice: Dice) -> int:
    """Return a number of features: mostly tiny, sometimes enough for several threads."""
    return dice.randint(1, 6) if dice.chance(0.9) else dice.randint(30, 90)


def build(seed: int) -> Subject:
    """Return the subject of a seed; seeds of tiles come from torch's generator."""
    dice = Dice(seed)
    kind = dice.choices(list(KINDS), [WEIGHTS.get(kind, 1) for kind in KINDS])[0]
    part = dice.choices(PARTS, [8, 6, 2, 3, 1])[0]
    subject = Subject(kind, part, built(part, kind, dice))
    if part != "tile" or dice.chance(0.3):
        subject.optimizer = optimizer_of(subject, dice)
    return subject


def built(part: str, kind: str, dice: Dice) -> nn.Module:
    """Return a module with a random configuration, the usual one if eight others are refused."""
    for _ in range(8):
        config = edited(usual(KINDS[kind](dice), dice), dice, 4)
        with suppress(ConfigError):
            return module_of(part, kind, config, dice)
    return module_of(part, kind, KINDS[kind](dice), dice)


def module_of(part: str, kind: str, config: Any, dice: Dice) -> nn.Module:
    """Return a tile, a layer, a layer that is split, or a small model."""
    rows, columns, bias = size_of(dice), size_of(dice), dice.chance(0.6)
    # Tiles in Python have no bias in the array.
    bias = bias and (kind not in ("torch", "custom") or config.mapping.digital_bias)
    if part == "tile":
        first = kind not in ("torch", "custom") and dice.chance(0.15)
        flags = {"in_trans": True, "out_trans": dice.chance(0.5)} if first else {}
        tile: nn.Module = config.tile_class(rows, columns, config, bias, **flags)
        return tile
    if part == "layer":
        return AnalogLinear(columns, rows, bias, config)
    if part == "mapped":
        config.mapping.max_input_size = 1 + columns // 2
        config.mapping.max_output_size = 1 + rows // 2
        return AnalogLinearMapped(columns, rows, bias, config)
    if part == "wrapped":
        return convert_to_analog(GoldenModel(), config)
    middle = dice.randint(1, 4)
    layers = [AnalogLinear(columns, middle, bias, config), nn.Tanh()]
    if dice.chance(0.5):
        layers.append(nn.Linear(middle, middle))
    return AnalogSequential(*layers, AnalogLinear(middle, rows, bias, config))


def optimizer_of(subject: Subject, dice: Dice) -> Any:
    """Return an optimizer for a subject."""
    trained_by_torch = subject.kind in ("inference", "torch")
    parameters = list(subject.module.parameters())
    rate = dice.one([0.01, 0.1, 1.0])
    if trained_by_torch and dice.chance(0.3):
        return torch.optim.SGD(parameters, lr=rate, momentum=0.5)
    if dice.chance(0.3):
        return AnalogAdam(parameters, lr=rate)
    momentum = {"momentum": 0.5} if trained_by_torch and dice.chance(0.5) else {}
    return AnalogSGD(parameters, lr=rate, **momentum)
