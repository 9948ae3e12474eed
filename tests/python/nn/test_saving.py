"""Whole models in a folder: what comes back, and that it goes on as if nothing had been."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

import golden
from mho.exceptions import ArgumentError, StateError
from mho.nn import (
    AnalogGRUCell,
    AnalogLinear,
    AnalogLSTMCell,
    AnalogRNN,
    AnalogSequential,
    AnalogWrapper,
    analog_map,
    convert_by_map,
    convert_to_analog,
    load_analog,
    save_analog,
)
from mho.nn.conversion import convert_to_digital
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ChoppedTransferCompound,
    IdealDevice,
    InferenceRPUConfig,
    MappingParameter,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
    UnitCellRPUConfig,
    build_config,
)
from mho.simulator.presets import ReRamESPreset
from mho.simulator.tiles.transfer import TorchTransferTile
from unchanged import IDENTITIES, READOUT, differences, everything


class Net(nn.Module):
    """Layers of several kinds, ties, shared modules, and buffers of both kinds."""

    scale: Tensor
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 8))
        self.again = self.body[3]
        self.rnn = nn.LSTM(8, 4)
        self.embed = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)
        self.register_buffer("steps", torch.arange(3), persistent=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.again(self.body(self.norm(self.conv(x))))
        return self.head(self.rnn(y[None])[0][0] * self.scale)


def drifting() -> Any:
    """A configuration with noise, input ranges, and programming."""
    config = InferenceRPUConfig(mapping=MappingParameter(max_input_size=8))
    config.pre_post.input_range.enable = True
    return config


def rules(**chosen: Any) -> dict[Any, Any]:
    return {"head": None, **chosen, nn.Module: drifting()}


def trained(model: Any, steps: int = 2, seed: int = 7) -> Any:
    """Train a model for a few steps, as from a checkpoint of the optimizer without state."""
    optimizer = AnalogSGD(model.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(steps):
        torch.manual_seed(int(torch.randint(1000, (1,), generator=generator)))
        optimizer.zero_grad()
        x = torch.rand(3, 1, 4, 4, generator=generator)
        model(x).square().sum().backward()
        optimizer.step()
    return model


def same(a: nn.Module, b: nn.Module) -> list[str]:
    """Return the names of what differs between two models, but for what no state has."""
    left_out = (IDENTITIES, READOUT)
    return [n for n in differences(everything(a), everything(b)) if not n.endswith(left_out)]


CASES: dict[str, Callable[[], dict[Any, Any]]] = {
    "inference": rules,
    "pulsed": lambda: rules(conv=SingleRPUConfig(device=SoftBoundsDevice(count_pulses=True))),
    "preset": lambda: rules(body=ReRamESPreset()),
    "cells": lambda: rules(conv=build_config("ttv2", device=SoftBoundsDevice())),
    "torch": lambda: rules(conv=TorchInferenceRPUConfig(), body=TorchInferenceRPUConfig()),
}


@pytest.mark.filterwarnings("ignore:.*weights .* are beyond the bounds")
@pytest.mark.parametrize("case", CASES)
def test_everything_comes_back_and_goes_on(case: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    model: Any = trained(convert_to_analog(Net(), None, rules=CASES[case]()))
    save_analog(model, tmp_path)
    state = torch.get_rng_state()
    loaded: Any = load_analog(tmp_path, Net)
    assert torch.equal(torch.get_rng_state(), state)
    assert not loaded.training
    assert same(loaded, model.eval()) == []
    assert analog_map(loaded) == analog_map(model)
    assert torch.equal(loaded.scale, model.scale)
    # Ties and shared modules are what they were.
    assert loaded.head.weight is loaded.embed.weight and loaded.again is loaded.body[3]
    assert same(trained(loaded), trained(model)) == []


def test_programmed_models_go_on_drifting(tmp_path: Path) -> None:
    torch.manual_seed(5)
    model: Any = convert_to_analog(Net(), None, rules=rules()).eval()
    model(torch.rand(2, 1, 4, 4))
    model.program_analog_weights()
    model.drift_analog_weights(1000.0)
    save_analog(model, tmp_path)
    loaded: Any = load_analog(tmp_path, Net)
    assert same(loaded, model) == []
    results = []
    for one in (model, loaded):
        torch.manual_seed(2)
        one.drift_analog_weights(1e6)
        results.append(one(torch.rand(2, 1, 4, 4)))
    assert torch.equal(*results)


def test_the_way_back_to_digital(tmp_path: Path) -> None:
    net = Net()
    model = convert_to_analog(net, None, rules=rules())
    save_analog(model, tmp_path)
    back = convert_to_digital(load_analog(tmp_path, Net))
    content = json.loads((tmp_path / "analog_map.json").read_text())
    assert analog_map(convert_by_map(back, content)) == analog_map(model)
    expected = convert_to_digital(model).state_dict()
    assert type(back) is Net and list(back.state_dict()) == list(net.state_dict())
    assert all(torch.equal(value, expected[name]) for name, value in back.state_dict().items())


def in_torch() -> Any:
    """A configuration whose tile has tiles inside."""
    devices = [SoftBoundsDevice(), SoftBoundsDevice()]
    compound = ChoppedTransferCompound(unit_cell_devices=devices, transfer_every=2)
    return UnitCellRPUConfig(tile_class=TorchTransferTile, device=compound)


LAYERS: dict[str, tuple[Callable[[], nn.Module], Any, tuple[int, ...]]] = {
    "recurrent": (lambda: AnalogRNN(AnalogLSTMCell, 4, 3), InferenceRPUConfig(), (5, 2, 4)),
    "analog cells": (lambda: AnalogRNN(AnalogGRUCell, 4, 3, bidir=True), None, (5, 2, 4)),
    "gated": (lambda: nn.GRU(4, 3, bidirectional=True), InferenceRPUConfig(), (5, 2, 4)),
    "transposed": (lambda: nn.ConvTranspose1d(4, 3, 2, groups=1), InferenceRPUConfig(), (2, 4, 5)),
    "grouped": (lambda: nn.Conv1d(4, 2, 3, groups=2), InferenceRPUConfig(), (2, 4, 5)),
    "two arrays": (lambda: nn.Linear(4, 3), in_torch(), (2, 4)),
}


@pytest.mark.filterwarnings("ignore:.*weights .* are beyond the bounds")
@pytest.mark.parametrize("case", LAYERS)
def test_layers_of_all_kinds(case: str, tmp_path: Path) -> None:
    build, config, shape = LAYERS[case]
    model: Any = nn.Sequential(build())
    if config is not None:
        model = convert_to_analog(model, config)
    optimizer = AnalogSGD(model.parameters(), lr=0.05)
    output = model(torch.rand(shape))
    (output if isinstance(output, Tensor) else output[0]).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    save_analog(model, tmp_path)
    loaded = load_analog(tmp_path, lambda: nn.Sequential(build()))
    assert same(loaded, model.eval()) == [] and analog_map(loaded) == analog_map(model)


def test_skeletons(tmp_path: Path) -> None:
    """A class, a function, a model on the meta device, and one with other values."""
    torch.manual_seed(1)
    model = convert_to_analog(Net(), None, rules=rules())
    save_analog(model, tmp_path)
    with torch.device("meta"):
        empty = Net()
    other = Net()
    before = everything(other)
    for skeleton in (Net, lambda: Net(), empty, other):
        assert same(load_analog(tmp_path, skeleton), model.eval()) == []
    assert not differences(before, everything(other)) and empty.head.weight.is_meta
    assert type(empty.conv) is nn.Conv2d


def test_models_that_need_values_to_be_built(tmp_path: Path) -> None:
    class Rates(nn.Module):
        """It reads a tensor while it is built, as models with stochastic depth do."""

        def __init__(self) -> None:
            super().__init__()
            self.rates = [rate.item() for rate in torch.linspace(0, 1, 3)]
            self.fc = nn.Linear(2, 2)

    model = convert_to_analog(Rates(), InferenceRPUConfig())
    save_analog(model, tmp_path)
    loaded: Any = load_analog(tmp_path, Rates)
    assert loaded.rates == [0.0, 0.5, 1.0] and same(loaded, model.eval()) == []


def test_frozen_parameters_stay_so(tmp_path: Path) -> None:
    chosen = rules(conv=SingleRPUConfig(device=IdealDevice()), body=TorchInferenceRPUConfig())
    model: Any = convert_to_analog(Net(), None, rules=chosen)
    for parameter in (model.conv.weight, model.body[1].weight, model.norm.bias, model.embed.weight):
        parameter.requires_grad_(False)
    save_analog(model, tmp_path)
    other = Net().requires_grad_(False)
    for skeleton in (Net, other):
        loaded: Any = load_analog(tmp_path, skeleton)
        assert same(loaded, model.eval()) == []  # which compares that too
        assert not loaded.conv.weight.requires_grad and loaded.body[3].weight.requires_grad
    before = model.conv.get_weights()[0]
    assert torch.equal(trained(loaded).conv.get_weights()[0], before)


def test_a_model_that_is_built_analog(tmp_path: Path) -> None:
    class Mine(AnalogSequential):
        """A model of a user."""

    def build() -> Any:
        return Mine(AnalogLinear(3, 4, rpu_config=SingleRPUConfig()), nn.Linear(4, 2))

    model = build()
    save_analog(model, tmp_path)
    torch.manual_seed(1)
    given = build()
    before = everything(given)
    for skeleton in (build, given):
        loaded = load_analog(tmp_path, skeleton)
        assert type(loaded) is Mine and same(loaded, model.eval()) == []
    assert not differences(before, everything(given))


def test_precisions(tmp_path: Path) -> None:
    """What is in the file counts, whatever the skeleton is built with."""
    net = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 2))
    net = net.to(torch.bfloat16)
    config = TorchInferenceRPUConfig(mapping=MappingParameter(max_input_size=2))
    model = convert_to_analog(net, config, rules={"2": InferenceRPUConfig(), "3": None})
    save_analog(model, tmp_path)
    loaded = load_analog(tmp_path, lambda: nn.Sequential(*[copy.deepcopy(m) for m in net.float()]))
    assert same(loaded, model.eval()) == []
    x = torch.rand(2, 4, dtype=torch.bfloat16)
    torch.manual_seed(3)
    expected = model(x)
    torch.manual_seed(3)
    assert torch.equal(loaded(x), expected) and expected.dtype is torch.bfloat16


def test_other_readers_understand_the_files(tmp_path: Path) -> None:
    model = convert_to_analog(Net(), None, rules=rules())
    save_analog(model, tmp_path / "whole")
    save_analog(model, tmp_path / "parts", max_shard_size=600)
    state = model.state_dict()
    read: dict[str, Tensor] = {}
    index = json.loads((tmp_path / "parts/model.safetensors.index.json").read_text())
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / "parts" / file, "pt") as part:
            read[name] = part.get_tensor(name)
    with safe_open(tmp_path / "whole/model.safetensors", "pt") as whole:
        assert whole.metadata() == {"format": "pt"}
        assert set(whole.keys()) == set(read)
        assert all(torch.equal(whole.get_tensor(name), read[name]) for name in read)
    # What another name has already, and a buffer that no state has.
    assert set(state) - set(read) == {
        "head.weight", *(name for name in state if name.startswith("again."))
    }  # fmt: skip
    assert set(read) - set(state) == {"scale"}
    assert all(torch.equal(read[name], state[name]) for name in state if name in read)
    sizes = [path.stat().st_size for path in (tmp_path / "parts").glob("model-*")]
    assert len(sizes) > 3 and sorted(index["metadata"]) == ["total_size"]
    assert same(load_analog(tmp_path / "parts", Net), load_analog(tmp_path / "whole", Net)) == []


def test_equal_models_have_equal_files(tmp_path: Path) -> None:
    model = convert_to_analog(Net(), None, rules=rules())
    for name in ("a", "b"):
        save_analog(model, tmp_path / name)
    for name in ("model.safetensors", "analog_map.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_folder_is_used_again(tmp_path: Path) -> None:
    model = convert_to_analog(Net(), None, rules=rules())
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "config.json").write_text("mine")
    save_analog(model, str(tmp_path), max_shard_size="0.5KB")
    assert len(list(tmp_path.glob("model-*"))) > 3
    save_analog(model, tmp_path)
    assert sorted(os.listdir(tmp_path)) == [
        "analog_map.json", "config.json", "model.safetensors", "notes.txt"
    ]  # fmt: skip
    assert same(load_analog(tmp_path, Net), model.eval()) == []


def test_a_failed_save_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = convert_to_analog(Net(), None, rules=rules())
    save_analog(model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self: Path, *args: Any, **kwargs: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        save_analog(trained(model), tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_save_that_ends_early_leaves_the_earlier_one(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many of its files have their names by then."""
    model = convert_to_analog(Net(), None, rules=rules())
    save_analog(model, tmp_path, max_shard_size=2000)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    trained(model).eval()
    replace, calls = os.replace, 0

    def failing(*args: Any) -> None:
        nonlocal calls
        calls -= 1
        if calls == 0:
            raise error
        replace(*args)

    monkeypatch.setattr(os, "replace", failing)
    for failed in range(1, 2 * len(before) + 1):
        calls = failed
        with pytest.raises(error):
            save_analog(model, tmp_path, max_shard_size=2000)
        assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}, failed
    monkeypatch.undo()
    save_analog(model, tmp_path, max_shard_size=2000)
    assert same(load_analog(tmp_path, Net), model) == []


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "analog_map.json").mkdir()
    with pytest.raises(ArgumentError, match=r"there is a folder 'analog_map.json'"):
        save_analog(convert_to_analog(nn.Linear(2, 2), InferenceRPUConfig()), tmp_path)
    assert os.listdir(tmp_path) == ["analog_map.json"]


