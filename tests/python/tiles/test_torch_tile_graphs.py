"""Inference tiles that compute in torch, captured as graphs and compared with the core."""

import copy
import math

import pytest
import torch

from mho.exceptions import TorchTileConfigError
from mho.simulator.configs import (
    InferenceRPUConfig,
    IOParameters,
    TorchInferenceRPUConfig,
)
from mho.simulator.tiles import InferenceTile, TorchInferenceTile
from torch_tiles import BM, NM, W, ideal, tile_with, with_range

# Compilation


@pytest.mark.parametrize("training", [True, False])
def test_compiled_equals_eager(training: bool) -> None:
    """A captured graph of all the periphery gives the outputs and gradients of eager."""

    def edit(config: TorchInferenceRPUConfig) -> None:
        config.mapping.weight_scaling_omega = 0.5
        config.mapping.learn_out_scaling = True
        with_range(manage_output_clipping=True, init_from_data=2, decay=0.1)(config)

    eager = tile_with(ideal(out_bound=0.6, inp_bound=1.0, inp_res=1 / 30), edit=edit, bias=True)
    eager.train(training)
    tile = copy.deepcopy(eager)
    compiled = torch.compile(tile, fullgraph=True, backend="aot_eager")
    for _ in range(3):
        x = torch.randn(20, 2)
        inputs = [x.clone().requires_grad_() for _ in range(2)]
        outputs = [call(value) for call, value in zip((eager, compiled), inputs, strict=True)]
        torch.testing.assert_close(outputs[1], outputs[0])
        for output in outputs:
            output.square().sum().backward()
        torch.testing.assert_close(inputs[1].grad, inputs[0].grad)
    for (name, p), (_, q) in zip(eager.named_parameters(), tile.named_parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            torch.testing.assert_close(q.grad, p.grad)
    torch.testing.assert_close(tile.input_range, eager.input_range)


def test_compiled_follows_edits() -> None:
    """A captured graph is captured again after an edit, and refuses what is not supported."""
    tile = tile_with(ideal())
    compiled = torch.compile(tile, fullgraph=True, backend="aot_eager")
    x = torch.ones(3, 2)
    for scale in (1.0, 2.0, 3.0):
        tile.rpu_config.forward.out_scale = scale
        torch.testing.assert_close(compiled(x), scale * x @ W.t())
    with pytest.raises(TorchTileConfigError, match=r"forward\.w_noise"):
        tile.rpu_config.forward.w_noise = 0.1
    torch.testing.assert_close(compiled(x), 3.0 * x @ W.t())


def test_exported_program_draws_afresh() -> None:
    """An exported tile has noise that differs between calls."""
    # Inside of a model: torch.export trips over the absent buffers of a root module.
    model = torch.nn.Sequential(tile_with(IOParameters())).eval()
    program = torch.export.export(model, (torch.ones(4, 2),)).module()
    x = torch.ones(4, 2)
    first, second = program(x), program(x)
    assert not torch.equal(first, second)
    torch.testing.assert_close(first, x @ W.t(), atol=0.5, rtol=0)


# The core as peer

PEERS = {
    "defaults": IOParameters(),
    "input noise": IOParameters(inp_noise=0.05),
    "stochastic rounding": IOParameters(inp_sto_round=True, out_sto_round=True, inp_res=1 / 14),
    "coarse converters": IOParameters(inp_res=1 / 14, out_res=1 / 30, out_bound=4.0),
    "asymmetries": IOParameters(inp_asymmetry=0.1, out_asymmetry=0.2),
    "threshold": IOParameters(nm_thres=0.5),
    "constant": IOParameters(noise_management=NM.CONSTANT, nm_thres=2.0),
    "max": IOParameters(noise_management=NM.MAX),
    "no management": IOParameters(noise_management=NM.NONE, bound_management=BM.NONE),
    "bound management": IOParameters(out_bound=0.3, out_noise=0.02),
    "positive bound": IOParameters(out_bound=0.3, out_noise=0.02, bm_test_negative_bound=False),
    "few passes": IOParameters(out_bound=0.1, out_noise=0.01, max_bm_factor=2),
    "unbounded": IOParameters(out_bound=math.inf, inp_res=-1.0, out_scale=0.5),
}


@pytest.mark.parametrize("name", PEERS)
def test_same_distribution_as_core(name: str) -> None:
    """Outputs of both engines have the same mean and standard deviation, row by row."""
    samples = 4000
    torch.manual_seed(7)
    weight, x = 0.4 * torch.randn(3, 6), torch.randn(2, 6)
    repeated = x.repeat_interleave(samples, 0)
    moments = []
    for cls, config in (
        (TorchInferenceTile, TorchInferenceRPUConfig),
        (InferenceTile, InferenceRPUConfig),
    ):
        tile = cls(3, 6, config(forward=copy.deepcopy(PEERS[name])))
        tile.set_weights(weight)
        with torch.no_grad():
            y = tile(repeated).reshape(2, samples, 3)
        moments.append((y.mean(1), y.var(1), ((y - y.mean(1, keepdim=True)) ** 4).mean(1)))
    (mean, var, fourth), (core_mean, core_var, core_fourth) = moments
    # Five standard errors of a difference: var / n for a mean, (m4 - var^2) / n for a variance.
    of_mean = ((var + core_var) / samples).sqrt()
    of_var = ((fourth - var**2 + core_fourth - core_var**2) / samples).sqrt()
    assert ((mean - core_mean).abs() <= 5 * of_mean + 1e-6).all()
    assert ((var - core_var).abs() <= 5 * of_var + 1e-12).all()


def test_same_gradients_as_core() -> None:
    """Without converters and noise both engines have the same gradients of everything."""
    results = []
    for cls, config in (
        (TorchInferenceTile, TorchInferenceRPUConfig),
        (InferenceTile, InferenceRPUConfig),
    ):
        forward = ideal(out_scale=1.5)
        rpu_config = config(forward=forward)
        rpu_config.mapping.weight_scaling_omega = 0.5
        rpu_config.mapping.learn_out_scaling = True
        with_range(decay=0.1)(rpu_config)
        tile = cls(2, 2, rpu_config, True)
        tile.set_weights(W, torch.zeros(2))
        x = torch.tensor([[1.0, 0.5], [1.5, -0.7]], requires_grad=True)
        tile(x).square().sum().backward()
        weight = tile.tile.weight if cls is TorchInferenceTile else tile.shared_weights
        parameters = (weight, tile.bias, tile.out_scaling_alpha, tile.input_range, x)
        results.append([p.grad for p in parameters])
    for torch_grad, core_grad in zip(*results, strict=True):
        torch.testing.assert_close(torch_grad, core_grad)
