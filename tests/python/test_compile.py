"""Tiles inside `torch.compile` and `torch.export`."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ConfigError
from mho.simulator.configs import InferenceRPUConfig, IOParameters, SingleRPUConfig
from mho.simulator.parameters.enums import NoiseManagementType
from mho.simulator.tiles import AnalogTile, InferenceTile


def configs() -> dict[str, Any]:
    """Configurations whose forward and backward use all operators."""
    plain, ranged = SingleRPUConfig(), SingleRPUConfig()
    for config in (ranged,):
        config.pre_post.input_range.enable = True
        config.mapping.weight_scaling_omega = 0.4
        config.mapping.weight_scaling_columnwise = True
        config.mapping.learn_out_scaling = True
        config.mapping.digital_bias = False
        config.forward.out_noise_std = 0.3
    inference = InferenceRPUConfig()
    inference.pre_post.input_range.enable = True
    inference.mapping.weight_scaling_omega = 1.0
    return {"pulsed": plain, "pulsed with periphery": ranged, "inference": inference}


@pytest.fixture(autouse=True)
def _fresh_graphs() -> None:
    """Forget compiled graphs: all tests compile the same few functions."""
    torch._dynamo.reset()


@pytest.fixture(params=["pulsed", "pulsed with periphery", "inference"])
def model(request: pytest.FixtureRequest) -> nn.Sequential:
    """Two tiles with an activation between them."""
    config = configs()[request.param]
    tiles = [config.tile_class(6, 5, config, True), config.tile_class(3, 6, config, True)]
    for tile in tiles:
        shape = (tile.out_size, tile.in_size)
        tile.set_weights(0.3 * torch.randn(shape), torch.randn(shape[0]))
    return nn.Sequential(tiles[0], nn.Tanh(), tiles[1])


def _train(model: Any, module: nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    """Outputs, all gradients and all traces of two passes."""
    kept = []
    for _ in range(2):
        given = x.clone().requires_grad_()
        y = model(given)
        y.square().sum().backward()
        assert given.grad is not None
        kept += [y.detach(), given.grad]
    for name, parameter in module.named_parameters():
        if name.endswith("analog_ctx"):
            assert parameter.grad is None
            kept += parameter.analog_input + parameter.analog_grad_output
        elif parameter.requires_grad and parameter.grad is not None:
            kept.append(parameter.grad)
    return kept


# aot_eager runs dynamo, functionalisation and partitioning; inductor adds code generation only.
BACKENDS = ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_matches_eager(model: nn.Sequential, backend: str) -> None:
    twin = copy.deepcopy(model)
    compiled = torch.compile(twin, fullgraph=True, backend=backend)
    x = torch.randn(7, 5)
    expected, found = _train(model, model, x), _train(compiled, twin, x)
    assert len(expected) == len(found) > 4
    for a, b in zip(expected, found, strict=True):
        # Same draws; only the order of float32 sums of the digital part may differ.
        torch.testing.assert_close(b, a, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_evaluation_matches_eager(model: nn.Sequential, backend: str) -> None:
    model.eval()
    twin = copy.deepcopy(model)
    compiled = torch.compile(twin, fullgraph=True, backend=backend)
    with torch.no_grad():
        for shape in ((4, 5), (5,), (2, 3, 5)):
            x = torch.randn(shape)
            torch.testing.assert_close(compiled(x), model(x), atol=1e-6, rtol=1e-5)
        first, second = compiled(x), compiled(x)
    assert not torch.equal(first, second)  # fresh noise in every call


def test_frozen_tile_collects_nothing(model: nn.Sequential) -> None:
    model.requires_grad_(False)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(4, 5, requires_grad=True)
    compiled(x).sum().backward()
    assert x.grad is not None
    assert not any(tile.analog_ctx.has_gradient() for tile in (model[0], model[2]))


@pytest.mark.skipif(
    not hasattr(torch.compiler, "is_exporting"), reason="export of core tiles needs torch 2.7"
)
@pytest.mark.parametrize("training", [False, True])
def test_export(model: nn.Sequential, training: bool) -> None:
    """The exported program draws fresh noise and counts on like the model."""
    model.train(training)
    # Data-dependent initialisation of the range is over before a model is exported.
    for tile in (model[0], model[2]):
        tile.rpu_config.pre_post.input_range.init_from_data = 0
    twin = copy.deepcopy(model)
    x = torch.randn(4, 5)
    program = torch.export.export(twin, (x,)).module()
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(program(x), model(x), atol=1e-6, rtol=1e-5)


def _operands(tile: Any, modified: torch.Tensor | None, masked: bool = True) -> tuple[Any, ...]:
    constants = tile._graph
    return (
        torch.randn(4, tile.in_size, requires_grad=True),
        tile.analog_tile_weights.clone().requires_grad_(tile.shared_weights is not None),
        None if tile.shared_weights is not None else tile._token,
        None if tile.input_range is None else tile.input_range.detach().clone().requires_grad_(),
        tile.mapping_scales,
        None,
        tile.analog_tile_seed,
        torch.ones(1, dtype=torch.int64),
        list(tile.analog_tile_forward.buffers()),
        list(tile.analog_tile_backward.buffers()),
        constants.line_names,
        constants.back_names,
        constants.config,
        constants.sizes,
        [1.0, 1.0],
        constants.range_config,
        False,
        masked,
        modified,
    )


# The checker itself looks at the gradients of its own copies.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("name", ["pulsed", "pulsed with periphery", "inference"])
def test_operators_pass_opcheck(name: str) -> None:
    config = configs()[name]
    tile = config.tile_class(3, 5, config, True)
    tile.set_weights(0.3 * torch.randn(3, 5), torch.randn(3))
    for modified in (None, torch.randn(tile.analog_tile_weights.shape)):
        torch.library.opcheck(torch.ops.mho.mvm, _operands(tile, modified))
    call = torch.ones(1, dtype=torch.int64)
    lines = list(tile.analog_tile_backward.buffers())
    constants = tile._graph
    torch.library.opcheck(
        torch.ops.mho.mvm_t,
        (
            torch.randn(4, 3), tile.analog_tile_weights, tile.analog_tile_seed, call, lines,
            constants.back_names, constants.config, constants.sizes, False,
        ),
    )  # fmt: skip
    torch.library.opcheck(torch.ops.mho.next_call, (torch.zeros(1, dtype=torch.int64),))


@pytest.mark.skipif(
    torch.__version__ < (2, 5), reason="before torch 2.5 a graph belongs to one module"
)
def test_equal_tiles_share_a_graph() -> None:
    """Compiling many layers of one kind must not run into the limit of recompilations."""
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    x = torch.randn(2, 5)
    for _ in range(3):
        tile = AnalogTile(3, 5, SingleRPUConfig())
        torch.compile(tile, fullgraph=True, backend=counter)(x).sum().backward()
        assert len(tile.analog_ctx.analog_input) == 1
    assert counter.frame_count == 1


def test_running_scale_cannot_be_compiled_in_training() -> None:
    forward = IOParameters(noise_management=NoiseManagementType.AVERAGE_ABS_MAX)
    tile = AnalogTile(3, 5, SingleRPUConfig(forward=forward))
    compiled = torch.compile(tile, fullgraph=True, backend="eager")
    with pytest.raises((ConfigError, torch._dynamo.exc.TorchDynamoException)):
        compiled(torch.randn(2, 5))
    tile.eval()
    with torch.no_grad():
        assert compiled(torch.randn(2, 5)).shape == (2, 3)


def test_drift_compensation_is_compiled() -> None:
    tile = InferenceTile(3, 5, InferenceRPUConfig(forward=IOParameters(is_perfect=True)))
    tile.set_weights(torch.randn(3, 5))
    tile.eval()
    tile.drift_weights(1e6)
    assert tile.alpha != 1.0
    x = torch.randn(2, 5)
    compiled = torch.compile(tile, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), tile(x))
