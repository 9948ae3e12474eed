"""What pulsed tiles have recorded counts where a `GradScaler` looks for infinities.

torch asks the gradients of parameters, and those of pulsed weights have none. With pulsed layers
alone it would find nothing to look at, which it takes for a mistake; and errors that overflow
nowhere else would not reduce the scale. So its search is wrapped here, in place. Where processes
gather their pairs, infinities in one of them are found by all: they keep one scale, and make or
skip a step together.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from mho.optim.context import context_of
from mho.optim.gathering import is_pulsed_together
from mho.optim.trace import are_finite

Found = dict[torch.device, Tensor]


def _looking_at_records(search: Callable[..., Found]) -> Callable[..., Found]:
    """Return the search of torch, followed by one among the records of an analog optimizer."""

    @wraps(search)
    def unscale_grads(
        self: GradScaler, optimizer: Any, inv_scale: Tensor, found_inf: Tensor, allow_fp16: bool
    ) -> Found:
        found = search(self, optimizer, inv_scale, found_inf, allow_fp16)
        if getattr(optimizer, "steps_tiles", False):
            _look_at_records(optimizer, found.setdefault, found_inf)
        return found

    unscale_grads.looks_at_records = True  # type: ignore[attr-defined]
    return unscale_grads


def _look_at_records(
    optimizer: torch.optim.Optimizer, enter: Callable[[torch.device, Tensor], Tensor], none: Tensor
) -> None:
    found = [context_of(p) for group in optimizer.param_groups for p in group["params"]]
    contexts = [one for one in found if one is not None and not one.use_torch_update]
    used = [one for one in contexts if one.has_gradient() and one.requires_grad]
    has_infinities = bool(used) and not are_finite(used)
    together = [one.replicas for one in contexts if is_pulsed_together(one)]
    for replicas in {id(one): one for one in together if one is not None}.values():
        has_infinities = replicas.is_true_anywhere(has_infinities)
    if used or together:
        infinities = enter(none.device, none)
        if has_infinities:
            infinities.fill_(1.0)


if not hasattr(GradScaler._unscale_grads_, "looks_at_records"):
    GradScaler._unscale_grads_ = _looking_at_records(GradScaler._unscale_grads_)  # type: ignore[method-assign]