def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    class Extra(nn.Linear):
        """It saves what is no tensor."""

        def get_extra_state(self) -> Any:
            return {"step": 3}

        def set_extra_state(self, state: Any) -> None: ...

    def with_buffer(value: Tensor) -> Any:
        net = nn.Sequential(nn.Linear(2, 2))
        net.register_buffer("extra", value)
        return net

    with torch.device("meta"):
        empty = nn.Linear(2, 2)
    folder = tmp_path / "folder"
    for model, message in (
        (nn.Sequential(Extra(2, 2)), r"'0._extra_state' of its state is .*, no tensor"),
        (empty, r"'weight' is on the meta device"),
        (with_buffer(torch.eye(2).to_sparse()), r"'extra' is Tensor of .*sparse_coo"),
        (with_buffer(torch.zeros(2, dtype=torch.complex128)), r"'extra' is .*complex128"),
    ):
        with pytest.raises(ArgumentError, match=message):
            save_analog(model, folder)
    for given in (3, "", b"folder", None):
        with pytest.raises(ArgumentError, match="folder"):
            save_analog(nn.Linear(2, 2), given)  # type: ignore[arg-type]
    for limit in (0, -1, "5XB", "much", 2.5, True):
        with pytest.raises(ArgumentError, match="max_shard_size"):
            save_analog(nn.Linear(2, 2), folder, max_shard_size=limit)  # type: ignore[arg-type]
    assert not folder.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="is a file"):
        save_analog(nn.Linear(2, 2), tmp_path / "file")


