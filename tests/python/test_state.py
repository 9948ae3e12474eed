"""Tile state: one way in and one way out, bit-identical continuation, nothing half-loaded."""

import copy
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, Dataset

from mho.exceptions import (
    AihwkitException,
    ArgumentError,
    ConfigError,
    InputError,
    StateError,
    TileError,
    TileModuleError,
)
from mho.inference.noise.base import BaseNoiseModel
from mho.nn import AnalogLinear, AnalogSequential, convert_to_analog, convert_to_digital
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.enums import NoiseManagementType, PulseType
from mho.simulator.tiles import AnalogTile, InferenceTile, TileModuleArray

State = dict[str, torch.Tensor]


def build(config: Any, bias: bool = True) -> Any:
    """Tile with 3 outputs and 5 inputs after some use."""
    tile = config.tile_class(3, 5, config, bias)
    tile.set_weights(0.3 * torch.randn(3, 5), torch.randn(3) if bias else None)
    work(tile)
    return tile


def work(tile: Any) -> torch.Tensor:
    """Two training steps with fixed data; all randomness is that of the tile."""
    generator = torch.Generator().manual_seed(1)
    outputs = []
    for _ in range(2):
        x = torch.randn(4, 5, generator=generator, requires_grad=True)
        y = tile(x)
        y.square().mean().backward()
        outputs += [y.detach(), x.grad]
        if not tile.analog_ctx.use_torch_update:
            tile.apply_trace()
        else:
            with torch.no_grad():
                tile.shared_weights.sub_(0.1 * tile.shared_weights.grad)
            tile.shared_weights.grad = None
        tile.analog_ctx.reset()
        tile.post_update_step()
        outputs.append(tile.tile.get_weights())
    return torch.cat([output.flatten() for output in outputs])


def through_torch_file(state: State) -> State:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return dict(torch.load(buffer, weights_only=True))


def rich_config() -> Any:
    """Every optional part of the state at once."""
    config = SingleRPUConfig(device=SoftBoundsDevice(write_noise_std=0.1, lifetime=10.0))
    config.mapping.weight_scaling_omega = 0.5
    config.mapping.weight_scaling_columnwise = True
    config.mapping.learn_out_scaling = True
    config.mapping.out_scaling_columnwise = True
    config.pre_post.input_range.enable = True
    config.forward.out_noise_std = 0.2
    config.forward.noise_management = NoiseManagementType.AVERAGE_ABS_MAX
    return config


def analog_bias_config() -> Any:
    """The bias is a column of the array."""
    config = SingleRPUConfig()
    config.mapping.digital_bias = False
    return config


CONFIGS: dict[str, Callable[[], Any]] = {
    "constant step": SingleRPUConfig,
    "soft bounds": lambda: SingleRPUConfig(device=SoftBoundsDevice()),
    "inference": InferenceRPUConfig,
    "floating point": FloatingPointRPUConfig,
    "rich": rich_config,
    "analog bias": analog_bias_config,
}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> Any:
    """Configurations of all families, plain and with all options."""
    return CONFIGS[request.param]()


def test_values_are_tensors_without_shared_storage(config: Any) -> None:
    state = build(config).state_dict()
    assert all(type(value) is torch.Tensor for value in state.values())
    pointers = [value.untyped_storage().data_ptr() for value in state.values()]
    assert len(set(pointers)) == len(pointers)
    assert not {"analog_ctx", "shared_weights"} & set(state)


