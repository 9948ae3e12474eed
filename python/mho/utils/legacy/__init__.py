"""Checkpoints of aihwkit, read without it and without executing anything.

>>> from mho.utils.legacy import load_aihwkit_state_dict, load_checkpoint, read_rpu_configs

`load_checkpoint(file)` reads what `torch.save` has written in a script with aihwkit;
`load_aihwkit_state_dict(model, file)` loads the state of a model from it.
"""

from mho import pending
from mho.utils.legacy.checkpoint import load_checkpoint, read_rpu_configs
from mho.utils.legacy.loading import ImportReport, load_aihwkit_state_dict
from mho.utils.legacy.optimizer import load_aihwkit_optimizer_state

__all__ = [
    "ImportReport",
    "load_aihwkit_optimizer_state",
    "load_aihwkit_state_dict",
    "load_checkpoint",
    "read_rpu_configs",
]

pending.explain(__name__)
