"""States of optimizers of aihwkit go to the parameters that they belong to."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from aihwkit_cases import build, train
from aihwkit_files import MHO, content
from mho.exceptions import StateError
from mho.optim import AnalogSGD
from mho.utils.legacy import load_aihwkit_optimizer_state, load_aihwkit_state_dict


def resumed(name: str, regroup: bool) -> tuple[Any, nn.Module, Any]:
    """Return an optimizer of mho with the state of a file, its model, and the file."""
    saved = content(name)
    model, x = build(MHO, "mixed")
    load_aihwkit_state_dict(model, saved["model_state_dict"])
    optimizer = train(MHO, model, x, "AnalogSGD" if name == "with_sgd" else "AnalogAdam", regroup)
    states = saved["optimizer_state_dict"], model, saved["model_state_dict"]
    load_aihwkit_optimizer_state(optimizer, *states)
    return optimizer, model, saved


@pytest.mark.parametrize(
    ("name", "regroup"), [("with_sgd", True), ("with_adam", True), ("with_adam", False)]
)
def test_moments_of_optimizers(name: str, regroup: bool) -> None:
    optimizer, model, saved = resumed(name, regroup)
    named = dict(model.named_parameters())
    assert saved["epoch"] == 3
    compared = 0
    for parameter, moments in saved["by_name"].items():
        if not moments:
            continue
        mine = optimizer.state[named[parameter]]
        assert all(torch.equal(mine[key].cpu(), value) for key, value in moments.items())
        compared += 1
    assert compared == 7
    digital = optimizer.param_groups[0]
    assert digital["lr"] == 0.1
    assert name == "with_adam" or digital["momentum"] == 0.5
    (model(torch.rand(2, 3))).sum().backward()
    optimizer.step()


def test_optimizers_that_do_not_fit() -> None:
    saved = content("with_sgd")
    model, _ = build(MHO, "mixed")
    states = saved["optimizer_state_dict"], model, saved["model_state_dict"]

    def refused_by(optimizer: Any, match: str, *changed: Any) -> None:
        with pytest.raises(StateError, match=match):
            load_aihwkit_optimizer_state(optimizer, *(changed or states))
        assert not optimizer.state

    refused_by(AnalogSGD([*model.parameters()][:2], lr=0.1), "lacks the parameters")
    refused_by(AnalogSGD(build(MHO, "ideal")[0].parameters(), lr=0.1), "had not")
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    refused_by(optimizer, "expected what state_dict", {}, *states[1:])
    made_by_hand = copy.deepcopy(states[0])
    group = made_by_hand["param_groups"][0]
    made_by_hand["param_groups"].insert(1, {**group, "params": [group["params"].pop()]})
    refused_by(optimizer, "made by hand", made_by_hand, *states[1:])
    other = copy.deepcopy(states[0])
    other["state"][0]["momentum_buffer"] = torch.zeros(7)
    refused_by(optimizer, r"momentum_buffer of .* has shape \(7,\)", other, *states[1:])
    other = copy.deepcopy(states[0])
    other["param_groups"][2]["lr"] = 0.7
    refused_by(optimizer, "had other options, and are in one group", other, *states[1:])


@pytest.mark.parametrize(
    ("place", "value"),
    [(("param_groups", 0, "params", 2), torch.zeros(3)), (("state", 6), torch.zeros(3)),
     (("param_groups", 0, "dampening"), torch.zeros(3))],
)  # fmt: skip
def test_damaged_states_of_optimizers(place: tuple[Any, ...], value: Any) -> None:
    saved = content("with_sgd")
    model, _ = build(MHO, "mixed")
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    inner = saved["optimizer_state_dict"]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    before = repr(optimizer.state_dict())
    with pytest.raises(StateError, match=r"damaged|numbered|dictionary"):
        load_aihwkit_optimizer_state(
            optimizer, saved["optimizer_state_dict"], model, saved["model_state_dict"]
        )
    assert repr(optimizer.state_dict()) == before