@pytest.mark.parametrize("way", ["file", "deepcopy", "pickle", "torch pickle"])
def test_copies_continue_with_the_same_bits(config: Any, way: str) -> None:
    tile = build(config)
    if way == "file":
        other: Any = config.tile_class(3, 5, config, bias=True)
        context = other.analog_ctx
        other.load_state_dict(through_torch_file(tile.state_dict()))
        assert other.analog_ctx is context
    elif way == "deepcopy":
        other = copy.deepcopy(tile)
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(tile))
    else:
        buffer = io.BytesIO()
        torch.save(tile, buffer)
        buffer.seek(0)
        other = torch.load(buffer, weights_only=False)
    assert other.rpu_config == tile.rpu_config
    assert other.get_learning_rate() == tile.get_learning_rate()
    live = other.analog_tile_weights.data_ptr()
    assert live == other.analog_ctx._raw_data().data_ptr() != tile.analog_tile_weights.data_ptr()
    if other.shared_weights is not None:
        assert other.shared_weights.data_ptr() == live
    assert {n for n, _ in other.named_parameters()} == {n for n, _ in tile.named_parameters()}
    expected = work(tile)
    assert torch.equal(work(other), expected)
    assert not torch.equal(work(tile), expected)  # the stream moves on


def test_safetensors(config: Any, tmp_path: Path) -> None:
    tile = build(config)
    save_file(tile.state_dict(), tmp_path / "tile.safetensors")
    other: Any = config.tile_class(3, 5, config, bias=True)
    other.load_state_dict(load_file(tmp_path / "tile.safetensors"))
    assert torch.equal(work(other), work(tile))


def test_other_tiles_and_seeds(config: Any) -> None:
    """`manual_seed` decides everything about a tile; other tiles used in between do not."""
    results = []
    for crowded in (False, True):
        torch.manual_seed(5)
        tile = build(config)
        other = copy.deepcopy(tile) if crowded else None
        if other is not None:
            work(other)
        results.append(work(tile))
    torch.manual_seed(6)
    assert torch.equal(*results)
    assert not torch.equal(results[0], work(build(config)))


def test_threads_do_not_change_bits(config: Any, threads: Callable[[int], None]) -> None:
    results = []
    for count in (1, 2, 7):
        threads(count)
        torch.manual_seed(5)
        results.append(work(build(config)))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_model_and_optimizer_pickled_together() -> None:
    tile = build(InferenceRPUConfig())
    optimizer = torch.optim.SGD(tile.parameters(), lr=0.1)
    for other, its in (
        pickle.loads(pickle.dumps((tile, optimizer))),
        copy.deepcopy((tile, optimizer)),
    ):
        mine = {id(parameter) for parameter in other.parameters()}
        assert {id(p) for group in its.param_groups for p in group["params"]} == mine


class _Forwards(Dataset[torch.Tensor]):
    """Uses a tile in a worker process."""

    def __init__(self, tile: Any) -> None:
        self.tile = tile

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        with torch.no_grad():
            y: torch.Tensor = self.tile(torch.ones(600, 5))
        return y


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_worker(threads: Callable[[int], None]) -> None:
    """Kernels run in a forked process after they ran with threads here, and give the same bits."""
    threads(2)
    tile = build(SingleRPUConfig())
    work(tile)
    expected = copy.deepcopy(tile)
    loader = DataLoader(
        _Forwards(tile), batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=60
    )
    first = next(iter(loader))
    with torch.no_grad():
        assert torch.equal(first, expected(torch.ones(600, 5)))


def test_programming_state_is_kept() -> None:
    tile = build(InferenceRPUConfig())
    tile.eval()
    tile.drift_weights(100.0)
    other = InferenceTile(3, 5, bias=True)
    other.load_state_dict(through_torch_file(tile.state_dict()))
    other.eval()
    torch.manual_seed(1)
    tile.drift_weights(1000.0)
    torch.manual_seed(1)
    other.drift_weights(1000.0)
    assert torch.equal(other.tile.get_weights(), tile.tile.get_weights())
    assert torch.equal(other.alpha, tile.alpha)
    assert other.alpha.dim() == 0


# --- configurations on load -----------------------------------------------------------------------


