"""Recurrent networks: equal to torch's with exact tiles, whatever their arguments."""

import copy
import io
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import rnn as packing

from mho.exceptions import ArgumentError, ConfigError, InputError
from mho.nn import (
    AnalogGRUCell,
    AnalogLinear,
    AnalogLSTMCell,
    AnalogLSTMCellCombinedWeight,
    AnalogRNN,
    AnalogVanillaRNNCell,
    conversion_report,
)
from mho.nn.conversion import (
    ConvertedGRU,
    ConvertedGRUCell,
    ConvertedLSTM,
    ConvertedLSTMCell,
    ConvertedRNN,
    ConvertedRNNCell,
    convert_to_analog,
    convert_to_digital,
)
from mho.nn.modules.rnn.cells import LSTMState
from mho.nn.modules.rnn.layers import AnalogReverseRNNLayer
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)

# A few steps of products and functions of order one in float32, in another order than torch's.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def exact(config: Any) -> Any:
    """Return a configuration with exact products."""
    config.forward = IOParameters(is_perfect=True)
    if hasattr(config, "backward"):
        config.backward = IOParameters(is_perfect=True)
    return config


EXACT = {
    "pulsed": lambda: exact(SingleRPUConfig(device=IdealDevice())),
    "inference": lambda: exact(InferenceRPUConfig()),
    "torch": lambda: exact(TorchInferenceRPUConfig()),
}
CELLS: list[Any] = [
    AnalogVanillaRNNCell,
    AnalogLSTMCell,
    AnalogLSTMCellCombinedWeight,
    AnalogGRUCell,
]
NETWORKS = {nn.LSTM: ConvertedLSTM, nn.GRU: ConvertedGRU, nn.RNN: ConvertedRNN}
STEPS = {
    nn.LSTMCell: ConvertedLSTMCell,
    nn.GRUCell: ConvertedGRUCell,
    nn.RNNCell: ConvertedRNNCell,
}
ARGUMENTS = st.fixed_dictionaries(
    {
        "input_size": st.integers(1, 4),
        "hidden_size": st.integers(2, 4),
        "num_layers": st.integers(1, 3),
        "bias": st.booleans(),
        "batch_first": st.booleans(),
        "bidirectional": st.booleans(),
    }
)


def tensors(value: Any) -> list[Tensor]:
    """Return all tensors of nested results, packed ones included."""
    if isinstance(value, Tensor):
        return [value]
    return [one for part in value if part is not None for one in tensors(part)]


def assert_close(given: Any, expected: Any) -> None:
    torch.testing.assert_close(tensors(given), tensors(expected), **CLOSE)


def digital_network(kind: Any, arguments: dict[str, Any], more: Any) -> Any:
    if kind is nn.RNN:
        arguments = {**arguments, "nonlinearity": "relu" if more else "tanh"}
    if kind is nn.LSTM and more:
        arguments = {**arguments, "proj_size": 1}
    return kind(**arguments)