@pytest.mark.slow  # the compiler takes seconds to load
def test_wrapped_and_compiled_models(tmp_path: Path) -> None:
    model = convert_to_analog(nn.Sequential(nn.Linear(2, 2)), InferenceRPUConfig())
    save_analog(torch.compile(model), tmp_path)  # type: ignore[arg-type]
    loaded = load_analog(tmp_path, lambda: nn.Sequential(nn.Linear(2, 2)))
    assert same(loaded, model.eval()) == []


def test_ties_that_the_skeleton_does_not_make(tmp_path: Path) -> None:
    def untied() -> nn.Module:
        return nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 3), nn.Linear(2, 2))

    net: Any = untied()
    net[1].weight = net[0].weight
    save_analog(convert_to_analog(net, None, rules={"2": InferenceRPUConfig()}), tmp_path)
    loaded: Any = load_analog(tmp_path, untied)
    assert loaded[1].weight is loaded[0].weight
    # And the other way round: what was separate stays so.
    separate = convert_to_analog(untied(), None, rules={"2": InferenceRPUConfig()})
    save_analog(separate, tmp_path)
    loaded = load_analog(tmp_path, net)
    assert loaded[1].weight is not loaded[0].weight and same(loaded, separate.eval()) == []


@pytest.mark.filterwarnings("ignore:.* was tied to")
def test_parts_that_were_converted_by_themselves(tmp_path: Path) -> None:
    def build() -> Any:
        net = nn.Module()
        net.part, net.head = nn.Sequential(nn.Linear(2, 2)), Net()  # type: ignore[assignment]
        return net

    net = build()
    for name in ("part", "head"):
        setattr(net, name, convert_to_analog(getattr(net, name), drifting()))
    save_analog(net, tmp_path)
    loaded = load_analog(tmp_path, build)
    assert type(loaded) is nn.Module and isinstance(loaded.head, AnalogWrapper)
    assert [(n, type(m)) for n, m in loaded.named_modules()] == [
        (n, type(m)) for n, m in net.named_modules()
    ]
    assert same(loaded, net.eval()) == []


