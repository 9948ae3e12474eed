"""Weights that several modules of a digital model share, and what becomes of them."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from mho.exceptions import warn_caller

UNTIED = "_untied_from"
"""Attribute of an analog layer: what its weights were tied to, by name of its parameter."""


def follow_broken_ties(
    replaced: Iterable[tuple[nn.Module, nn.Module]], model: nn.Module, warns: bool = True
) -> list[nn.Module]:
    """Note where a parameter of a replaced layer was used elsewhere, and is no longer tied to it.

    Elsewhere is in the model, or in another layer that was replaced: each has a copy then.

    Args:
        replaced: Digital layers that are no longer part of the model, and their replacements.
        model: Model after the replacement.
        warns: Whether to warn of each.

    Returns:
        The layers, for `forget_ties`.
    """
    users = {id(parameter): name for name, parameter in model.named_parameters()}
    names = {id(module): name for name, module in model.named_modules()}
    untied: list[nn.Module] = []
    for layer, new in replaced:
        where = names.get(id(new), "")
        for name, parameter in layer._parameters.items():
            if parameter is None or new._parameters.get(name) is parameter:
                continue
            own = f"{where}.{name}" if where else name
            source = users.setdefault(id(parameter), own)
            if source == own:
                continue
            vars(new).setdefault(UNTIED, {})[name] = source
            untied.append(new)
            if warns:
                warn_caller(
                    f"{own}, of a converted {type(layer).__name__}, was tied to {source!r}; analog"
                    " weights are copies, the tie is broken; name the layer in exclude_modules to"
                    " keep it digital and tied"
                )
    return untied


def forget_ties(model: nn.Module, untied: list[nn.Module]) -> None:
    """Tell models of Hugging Face that layers are no longer tied; nothing undoes this.

    They tie again whenever embeddings are resized, a folder is written and on other occasions, by
    assigning the parameter of the embedding, which an analog layer has no place for.

    Args:
        model: Model after the replacement.
        untied: Its layers that were tied before.
    """
    for part in model.modules():
        config: Any = getattr(part, "config", None)
        if not hasattr(part, "tie_weights") or not getattr(config, "tie_word_embeddings", False):
            continue
        names = {name for name, below in part.named_modules() if any(below is u for u in untied)}
        if names:
            config.tie_word_embeddings = False
            ties: Any = getattr(part, "all_tied_weights_keys", None)
            for key in list(ties or ()):
                if key.rpartition(".")[0] in names:
                    del ties[key]