def test_saved_configuration_wins_by_default() -> None:
    saved = build(rich_config()).state_dict()
    tile = AnalogTile(3, 5, SingleRPUConfig(), bias=True)
    tile.load_state_dict(saved)
    assert tile.rpu_config == rich_config()
    assert tile.input_range is not None and tile.out_scaling_alpha is not None
    plain = build(SingleRPUConfig()).state_dict()
    tile.load_state_dict(plain)
    assert tile.input_range is None and tile.out_scaling_alpha is None
    assert tile.mapping_scales is None


def test_configuration_can_be_kept() -> None:
    """With `load_rpu_config=False` the new noise stays; constant planes get their saved value."""
    old = SingleRPUConfig(device=ConstantStepDevice(w_max_dtod=0.0, w_max=0.5))
    state = build(old).state_dict()
    new = SingleRPUConfig(device=ConstantStepDevice(w_max=0.9))
    new.forward.out_noise = 0.0
    tile = AnalogTile(3, 5, new, bias=True)
    tile.set_load_rpu_config_state(False)
    tile.load_state_dict(state)
    assert tile.rpu_config == new
    assert torch.equal(tile.get_hidden_parameters()["max_bound"], torch.full((3, 5), 0.5))


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (SingleRPUConfig(device=SoftBoundsDevice()), TileError),
        (InferenceRPUConfig(), TileError),
        (FloatingPointRPUConfig(), TileError),
    ],
)
def test_foreign_states_are_refused_if_the_configuration_is_kept(other: Any, error: Any) -> None:
    tile = build(SingleRPUConfig())
    tile.set_load_rpu_config_state(False)
    _refuses(tile, build(other).state_dict(), error)


def test_the_state_of_another_kind_of_tile_names_the_way() -> None:
    config = InferenceRPUConfig()
    trained = AnalogSequential(AnalogLinear(3, 2, rpu_config=SingleRPUConfig()))
    model = AnalogSequential(AnalogLinear(3, 2, rpu_config=config))
    message = "load it into a model with SingleRPUConfig, .*convert_to_digital .*convert_to_analog"
    with pytest.raises(StateError, match=message):
        model.load_state_dict(trained.state_dict())
    inference = convert_to_analog(convert_to_digital(trained), config)
    model.load_state_dict(inference.state_dict())
    assert torch.equal(model[0].weight, trained[0].weight)


def test_replace_with() -> None:
    tile = build(SingleRPUConfig())
    context, weights = tile.analog_ctx, tile.tile.get_weights()
    config = SingleRPUConfig()
    config.forward.is_perfect = True
    config.pre_post.input_range.enable = True
    tile.to(config)
    assert tile.rpu_config == config and tile.rpu_config is not config
    assert tile.analog_ctx is context
    assert torch.equal(tile.tile.get_weights(), weights)
    assert tile.input_range is not None
    x = torch.rand(2, 5)
    torch.testing.assert_close(tile.eval()(x), x @ weights.t() + tile.bias)
    before = _copied(tile)
    for bad in (InferenceRPUConfig(), SingleRPUConfig(device=SoftBoundsDevice())):
        with pytest.raises(TileError):
            tile.replace_with(bad)
    _assert_equal(tile, before)
    with pytest.raises(TileError):
        InferenceTile(3, 5).replace_with(TorchInferenceRPUConfig())


# --- damaged states -------------------------------------------------------------------------------


def _copied(tile: Any) -> State:
    return {name: value.clone() for name, value in tile.state_dict().items()}


def _assert_equal(tile: Any, before: State) -> None:
    after = tile.state_dict()
    assert list(after) == list(before)
    for name, value in before.items():
        assert torch.equal(after[name], value), name


def _refuses(tile: Any, state: State, error: Any) -> None:
    before, context = _copied(tile), tile.analog_ctx
    with pytest.raises(error):
        tile.load_state_dict(state)
    _assert_equal(tile, before)
    assert tile.analog_ctx is context
    work(tile)