@pytest.mark.slow  # the library takes seconds to load
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_adapters(tmp_path: Path) -> None:
    """Adapters of peft are digital layers around an analog one."""
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip

    def build() -> Any:
        chosen = peft.LoraConfig(r=2, target_modules=["q_proj"])
        return peft.get_peft_model(transformers.LlamaForCausalLM(config), chosen)

    adapters = {"re:.*lora_.*": None, "re:.*lm_head": None, nn.Module: InferenceRPUConfig()}
    model: Any = convert_to_analog(build(), None, rules=adapters)
    save_analog(model, tmp_path)
    with pytest.raises(ArgumentError, match="skeleton: the folder does not say"):
        load_analog(tmp_path)
    loaded: Any = load_analog(tmp_path, build)
    assert same(loaded, model.eval()) == []
    assert [n for n, p in loaded.named_parameters() if p.requires_grad and "lora" in n] != []


def test_tensors_that_no_folder_can_fill(tmp_path: Path) -> None:
    class Table(nn.Module):
        """It keeps a tensor that is no buffer."""

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2)
            self.tables = [torch.arange(3)]

    save_analog(convert_to_analog(Table(), InferenceRPUConfig()), tmp_path)
    with pytest.raises(StateError, match=r"'tables' is a tensor on the meta device.*make it a"):
        load_analog(tmp_path, Table)
    loaded: Any = load_analog(tmp_path, Table())
    assert torch.equal(loaded.tables[0], torch.arange(3))


