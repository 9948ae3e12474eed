"""What every analog layer and container can do: find tiles, load, drift, program."""

import copy
import typing
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import nn

from mho.exceptions import (
    AihwkitException,
    ArgumentError,
    ConfigError,
    InputError,
    ModuleError,
    TileError,
    TileModuleError,
)
from mho.inference import drift_analog_weights
from mho.inference.noise.pcm import PCMLikeNoiseModel
from mho.nn import AnalogLinear, AnalogSequential, AnalogWrapper, convert_to_analog, prepare_for_ddp
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    DriftParameter,
    FloatingPointDevice,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SimpleDriftParameter,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
)
from mho.simulator.configs.compounds import UnitCell
from mho.simulator.parameters.times import check_time
from mho.simulator.tiles import AnalogTile, InferenceTile


def split(config: Any) -> Any:
    config.mapping.max_input_size = 4
    return config


@pytest.fixture
def model() -> AnalogSequential:
    return AnalogSequential(
        AnalogLinear(6, 3, rpu_config=split(SingleRPUConfig())),
        nn.ReLU(),
        AnalogSequential(AnalogLinear(3, 2, rpu_config=InferenceRPUConfig())),
    )


class TestLookup:
    def test_names(self, model: AnalogSequential) -> None:
        assert [name for name, _ in model.named_analog_tiles()] == [
            "0.analog_module.array.0.0",
            "0.analog_module.array.1.0",
            "2.0.analog_module",
        ]
        assert [name for name, _ in model.named_analog_layers()] == ["0", "2.0"]
        assert [name for name, _ in model.named_analog_modules()] == ["", "0", "2", "2.0"]
        assert len(list(model.analog_tiles())) == model.analog_tile_count() == 3
        assert [type(layer) for layer in model.analog_layers()] == [AnalogLinear] * 2
        assert len(list(model.analog_modules())) == 4
        assert model.get_analog_tile_devices() == [torch.device("cpu")] * 3

    def test_a_layer_finds_itself(self) -> None:
        layer = AnalogLinear(3, 2)
        assert list(layer.analog_layers()) == [layer]

    @pytest.mark.parametrize("name", ["get_learning_rate", "get_scales", "decay_weights"])
    def test_type_checkers_know_the_methods_of_tiles(self, name: str) -> None:
        """Of a class without them `torch.nn.Module` would say that they are tensors."""
        (found,) = get_args(get_type_hints(AnalogSequential.analog_tiles)["return"])
        assert callable(vars(found)[name])

    def test_shared_layers_are_visited_once(self) -> None:
        layer = AnalogLinear(3, 3)
        assert AnalogSequential(layer, layer).analog_tile_count() == 1

    def test_apply(self, model: AnalogSequential) -> None:
        seen: list[Any] = []
        assert model.apply_to_analog_layers(seen.append) is model
        assert model.apply_to_analog_tiles(seen.append) is model
        assert seen == [*model.analog_layers(), *model.analog_tiles()]

    @pytest.mark.parametrize("value", [None, 1, "text", torch.ones(1)])
    def test_no_function(self, model: AnalogSequential, value: Any) -> None:
        for call in (model.apply_to_analog_layers, model.apply_to_analog_tiles):
            with pytest.raises(ArgumentError, match="fn: expected a function"):
                call(value)

    @pytest.mark.parametrize("value", [None, 1, "text", torch.ones(1), nn.ReLU()])
    def test_conversions_of_something_else(self, value: Any) -> None:
        for cls in (AnalogLinear, AnalogSequential):
            with pytest.raises(ArgumentError, match="module: expected"):
                cls.from_digital(value, SingleRPUConfig())
            with pytest.raises(ArgumentError, match="module: expected"):
                cls.to_digital(value)

    def test_unregister_parameter(self) -> None:
        layer = AnalogLinear(3, 2)
        layer.extra = nn.Parameter(torch.ones(1))
        layer.unregister_parameter("extra")
        assert layer.extra is None
        assert "extra" not in dict(layer.named_parameters())
        with pytest.raises(ModuleError, match="extra"):
            layer.unregister_parameter("extra")

    def test_weights_without_tiles(self) -> None:
        layer = AnalogLinear(3, 2)
        del layer.analog_module
        with pytest.raises(ModuleError, match="analog_module"):
            layer.get_weights()
        with pytest.raises(ModuleError, match="analog_module"):
            layer.set_weights(torch.ones(2, 3))


