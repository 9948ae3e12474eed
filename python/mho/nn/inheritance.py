"""What a layer takes over of the digital layer that it replaces."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _WrappedHook
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from mho.exceptions import warn_caller

# Attributes of a module that are tables of hooks.
_HOOK_TABLES = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
# What `module.compile()` leaves: calls of the old module, which copies of torch leave out as well.
_COMPILED_CALL = "_compiled_call_impl"

_COMPUTING_HOOKS = (WeightNorm, SpectralNorm, BasePruningMethod)
_OWN_ENTRIES = ("weight", "bias")
_LEFT_OUT = (*_OWN_ENTRIES, "parametrizations")


def digital_class(module: nn.Module) -> type[nn.Module]:
    """Return the class of a module; of a parametrised one the class that it had before.

    Args:
        module: Module.
    """
    cls: type[nn.Module] = parametrize.type_before_parametrizations(module)
    return cls


def computed_names(module: nn.Module) -> list[str]:
    """Return the names of the parameters that a module computes from others.

    That is by parametrisations, weight or spectral norm, or pruning.

    Args:
        module: Module.
    """
    groups: Any = module.parametrizations if parametrize.is_parametrized(module) else ()
    names = [str(name) for name in groups]
    return [*names, *(_computed_by(hook) for hook in _computing_hooks(module))]


def settle(module: nn.Module) -> None:
    """Bring weights that hooks compute before every call to their present values.

    Args:
        module: Digital layer.
    """
    with torch.no_grad():
        for hook in _computing_hooks(module):
            if isinstance(hook, SpectralNorm):
                # Its call would also take a step of the power iteration.
                weight = hook.compute_weight(module, do_power_iteration=False)
                setattr(module, hook.name, weight)
            else:
                hook(module, None)


def inherit(digital: nn.Module, analog: nn.Module) -> None:
    """Give an analog layer the hooks, attributes and flags of the layer that it replaces.

    Hooks that compute the weights are left out. Tables of hooks are the very objects, so handles
    that remove a hook keep working.

    Args:
        digital: Layer that is replaced.
        analog: Layer that replaces it.
    """
    computed = computed_names(digital)
    left_out = {*_LEFT_OUT, *getattr(digital, "OWN_ENTRIES", ())}
    left_out.update(getattr(analog, "digital_entries", tuple)())
    inherit_hooks(digital, analog)
    for table in ("_parameters", "_buffers", "_modules"):
        for name, value in getattr(digital, table).items():
            if name in left_out or _belongs(name, computed):
                continue
            getattr(analog, table).setdefault(name, value)
    analog._non_persistent_buffers_set |= digital._non_persistent_buffers_set
    known = {*vars(analog), *_HOOK_TABLES, *computed, *left_out, _COMPILED_CALL}
    for name, value in vars(digital).items():
        if name not in known and not name.startswith("_forward_"):
            analog.__dict__[name] = value
    analog.train(digital.training)
    for name in _OWN_ENTRIES:
        _freeze_like(digital, analog, name, computed)


def inherit_hooks(old: nn.Module, new: nn.Module) -> None:
    """Give a module the hooks of the one that it replaces, but for those that compute weights.

    Args:
        old: Module that is replaced.
        new: Module that replaces it.
    """
    for name in _HOOK_TABLES:
        _take_hooks(old, new, name)
    new._is_full_backward_hook = old._is_full_backward_hook


def hook_tables(module: nn.Module) -> Iterator[dict[Any, Any]]:
    """Yield the tables of hooks of a module, which one that replaces it takes over.

    Args:
        module: Module.
    """
    for name in _HOOK_TABLES:
        table = getattr(module, name, None)
        if table is not None:
            yield table


def warn_of_computed_weights(name: str, names: list[str]) -> None:
    """Warn that weights of a converted layer are no longer computed from others.

    Args:
        name: Full name of the layer.
        names: Names of its parameters that were computed.
    """
    where = f"layer {name!r}" if name else "the layer"
    warn_caller(
        f"{where}: {' and '.join(names)} was computed from other parameters (a parametrisation,"
        " weight norm or pruning), which are gone; the new layer has its present values"
    )


def _computing_hooks(module: nn.Module) -> list[Any]:
    hooks = module._forward_pre_hooks.values()
    return [hook for hook in hooks if isinstance(hook, _COMPUTING_HOOKS)]


def _computed_by(hook: Any) -> str:
    name: str = hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name
    return name


def _belongs(name: str, computed: list[str]) -> bool:
    """Return whether an entry is what a parameter is computed from, such as ``weight_g``."""
    return any(name.startswith(f"{one}_") for one in computed)


def _take_hooks(digital: nn.Module, analog: nn.Module, name: str) -> None:
    table, own = getattr(digital, name, None), getattr(analog, name, None)
    if not table:
        return
    for key, hook in list(table.items()):
        if isinstance(hook, _COMPUTING_HOOKS):
            del table[key]
        elif isinstance(hook, _WrappedHook) and hook.with_module:
            table[key] = _WrappedHook(hook.hook, analog)
    table.update(own or {})
    analog.__dict__[name] = table


def _freeze_like(digital: nn.Module, analog: nn.Module, name: str, computed: list[str]) -> None:
    given, own = getattr(digital, name, None), getattr(analog, name, None)
    if isinstance(given, Tensor) and isinstance(own, Tensor) and name not in computed:
        if not given.requires_grad:
            own.requires_grad_(False)
