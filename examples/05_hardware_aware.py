"""A layer trained with the noise of its future hardware, and what it loses on that hardware."""

import torch
from torch.nn.functional import mse_loss

from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import InferenceRPUConfig, WeightModifierType

torch.manual_seed(1)
truth = torch.nn.Linear(16, 4)
x = torch.randn(256, 16)
target = truth(x).detach()

config = InferenceRPUConfig()
config.forward.inp_res = 1 / (2**6 - 2)
config.forward.out_res = 1 / (2**8 - 2)
config.forward.out_noise = 0.05
config.mapping.weight_scaling_omega = 0.6
config.mapping.learn_out_scaling = True
# What programming will leave of the weights, drawn anew after each step.
config.modifier.type = WeightModifierType.ADD_NORMAL
config.modifier.std_dev = 0.05

model = AnalogLinear(16, 4, rpu_config=config)
optimizer = AnalogSGD(model.parameters(), lr=0.1)
for epoch in range(101):
    optimizer.zero_grad()
    loss = mse_loss(model(x), target)
    loss.backward()
    optimizer.step()
    if epoch % 20 == 0:
        print(f"epoch {epoch:3}: loss {loss:.5f}")

model.eval()
digital = AnalogLinear.to_digital(model)
with torch.no_grad():
    print(f"on noisy crossbars:          {mse_loss(model(x), target):.5f}")
    print(f"the same weights, digitally: {mse_loss(digital(x), target):.5f}")