class TestInference:
    @pytest.mark.parametrize("method", ["drift_analog_weights", "program_analog_weights"])
    def test_only_in_evaluation(self, model: AnalogSequential, method: str) -> None:
        with pytest.raises(ModuleError, match=r"eval\(\)"):
            getattr(model.train(), method)()

    def test_drift_touches_inference_tiles_once(
        self, model: AnalogSequential, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = []
        monkeypatch.setattr(InferenceTile, "drift_weights", lambda tile, t: calls.append(t))
        before = model[0].get_weights()[0]
        model.eval().drift_analog_weights(25.0)
        assert calls == [25.0]
        assert torch.equal(model[0].get_weights()[0], before)

    def pulsed(self, config: Any = SingleRPUConfig, nu: float = 0.1) -> AnalogLinear:
        if config is FloatingPointRPUConfig:
            device: Any = FloatingPointDevice(drift=SimpleDriftParameter(nu=nu, t_0=2.0))
        else:
            device = SoftBoundsDevice(drift=DriftParameter(nu=nu, t_0=2.0))
        layer = AnalogLinear(4, 3, rpu_config=config(device=device)).eval()
        layer.set_weights(0.1 * torch.ones(3, 4), torch.zeros(3))
        return layer

    @pytest.mark.parametrize("config", [SingleRPUConfig, FloatingPointRPUConfig])
    def test_devices_drift_by_their_own_law(self, config: Any) -> None:
        """`w = w_0 (t / t_0)^(-nu)`, whatever the steps in between."""
        layer = self.pulsed(config)
        for time in (10.0, 10.0, "1 min", torch.tensor(3600.0)):
            layer.drift_analog_weights(time)  # type: ignore[arg-type]
            seconds = {"1 min": 60.0}.get(time, time) if isinstance(time, str) else float(time)
            expected = torch.full((3, 4), 0.1 * (seconds / 2.0) ** -0.1)
            torch.testing.assert_close(layer.get_weights()[0], expected, rtol=1e-5, atol=0)

    def test_time_of_devices_runs_forward(self) -> None:
        model = AnalogSequential(AnalogLinear(4, 4, rpu_config=InferenceRPUConfig()), self.pulsed())
        model.eval().drift_analog_weights(100.0)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises(ModuleError, match=r"'1\.analog_module'.* 100 s already"):
            model.drift_analog_weights(99.0)
        after = model.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())
        model.program_analog_weights()
        start = model[1].get_weights()[0]
        model.drift_analog_weights(20.0)
        torch.testing.assert_close(model[1].get_weights()[0], start * 10.0**-0.1)

    def test_without_drift_there_is_a_warning(self, model: AnalogSequential) -> None:
        model.eval().drift_analog_weights(10.0)  # one tile does drift
        still = AnalogSequential(AnalogLinear(4, 3), self.pulsed(nu=0.0)).eval()
        before = still.get_weights()
        with pytest.warns(UserWarning, match="do not drift") as caught:
            still.drift_analog_weights(10.0)
        assert caught[0].filename == __file__
        for name, (weight, _) in still.get_weights().items():
            assert torch.equal(weight, before[name][0])
        mixed = nn.ModuleList([AnalogLinear(4, 3), self.pulsed()]).eval()
        drift_analog_weights(mixed, 10.0)
        with pytest.warns(UserWarning, match="do not drift"):
            drift_analog_weights(mixed[:1].eval(), 10.0)

    @pytest.mark.parametrize(
        "time",
        [-1.0, "-1 s", float("nan"), float("inf"), "soon", "", "1 parsec", "1.2.3 s", None, True],
    )
    def test_impossible_times(self, time: Any) -> None:
        for layer in (self.pulsed(), AnalogLinear(4, 3, rpu_config=InferenceRPUConfig()).eval()):
            before = {name: value.clone() for name, value in layer.state_dict().items()}
            with pytest.raises(ArgumentError, match="t_inference"):
                layer.drift_analog_weights(time)
            after = layer.state_dict()
            assert list(after) == list(before)
            assert all(torch.equal(after[name], value) for name, value in before.items())

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("90", 90),
            ("1.5e3 s", 1500),
            ("2 MIN", 120),
            ("1h", 3600),
            (" 25 days ", 2160000),
            ("1 year", 31536000),
        ],
    )
    def test_times_as_text(self, text: str, seconds: float) -> None:
        assert check_time("t", text) == seconds

    def test_drift_changes_weights(self) -> None:
        layer = AnalogLinear(20, 10, rpu_config=InferenceRPUConfig()).eval()
        programmed = layer.get_weights()[0]
        layer.drift_analog_weights(3600.0)
        drifted = layer.get_weights()[0]
        assert not torch.equal(drifted, programmed)
        # PCM loses conductance by a power law with an exponent around 0.05: after an hour a third.
        assert drifted.abs().sum() < 0.9 * programmed.abs().sum()

    def test_program_with_a_noise_model(self) -> None:
        layer = AnalogLinear(20, 10, rpu_config=InferenceRPUConfig()).eval()
        target = layer.get_weights()[0]
        noise_model = PCMLikeNoiseModel(prog_noise_scale=0.0)
        layer.program_analog_weights(noise_model)
        torch.testing.assert_close(layer.get_weights()[0], target, rtol=1e-5, atol=1e-6)
        layer.program_analog_weights(PCMLikeNoiseModel(prog_noise_scale=1.0))
        assert not torch.allclose(layer.get_weights()[0], target, rtol=1e-5, atol=1e-6)

    def test_pulsed_tiles_take_no_noise_model(self, model: AnalogSequential) -> None:
        before = model.get_weights()
        with pytest.raises(ModuleError, match=r"noise_model.*0\.analog_module"):
            model.eval().program_analog_weights(PCMLikeNoiseModel())
        for name, (weight, _) in model.get_weights().items():
            assert torch.equal(weight, before[name][0])

    def test_pulsed_tiles_are_programmed_with_pulses(self) -> None:
        layer = AnalogLinear(4, 3, rpu_config=SingleRPUConfig()).eval()
        target = layer.get_weights()[0]
        layer.program_analog_weights()
        error = (layer.get_weights()[0] - target).abs().mean()
        # The closed loop stops at a mean error of 1 % of the largest target.
        assert 0 < error < 0.05 * target.abs().max()


