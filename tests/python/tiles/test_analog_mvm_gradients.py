"""Gradients of the analog product of torch tiles."""

import pytest
import torch

from mho.simulator.configs import (
    IOParameters,
)
from mho.simulator.tiles.analog_mvm import AnalogMVM
from torch_tiles import BM, NM, ideal
from torch_tiles import W as SMALL

W = torch.tensor(
    [[0.50, -0.25, 0.125, 0.75], [-0.60, 0.30, 0.90, -0.15], [0.20, 0.80, -0.45, 0.05]]
)
X = torch.tensor([[0.90, -0.37, 0.16, 0.62], [-2.40, 1.30, 0.70, 3.10]])


def test_gradient_of_clips_and_asymmetries() -> None:
    """The gradients follow dL/dx = M_in K_in W^T (M_out K_out d) out_scale."""
    io = ideal(inp_bound=1.0, out_bound=0.6, inp_asymmetry=0.1, out_asymmetry=0.2, out_scale=2.0)
    x = torch.tensor([[0.5, -0.8, 2.0, -0.3]], requires_grad=True)
    weight = W.clone().requires_grad_()
    d = torch.tensor([[1.0, -2.0, 3.0]])
    AnalogMVM.matmul(weight, x, io).backward(d)
    v = torch.tensor([0.5, -0.72, 1.0, -0.27])
    z = W @ v
    z = torch.where(z < 0, 0.8 * z, z)
    masked = d[0] * torch.where(z < 0, 0.8, 1.0) * (z.abs() <= 0.6) * 2.0
    assert (z.abs() > 0.6).any() and (z < 0).any()
    into_x = torch.tensor([1.0, 0.9, 0.0, 0.9]) * (masked @ W)
    torch.testing.assert_close(x.grad, into_x.reshape(1, 4))
    torch.testing.assert_close(weight.grad, torch.outer(masked, v))


def test_quantizers_are_straight_through() -> None:
    """With both quantisers on and nothing clipped the gradient is that of the exact product."""
    x = X.clone().requires_grad_()
    AnalogMVM.matmul(W, x, IOParameters(out_noise=0.0)).sum().backward()
    torch.testing.assert_close(x.grad, W.sum(0).expand(2, 4))


def test_clip_counts_from_the_quantized_value() -> None:
    """A value within the bound that rounds beyond it has no gradient, one that rounds back has."""
    # Levels are 0 and +-4/3, then clipped to 1.
    io = ideal(inp_bound=1.0, inp_res=2 / 3)
    x = torch.tensor([[0.9, 0.5]], requires_grad=True)
    y = AnalogMVM.matmul(torch.eye(2), x, io)
    assert y.tolist() == [[1.0, 0.0]]
    y.sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0]]


def test_gradient_with_bound_management() -> None:
    """Redone rows have the gradient of the accepted pass, which does not clip."""
    io = IOParameters(out_noise=0.0, out_bound=12.0)
    x = torch.tensor([[100.0, 20.0]], requires_grad=True)
    AnalogMVM.matmul(torch.tensor([[0.5, 0.1], [0.2, 0.3]]), x, io).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[0.7, 0.4]]))


def test_gradient_masks_clipped_outputs() -> None:
    """Outputs beyond the bound pass no gradient."""
    x = torch.tensor([[1.0, 0.5]], requires_grad=True)
    y = AnalogMVM.matmul(SMALL, x, ideal(out_bound=0.4))
    y.sum().backward()
    torch.testing.assert_close(y.detach(), torch.tensor([[0.375, 0.4]]))
    torch.testing.assert_close(x.grad, torch.tensor([[0.5, -0.25]]))


def test_scale_has_no_gradient() -> None:
    """Output noise does not reach the gradient through the largest element."""
    io = ideal(inp_bound=1.0, out_noise=0.1, noise_management=NM.ABS_MAX)
    d = torch.tensor([[0.3, -0.7]])
    gradients = []
    for _ in range(20):
        x = torch.tensor([[0.6, -0.8]], requires_grad=True)
        AnalogMVM.matmul(SMALL, x, io).backward(d)
        gradients.append(x.grad)
    stacked = torch.stack(gradients)
    assert stacked.std(0).eq(0.0).all()
    torch.testing.assert_close(stacked[0], d @ SMALL)


@pytest.mark.parametrize(
    "io",
    [
        ideal(),
        ideal(inp_bound=1.0, inp_asymmetry=0.2, out_bound=0.7, out_asymmetry=-0.3),
        ideal(inp_bound=1.0, noise_management=NM.ABS_MAX, out_scale=0.7),
        ideal(
            inp_bound=1.0,
            noise_management=NM.ABS_MAX,
            bound_management=BM.ITERATIVE,
            out_bound=0.2,
        ),
    ],
)
def test_gradcheck(io: IOParameters) -> None:
    """First and second derivatives agree with differences wherever the product is smooth."""
    x = X.double().requires_grad_()
    weight = W.double().requires_grad_()
    function = lambda x, w: AnalogMVM.matmul(w, x, io)  # noqa: E731
    assert torch.autograd.gradcheck(function, (x, weight))
    assert torch.autograd.gradgradcheck(function, (x, weight))
