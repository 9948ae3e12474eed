"""Tensor subclasses that guard the views of analog weights."""

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor

from mho.exceptions import ArgumentError

_METADATA_PROPERTIES = frozenset(
    (
        "_backward_hooks _base _grad _post_accumulate_grad_hooks _version data device dtype grad"
        " grad_dtype grad_fn is_cpu is_cuda is_leaf is_ipu is_maia is_meta is_mkldnn is_mps is_mtia"
        " is_nested is_quantized is_sparse is_sparse_csr is_vulkan is_xla is_xpu itemsize layout"
        " name names nbytes ndim output_nr requires_grad retains_grad shape volatile"
    ).split()
)
_METADATA_METHODS = frozenset(
    (
        "_has_symbolic_sizes_strides _is_view _is_zerotensor _typed_storage data_ptr dense_dim"
        " detach dim element_size empty_like full_like get_device has_names is_complex is_conj"
        " is_contiguous is_distributed is_floating_point is_inference is_neg is_pinned is_shared"
        " is_signed ndimension nelement new_empty new_full new_ones new_tensor new_zeros numel"
        " ones_like rand_like randn_like randint_like register_hook"
        " register_post_accumulate_grad_hook requires_grad_ retain_grad size sparse_dim"
        " storage_offset stride type untyped_storage zeros_like __dir__ __format__ __len__ __repr__"
        " __hash__"
    ).split()
)


def operation_name(func: Callable[..., Any]) -> str:
    """Return the name of an intercepted operation; for a property access that of the property.

    Args:
        func: First argument of `__torch_function__` after the class.
    """
    name = str(getattr(func, "__name__", ""))
    if name in ("__get__", "__set__", "__delete__"):
        return str(getattr(getattr(func, "__self__", None), "__name__", name))
    return name


def is_metadata_operation(func: Callable[..., Any]) -> bool:
    """Return whether an intercepted operation reads no value of the tensor.

    Args:
        func: First argument of `__torch_function__` after the class.
    """
    name = operation_name(func)
    if getattr(func, "__name__", "") in ("__get__", "__set__", "__delete__"):
        return name in _METADATA_PROPERTIES
    return name in _METADATA_METHODS


def is_inplace_operation(func_name: str) -> bool:
    """Return whether an operation of this name writes to its first argument.

    Args:
        func_name: Name such as `"add_"`.
    """
    if func_name in ("__setitem__", "requires_grad_"):
        return func_name == "__setitem__"
    if func_name.startswith("__i") and func_name.endswith("__"):
        return func_name in _INPLACE_DUNDERS
    return func_name.endswith("_") and not func_name.endswith("__")


_INPLACE_DUNDERS = frozenset(
    f"__i{name}__"
    for name in (
        "add",
        "sub",
        "mul",
        "div",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "and",
        "or",
        "xor",
        "lshift",
        "rshift",
    )
)


def raise_readonly_error(func_name: str) -> NoReturn:
    """Raise the error of a write to a read-only view.

    Args:
        func_name: Name of the refused operation.

    Raises:
        RuntimeError: Always.
    """
    raise RuntimeError(
        f"{func_name}: analog weights are read-only here; use set_weights of the layer, or"
        " enable_buffer() for an independent buffer; averages are those of"
        " convert_to_digital(model)"
    )


def raise_if_readonly_write_target(
    func_name: str, args: Any, kwargs: Any, is_readonly: Callable[[Any], bool]
) -> None:
    """Raise if an operation would write to a read-only tensor.

    Args:
        func_name: Name of the operation.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        is_readonly: Tells whether an argument is read-only.

    Raises:
        RuntimeError: The target of an in-place operation or of `out=` is read-only.
    """
    if is_inplace_operation(func_name) and args and is_readonly(args[0]):
        raise_readonly_error(func_name)
    out = (kwargs or {}).get("out")
    targets: Iterable[Any] = out if isinstance(out, (tuple, list)) else (out,)
    if any(is_readonly(target) for target in targets):
        raise_readonly_error(f"{func_name}(out=...)")


def plain(value: Any, convert: Callable[[Tensor], Tensor]) -> Any:
    """Return a value with every tensor inside lists, tuples and dictionaries converted.

    Args:
        value: Argument of an operation.
        convert: Applied to tensors.
    """
    if isinstance(value, Tensor):
        return convert(value)
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        items = [plain(item, convert) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: plain(item, convert) for key, item in value.items()}
    return value


def _checked(data: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise ArgumentError(f"data: expected a tensor, got {type(data).__name__}")
    return data


def as_plain_tensor(value: Tensor) -> Tensor:
    """Return a tensor that shares the storage but not the subclass."""
    with torch._C.DisableTorchFunctionSubclass():
        return torch.Tensor._make_subclass(Tensor, value.detach())


class ReadOnlyWeightView(Tensor):
    """Logical analog weights, read-only; results of operations are ordinary tensors."""

    @staticmethod
    def __new__(cls, data: Tensor) -> "ReadOnlyWeightView":
        """Wrap weights of shape `[out, in]`."""
        return torch.Tensor._make_subclass(cls, _checked(data).detach())

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation on the values, refusing writes."""
        raise_if_readonly_write_target(
            operation_name(func) if getattr(func, "__name__", "") == "__set__" else func.__name__,
            args, kwargs, lambda value: isinstance(value, ReadOnlyWeightView),
        )  # fmt: skip
        if getattr(func, "__name__", "") == "__set__" and operation_name(func) == "data":
            raise_readonly_error("data")
        if is_metadata_operation(func):
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        return func(*plain(args, _unguarded), **plain(kwargs or {}, _unguarded))


class PlaceholderDataView(Tensor):
    """Stands for analog weights: shape, type and device can be asked for, values cannot."""

    @staticmethod
    def __new__(cls, data: Tensor) -> "PlaceholderDataView":
        """Wrap weights of shape `[out, in]`."""
        return torch.Tensor._make_subclass(cls, _checked(data).detach())

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation that reads no value, refuse others."""
        if not is_metadata_operation(func):
            raise_placeholder_error(operation_name(func))
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
        if operation_name(func) in ("detach", "data") and isinstance(result, Tensor):
            return PlaceholderDataView(result)
        return result

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        """Return shape and type."""
        return f"PlaceholderDataView(shape={tuple(self.shape)}, dtype={self.dtype})"


def raise_placeholder_error(func_name: str) -> NoReturn:
    """Raise the error of reading values from a placeholder.

    Args:
        func_name: Name of the refused operation.

    Raises:
        RuntimeError: Always.
    """
    raise RuntimeError(
        f"{func_name}: the analog context is a placeholder without values; call enable_data_view()"
        " on it to read the logical weights, or enable_buffer() for a writable buffer"
    )


def _unguarded(value: Tensor) -> Tensor:
    return as_plain_tensor(value) if isinstance(value, ReadOnlyWeightView) else value