class TestPulseCounters:
    def layer(self, split: int = 512, **device: Any) -> AnalogLinear:
        config = SingleRPUConfig(device=ConstantStepDevice(**device))
        config.mapping.max_input_size = config.mapping.max_output_size = split
        return AnalogLinear(5, 3, rpu_config=config)

    @pytest.mark.parametrize("split", [2, 512])
    def test_they_count_the_pulses_of_a_step(self, split: int) -> None:
        layer = self.layer(split, count_pulses=True)
        model = AnalogSequential(layer)
        assert layer.get_pulse_counters().shape == (2, 3, 5)
        assert layer.get_pulse_counters().sum() == 0
        optimizer = AnalogSGD(model.parameters(), lr=0.5)
        model(torch.ones(4, 5)).sum().backward()
        optimizer.step()
        down, up = layer.get_pulse_counters()
        assert (down > 0).all() and (up == 0).all()
        total = sum(int(counts.sum()) for counts in model.get_pulse_counters().values())
        assert total == int(down.sum())

    def test_the_field_to_set_is_named(self) -> None:
        for split in (2, 512):
            with pytest.raises(ConfigError, match=r"ConstantStepDevice\(count_pulses=True\)"):
                self.layer(split).get_pulse_counters()
        ideal = AnalogLinear(3, 2, rpu_config=InferenceRPUConfig())
        with pytest.raises(ConfigError, match="IdealDevice has no pulses to count"):
            ideal.get_pulse_counters()
        torch_layer = AnalogLinear(3, 2, rpu_config=TorchInferenceRPUConfig())
        with pytest.raises(TileError, match="pulse counters"):
            torch_layer.get_pulse_counters()


