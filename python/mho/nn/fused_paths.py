"""Transformers of torch hand weights to fused kernels, past the layers that have them."""

from torch import nn

from mho.nn.modules.base import AnalogLayerBase

_BEFORE = "_fused_path_when_digital"


def follow_fused_paths(module: nn.Module) -> None:
    """Make transformers of torch call their layers where these are analog, and only there.

    In evaluation mode torch otherwise passes ``linear1.weight`` to a fused kernel, and padded
    batches as nested tensors. Results at positions that are not padded stay the same. What was
    switched off is switched on again when nothing is analog any more.

    Args:
        module: Model.
    """
    for part in module.modules():
        if isinstance(part, nn.TransformerEncoderLayer):
            _follow(part, "activation_relu_or_gelu", 0)
        elif isinstance(part, nn.TransformerEncoder):
            _follow(part, "use_nested_tensor", False)


def _follow(part: nn.Module, switch: str, off: object) -> None:
    before = vars(part).get(_BEFORE)
    if any(isinstance(below, AnalogLayerBase) for below in part.modules()):
        if before is None and hasattr(part, switch):
            vars(part)[_BEFORE] = getattr(part, switch)
        setattr(part, switch, off)
    elif before is not None:
        setattr(part, switch, vars(part).pop(_BEFORE))