def _header(state: State, **changes: Any) -> torch.Tensor:
    header = json.loads(bytes(state["analog_tile_config"].tolist()).decode())
    header.update(changes)
    return torch.tensor(list(json.dumps(header).encode()), dtype=torch.uint8)


HIDDEN = "analog_tile_hidden.max_bound"
DAMAGES: dict[str, tuple[Callable[[State], Any], type[Exception]]] = {
    "no config": (lambda s: s.pop("analog_tile_config"), RuntimeError),
    "no weights": (lambda s: s.pop("analog_tile_weights"), RuntimeError),
    "no calls": (lambda s: s.pop("analog_tile_calls"), RuntimeError),
    "no plane": (lambda s: s.pop(HIDDEN), RuntimeError),
    "no bias": (lambda s: s.pop("bias"), RuntimeError),
    "unknown entry": (lambda s: s.update(extra=torch.zeros(1)), RuntimeError),
    "unknown plane": (lambda s: s.update({"analog_tile_hidden.x": torch.zeros(3, 5)}), TileError),
    "truncated config": (
        lambda s: s.update(analog_tile_config=s["analog_tile_config"][:50]),
        TileError,
    ),
    "binary config": (
        lambda s: s.update(analog_tile_config=torch.full((9,), 255, dtype=torch.uint8)),
        TileError,
    ),
    "float config": (lambda s: s.update(analog_tile_config=torch.zeros(9)), TileError),
    "list config": (
        lambda s: s.update(analog_tile_config=torch.tensor(list(b"[]"), dtype=torch.uint8)),
        TileError,
    ),
    "later format": (lambda s: s.update(analog_tile_config=_header(s, format=99)), TileError),
    "other class": (
        lambda s: s.update(analog_tile_config=_header(s, tile_class="FloatingPointTile")),
        TileError,
    ),
    "broken rpu config": (
        lambda s: s.update(analog_tile_config=_header(s, rpu_config="{}")),
        ConfigError,
    ),
    "wrong shape": (
        lambda s: s.update(analog_tile_weights=torch.zeros(3, 4)),
        InputError,
    ),
    "NaN weights": (
        lambda s: s.update(analog_tile_weights=torch.full((3, 5), float("nan"))),
        ArgumentError,
    ),
    "NaN plane": (lambda s: s.update({HIDDEN: torch.full((3, 5), float("nan"))}), ArgumentError),
    "plane of wrong shape": (lambda s: s.update({HIDDEN: torch.zeros(5, 3)}), InputError),
    "bias of wrong shape": (lambda s: s.update(bias=torch.zeros(4)), InputError),
    "infinite bias": (lambda s: s.update(bias=torch.full((3,), float("inf"))), TileError),
    "integer bias": (lambda s: s.update(bias=torch.zeros(3, dtype=torch.int64)), InputError),
    "float calls": (lambda s: s.update(analog_tile_calls=torch.zeros(1)), InputError),
    "text weights": (lambda s: s.update(analog_tile_weights="weights"), InputError),  # type: ignore
    "pickled state": (lambda s: s.update(analog_tile_state=torch.zeros(1)), TileError),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_states_change_nothing(name: str) -> None:
    damage, error = DAMAGES[name]
    state = _copied(build(SingleRPUConfig()))
    damage(state)
    _refuses(build(SingleRPUConfig()), state, error)


def test_digital_checkpoint() -> None:
    """Reported as incomplete when strict; otherwise what fits is loaded."""
    tile = build(SingleRPUConfig())
    digital = {"weight": torch.zeros(3, 5), "bias": torch.full((3,), 2.0)}
    _refuses(tile, digital, RuntimeError)
    weights = tile.tile.get_weights()
    result = tile.load_state_dict(digital, strict=False)
    assert "analog_tile_config" in result.missing_keys and "weight" in result.unexpected_keys
    assert torch.equal(tile.bias, digital["bias"])
    assert torch.equal(tile.tile.get_weights(), weights)


def test_aliases_in_a_state_are_ignored() -> None:
    tile = build(InferenceRPUConfig())
    state = {**_copied(tile), "analog_ctx": torch.zeros(()), "shared_weights": torch.zeros(5, 3)}
    weights = tile.tile.get_weights()
    tile.load_state_dict(state)
    assert torch.equal(tile.tile.get_weights(), weights)


def test_incompatible_mapping() -> None:
    config = SingleRPUConfig()
    config.mapping.max_input_size = 64
    tile = build(SingleRPUConfig())
    tile.set_load_rpu_config_state(False)
    _refuses(tile, build(config).state_dict(), TileModuleError)
    config = SingleRPUConfig()
    config.mapping.weight_scaling_omega = 0.6
    state = build(config).state_dict()
    tile.load_state_dict(state)
    assert tile.mapping_scales is not None


class OwnNoise(BaseNoiseModel):
    """A user's model that nobody registered."""


def test_unregistered_noise_model_is_named() -> None:
    """When a tile is built, not only after hours of training, when its state is saved."""
    config = InferenceRPUConfig(noise_model=OwnNoise())
    with pytest.warns(UserWarning, match=r"OwnNoise.*cannot be saved.*register_config_class"):
        tile = InferenceTile(3, 5, config)
    with pytest.raises(ConfigError, match=r"OwnNoise.*register_config_class"):
        tile.state_dict()


def test_array_state() -> None:
    config = SingleRPUConfig()
    config.mapping.max_input_size = config.mapping.max_output_size = 2
    arrays = [TileModuleArray(3, 5, config, bias=True) for _ in range(2)]
    assert "array.2.1.analog_tile_weights" in arrays[0].state_dict()
    arrays[1].load_state_dict(through_torch_file(arrays[0].state_dict()))
    x = torch.randn(4, 5)
    assert torch.equal(arrays[0](x), arrays[1](x))


def test_learning_rate_is_part_of_the_state() -> None:
    tile, other = build(SingleRPUConfig()), build(SingleRPUConfig())
    tile.set_learning_rate(0.7)
    other.load_state_dict(tile.state_dict())
    assert other.get_learning_rate() == pytest.approx(0.7)


def test_extra_state() -> None:
    tile, other = build(SingleRPUConfig()), build(SingleRPUConfig())
    extra = tile.dump_extra()
    other.load_extra(extra, strict=True)
    assert other.dump_extra() == extra
    with pytest.raises(AihwkitException):
        other.load_extra({"calls": []})
    assert tile.get_analog_state()["analog_tile_class"] == "AnalogTile"


@pytest.mark.parametrize("first", ["rich", "plain", "exact"])
@pytest.mark.parametrize("second", ["rich", "plain", "exact"])
def test_the_state_of_another_device_leaves_nothing_of_the_own_one(first: str, second: str) -> None:
    """Hidden parameters of the device before would make the own state one of no device."""
    rich = SoftBoundsDevice(write_noise_std=0.1, lifetime=9.0)
    rich.drift.nu = 0.1
    configs = {
        "rich": SingleRPUConfig(device=rich),
        "plain": SingleRPUConfig(device=ConstantStepDevice()),
        "exact": SingleRPUConfig(device=ConstantStepDevice()),
    }
    configs["exact"].update.pulse_type = PulseType.NONE
    tile, other = (AnalogTile(3, 4, configs[name]) for name in (first, second))
    state = other.state_dict()
    tile.load_state_dict(state)
    assert list(tile.state_dict()) == list(state)
    assert tile.check_state_dict(tile.state_dict()) == ([], [])
    x, d = torch.ones(2, 4), torch.ones(2, 3)
    for each in (tile, other):
        each.update(x, d)
    torch.testing.assert_close(tile.get_weights()[0], other.get_weights()[0], rtol=0.0, atol=0.0)
