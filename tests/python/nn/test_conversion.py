"""Conversion of whole models: structure, names, sharing, arguments."""

import copy
import warnings
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ArgumentError, ConfigError
from mho.nn import (
    AnalogLinear,
    AnalogLinearMapped,
    AnalogSequential,
    AnalogWrapper,
    conversion_report,
    conversion_table,
)
from mho.nn.conversion import (
    _DEFAULT_CONVERSION_MAP,
    _DEFAULT_DIGITAL_CONVERSION_SET,
    _DEFAULT_MAPPED_CONVERSION_MAP,
    convert_to_analog,
    convert_to_digital,
    register_analog,
    specific_rpu_config_id,
)
from mho.simulator.configs import (
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
)
from mho.simulator.tiles import TileModuleArray

# A few products of float32 numbers of order one, summed in another order than torch does.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


class Block(nn.Module):
    """Layers, nested containers and something that stays digital."""

    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Linear(4, 6)
        self.body = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Sequential(nn.Linear(6, 6)))
        self.norm = nn.LayerNorm(6)
        self.out = nn.Linear(6, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.body(self.inp(x))))


class Tied(nn.Module):
    """One layer under two names and one activation twice in a Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 4)
        self.act = nn.ReLU()
        self.seq = nn.Sequential(self.encoder, self.act, nn.Linear(4, 4), self.act)
        self.again = self.encoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(self.seq(self.encoder(x)))


class Subclass(nn.Linear):
    """Not exactly a linear layer."""


def test_products_stay(perfect_config: SingleRPUConfig) -> None:
    model = Block().eval()
    analog = convert_to_analog(model, perfect_config)
    x = torch.randn(3, 4)
    torch.testing.assert_close(analog(x), model(x), **CLOSE)
    back = convert_to_digital(analog)
    assert type(back) is Block and type(back.body) is nn.Sequential
    assert torch.equal(back(x), model(x))
    assert not back.training


def test_classes_and_names(perfect_config: SingleRPUConfig) -> None:
    analog = convert_to_analog(Block(), perfect_config)
    assert isinstance(analog, AnalogWrapper) and isinstance(analog, Block)
    assert [(name, type(layer).__name__) for name, layer in analog.named_analog_modules()] == [
        ("", "AnalogWrapperBlock"),
        ("inp", "AnalogLinear"),
        ("body", "AnalogSequential"),
        ("body.0", "AnalogLinear"),
        ("body.2", "AnalogSequential"),
        ("body.2.0", "AnalogLinear"),
        ("out", "AnalogLinear"),
    ]
    assert "inp.analog_module.analog_tile_weights" in analog.state_dict()
    assert type(analog.norm) is nn.LayerNorm


class TestRoot:
    def test_layer(self, perfect_config: SingleRPUConfig) -> None:
        assert type(convert_to_analog(nn.Linear(4, 3), perfect_config)) is AnalogLinear

    def test_sequential(self, perfect_config: SingleRPUConfig) -> None:
        analog = convert_to_analog(nn.Sequential(nn.Linear(4, 3)), perfect_config)
        assert type(analog) is AnalogSequential

    def test_wrapping_can_be_left_out(self, perfect_config: SingleRPUConfig) -> None:
        analog = convert_to_analog(Block(), perfect_config, ensure_analog_root=False)
        assert type(analog) is Block
        analog = convert_to_analog(Block(), perfect_config, module_name="part")
        assert type(analog) is Block

    def test_excluded_root(self, perfect_config: SingleRPUConfig) -> None:
        model = nn.Sequential(nn.Linear(4, 3))
        analog = convert_to_analog(
            model, perfect_config, module_name="net", exclude_modules=["net"]
        )
        assert type(analog) is nn.Sequential
        assert type(analog[0]) is AnalogLinear


class TestCopy:
    def test_copy_leaves_the_model_alone(self, perfect_config: SingleRPUConfig) -> None:
        model = Block()
        before = copy.deepcopy(model.state_dict())
        analog = convert_to_analog(model, perfect_config)
        analog.norm.weight.data.zero_()
        assert [type(child) for child in model.children()] == [
            nn.Linear,
            nn.Sequential,
            nn.LayerNorm,
            nn.Linear,
        ]
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name])
        digital = convert_to_digital(analog)
        assert isinstance(analog.inp, AnalogLinear)
        assert type(digital.inp) is nn.Linear

    def test_in_place_changes_the_model(self, perfect_config: SingleRPUConfig) -> None:
        model = Block()
        norm = model.norm
        analog = convert_to_analog(model, perfect_config, inplace=True)
        assert isinstance(model.inp, AnalogLinear)
        assert analog.norm is norm
        digital = convert_to_digital(analog, inplace=True)
        assert type(digital.inp) is nn.Linear
        assert digital.norm is norm

    def test_an_error_leaves_the_model_alone(self, perfect_config: SingleRPUConfig) -> None:
        model = Block()

        def refuse_the_last(name: str, _: nn.Module, config: Any) -> Any:
            if name == "out":
                config.forward.inp_bound = float("nan")
            return config

        with pytest.raises(ConfigError, match="inp_bound"):
            convert_to_analog(
                model, perfect_config, inplace=True, specific_rpu_config_fun=refuse_the_last
            )
        assert type(model.inp) is nn.Linear and type(model.body) is nn.Sequential


class TestSharing:
    def test_tied_modules_stay_tied(self, perfect_config: SingleRPUConfig) -> None:
        model = Tied()
        analog = convert_to_analog(model, perfect_config)
        assert isinstance(analog.encoder, AnalogLinear)
        assert analog.encoder is analog.again is analog.seq[0]
        assert analog.act is analog.seq[1] is analog.seq[3]
        assert len(analog.seq) == 4
        assert len(list(analog.analog_tiles())) == 2
        x = torch.randn(3, 4)
        torch.testing.assert_close(analog(x), model(x), **CLOSE)
        back = convert_to_digital(analog)
        assert back.encoder is back.again is back.seq[0]
        assert back.act is back.seq[1] is back.seq[3]
        assert torch.equal(back(x), model(x))

    def test_excluded_under_one_name_is_excluded(self, perfect_config: SingleRPUConfig) -> None:
        analog = convert_to_analog(Tied(), perfect_config, exclude_modules=["again"])
        assert analog.encoder is analog.again is analog.seq[0]
        assert type(analog.encoder) is nn.Linear
        assert isinstance(analog.seq[2], AnalogLinear)

    def test_tied_parameters_are_pointed_out(self, perfect_config: SingleRPUConfig) -> None:
        model = nn.ModuleDict({"embed": nn.Embedding(5, 4), "head": nn.Linear(4, 5, bias=False)})
        model["head"].weight = model["embed"].weight
        with pytest.warns(UserWarning, match=r"tied to 'embed\.weight'"):
            analog = convert_to_analog(model, perfect_config)
        assert torch.equal(analog["head"].get_weights()[0], model["embed"].weight)

    def test_circular_models(self, perfect_config: SingleRPUConfig) -> None:
        model = nn.ModuleDict({"child": nn.ModuleDict({"layer": nn.Linear(2, 2)})})
        model["child"]["parent"] = model
        analog = convert_to_analog(model, perfect_config, inplace=True)
        assert isinstance(analog["child"]["layer"], AnalogLinear)

    @pytest.mark.parametrize("rules", [None, {"re:.*layer": InferenceRPUConfig()}])
    def test_copies_of_circular_models(
        self, perfect_config: SingleRPUConfig, rules: dict[str, Any] | None
    ) -> None:
        model = nn.ModuleDict({"child": nn.ModuleDict({"layer": nn.Linear(2, 2)})})
        model["child"]["parent"] = model
        analog: Any = convert_to_analog(model, perfect_config, rules=rules)
        assert isinstance(analog["child"]["layer"], AnalogLinear)
        assert analog["child"]["parent"]["child"] is analog["child"]
        assert type(model["child"]["layer"]) is nn.Linear


class TestClipping:
    """Devices hold no weights beyond their bounds."""

    def config(self, **device: Any) -> SingleRPUConfig:
        return SingleRPUConfig(device=SoftBoundsDevice(w_max_dtod=0.0, w_min_dtod=0.0, **device))

    def model(self) -> nn.Sequential:
        model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10))
        with torch.no_grad():
            for i, layer in enumerate(model):
                layer.weight.fill_(0.1)
                layer.weight[0, : 4 * i + 1] = 2.0  # 1 of 100, and 5 of 100
        return model

    @pytest.mark.parametrize("split", [4, 512])
    @pytest.mark.parametrize("write_noise", [0.0, 0.5])
    def test_one_warning_with_the_share(self, write_noise: float, split: int) -> None:
        config = self.config(write_noise_std=write_noise)
        config.mapping.max_input_size = config.mapping.max_output_size = split
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            convert_to_analog(self.model(), config)
        (warning,) = caught
        text = str(warning.message)
        assert text.startswith("6 of 200 weights (3 %)") and "weight_scaling_omega" in text
        assert warning.filename == __file__

    @pytest.mark.parametrize("cls", [AnalogLinear, AnalogLinearMapped])
    def test_single_layers(self, cls: Any) -> None:
        with pytest.warns(UserWarning, match=r"5 of 100 weights .*weight_scaling_omega"):
            cls.from_digital(self.model()[1], self.config())

    def test_scaled_weights_fit(self) -> None:
        config = self.config()
        config.mapping.weight_scaling_omega = 0.6
        convert_to_analog(self.model(), config)  # warnings are errors here
        config.mapping.weight_scaling_omega = 0.8
        with pytest.warns(UserWarning, match="a smaller mapping.weight_scaling_omega"):
            convert_to_analog(self.model(), config)

    @pytest.mark.parametrize("config", [InferenceRPUConfig(), TorchInferenceRPUConfig()])
    def test_tiles_without_bounds(self, config: Any) -> None:
        convert_to_analog(self.model(), config)


class TestExclusion:
    def test_subtree(self, perfect_config: SingleRPUConfig) -> None:
        analog = convert_to_analog(Block(), perfect_config, exclude_modules=["body", "out"])
        assert [name for name, _ in analog.named_analog_layers()] == ["inp"]
        assert type(analog.body) is nn.Sequential

    def test_names_start_with_the_given_one(self, perfect_config: SingleRPUConfig) -> None:
        names = ["net.body.2"]
        analog = convert_to_analog(
            Block(), perfect_config, module_name="net", exclude_modules=names
        )
        assert isinstance(analog.inp, AnalogLinear)
        assert type(analog.body[2][0]) is nn.Linear
        with pytest.raises(ArgumentError, match=r"no module 'inp'; did you mean 'net\.inp'"):
            convert_to_analog(Block(), perfect_config, module_name="net", exclude_modules=["inp"])

    def test_unknown_names_are_refused(self, perfect_config: SingleRPUConfig) -> None:
        for names in (["bdy"], ["body", "body.3"]):
            with pytest.raises(ArgumentError, match=r"exclude_modules: .*did you mean 'body"):
                convert_to_analog(Block(), perfect_config, exclude_modules=names)
        with pytest.raises(ArgumentError, match="exclude_modules"):
            convert_to_analog(Block(), perfect_config, exclude_modules=[3])


def test_specific_configurations() -> None:
    config = InferenceRPUConfig()
    seen: list[tuple[str, str]] = []

    def choose(name: str, module: nn.Module, own: Any) -> Any:
        seen.append((name, type(module).__name__))
        assert own == config and own is not config
        own.forward.out_noise = 0.1 * len(seen)
        return own

    analog = convert_to_analog(Block(), config, specific_rpu_config_fun=choose)
    assert seen == [
        ("inp", "Linear"),
        ("body", "Sequential"),
        ("body.0", "Linear"),
        ("body.2", "Sequential"),
        ("body.2.0", "Linear"),
        ("out", "Linear"),
    ]
    noise = {n: t.rpu_config.forward.out_noise for n, t in analog.named_analog_tiles()}
    assert noise["inp.analog_module"] == pytest.approx(0.1)
    assert noise["out.analog_module"] == pytest.approx(0.6)
    assert config.forward.out_noise == 0.06
    assert specific_rpu_config_id("x", nn.Linear(1, 1), config) is config


def test_a_specific_configuration_is_not_forgotten() -> None:
    """None would be the default of the layer, which is trained by pulses."""

    def choose(name: str, module: nn.Module, own: Any) -> Any:
        return None if name.startswith("body") else own

    with pytest.raises(ArgumentError, match=r"specific_rpu_config_fun: .*None for 'body\.0'"):
        convert_to_analog(Block(), InferenceRPUConfig(), specific_rpu_config_fun=choose)
    digital = nn.Linear(2, 2)
    nn.init.zeros_(digital.weight)
    analog = convert_to_analog(digital, None, specific_rpu_config_fun=lambda *_: None)
    assert isinstance(analog, AnalogLinear)


def test_verbose(capsys: pytest.CaptureFixture[str], perfect_config: SingleRPUConfig) -> None:
    convert_to_analog(nn.Sequential(OrderedDict(a=nn.Linear(2, 2))), perfect_config, verbose=True)
    assert capsys.readouterr().out == (
        "Converted '' to 'AnalogSequential'.\nConverted 'a' to 'AnalogLinear'.\n"
    )


class TestMaps:
    def test_defaults(self) -> None:
        assert _DEFAULT_CONVERSION_MAP[nn.Linear] is AnalogLinear
        assert _DEFAULT_MAPPED_CONVERSION_MAP[nn.Linear] is AnalogLinearMapped
        assert _DEFAULT_MAPPED_CONVERSION_MAP[nn.Sequential] is AnalogSequential
        expected = {AnalogLinear, AnalogLinearMapped, AnalogSequential}
        assert expected <= _DEFAULT_DIGITAL_CONVERSION_SET

    def test_mapped(self, perfect_config: SingleRPUConfig) -> None:
        analog = convert_to_analog(
            Block(), perfect_config, conversion_map=_DEFAULT_MAPPED_CONVERSION_MAP
        )
        assert type(analog.inp) is AnalogLinearMapped
        assert type(convert_to_digital(analog).inp) is nn.Linear

    def test_tile_class_is_passed_on(self, perfect_config: SingleRPUConfig) -> None:
        analog = convert_to_analog(Block(), perfect_config, TileModuleArray)
        assert isinstance(analog.inp.analog_module, TileModuleArray)

    def test_subclasses_stay_digital(self, perfect_config: SingleRPUConfig) -> None:
        with pytest.warns(UserWarning, match=r"nothing was converted.* subclass of Linear"):
            analog = convert_to_analog(nn.Sequential(Subclass(2, 2)), perfect_config)
        assert type(analog[0]) is Subclass

    def test_registered_layers_take_part(
        self, perfect_config: SingleRPUConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for table in ("CONVERSIONS", "MAPPED_CONVERSIONS"):
            monkeypatch.delitem(getattr(conversion_table, table), Subclass, raising=False)
        classes = set(conversion_table.ANALOG_CLASSES)

        class AnalogSubclass(AnalogLinear):
            pass

        register_analog(Subclass)(AnalogSubclass)
        analog = convert_to_analog(nn.Sequential(Subclass(2, 2)), perfect_config)
        assert type(analog[0]) is AnalogSubclass
        assert type(convert_to_digital(analog)[0]) is nn.Linear
        for table in (conversion_table.CONVERSIONS, conversion_table.MAPPED_CONVERSIONS):
            del table[Subclass]
        conversion_table.ANALOG_CLASSES.intersection_update(classes)

    def test_only_chosen_classes_become_digital(self, perfect_config: SingleRPUConfig) -> None:
        analog = convert_to_analog(Block(), perfect_config)
        digital = convert_to_digital(analog, conversion_set={AnalogLinear})
        assert type(digital.inp) is nn.Linear
        assert type(digital.body) is AnalogSequential
        assert type(digital) is Block


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"rpu_config": SingleRPUConfig}, "rpu_config"),
        ({"rpu_config": "SingleRPUConfig"}, "rpu_config"),
        ({"conversion_map": [nn.Linear]}, "conversion_map"),
        ({"conversion_map": {nn.Linear: nn.Linear}}, "conversion_map"),
        ({"exclude_modules": "inp"}, "exclude_modules"),
        ({"exclude_modules": 3}, "exclude_modules"),
        ({"module": nn.Linear}, "module"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], name: str) -> None:
    given = {"module": Block(), "rpu_config": SingleRPUConfig(), "inplace": True} | arguments
    with pytest.raises(ArgumentError, match=name):
        convert_to_analog(**given)


@pytest.mark.parametrize("wrong", [[AnalogLinear], {nn.Linear}, "AnalogLinear"])
def test_wrong_conversion_sets(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="conversion_set"):
        convert_to_digital(AnalogLinear(2, 2), conversion_set=wrong)


def test_default_configuration() -> None:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)  # within the bounds of all devices
    analog = convert_to_analog(layer, None)
    assert type(analog.analog_module.rpu_config) is SingleRPUConfig


@pytest.mark.parametrize("batch_first", [True, False])
def test_transformers(perfect_config: SingleRPUConfig, batch_first: bool) -> None:
    """In evaluation torch hands linear1.weight, which analog layers lack, to a fused kernel."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(3, 5, 8)
    with torch.no_grad():
        expected = model(x)
        analog = convert_to_analog(model, perfect_config)
        assert len(list(analog.analog_tiles())) == 2 * (2 + 4)
        torch.testing.assert_close(analog(x), expected, **CLOSE)
        torch.testing.assert_close(convert_to_digital(analog)(x), expected, **CLOSE)


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
def test_transformers_with_padding(perfect_config: SingleRPUConfig) -> None:
    """Padded batches reach the linear layers as nested tensors unless that is switched off."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(3, 5, 8)
    padded = torch.arange(5) >= torch.tensor([[5], [3], [4]])
    with torch.no_grad():
        expected = model(x, src_key_padding_mask=padded)
        output = convert_to_analog(model, perfect_config)(x, src_key_padding_mask=padded)
    torch.testing.assert_close(output[~padded], expected[~padded], **CLOSE)


def test_any_model_of_torch(perfect_config: SingleRPUConfig) -> None:
    """Modules without an analog counterpart stay what they are."""
    model = nn.ModuleDict(
        {
            "embedding": nn.Sequential(nn.Embedding(3, 4), nn.BatchNorm2d(4), nn.GELU()),
            "bag": nn.EmbeddingBag(4, 4),
            "attention": nn.MultiheadAttention(4, 2),
            "list": nn.ModuleList([nn.Linear(2, 2), None or nn.Identity()]),
            "bilinear": nn.Bilinear(2, 2, 2),
        }
    )
    analog = convert_to_analog(model, perfect_config)
    names = [name for name, _ in analog.named_analog_layers()]
    assert names == [*(f"attention.{x}_proj" for x in ("q", "k", "v", "out")), "list.0"]
    assert [type(m) for m in convert_to_digital(analog).modules()] == [
        type(m) for m in model.modules()
    ]


class TestReport:
    def test_reasons(self, perfect_config: SingleRPUConfig) -> None:
        model = nn.ModuleDict(
            {
                "pairs": nn.Bilinear(3, 4, 3),
                "norm": nn.BatchNorm2d(4),
                "act": nn.GELU(),
                "bag": nn.EmbeddingBag(4, 4),
                "attention": nn.MultiheadAttention(4, 2),
                "own": Subclass(2, 2),
                "lazy": nn.LazyLinear(2),
                "head": nn.Linear(2, 2),
                "kept": nn.Linear(2, 2),
            }
        )
        before = conversion_report(model)
        assert len(before) == 9 and not before.converted
        model["again"] = model["head"]
        kept = ["kept", "attention"]
        analog = convert_to_analog(model, perfect_config, exclude_modules=kept)
        report = conversion_report(analog)
        assert [entry.name for entry in report.converted] == ["head"]
        reasons = {entry.name: entry.reason for entry in report.digital}
        assert list(reasons) == [
            "pairs",
            "norm",
            "bag",
            "attention",
            "attention.out_proj",
            "own",
            "lazy",
            "kept",
        ]
        assert "no analog layer for Bilinear" in reasons["pairs"]
        assert "no analog layer for EmbeddingBag: a table" in reasons["bag"]
        assert "excluded" in reasons["attention"]
        assert "MultiheadAttention" in reasons["attention.out_proj"]
        assert "register_analog" not in reasons["attention.out_proj"]
        assert "call the model once" in reasons["lazy"]
        assert "subclass of Linear" in reasons["own"]
        assert "mho.nn.register_analog(Subclass)(AnalogLinear)" in reasons["own"]
        assert "excluded" in reasons["kept"]
        text = str(report)
        assert text.endswith("1 of 9 layers are analog") and "bag " in text
        with pytest.raises(ArgumentError, match="model"):
            conversion_report(3)  # type: ignore[arg-type]

    def test_nothing_converted_is_said(self, perfect_config: SingleRPUConfig) -> None:
        for model in (nn.Bilinear(1, 1, 1), nn.ReLU()):
            with pytest.warns(UserWarning, match="nothing was converted") as caught:
                convert_to_analog(model, perfect_config)
            assert caught[0].filename == __file__


class TestInheritance:
    """A converted layer keeps what a user has attached to the digital one."""

    @pytest.mark.parametrize("inplace", [False, True])
    def test_hooks(self, perfect_config: SingleRPUConfig, inplace: bool) -> None:
        model = nn.Sequential(nn.Linear(2, 2))
        calls: list[str] = []
        layer = model[0]
        layer.register_forward_pre_hook(lambda *_: calls.append("pre"))
        handle = layer.register_forward_hook(lambda *_: calls.append("forward"))
        layer.register_forward_hook(lambda m, a, k, y: y * 2, with_kwargs=True)
        layer.register_full_backward_hook(lambda *_: calls.append("backward"))
        layer._register_state_dict_hook(lambda m, s, p, _: calls.append(f"save {p}"))
        layer.register_load_state_dict_post_hook(
            lambda m, k: calls.append(f"load {type(m).__name__}")
        )
        layer._register_load_state_dict_pre_hook(
            lambda m, *_: calls.append(f"before {type(m).__name__}"), with_module=True
        )
        x = torch.ones(1, 2, requires_grad=True)
        expected = model(x).detach()
        calls.clear()
        analog = convert_to_analog(model, perfect_config, inplace=inplace)
        y = analog(x)
        torch.testing.assert_close(y.detach(), expected, **CLOSE)
        y.sum().backward()
        analog.load_state_dict(analog.state_dict())
        assert calls == [
            "pre",
            "forward",
            "backward",
            "save 0.",
            "before AnalogLinear",
            "load AnalogLinear",
        ]
        if inplace:
            handle.remove()
            calls.clear()
            analog(x)
            assert calls == ["pre"]
        calls.clear()
        convert_to_digital(analog)(x)
        assert "pre" in calls

    def test_attributes_and_flags(self, perfect_config: SingleRPUConfig) -> None:
        layer = nn.Linear(2, 2).eval()
        layer.tag = "kept"
        layer.register_buffer("mask", torch.ones(2), persistent=False)
        layer.extra = nn.Parameter(torch.zeros(3))
        layer.norm = nn.LayerNorm(2)
        layer.weight.requires_grad = False
        model = nn.Sequential(layer, nn.Linear(2, 2)).train()
        layer.eval()
        for new in (
            convert_to_analog(model, perfect_config),
            convert_to_digital(convert_to_analog(model, perfect_config)),
        ):
            assert new[0].tag == "kept" and torch.equal(new[0].mask, torch.ones(2))
            assert "0.mask" not in new.state_dict() and "0.extra" in new.state_dict()
            assert type(new[0].norm) is nn.LayerNorm
            assert not new[0].training and new[1].training
            assert not new[0].weight.requires_grad and new[0].bias.requires_grad
            assert new[1].weight.requires_grad

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    @pytest.mark.parametrize("make", [SingleRPUConfig, InferenceRPUConfig, TorchInferenceRPUConfig])
    @pytest.mark.filterwarnings("ignore:.*were clipped:UserWarning")
    def test_dtype(self, make: Any, dtype: torch.dtype) -> None:
        model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).to(dtype)
        config = make()
        config.forward.is_perfect = True
        analog = convert_to_analog(model, config)
        x = torch.rand(5, 4, dtype=dtype)
        y = analog(x)
        assert y.dtype is dtype and analog[0].weight.dtype is dtype
        if make is not SingleRPUConfig:
            torch.testing.assert_close(y.float(), model(x).float(), rtol=5e-2, atol=5e-2)
        y.sum().backward()
        assert all(p.dtype is dtype for p in convert_to_digital(analog).parameters())

    @pytest.mark.parametrize("kind", ["parametrize", "weight_norm", "spectral_norm", "prune"])
    @pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
    def test_computed_weights(self, perfect_config: SingleRPUConfig, kind: str) -> None:
        layer = nn.Linear(4, 3)
        if kind == "parametrize":
            nn.utils.parametrizations.orthogonal(layer)
        elif kind == "prune":
            nn.utils.prune.random_unstructured(layer, "weight", 0.5)
        else:
            getattr(nn.utils, kind)(layer)
            with torch.no_grad():
                next(p for n, p in layer.named_parameters() if n != "bias").mul_(2.0)
        model = nn.Sequential(layer).eval()
        x = torch.randn(2, 4)
        with torch.no_grad():
            expected = model(x)
        with pytest.warns(UserWarning, match="layer '0': weight was computed"):
            analog = convert_to_analog(model, perfect_config)
        assert isinstance(analog[0], AnalogLinear)
        torch.testing.assert_close(analog(x), expected, **CLOSE)
        assert all(name.startswith("0.analog_module.") for name in analog.state_dict())

    @pytest.mark.parametrize("make", [SingleRPUConfig, InferenceRPUConfig, TorchInferenceRPUConfig])
    def test_meta_models_are_loaded_later(self, make: Any) -> None:
        with torch.device("meta"):
            model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))
            direct = AnalogLinear(4, 3, rpu_config=make())
        assert not direct.analog_module.device.type == "meta"
        analog = convert_to_analog(model, make())
        assert analog[1].weight.is_meta
        source = AnalogSequential(
            AnalogLinear(4, 3, rpu_config=make()),
            nn.LayerNorm(3),
            AnalogLinear(3, 2, rpu_config=make()),
        )
        analog = analog.to_empty(device="cpu")
        analog.load_state_dict(source.state_dict())
        for (_, new), (_, old) in zip(
            analog.named_analog_layers(), source.named_analog_layers(), strict=True
        ):
            assert torch.equal(new.get_weights()[0], old.get_weights()[0])
        assert analog(torch.ones(2, 4)).shape == (2, 2)