def test_skeletons_are_checked(tmp_path: Path) -> None:
    save_analog(convert_to_analog(Net(), None, rules=rules()), tmp_path)
    with pytest.raises(ArgumentError, match="skeleton: the folder does not say how its model is"):
        load_analog(tmp_path)
    with pytest.raises(ArgumentError, match="skeleton: returned"):
        load_analog(tmp_path, lambda: 3)  # type: ignore[arg-type,return-value]

    class Other(Net):
        """Another head, one layer more, or less."""

        def __init__(self, change: str) -> None:
            super().__init__()
            if change == "shape":
                self.norm = nn.BatchNorm2d(5)
            elif change == "more":
                self.more = nn.Linear(2, 2)
            elif change == "less":
                del self.norm
            elif change == "buffer":
                del self.scale
            elif change == "tile":
                self.conv = nn.Conv2d(1, 5, 3)
            elif change == "class":
                self.conv = nn.Linear(1, 4)  # type: ignore[assignment]

    for change, message in {
        "shape": "size mismatch for norm.weight",
        "more": r"more: the model that was saved is another one.*missing \['more.weight'",
        "less": "'norm.weight' is in the files, but there is no such module|unexpected .*'norm",
        "buffer": r"'scale' is a buffer of shape \(\), but not in the model",
        "tile": "conv.*analog_tile_weights.*shape|expected shape",
        "class": "expected Conv2d, got.*in layer 'conv'",
    }.items():
        with pytest.raises(Exception, match=message) as caught:
            load_analog(tmp_path, lambda change=change: Other(change))  # type: ignore[misc]
        assert type(caught.value).__module__ == "mho.exceptions", change