def test_remap_keeps_logical_weights() -> None:
    layer = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig())
    before = layer.get_weights()[0]
    assert layer.get_weights(apply_weight_scaling=False)[0].abs().max() < 0.9
    layer.remap_analog_weights()
    torch.testing.assert_close(layer.get_weights()[0], before)
    raw = layer.get_weights(apply_weight_scaling=False)[0]
    assert raw.abs().max().item() == pytest.approx(1.0, rel=1e-6)


class TestReplaceConfig:
    def test_weights_stay(self) -> None:
        model = AnalogSequential(
            *(AnalogLinear(4, 4, rpu_config=InferenceRPUConfig()) for _ in "ab")
        )
        before = model.get_weights()
        config = InferenceRPUConfig()
        config.forward.is_perfect = True
        model.replace_rpu_config(config)
        for name, tile in model.named_analog_tiles():
            assert tile.rpu_config == config and tile.rpu_config is not config
            assert torch.equal(tile.get_weights()[0], before[name][0])
        assert torch.equal(model(torch.ones(4)), model(torch.ones(4)))

    def test_misfit_changes_no_tile(self) -> None:
        model = AnalogSequential(
            AnalogLinear(4, 4, rpu_config=SingleRPUConfig()),
            AnalogLinear(4, 4, rpu_config=InferenceRPUConfig()),
        )
        new = SingleRPUConfig()
        new.forward.is_perfect = True
        with pytest.raises(TileModuleError, match=r"1\.analog_module"):
            model.replace_rpu_config(new)
        assert not next(model.analog_tiles()).rpu_config.forward.is_perfect


class TestLoading:
    def layers(self, first: Any, second: Any) -> tuple[AnalogSequential, AnalogSequential]:
        one = AnalogSequential(AnalogLinear(4, 3, rpu_config=first), nn.Linear(3, 3))
        two = AnalogSequential(AnalogLinear(4, 3, rpu_config=second), nn.Linear(3, 3))
        return one, two

    def test_round_trip(self, tiny_config: Any) -> None:
        one, two = self.layers(tiny_config, tiny_config)
        result = two.load_state_dict(one.state_dict())
        assert not result.missing_keys and not result.unexpected_keys
        x = torch.randn(5, 4)
        assert torch.equal(one(x), two(x))

    def test_stored_configuration_wins(self) -> None:
        config = SingleRPUConfig()
        config.forward.out_noise = 0.3
        one, two = self.layers(config, SingleRPUConfig())
        two.load_state_dict(one.state_dict())
        assert next(two.analog_tiles()).rpu_config.forward.out_noise == 0.3

    def test_own_configuration_can_stay(self) -> None:
        config = SingleRPUConfig()
        config.forward.out_noise = 0.3
        one, two = self.layers(config, SingleRPUConfig())
        two.load_state_dict(one.state_dict(), load_rpu_config=False)
        assert next(two.analog_tiles()).rpu_config.forward.out_noise == 0.06
        # The choice stays in force.
        two.load_state_dict(one.state_dict())
        assert next(two.analog_tiles()).rpu_config.forward.out_noise == 0.06
        two.load_state_dict(one.state_dict(), load_rpu_config=True)
        assert next(two.analog_tiles()).rpu_config.forward.out_noise == 0.3

    def test_misfit_of_a_later_tile_changes_no_tile(self) -> None:
        def build(device: Any) -> AnalogSequential:
            return AnalogSequential(
                AnalogLinear(4, 3, rpu_config=SingleRPUConfig(device=ConstantStepDevice())),
                AnalogLinear(3, 3, rpu_config=SingleRPUConfig(device=device)),
            )

        one, two = build(SoftBoundsDevice()), build(ConstantStepDevice())
        before = two.get_weights()
        with pytest.raises(TileError):
            state = one.state_dict()
            state["1.analog_module.analog_tile_weights"] = torch.zeros(7, 7)
            two.load_state_dict(state)
        for name, (weight, _) in two.get_weights().items():
            assert torch.equal(weight, before[name][0])

    @pytest.mark.parametrize("root", [AnalogSequential, nn.Sequential])
    def test_digital_states_say_what_to_do(self, root: Any) -> None:
        digital = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
        analog = root(*self.layers(SingleRPUConfig(), SingleRPUConfig())[0])
        before = {name: value.clone() for name, value in analog.state_dict().items()}
        with pytest.raises(RuntimeError, match=r"'0\.weight'.*convert_to_analog.*set_weights"):
            analog.load_state_dict(digital.state_dict())
        after = analog.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items()) or (
            root is nn.Sequential  # torch loads what it can
        )

    @pytest.mark.parametrize("prefix", ["_orig_mod.", "module."])
    def test_states_of_wrapped_models_say_what_to_do(self, prefix: str) -> None:
        analog = self.layers(SingleRPUConfig(), SingleRPUConfig())[0]
        state = {prefix + name: value for name, value in analog.state_dict().items()}
        with pytest.raises(InputError, match=rf"start with '{prefix}'.*removeprefix"):
            analog.load_state_dict(state)

    def test_own_children_may_have_such_names(self) -> None:
        model = AnalogWrapper(nn.ModuleDict({"module": AnalogLinear(4, 3)}))
        model.load_state_dict(model.state_dict())

    def test_outdated_contexts_are_dropped(self) -> None:
        layer = AnalogLinear(4, 3)
        state = layer.state_dict()
        state["analog_module.analog_ctx"] = torch.tensor(1.0)
        with pytest.warns(UserWarning, match="old format"):
            layer.load_state_dict(state)
        assert "analog_module.analog_ctx" in state

    def test_assign_is_refused(self) -> None:
        layer = AnalogLinear(4, 3)
        with pytest.raises(ArgumentError, match="assign"):
            layer.load_state_dict(layer.state_dict(), assign=True)
        layer.load_state_dict(layer.state_dict(), assign=False)

    def test_inside_a_digital_parent(self) -> None:
        one, two = nn.Sequential(AnalogLinear(4, 3)), nn.Sequential(AnalogLinear(4, 3))
        two.load_state_dict(one.state_dict())
        x = torch.randn(5, 4)
        assert torch.equal(one(x), two(x))