class TestConvertedNetworks:
    @pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
    @given(
        kind=st.sampled_from(list(NETWORKS)),
        arguments=ARGUMENTS,
        more=st.booleans(),
        tile=st.sampled_from(list(EXACT)),
        form=st.sampled_from(["tensor", "single", "sorted", "unsorted"]),
        has_state=st.booleans(),
    )
    def test_equal_to_torch(
        self, kind: Any, arguments: Any, more: bool, tile: str, form: str, has_state: bool
    ) -> None:
        digital = digital_network(kind, arguments, more)
        analog: Any = convert_to_analog(digital, EXACT[tile]())
        assert type(analog) is NETWORKS[kind]
        time, count = 4, 3
        data = torch.randn(time, count, digital.input_size, requires_grad=True)
        x: Any = data.transpose(0, 1) if digital.batch_first else data
        if form == "single":
            x = data[:, 0]
        elif form != "tensor":
            lengths = [4, 2, 1] if form == "sorted" else [2, 4, 1]
            x = packing.pack_padded_sequence(
                x, torch.tensor(lengths), digital.batch_first, enforce_sorted=form == "sorted"
            )
        hx: Any = None
        if has_state:
            batch = () if form == "single" else (count,)
            layers = digital.num_layers * (2 if digital.bidirectional else 1)
            size = digital.proj_size or digital.hidden_size
            hx = torch.randn(layers, *batch, size)
            if kind is nn.LSTM:
                hx = hx, torch.randn(layers, *batch, digital.hidden_size)
        given, expected = analog(x, hx), digital(x, hx)
        assert type(given[0]) is type(expected[0]) and type(given[1]) is type(expected[1])
        assert_close(given, expected)
        loss = [sum(part.square().sum() for part in tensors(r) if part.is_floating_point())
                for r in (given, expected)]  # fmt: skip
        own, other = (torch.autograd.grad(one, data, retain_graph=True)[0] for one in loss)
        torch.testing.assert_close(own, other, **CLOSE)

    @pytest.mark.parametrize("kind", NETWORKS)
    def test_gradients_of_weights(self, kind: Any) -> None:
        digital = kind(3, 2, 2, bidirectional=True)
        analog: Any = convert_to_analog(digital, EXACT["torch"]())
        x = torch.randn(4, 3, 3)
        for model in (digital, analog):
            model(x)[0].square().sum().backward()
        names = dict(digital.named_parameters())
        for linear, weight, bias in analog._linears():
            tile = linear.analog_module
            torch.testing.assert_close(tile.tile.weight.grad, names[weight].grad, **CLOSE)
            torch.testing.assert_close(tile.bias.grad, names[bias].grad, **CLOSE)

    @pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
    @given(kind=st.sampled_from(list(NETWORKS)), arguments=ARGUMENTS, more=st.booleans())
    def test_there_and_back(self, kind: Any, arguments: Any, more: bool) -> None:
        digital = digital_network(kind, arguments, more).eval()
        digital.tag = "mine"
        frozen = "weight_hh_l0"
        getattr(digital, frozen).requires_grad_(False)
        analog: Any = convert_to_analog(digital, EXACT["torch"]())
        assert not analog.training and analog.tag == "mine"
        back: Any = convert_to_digital(analog)
        assert type(back) is kind and repr(back) == repr(digital) and back.tag == "mine"
        assert vars(back).keys() == vars(digital).keys()
        for name, value in digital.named_parameters():
            other = back.get_parameter(name)
            assert torch.equal(other, value) and other.requires_grad == (name != frozen)
        x = torch.randn(3, 2, digital.input_size)
        assert_close(back(x), digital(x))

    @pytest.mark.parametrize("kind", NETWORKS)
    @pytest.mark.parametrize("is_packed", [False, True])
    def test_dropout_is_that_of_torch(self, kind: Any, is_packed: bool) -> None:
        digital = kind(3, 4, 3, dropout=0.4, bidirectional=True)
        analog = convert_to_analog(digital, EXACT["inference"]())
        x: Any = torch.randn(5, 2, 3)
        if is_packed:
            x = packing.pack_padded_sequence(x, torch.tensor([5, 3]))
        results = []
        for model in (digital, analog):
            torch.manual_seed(3)
            results.append(model(x))
        assert_close(*results)
        digital.eval(), analog.eval()
        assert_close(analog(x), digital(x))

    @pytest.mark.parametrize("kind", NETWORKS)
    def test_in_a_model(self, kind: Any) -> None:
        class Model(nn.Module):
            """Reads attributes of its network, as models do."""

            def __init__(self) -> None:
                super().__init__()
                self.core = kind(3, 4, 2, batch_first=True)
                self.head = nn.Linear(4, 2)

            def forward(self, x: Tensor) -> Tensor:
                self.core.flatten_parameters()
                assert self.core.hidden_size == 4 and self.core.num_layers == 2
                return self.head(self.core(x)[0][:, -1])

        model, calls = Model(), []
        model.core.register_forward_hook(lambda *_: calls.append("core"))
        x = torch.randn(2, 5, 3)
        expected = model(x)
        analog = convert_to_analog(model, EXACT["pulsed"]())
        torch.testing.assert_close(analog(x), expected, **CLOSE)
        assert calls == ["core", "core"]
        report = conversion_report(analog)
        assert len(report.converted) == 5 and not report.digital
        excluded = convert_to_analog(model, EXACT["pulsed"](), exclude_modules=["core"])
        assert type(excluded.core) is kind
        with pytest.raises(ArgumentError, match=r"returned None for 'core'"):
            convert_to_analog(
                model, EXACT["pulsed"](), specific_rpu_config_fun=lambda n, m, c: None
            )

    @pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype stage")
    @pytest.mark.parametrize("kind", NETWORKS)
    def test_errors(self, kind: Any) -> None:
        network = NETWORKS[kind].from_digital(kind(3, 4), EXACT["inference"]())
        for wrong in (torch.rand(2, 2, 4), torch.rand(3), torch.rand(0, 2, 3), [1.0]):
            with pytest.raises(InputError, match="input: expected"):
                network(wrong)
        for shape in ((2, 3), (3,)):
            with pytest.raises(InputError, match="got a nested one; pack the sequences"):
                network(torch.nested.nested_tensor([torch.rand(shape), torch.rand(shape)]))
        for state in (torch.rand(1, 3, 4), torch.rand(2, 4), 3, (torch.rand(1, 2, 4),)):
            with pytest.raises(InputError, match="hx: expected"):
                network(torch.rand(5, 2, 3), state)
        with pytest.raises(ArgumentError, match="module"):
            NETWORKS[kind].from_digital(nn.Linear(2, 2), None)
        with pytest.raises(ArgumentError, match="rpu_config"):
            NETWORKS[kind].from_digital(kind(3, 4), 3)
        with pytest.raises(ArgumentError, match="module"):
            NETWORKS[kind].to_digital(kind(3, 4))

    @pytest.mark.filterwarnings("ignore:.*beyond the bounds:UserWarning")
    def test_default_configuration(self) -> None:
        analog = convert_to_analog(nn.GRU(3, 4), None)
        (config, _) = (type(tile.rpu_config) for tile in analog.analog_tiles())
        assert config is SingleRPUConfig

    def test_parametrised_networks(self) -> None:
        digital = nn.utils.parametrizations.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
        x = torch.randn(5, 2, 3)
        expected = digital(x)
        with pytest.warns(UserWarning, match="computed from other parameters"):
            # torch cannot copy such a network.
            analog = convert_to_analog(digital, EXACT["pulsed"](), inplace=True)
        assert_close(analog(x), expected)

    def test_networks_on_the_meta_device(self) -> None:
        with torch.device("meta"):
            digital = nn.LSTM(3, 4)
        analog = ConvertedLSTM.from_digital(digital, EXACT["inference"]())
        assert analog(torch.rand(5, 2, 3))[0].shape == (5, 2, 4)


