"""Products with `layer.weight` past the layer: refused where training would miss a gradient."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.exceptions import ModuleError
from mho.nn import AnalogLinear
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig, TorchInferenceRPUConfig

CONFIGS: dict[str, Callable[[], Any]] = {
    "pulsed": SingleRPUConfig,
    "inference": InferenceRPUConfig,
    "torch": TorchInferenceRPUConfig,
}
PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "x @ w.t()": lambda x, w: x @ w.t(),
    "x @ w.T": lambda x, w: x @ w.T,
    "x @ w.mT": lambda x, w: x @ w.mT,
    "transpose": lambda x, w: torch.matmul(x, w.transpose(0, 1)),
    "permute": lambda x, w: x.matmul(w.permute(1, 0)),
    "detach": lambda x, w: x @ w.detach().t(),
    "data": lambda x, w: x @ w.data.t(),
    "w @ x": lambda x, w: w @ x.t(),
    "mm": lambda x, w: torch.mm(x, w.t()),
    "mv": lambda x, w: torch.mv(w, x[0]),
    "bmm": lambda x, w: torch.bmm(x[None], w.t()[None]),
    "expand": lambda x, w: torch.bmm(x[:, None], w.t().expand(2, 6, 3)),
    "addmm": lambda x, w: torch.addmm(torch.zeros(3), x, w.t()),
    "addmm_": lambda x, w: torch.zeros(2, 3).addmm_(x, w.t()),
    "addmv": lambda x, w: torch.addmv(torch.zeros(3), w, x[0]),
    "baddbmm": lambda x, w: torch.baddbmm(torch.zeros(1, 2, 3), x[None], w.t()[None]),
    "einsum": lambda x, w: torch.einsum("bi,oi->bo", x, w),
    "tensordot": lambda x, w: torch.tensordot(x, w, dims=([1], [1])),
    "inner": lambda x, w: torch.inner(x, w),
    "dot": lambda x, w: torch.dot(w[0], x[0]),
    "operator": lambda x, w: torch.ops.aten.mm(x, w.t()),
    "embedding": lambda x, w: nn.functional.embedding(torch.tensor([0, 2]), w),
}


@pytest.fixture(params=CONFIGS)
def layer(request: pytest.FixtureRequest) -> AnalogLinear:
    return AnalogLinear(6, 3, rpu_config=CONFIGS[request.param]())


@pytest.mark.parametrize("name", PRODUCTS)
class TestProducts:
    def test_refused_where_weights_are_trained(self, layer: AnalogLinear, name: str) -> None:
        with pytest.raises(ModuleError, match=r"digital product.*call the layer"):
            PRODUCTS[name](torch.ones(2, 6), layer.weight)

    def test_refused_where_inputs_are_trained(self, layer: AnalogLinear, name: str) -> None:
        layer.weight.requires_grad_(False)
        x = torch.ones(2, 6, requires_grad=True)
        if name == "embedding":  # takes no inputs with gradients
            return
        with pytest.raises(ModuleError, match="digital product"):
            PRODUCTS[name](x, layer.weight)

    def test_values_where_nothing_is_recorded(self, layer: AnalogLinear, name: str) -> None:
        x, weight = torch.rand(2, 6), layer.get_weights()[0]
        expected = PRODUCTS[name](x, weight)
        with torch.no_grad():
            assert torch.equal(PRODUCTS[name](x, layer.weight), expected)
        layer.weight.requires_grad_(False)
        assert torch.equal(PRODUCTS[name](x, layer.weight), expected)


class Tied(nn.Module):
    """Scores of tokens by the weights of the layer that embeds them."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.embedding = AnalogLinear(8, 4, bias=False, rpu_config=config)

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding(x) @ self.embedding.weight


@pytest.mark.parametrize("kind", CONFIGS)
def test_tied_weights(kind: str) -> None:
    with pytest.raises(ModuleError, match="cannot be tied"):
        Tied(CONFIGS[kind]())(torch.ones(2, 8))


def test_writing_products(layer: AnalogLinear) -> None:
    """What is written to the weights is no product with them."""
    weight = layer.get_weights()[0]
    a, b = 0.1 * torch.rand(3, 2), 0.1 * torch.rand(2, 6)
    with torch.no_grad():
        layer.weight.addmm_(a, b)
    torch.testing.assert_close(layer.get_weights()[0], torch.addmm(weight, a, b))
    torch.mm(a, b, out=layer.weight.detach())
    torch.testing.assert_close(layer.get_weights()[0], a @ b)
