"""Counts of products and conversions against counting one by one, for all kinds of layers."""

import itertools
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mho.nn import (
    AnalogConv1d,
    AnalogConv2d,
    AnalogConv3d,
    AnalogConvTranspose1d,
    AnalogConvTranspose2d,
    AnalogLinear,
    AnalogLinearMapped,
    AnalogLSTMCell,
    AnalogRNN,
    AnalogSequential,
    convert_to_analog,
)
from mho.nn.modules.conv_mapped import AnalogConv2dMapped
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
    TorchInferenceRPUConfigIRDropT,
    UnitCellRPUConfig,
)
from mho.simulator.configs.compounds import (
    MixedPrecisionCompound,
    ReferenceUnitCell,
    TransferCompound,
    VectorUnitCell,
)
from mho.simulator.parameters.enums import AnalogMVType, NoiseManagementType
from mho.simulator.raw_tiles.core.kernels import HostKernels
from mho.utils.analog_info import analog_summary
from mho.utils.hardware_cost import HardwareTable, LayerCounts

PASSES = {
    AnalogMVType.ONE_PASS: 1,
    AnalogMVType.POS_NEG_SEPARATE: 2,
    AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM: 2,
    AnalogMVType.SPLIT_MODE: 2,
    AnalogMVType.BIT_WISE: 6,  # of 7 bits one is the sign
}