class TestConvertedCells:
    @given(
        kind=st.sampled_from(list(STEPS)),
        bias=st.booleans(),
        relu=st.booleans(),
        tile=st.sampled_from(list(EXACT)),
        single=st.booleans(),
        has_state=st.booleans(),
    )
    def test_equal_to_torch(
        self, kind: Any, bias: bool, relu: bool, tile: str, single: bool, has_state: bool
    ) -> None:
        more = {"nonlinearity": "relu"} if relu and kind is nn.RNNCell else {}
        digital = kind(3, 4, bias, **more)
        analog: Any = convert_to_analog(digital, EXACT[tile]())
        assert type(analog) is STEPS[kind]
        batch = () if single else (2,)
        x, hx = torch.randn(*batch, 3), None
        if has_state:
            hx = torch.randn(*batch, 4)
            hx = (hx, torch.randn(*batch, 4)) if kind is nn.LSTMCell else hx
        expected = digital(x, hx)
        assert_close(analog(x, hx), expected)
        back = convert_to_digital(analog)
        assert type(back) is kind and repr(back) == repr(digital)
        assert_close(back(x, hx), expected)

    @pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype stage")
    @pytest.mark.parametrize("kind", STEPS)
    def test_errors(self, kind: Any) -> None:
        cell = STEPS[kind].from_digital(kind(3, 4), EXACT["inference"]())
        for wrong in (torch.rand(2, 2, 3), 3, torch.rand(2, 4)):
            with pytest.raises(InputError):
                cell(wrong)
        for shape in ((2, 3), (3,)):
            with pytest.raises(InputError, match="got a nested one"):
                cell(torch.nested.nested_tensor([torch.rand(shape), torch.rand(shape)]))
        with pytest.raises(InputError, match="hx: expected"):
            cell(torch.rand(2, 3), torch.rand(3, 4))