def package_frames(error: BaseException) -> int:
    """Return how many frames of a traceback are inside of the package."""
    files = [str(frame.path) for frame in pytest.ExceptionInfo.from_exception(error).traceback]
    return sum("/mho/" in name and "/tests/" not in name for name in files)


class TestMessages:
    @pytest.mark.parametrize("container", [nn.Sequential, AnalogSequential])
    def test_shape_errors_name_the_layer(self, container: Any) -> None:
        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = container(nn.Linear(4, 4), AnalogLinear(5, 3))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.head(x)

        for model in (Model(), AnalogWrapper(Model())):
            with pytest.raises(
                InputError,
                match=r"expected size 5 .*got 4.*in layer 'head\.1', AnalogLinear\(in_features=5,"
                r" out_features=3",
            ) as caught:
                model(torch.ones(2, 4))
            # Besides the container only the forward pass of the layer and what raises again.
            assert package_frames(caught.value) <= 2

    def test_a_layer_alone_has_no_name(self) -> None:
        with pytest.raises(InputError, match=r"in layer AnalogLinear\(in_features=5"):
            AnalogLinear(5, 3)(torch.ones(2, 4))

    @pytest.mark.parametrize(
        "call",
        [
            lambda: AnalogLinear(5, 3, rpu_config=SingleRPUConfig(device=UnitCell())),
            lambda: AnalogLinear(5, 3).set_weights(torch.ones(5, 3)),
            lambda: AnalogLinear(5, 3).load_state_dict({"weight": torch.ones(3, 5)}),
            lambda: AnalogLinear(5, 3).eval().drift_analog_weights(-1.0),
            lambda: convert_to_analog(nn.Linear(5, 3), SingleRPUConfig(device=UnitCell())),
            lambda: AnalogLinear(5, 3).get_pulse_counters(),
        ],
    )
    def test_tracebacks_end_at_the_call(self, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(AihwkitException) as caught:
            call()
        assert package_frames(caught.value) == 1
        monkeypatch.setenv("MHO_FULL_TRACEBACK", "1")
        with pytest.raises(AihwkitException) as caught:
            call()
        assert package_frames(caught.value) > 1


class TestDDP:
    def test_classes_of_tiles_may_refuse(
        self, model: AnalogSequential, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(AnalogTile, "supports_ddp", False)
        with pytest.raises(ModuleError, match=r"0\.analog_module.*AnalogTile.*supports_ddp"):
            model.prepare_for_ddp()
        root = nn.Sequential(model)
        with pytest.raises(ModuleError, match=r"0\.0\.analog_module.*supports_ddp"):
            prepare_for_ddp(root)
        assert not hasattr(root, "_ddp_params_and_buffers_to_ignore")
        with pytest.raises(ArgumentError, match="module"):
            prepare_for_ddp([model])  # type: ignore[arg-type]

    def test_buffers_of_pulsed_tiles_are_ignored(self, model: AnalogSequential) -> None:
        """Each rank changes them by the same pulses; nobody broadcasts them in every pass."""
        root = prepare_for_ddp(nn.Sequential(model))
        ignored = set(root._ddp_params_and_buffers_to_ignore)
        buffers = {name for name, _ in root.named_buffers() if name.startswith("0.0.")}
        assert buffers <= ignored and any("hidden.max_bound" in name for name in buffers)
        trained = {name for name, p in root.named_parameters() if p.requires_grad} - ignored
        assert "0.2.0.analog_module.shared_weights" in trained
        assert not any("analog_ctx" in name for name in trained)

    def test_looking_at_all_attributes_is_no_preparation(self, model: AnalogSequential) -> None:
        for part in model.modules():
            for name in dir(part):
                getattr(part, name, None)

    def test_what_belongs_to_a_process_is_ignored(self) -> None:
        model = AnalogSequential(
            AnalogLinear(4, 3, rpu_config=InferenceRPUConfig()), nn.Linear(3, 3)
        )
        model.prepare_for_ddp()
        ignored = set(model._ddp_params_and_buffers_to_ignore)
        assert {
            f"0.analog_module.{name}" for name in ("analog_ctx", "analog_tile_calls")
        } <= ignored
        synchronised = {name for name, _ in model.named_parameters()} - ignored
        assert synchronised == {
            "0.analog_module.shared_weights",
            "0.analog_module.bias",
            "1.weight",
            "1.bias",
        }

    def test_other_names_to_ignore_are_kept(self) -> None:
        layer = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig())
        for root in (AnalogSequential(layer), nn.Sequential(layer)):
            root._ddp_params_and_buffers_to_ignore = ["own"]
            assert prepare_for_ddp(root) is root
            assert "own" in root._ddp_params_and_buffers_to_ignore
            assert "0.analog_module.analog_ctx" in root._ddp_params_and_buffers_to_ignore

    def test_alone_the_streams_stay(self) -> None:
        layer = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig())
        seed = layer.analog_module.analog_tile_seed.clone()
        layer.prepare_for_ddp()
        assert torch.equal(layer.analog_module.analog_tile_seed, seed)


def test_deepcopy_is_independent(tiny_config: Any) -> None:
    layer = AnalogLinear(4, 3, rpu_config=tiny_config)
    new = copy.deepcopy(layer)
    x = torch.randn(2, 4)
    assert torch.equal(layer(x), new(x))
    new.set_weights(torch.zeros(3, 4), torch.zeros(3))
    assert layer.get_weights()[0].abs().sum() > 0


def test_floating_point_config_has_no_name_in_an_empty_repr() -> None:
    model = AnalogSequential(AnalogLinear(4, 3, rpu_config=FloatingPointRPUConfig()))
    assert model.extra_repr() == ""


def test_type_checkers_know_the_methods_of_tiles() -> None:
    """Torch types an attribute that a class lacks as a tensor or a module."""
    (tile,) = typing.get_args(typing.get_type_hints(AnalogSequential.analog_tiles)["return"])
    named = typing.get_type_hints(AnalogSequential.named_analog_tiles)["return"]
    assert named == Iterator[tuple[str, tile]]
    assert {"get_weights", "update", "remap_weights", "get_pulse_counters"} <= set(dir(tile))