class Hardware:
    """Tiles that count what they do, one line and one column after another."""

    def __init__(self, tile: dict[str, Any]) -> None:
        self.rows, self.cols = tile["rows"], tile["cols"]
        self.slices = -(-tile.get("weight_bits", 1) // tile.get("cell_bits", 1))
        self.devices = tile["devices_per_weight"]
        self.dac_bits = tile.get("dac_bits")
        self.shared, self.all = tile.get("shared_dac", False), tile.get("converts_all_columns", 0)
        self.seen: Counter[str] = Counter()
        self.tiles: set[tuple[int, int]] = set()

    def product(self, weights: np.ndarray, passes: int, bits: int) -> None:
        """Count one product with weights [out, in]."""
        # A weight stands in columns side by side.
        columns = [(i, s) for i in range(weights.shape[0]) for s in range(self.slices)]
        lines = list(range(weights.shape[1]))
        blocks = range(0, len(lines), self.rows), range(0, len(columns), self.cols)
        serial = 1 if self.dac_bits is None else len(range(0, bits, self.dac_bits))
        for p, (row, col) in itertools.product(range(passes * serial), itertools.product(*blocks)):
            used_lines, used = lines[row : row + self.rows], columns[col : col + self.cols]
            self.tiles.add((row, col))
            if col == 0 or not self.shared:
                self.seen["dac"] += len(used_lines)
            self.seen["adc"] += self.cols if self.all else len(used)
            self.seen["reads"] += len(used_lines) * len(used) * self.devices
            if p == 0:
                self.seen["macs"] += sum(1 for _ in used_lines for _, s in used if s == 0)


def table_of(tile: dict[str, Any]) -> HardwareTable:
    return HardwareTable.load("digital_45nm").replace(tile=tile)


def random_tile(rng: np.random.Generator) -> dict[str, Any]:
    tile: dict[str, Any] = {
        "rows": int(rng.integers(2, 9)),
        "cols": int(rng.integers(2, 9)),
        "devices_per_weight": int(rng.integers(1, 5)),
        "shared_dac": bool(rng.integers(2)),
        "converts_all_columns": bool(rng.integers(2)),
    }
    if rng.integers(2):
        tile |= {"weight_bits": int(rng.integers(2, 7)), "cell_bits": int(rng.integers(1, 4))}
    if rng.integers(2):
        tile["dac_bits"] = int(rng.integers(1, 4))
    return tile


@pytest.mark.parametrize("seed", range(40))
def test_counts_of_random_layers(seed: int) -> None:
    """Sizes, limits of the mapping, axes of the batch, analog bias, each way of a product."""
    rng = np.random.default_rng(seed)
    mv_type = list(PASSES)[seed % len(PASSES)]
    is_split = mv_type in (AnalogMVType.SPLIT_MODE, AnalogMVType.BIT_WISE)
    config: Any = TorchInferenceRPUConfigIRDropT() if is_split else InferenceRPUConfig()
    if is_split:
        config.forward.ir_drop_segments = 1
        config.forward.out_noise = 0.0
    config.forward.mv_type = mv_type
    config.mapping.max_input_size, config.mapping.max_output_size = (
        int(rng.integers(3, 12)) for _ in range(2)
    )
    config.mapping.digital_bias = is_split or bool(rng.integers(2))
    out, in_ = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    limits = config.mapping.max_output_size, config.mapping.max_input_size
    if not config.mapping.digital_bias and (out > limits[0] or in_ > limits[1]):
        config.mapping.digital_bias = True
    batch = tuple(int(n) for n in rng.integers(1, 4, int(rng.integers(0, 4))))
    layer = AnalogLinear(in_, out, rpu_config=config)
    tile = random_tile(rng)
    (counts,) = analog_summary(layer, (*batch, in_), hardware=table_of(tile)).counts
    physical, vectors = 0, int(np.prod(batch, dtype=int))
    expected: Counter[str] = Counter()
    for own in layer.analog_tiles():
        fake = Hardware(tile)
        columns = own.in_size + int(own.analog_bias)
        for _ in range(vectors):
            fake.product(np.zeros((own.out_size, columns)), PASSES[mv_type], 7)
        expected += fake.seen
        physical += len(fake.tiles)
    assert counts.mvms == vectors
    assert counts.physical_tiles == physical and counts.physical_mvms == physical * vectors
    assert counts.macs == expected["macs"]
    assert counts.dac_conversions == expected["dac"]
    assert counts.adc_conversions == expected["adc"]
    assert counts.cell_reads == expected["reads"]
    room = physical * tile["rows"] * tile["cols"]
    slices = -(-tile.get("weight_bits", 1) // tile.get("cell_bits", 1))
    weights = sum(t.out_size * (t.in_size + int(t.analog_bias)) for t in layer.analog_tiles())
    assert counts.utilisation == pytest.approx(weights * slices / room)


@pytest.mark.parametrize("mv_type", PASSES)
def test_passes_of_each_way_of_a_product(mv_type: AnalogMVType) -> None:
    """With 7 bits in: the passes, times those of a bit-serial converter."""
    from mho.utils.hardware_cost.geometry import precision

    config = TorchInferenceRPUConfig()
    config.forward.mv_type = mv_type
    assert precision(config, None).passes == PASSES[mv_type]
    serial = table_of({"dac_bits": 3})
    assert precision(config, serial).passes == 3 * PASSES[mv_type]
    config.forward.is_perfect = True
    assert precision(config, None).passes == 1


@pytest.mark.parametrize(
    ("resolution", "bits"),
    [(1 / 254, 8), (254, 8), (1 / 126, 7), (1 / 510, 9), (1 / 2, 2), (0, None)],
)
def test_bits_of_a_resolution(resolution: float, bits: int | None) -> None:
    from mho.utils.hardware_cost.geometry import bits_of

    assert bits_of(resolution) == bits


def limited(rows: int = 6, columns: int = 5) -> InferenceRPUConfig:
    config = InferenceRPUConfig()
    config.mapping.max_output_size, config.mapping.max_input_size = rows, columns
    return config


def wide() -> InferenceRPUConfig:
    return limited(0, 0)


LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: AnalogLinear(7, 4, rpu_config=wide()), (2, 3, 7)),
    "array": (lambda: AnalogLinear(11, 13, rpu_config=limited()), (4, 11)),
    "mapped": (lambda: AnalogLinearMapped(11, 13, rpu_config=limited()), (4, 11)),
    "conv1d": (lambda: AnalogConv1d(2, 3, 3, stride=2, rpu_config=wide()), (2, 2, 9)),
    "conv2d": (lambda: AnalogConv2d(2, 3, (2, 3), padding=1, rpu_config=wide()), (2, 2, 5, 4)),
    "single image": (lambda: AnalogConv2d(2, 3, 2, rpu_config=wide()), (2, 5, 4)),
    "groups": (lambda: AnalogConv2d(4, 6, 2, groups=2, rpu_config=wide()), (2, 4, 5, 4)),
    "depthwise": (lambda: AnalogConv2d(4, 4, 3, groups=4, rpu_config=wide()), (1, 4, 6, 6)),
    "circular": (
        lambda: AnalogConv2d(2, 3, 3, padding=1, padding_mode="circular", rpu_config=wide()),
        (1, 2, 4, 4),
    ),
    "indexed": (lambda: AnalogConv2d(2, 3, 3, rpu_config=wide(), use_indexed=True), (1, 2, 6, 5)),
    "conv of an array": (lambda: AnalogConv2d(3, 8, 2, rpu_config=limited()), (2, 3, 4, 4)),
    "mapped conv": (lambda: AnalogConv2dMapped(3, 8, 2, rpu_config=limited()), (2, 3, 4, 4)),
    "conv3d": (lambda: AnalogConv3d(1, 2, 2, rpu_config=wide()), (1, 1, 4, 3, 3)),
    "transposed": (
        lambda: AnalogConvTranspose2d(2, 3, 3, stride=2, rpu_config=wide()), (2, 2, 3, 4)
    ),
    "transposed 1d": (
        lambda: AnalogConvTranspose1d(4, 2, 3, groups=2, rpu_config=wide()), (2, 4, 5)
    ),
    "recurrent": (
        lambda: AnalogRNN(AnalogLSTMCell, 4, 5, rpu_config=wide(), num_layers=2, bidir=True),
        (6, 3, 4),
    ),
    "lstm": (lambda: convert_to_analog(nn.LSTM(4, 5, proj_size=2), wide()), (6, 3, 4)),
    "attention": (
        lambda: convert_to_analog(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), wide()),
        (2, 5, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", LAYERS)
def test_products_of_all_kinds_of_layers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many vectors as the kernels were given, by tile, and with the shapes that they have."""
    make, shape = LAYERS[kind]
    model = make()
    seen: Counter[int] = Counter()
    forward = HostKernels.forward

    def spy(self: Any, rows: Any, *args: Any, **kwargs: Any) -> Any:
        seen[id(self)] += len(rows)
        return forward(self, rows, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(HostKernels, "forward", spy)
        info = analog_summary(model, shape)
    tiles = {
        name: module for name, module in model.named_modules() if hasattr(module, "analog_ctx")
    }
    counted = {tile.name: tile for layer in info.counts for tile in layer.tiles}
    assert counted.keys() == tiles.keys()
    for name, tile in tiles.items():
        own = counted[name]
        assert own.mvms == seen[id(tile.tile.kernels)] > 0
        assert own.macs == own.mvms * tile.tile.get_weights().numel()
    assert info.total_tile_number == len(tiles)


def by_name(model: nn.Module, *inputs: Any) -> dict[str, LayerCounts]:
    return {layer.name: layer for layer in analog_summary(model, inputs=inputs).counts}


def test_a_module_that_runs_several_times_has_its_tiles_once() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = AnalogLinear(4, 4, rpu_config=wide())
            self.idle = AnalogLinear(4, 2, rpu_config=wide())

        def forward(self, x: Any) -> Any:
            for _ in range(3):
                x = functional.relu(self.layer(x))
            return x

    info = analog_summary(Model(), (2, 4), hardware="hermes_pcm_14nm")
    counts = {layer.name: layer for layer in info.counts}
    assert (counts["layer"].calls, counts["layer"].mvms, counts["layer"].physical_tiles) == (
        3,
        6,
        1,
    )
    # What is computed outside of layers counts too, where it is computed.
    assert counts[""].digital.elements == 3 * 8
    assert counts["idle"].calls == counts["idle"].mvms == 0
    assert any("not executed" in note for note in counts["idle"].notes)
    assert info.cost is not None
    costs = {layer.name: layer for layer in info.cost.layers}
    assert costs["idle"].energy is not None and costs["idle"].energy.high == 0.0
    assert costs["idle"].area is not None and costs["idle"].area.value > 0.0
    assert "idle: not executed" in str(info.cost)
    assert info.total_tile_number == 2


def test_digital_operations_of_attention() -> None:
    """Two heads of 4 features, 5 tokens, 2 samples: scores, softmax and sums over values."""
    make, shape = LAYERS["attention"]
    counts = by_name(make(), torch.rand(shape))
    scores = 2 * 2 * 5 * 5
    assert counts["self_attn"].digital.macs == 2 * scores * 4
    assert counts["self_attn"].digital.elements == scores
    assert counts[""].digital.additions == counts[""].digital.skip_bytes == 2 * 2 * 5 * 8
    assert counts["norm1"].digital.elements == 2 * 5 * 8


def test_digital_layers_of_torch() -> None:
    """MACs of what stayed digital, each in its own layer."""
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(18, 5), AnalogLinear(5, 3, rpu_config=wide()), nn.Softmax(dim=-1),
    )  # fmt: skip
    counts = by_name(model, torch.rand(3, 2, 8, 8))
    macs = {name: layer.digital.macs for name, layer in counts.items()}
    assert macs["0"] == 3 * 4 * 36 * 9 and macs["2"] == 3 * 4 * 36 * 2 * 4
    assert macs["5"] == 3 * 18 * 5 and macs["6"] == 0
    elements = {name: layer.digital.elements for name, layer in counts.items()}
    assert elements["1"] == 3 * 4 * 36 and elements["3"] == 3 * 2 * 49 and elements["7"] == 9
    lstm = nn.Sequential(nn.LSTM(3, 4), Last(), AnalogLinear(4, 2, rpu_config=wide()))
    counts = by_name(lstm, torch.rand(6, 2, 3))
    assert counts["0"].digital.macs == 6 * 2 * 4 * 4 * (3 + 4)


class Last(nn.Module):
    """Takes the outputs of a recurrent module."""

    def forward(self, pair: Any) -> Any:
        return pair[0]


def test_operations_around_a_tile() -> None:
    """Per output a factor for each scale and a sum for the bias; per input the largest value."""
    config = InferenceRPUConfig()
    config.mapping.weight_scaling_omega = 0.6
    config.mapping.learn_out_scaling = True
    config.pre_post.input_range.enable = True
    config.forward.noise_management = NoiseManagementType.NONE
    layer = AnalogLinear(7, 4, rpu_config=config).eval()
    digital = by_name(layer, torch.rand(3, 7))[""].digital
    # Mapping scale, learned scale, input range, and compensation of drift.
    assert (digital.multiplications, digital.additions, digital.comparisons) == (4 * 4 * 3, 12, 0)
    config.drift_compensation = None
    layer = AnalogLinear(7, 4, rpu_config=config).eval()
    assert by_name(layer, torch.rand(3, 7))[""].digital.multiplications == 3 * 4 * 3
    config = InferenceRPUConfig()
    config.forward.noise_management = NoiseManagementType.ABS_MAX
    config.drift_compensation = None
    digital = by_name(AnalogLinear(7, 4, False, config), torch.rand(3, 7))[""].digital
    assert (digital.multiplications, digital.additions, digital.comparisons) == (21, 0, 21)


def test_sums_over_arrays_and_physical_tiles() -> None:
    layer = AnalogLinear(11, 13, rpu_config=limited())  # 3 parts of inputs
    info = analog_summary(layer, (2, 11), hardware=table_of({"rows": 2, "cols": 4}))
    (counts,) = info.counts
    # 13 outputs: two sums over tiles and a bias; parts of 4, 4 and 3 inputs on two lines each.
    assert counts.digital.additions == 2 * 13 * (2 + 1 + 3)
    assert any("mapping: its tiles are larger" in note for note in counts.notes)


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (4, 1), (1, 2)])
def test_sums_where_kernels_overlap(stride: int, dilation: int) -> None:
    """Adding up one by one: all but the first value at each place is an addition."""
    layer = AnalogConvTranspose2d(
        2, 3, 3, stride=stride, dilation=dilation, bias=False, rpu_config=wide()
    )
    written = Counter(
        (i * stride + a * dilation, j * stride + b * dilation)
        for i, j, a, b in itertools.product(range(4), range(5), range(3), range(3))
    )
    sums = sum(n - 1 for n in written.values())
    counts = by_name(layer, torch.rand(2, 2, 4, 5))[""]
    assert counts.digital.additions == 2 * 3 * sums


@pytest.mark.parametrize(
    ("config", "devices"),
    [
        (SingleRPUConfig(), 1),
        (FloatingPointRPUConfig(), 1),
        (UnitCellRPUConfig(device=VectorUnitCell([ConstantStepDevice()] * 3)), 3),
        (UnitCellRPUConfig(device=TransferCompound([ConstantStepDevice()] * 2)), 2),
        (
            UnitCellRPUConfig(device=VectorUnitCell([
                ReferenceUnitCell([ConstantStepDevice()] * 2), ConstantStepDevice()
            ])),
            3,
        ),
        (InferenceRPUConfig(), 2),  # a pair of conductances
    ],
)  # fmt: skip
def test_devices_of_a_weight(config: Any, devices: int) -> None:
    layer = AnalogLinear(3, 2, bias=False, rpu_config=config)
    counts = by_name(layer, torch.rand(5, 3))[""]
    assert counts.tiles[0].devices_per_weight == devices
    assert counts.cell_reads == 6 * devices * 5


def test_devices_of_mixed_precision() -> None:
    from mho.simulator.configs import DigitalRankUpdateRPUConfig

    cell = MixedPrecisionCompound(device=VectorUnitCell([ConstantStepDevice()] * 2))
    layer = AnalogLinear(3, 2, rpu_config=DigitalRankUpdateRPUConfig(device=cell))
    assert by_name(layer, torch.rand(5, 3))[""].tiles[0].devices_per_weight == 2


def test_two_hundred_layers() -> None:
    """Less than a second beyond the pass itself, in processor time."""
    layers = (AnalogLinear(8, 8, rpu_config=wide()) for _ in range(200))
    model, x = AnalogSequential(*layers).eval(), torch.rand(4, 8)
    with torch.no_grad():
        model(x)
        start = time.process_time()
        model(x)
        middle = time.process_time()
    text = str(analog_summary(model, inputs=x, hardware="hermes_pcm_14nm"))
    assert time.process_time() - middle - (middle - start) < 1.0
    assert text.count("AnalogLinear") == 200