def stack(cell: Any, bidir: bool, bias: bool, layers: int) -> tuple[Any, Any]:
    """Return a network of torch and `AnalogRNN` with its weights."""
    kinds = {AnalogVanillaRNNCell: nn.RNN, AnalogGRUCell: nn.GRU}
    digital = kinds.get(cell, nn.LSTM)(3, 4, layers, bias=bias, bidirectional=bidir)
    network = AnalogRNN(cell, 3, 4, bias, EXACT["inference"](), num_layers=layers, bidir=bidir)
    for i, layer in enumerate(network.rnn.layers):
        parts: Any = getattr(layer, "directions", [layer])
        for part, suffix in zip(parts, ("", "_reverse"), strict=False):
            values = [
                getattr(digital, f"{kind}_l{i}{suffix}", None)
                for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
            if hasattr(part.cell, "weight"):
                both = torch.cat(values[:2], dim=1)
                part.cell.weight.set_weights(both, values[2] + values[3] if bias else None)
            else:
                part.cell.weight_ih.set_weights(values[0], values[2])
                part.cell.weight_hh.set_weights(values[1], values[3])
    return digital, network


class TestAnalogRNN:
    @given(
        cell=st.sampled_from(CELLS),
        bidir=st.booleans(),
        bias=st.booleans(),
        layers=st.integers(1, 3),
        form=st.sampled_from(["time first", "batch first", "packed"]),
        in_two=st.booleans(),
    )
    def test_equal_to_torch(
        self, cell: Any, bidir: bool, bias: bool, layers: int, form: str, in_two: bool
    ) -> None:
        digital, network = stack(cell, bidir, bias, layers)
        x: Any = torch.randn(6, 3, 3)
        expected, ends = digital(x)
        if form == "packed":
            x = packing.pack_padded_sequence(x, torch.tensor([4, 6, 1]), enforce_sorted=False)
            expected, ends = digital(x)
            output, states = network(x)
            assert type(output) is packing.PackedSequence
        elif form == "batch first":
            network.batch_first = True
            output, states = network(x.transpose(0, 1))
            output = output.transpose(0, 1)
        elif in_two and not bidir:
            first, states = network(x[:2])
            second, states = network(x[2:], states)
            output = torch.cat([first, second])
        else:
            output, states = network(x)
        assert_close(output, expected)
        flat = [one for state in states for one in state] if bidir else states
        ends = ends if isinstance(ends, tuple) else (ends,)
        for i, state in enumerate(flat):
            for part, end in zip(tensors(state), ends, strict=True):
                torch.testing.assert_close(part, end[i], **CLOSE)

    @pytest.mark.parametrize("bidir", [False, True])
    @pytest.mark.parametrize("cell", CELLS)
    def test_states(self, cell: Any, bidir: bool) -> None:
        network = AnalogRNN(cell, 3, 4, rpu_config=EXACT["pulsed"](), num_layers=2, bidir=bidir)
        zero = network.get_zero_state(5)
        assert len(zero) == 2 and all(part.shape == (5, 4) for part in tensors(zero))
        assert not any(part.any() for part in tensors(zero))
        first = zero[0][0] if bidir else zero[0]
        assert isinstance(zero[0], list) == bidir
        assert isinstance(first, LSTMState) == ("LSTM" in cell.__name__)
        x = torch.rand(2, 5, 3)
        output, states = network(x)
        assert output.shape == (2, 5, 8 if bidir else 4)
        assert_close(network(x, zero)[0], output)
        network(x, states)
        network(x, tuple(map(tuple, states)) if bidir else tuple(states))
        network(x[:, :0])
        for wrong in (states[:1], states[0], 3, [None, None], network.get_zero_state(4),
                      [torch.zeros(2, 5, 4)] * 2):  # fmt: skip
            with pytest.raises(InputError, match="states: expected"):
                network(x, wrong)
        for bad in (torch.rand(2, 5, 4), torch.rand(5, 3), torch.rand(0, 5, 3), "x"):
            with pytest.raises(InputError, match="input: expected"):
                network(bad)
        with pytest.raises(ArgumentError, match="batch_size"):
            network.get_zero_state(0)

    def test_names(self) -> None:
        one = AnalogRNN(AnalogLSTMCell, 3, 4, rpu_config=EXACT["pulsed"](), num_layers=2)
        assert [name for name, _ in one.named_analog_layers()] == [
            f"rnn.layers.{i}.cell.weight_{kind}" for i in (0, 1) for kind in ("ih", "hh")
        ]
        two = AnalogRNN(
            AnalogLSTMCellCombinedWeight, 3, 4, rpu_config=EXACT["pulsed"](), bidir=True
        )
        assert [name for name, _ in two.named_analog_layers()] == [
            f"rnn.layers.0.directions.{i}.cell.weight" for i in (0, 1)
        ]

    @pytest.mark.parametrize("cell", CELLS)
    def test_without_a_configuration(self, cell: Any) -> None:
        network = AnalogRNN(cell, 3, 4)
        layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
        if cell is AnalogGRUCell:
            assert all(isinstance(layer, AnalogLinear) for layer in layers)
            (config, _) = (type(tile.rpu_config) for tile in network.analog_tiles())
            assert config is InferenceRPUConfig
            return
        assert all(type(layer) is nn.Linear for layer in layers)
        x = torch.rand(2, 5, 3)
        expected = network(x)
        analog = convert_to_analog(network, EXACT["torch"]())
        assert type(analog) is AnalogRNN and analog.analog_tile_count() == len(layers)
        assert_close(analog(x), expected)
        digital = convert_to_digital(analog)
        assert type(digital) is AnalogRNN and digital.analog_tile_count() == 0
        assert_close(digital(x), expected)

    @pytest.mark.parametrize("config", [None, EXACT["pulsed"]()])
    def test_first_weights(self, config: Any) -> None:
        network = AnalogRNN(AnalogLSTMCell, 30, 25, rpu_config=config, num_layers=2)
        linears = [m for m in network.modules() if isinstance(m, nn.Linear)]

        def both() -> list[tuple[Tensor, Tensor]]:
            return [(lin.weight.detach().clone(), lin.bias.detach().clone()) for lin in linears]

        for values in (value for pair in both() for value in pair):
            assert 0.15 < values.abs().max() <= 0.2
        network.reset_parameters(xavier=True)
        for weight, bias in both():
            bound = (6 / sum(weight.shape)) ** 0.5
            assert 0.9 * bound < weight.abs().max() <= bound * (1 + 1e-6) and not bias.any()
        network.init_layers(nn.init.ones_)
        for weight, bias in both():
            assert weight.eq(1).all() and not bias.any()
        with pytest.raises(ArgumentError, match="weight_init_fn"):
            network.init_layers(3)  # type: ignore[arg-type]

    def test_dropout_acts_between_layers(self) -> None:
        with pytest.warns(UserWarning, match="dropout: acts between layers only"):
            AnalogRNN(AnalogGRUCell, 3, 4, dropout=0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            network = AnalogRNN(
                AnalogGRUCell, 3, 4, rpu_config=EXACT["inference"](), num_layers=2, dropout=0.5
            )
        x = torch.rand(3, 2, 3)
        assert not torch.equal(network(x)[0], network(x)[0])
        network.eval()
        assert torch.equal(network(x)[0], network(x)[0])

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"input_size": 0}, "input_size"),
            ({"hidden_size": 1.5}, "hidden_size"),
            ({"num_layers": 0}, "num_layers"),
            ({"bias": "x"}, "bias"),
            ({"bidir": 2}, "bidir"),
            ({"dropout": 1.5}, "dropout"),
            ({"dropout": "x"}, "dropout"),
            ({"rpu_config": SingleRPUConfig}, "rpu_config"),
            ({"xavier": "x"}, "xavier"),
            ({"cell": 3}, "cell"),
            ({"cell": nn.Linear}, "cell: Linear has no get_zero_state"),
            ({"batch_first": 3}, "batch_first"),
        ],
    )
    def test_bad_arguments(self, change: Any, name: str) -> None:
        arguments = {"cell": AnalogLSTMCell, "input_size": 3, "hidden_size": 4, **change}
        with pytest.raises(ArgumentError, match=name):
            AnalogRNN(**arguments)

    def test_bad_configurations(self) -> None:
        config = SingleRPUConfig()
        config.forward.out_noise = "loud"  # type: ignore[assignment]
        with pytest.raises(ConfigError, match=r"forward\.out_noise"):
            AnalogRNN(AnalogLSTMCell, 3, 4, rpu_config=config)

    def test_a_pair_for_every_step(self) -> None:
        network = AnalogRNN(AnalogLSTMCell, 3, 4, rpu_config=EXACT["pulsed"]())
        network(torch.rand(5, 2, 3))[0].sum().backward()
        for tile in network.analog_tiles():
            pairs = tile.analog_ctx.analog_input, tile.analog_ctx.analog_grad_output
            assert [len(values) for values in pairs] == [5, 5]
        before = network.get_weights()
        AnalogSGD(network.parameters(), lr=0.1).step()
        for name, (weight, _) in network.get_weights().items():
            assert not torch.equal(weight, before[name][0])

    def test_reverse(self) -> None:
        ones, twos = torch.ones(1), torch.ones(2)
        assert AnalogReverseRNNLayer.reverse([ones, twos]) == [twos, ones]