def test_transformers(tmp_path: Path) -> None:
    """Models of transformers need no skeleton; non-persistent buffers and ties included."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True, pad_token_id=3,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(1)
    digital = transformers.LlamaForCausalLM(config).eval()
    digital.generation_config.max_new_tokens = 5
    chosen = {r"re:.*self_attn\..*": SingleRPUConfig(device=IdealDevice()), "lm_head": None}
    model: Any = convert_to_analog(digital, InferenceRPUConfig(), rules=chosen)
    tokens = torch.randint(4, 50, (2, 6))
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    model(tokens, labels=tokens).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    save_analog(model, tmp_path)
    assert sorted(os.listdir(tmp_path)) == [
        "analog_map.json", "config.json", "generation_config.json", "model.safetensors"
    ]  # fmt: skip
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["architectures"] == ["LlamaForCausalLM"] and saved["model_type"] == "llama"
    loaded: Any = load_analog(tmp_path)
    assert isinstance(loaded, AnalogWrapper) and isinstance(loaded, transformers.LlamaForCausalLM)
    assert same(loaded, model.eval()) == []
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert loaded.generation_config.max_new_tokens == 5
    assert torch.equal(model.generate(tokens), loaded.generate(tokens))
    for name, wrong in {"class": "Trainer", "library": "os"}.items():
        content = json.loads((tmp_path / "analog_map.json").read_text())
        content["skeleton"][name] = wrong
        (tmp_path / "analog_map.json").write_text(json.dumps(content))
        with pytest.raises(StateError, match=wrong):
            load_analog(tmp_path)


@pytest.mark.parametrize("inside", [False, True])
def test_kernels_from_elsewhere_are_refused(inside: bool, tmp_path: Path) -> None:
    """Transformers fetches kernels by the name of their repository, and runs them."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=8,
    )  # fmt: skip
    model = convert_to_analog(transformers.BertModel(config), InferenceRPUConfig())
    save_analog(model, tmp_path)
    load_analog(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    hostile = {"attn_implementation": "somebody/kernels"}
    content.update({"part": [hostile]} if inside else hostile)
    path.write_text(json.dumps(content))
    with pytest.raises(StateError, match=r"'somebody/kernels'.*, which may be code"):
        load_analog(tmp_path)


def test_own_configurations_of_models(tmp_path: Path) -> None:
    class Config:
        """A configuration of a user."""

        def to_dict(self) -> dict[str, Any]:
            return {"width": 2}

    net = nn.Sequential(nn.Linear(2, 2))
    net.config = Config()  # type: ignore[assignment]
    save_analog(net, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == {"width": 2}
    loaded = load_analog(tmp_path, lambda: nn.Sequential(nn.Linear(2, 2)))
    assert torch.equal(loaded[0].weight, net[0].weight)
    net.config.to_dict = None  # type: ignore[union-attr]
    Config.to_dict = lambda self: {"width": {2}}  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match="config: Config is no JSON and is not saved"):
        save_analog(net, tmp_path)


def test_outside_of_inference_mode_everything_can_be_trained(tmp_path: Path) -> None:
    model = convert_to_analog(Net(), None, rules=rules())
    save_analog(model, tmp_path)
    with torch.inference_mode():
        loaded = load_analog(tmp_path, Net)
    trained(loaded)


# One of each kind of state; the others take longer than a fast test should.
FAST = {
    "floating_point", "analog_rich", "analog_counters", "analog_drift", "analog_python_device",
    "inference_drifted", "inference_range", "inference_modified", "cell_transfer_chain",
    "cell_dynamic", "cell_mixed", "torch_drifted", "torch_quantized_array", "torch_double",
    "custom_own", "array_analog", "container_wrapped",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weights .* are beyond the bounds")
@pytest.mark.parametrize(
    "case",
    [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in golden.CASES],
)
def test_every_kind_of_tile(case: str, tmp_path: Path) -> None:
    """All models whose states are pinned, trained, programmed or drifted as each of them is."""
    model = golden.made(golden.CASES[case])
    save_analog(model, tmp_path)
    loaded = load_analog(tmp_path, golden.CASES[case].build)
    assert same(loaded, model.eval()) == []
    back = convert_by_map(convert_to_digital(model), analog_map(model))
    assert analog_map(back) == analog_map(model)
