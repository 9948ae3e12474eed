"""Simulator of analog tiles: configurations, parameters, presets and the tiles themselves."""

import torch as _torch  # noqa: F401  (loads torch's libraries before any extension module)