class TestAsModules:
    @staticmethod
    def networks(config: Any) -> list[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted = convert_to_analog(nn.LSTM(3, 4, 2, bidirectional=True), config)
        return [AnalogRNN(AnalogGRUCell, 3, 4, rpu_config=config, num_layers=2), converted]

    @pytest.mark.parametrize(
        "config",
        [
            SingleRPUConfig(device=ConstantStepDevice()),
            FloatingPointRPUConfig(),
            InferenceRPUConfig(),
            TorchInferenceRPUConfig(),
        ],
    )
    def test_states_and_copies(self, config: Any) -> None:
        x = torch.rand(3, 2, 3)
        for network, other in zip(self.networks(config), self.networks(config), strict=True):
            other.load_state_dict(copy.deepcopy(network.state_dict()))
            file = io.BytesIO()
            torch.save(network, file)
            file.seek(0)
            saved = torch.load(file, weights_only=False)
            outputs = []
            for one in (copy.deepcopy(network), other, saved):
                torch.manual_seed(1)
                outputs.append(one.eval()(x)[0])
            assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])

    @pytest.mark.parametrize("kind", ["inference", "torch"])
    def test_compiled_and_exported(self, kind: str) -> None:
        x = torch.rand(3, 2, 3)
        for network in self.networks(EXACT[kind]()):
            network.eval()
            expected = network(x)
            torch._dynamo.reset()
            compiled = torch.compile(network, fullgraph=True, backend="eager")
            assert_close(compiled(x), expected)
            if kind == "inference" and not hasattr(torch.compiler, "is_exporting"):
                continue  # export of core tiles needs torch 2.7
            exported = torch.export.export(network, (x,)).module()
            assert_close(exported(x), expected)

    def test_life_of_inference_networks(self) -> None:
        for network in self.networks(InferenceRPUConfig()):
            network.eval()
            network.program_analog_weights()
            network.drift_analog_weights(3600.0)
            network.remap_analog_weights()

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_precisions(self, dtype: torch.dtype) -> None:
        for network in self.networks(EXACT["torch"]()):
            output, states = network.to(dtype)(torch.rand(3, 2, 3, dtype=dtype))
            assert output.dtype is dtype and all(s.dtype is dtype for s in tensors(states))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_weights_have_their_names_of_torch(kind: Any) -> None:
    digital = kind(3, 4, num_layers=2, bidirectional=True)
    analog: Any = convert_to_analog(digital, InferenceRPUConfig())
    for own, other in zip(digital.all_weights, analog.all_weights, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(own, other, strict=True))
    with torch.no_grad():
        analog.weight_hh_l1_reverse.zero_()
    assert not analog.rnn.layers[1].directions[1].cell.weight_hh.get_weights()[0].any()
    assert torch.equal(analog.bias_ih_l0, digital.bias_ih_l0)
    assert {name for name, _ in analog.named_parameters()}.isdisjoint(digital.state_dict())
    with pytest.raises(AttributeError, match="weight_ih_l2"):
        analog.weight_ih_l2  # noqa: B018
    assert torch.equal(copy.deepcopy(analog).weight_ih_l0, digital.weight_ih_l0)


def test_names_of_projections_and_of_cells() -> None:
    digital = nn.LSTM(3, 4, proj_size=2, bias=False)
    analog: Any = convert_to_analog(digital, InferenceRPUConfig())
    (weights,) = analog.all_weights
    assert [tuple(w.shape) for w in weights] == [tuple(w.shape) for w in digital.all_weights[0]]
    cell: Any = convert_to_analog(nn.GRUCell(3, 4), InferenceRPUConfig())
    assert cell.weight_ih.shape == (12, 3) and cell.bias_hh.shape == (12,)


def test_cells_of_torch_are_no_cells_of_a_network() -> None:
    with pytest.raises(
        ArgumentError, match=r"cell: LSTMCell has no get_zero_state.*AnalogLSTMCell"
    ):
        AnalogRNN(nn.LSTMCell, 3, 4)
