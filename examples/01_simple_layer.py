"""One analog layer learns a small regression by pulses."""

import torch
from torch.nn.functional import mse_loss

from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import ConstantStepDevice, SingleRPUConfig

torch.manual_seed(1)
x = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]])
target = torch.tensor([[1.0, 0.5], [0.7, 0.3]])

layer = AnalogLinear(4, 2, rpu_config=SingleRPUConfig(device=ConstantStepDevice()))
optimizer = AnalogSGD(layer.parameters(), lr=0.1)
print(layer)

for epoch in range(101):
    optimizer.zero_grad()
    loss = mse_loss(layer(x), target)
    loss.backward()
    optimizer.step()
    if epoch % 20 == 0:
        print(f"epoch {epoch:3}: loss {loss:.5f}")

weight, bias = layer.get_weights()
print(f"weights, bounded by the devices:\n{weight}\ndigital bias: {bias}")
