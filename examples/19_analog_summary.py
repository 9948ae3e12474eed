"""Layers, tiles and products of a small network, and what a pass costs on a measured chip."""

import torch
from torch import nn

import mho
from mho.nn import convert_to_analog
from mho.simulator.configs import ConstantStepDevice, SingleRPUConfig
from mho.utils.analog_info import analog_summary

config = SingleRPUConfig(device=ConstantStepDevice(w_max_dtod=0.0, w_min_dtod=0.0))
config.mapping.max_input_size = 256
config.mapping.max_output_size = 256
config.mapping.weight_scaling_omega = 0.6

torch.manual_seed(1)
model = nn.Sequential(
    nn.Conv2d(1, 16, 5),
    nn.Tanh(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 5),
    nn.Tanh(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(512, 128),
    nn.Tanh(),
    nn.Linear(128, 10),
    nn.LogSoftmax(dim=1),
)
analog_model = convert_to_analog(model, config)

print(analog_summary(analog_model, (1, 1, 28, 28)))
print(mho.cost(analog_model, torch.zeros(1, 1, 28, 28), hardware="hermes_pcm_14nm"))
