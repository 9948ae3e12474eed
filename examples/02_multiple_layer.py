"""A network of analog layers in plain torch containers separates two rings of points."""

import torch
from torch import nn

from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import ConstantStepDevice, SingleRPUConfig

torch.manual_seed(1)
angle, label = 2 * torch.pi * torch.rand(400), torch.arange(400) % 2
radius = torch.where(label == 0, 0.4, 0.9) + 0.05 * torch.randn(400)
points = torch.stack((radius * angle.cos(), radius * angle.sin()), 1)

config = SingleRPUConfig(device=ConstantStepDevice(w_max=1.0, w_min=-1.0))
model = nn.Sequential(
    AnalogLinear(2, 32, rpu_config=config),
    nn.ReLU(),
    AnalogLinear(32, 16, rpu_config=config),
    nn.ReLU(),
    AnalogLinear(16, 2, rpu_config=config),
)
optimizer = AnalogSGD(model.parameters(), lr=0.1)

for epoch in range(41):
    for chosen in torch.randperm(len(points)).split(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(points[chosen]), label[chosen])
        loss.backward()
        optimizer.step()
    if epoch % 10 == 0:
        with torch.no_grad():
            correct = (model(points).argmax(1) == label).double().mean()
        print(f"epoch {epoch:3}: loss {loss:.4f}, {100 * correct:.1f} % of the points correct")
