"""A conversion in place that ends early leaves the model as it was, hooks and switches included."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.nn import analog_map, conversion, convert_by_map, convert_to_analog, replacement
from mho.nn.conversion import convert_to_digital
from mho.nn.saving import rebuilding
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig


class Settings:
    """What models of transformers have as `config`."""

    tie_word_embeddings = True


class Net(nn.Module):
    """With all that a conversion touches beside the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Settings()
        self.embed = nn.Embedding(6, 4)
        self.encoder = nn.TransformerEncoderLayer(4, 2, 4, batch_first=True)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.utils.weight_norm(nn.Linear(4, 4)))
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight
        self.head.register_forward_hook(lambda *_: None)

    def tie_weights(self) -> None:
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.encoder(self.embed(x))))


@pytest.fixture
def model() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weight norm of old
        return Net().eval()


def everything(model: Any) -> list[Any]:
    """Return what of a model a conversion may change."""
    parts = [
        (name, part, len(part._forward_hooks), len(part._forward_pre_hooks), part.training)
        for name, part in model.named_modules()
    ]
    switch = model.encoder.activation_relu_or_gelu
    tied = model.head.weight is model.embed.weight
    return [parts, switch, tied, vars(model.config), [id(p) for p in model.parameters()]]


def is_intact(model: Any) -> None:
    """Check that the weights of the normed layer still follow what they are computed from."""
    layer, x = model.body[1], torch.ones(1, 4)
    before = layer(x) - layer.bias
    with torch.no_grad():
        layer.weight_g.mul_(2.0)
    torch.testing.assert_close(layer(x) - layer.bias, 2 * before)


STEPS = {
    "inherit": (replacement, "inherit", 3),
    "switches": (replacement, "follow_fused_paths", 1),
    "compiled": (replacement, "compile_again", 1),
    "ties": (conversion, "follow_broken_ties", 1),
    "references": (conversion, "warn_of_references", 1),
    "end": (conversion, "forget_ties", 1),
}


CASES = [(step, when) for step in STEPS for when in ("before", "after")]


@pytest.mark.parametrize(("step", "when"), CASES[:-1])  # after the end there is nothing to undo
@pytest.mark.filterwarnings("ignore")
def test_interruption(step: str, when: str, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place, name, count = STEPS[step]
    function = getattr(place, name)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count -= 1
        if count == 0 and when == "before":
            raise KeyboardInterrupt
        result = function(*args, **kwargs)
        if count == 0:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(place, name, interrupted)
    before = everything(model)
    with pytest.raises(KeyboardInterrupt):
        convert_to_analog(model, InferenceRPUConfig(), inplace=True)
    assert everything(model) == before
    is_intact(model)


@pytest.mark.parametrize("message", ["was tied to", "was computed", "are beyond the bounds"])
def test_warnings_that_are_errors(message: str, model: Any) -> None:
    with torch.no_grad():
        model.body[0].weight.fill_(10.0)
    before = everything(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", f".*{message}")
        with pytest.raises(UserWarning, match=message):
            convert_to_analog(model, SingleRPUConfig(), inplace=True)
    assert everything(model) == before
    is_intact(model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", [replacement, rebuilding])
def test_the_other_ways(place: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    analog: Any = convert_to_analog(model, InferenceRPUConfig(), ensure_analog_root=False)
    found = analog_map(analog)
    ways: list[tuple[Any, Callable[[], Any]]] = [
        (model, lambda: convert_by_map(model, found, inplace=True)),
    ]
    name = "warn_of_references"
    if place is replacement:
        name = "compile_again"
        ways.append((analog, lambda: convert_to_digital(analog, inplace=True)))

    def interrupted(*_: Any) -> None:
        monkeypatch.undo()  # it is called once more to put the model back
        raise KeyboardInterrupt

    for changed, convert in ways:
        before = everything(changed)[:2]
        monkeypatch.setattr(place, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert()
        assert everything(changed)[:2] == before
    is_intact(model)
