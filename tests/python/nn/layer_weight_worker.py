"""Calls every method of `torch.Tensor` on the weights of a layer; run in a process of its own.

Writes the name of each call before it is made, so that whoever started the process knows which one
ended it, and at the end what differs from the same call on an ordinary tensor.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, ModuleError
from mho.nn import AnalogLinear
from mho.simulator.configs import InferenceRPUConfig

ONES = torch.ones(3, 6)
INDEX = torch.zeros(2, dtype=torch.int64)
ARGUMENTS: list[tuple[Any, ...]] = [
    (),
    (0,),
    (1, 0),
    (2.0,),
    (0, 0, 1),
    (ONES,),
    (torch.ones(6),),
    (lambda value: value * 2,),
    (torch.float64,),
    ((3, 6),),
    ((6, 3), (1, 3)),
    (ONES > 0, 1.0),
    (ONES > 0, torch.ones(18)),
    (0, INDEX, torch.ones(2, 6)),
    (0, INDEX, 1.0),
    (0, INDEX),
    (ONES, ONES),
    (ONES, lambda a, b: a + b),
    (ONES, ONES, lambda a, b, c: a + b + c),
    (torch.ones(6, 3), torch.ones(3, 3)),
]
# Of classes and objects, not of tensors.
SKIPPED = {"__class__", "__init_subclass__", "__subclasshook__", "__new__", "__init__", "__del__"}
# Uninitialised memory, addresses, and what a view of analog weights answers otherwise on purpose.
UNLIKE = set(
    "empty_like new_empty new new_empty_strided resize resize_as data_ptr __hash__ __repr__ __str__"
    " __format__ __dict__ __reduce__ __reduce_ex__ _reduce_ex_internal __sizeof__ __bool__"
    " _is_param"
    " requires_grad is_leaf _version __dlpack__ __dir__ _cdata _backward_hooks is_shared"
    " __array_interface__ _typed_storage storage untyped_storage share_memory_ pin_memory is_pinned"
    " is_same_size _is_view _base as_subclass __deepcopy__ __eq__ names".split()
)


def called(make: Callable[[], Tensor], name: str, arguments: tuple[Any, ...]) -> Any:
    """Return what a call makes, or the exception that it raised."""
    tensor, member = make(), getattr(Tensor, name)
    # `torch.manual_seed` takes as long as all the rest: it writes down the stack.
    torch.default_generator.manual_seed(0)
    try:
        if not callable(member):
            return getattr(tensor, name)
        result = member(tensor, *arguments)
        str(result)
        return result
    except Exception as error:
        return error


def main() -> None:
    warnings.simplefilter("ignore")
    torch.manual_seed(1)
    layer = AnalogLinear(6, 3, rpu_config=InferenceRPUConfig())
    weight, bias = layer.get_weights()

    def view() -> Tensor:
        layer.set_weights(weight, bias)
        return layer.weight.detach()

    found = []
    with torch.no_grad():
        for name in sorted(set(dir(Tensor)) - SKIPPED):
            for i, arguments in enumerate(ARGUMENTS):
                print(f"call {name} {i}", flush=True)
                ours = called(view, name, arguments)
                theirs = called(weight.clone, name, arguments)
                if name in UNLIKE or not isinstance(theirs, Tensor):
                    continue
                if isinstance(ours, ModuleError):
                    continue
                if isinstance(ours, ArgumentError) and not theirs.isfinite().all():
                    continue  # no weights
                same = isinstance(ours, Tensor) and ours.shape == theirs.shape
                if not same or not torch.equal(
                    torch.nan_to_num(ours.clone().to_dense().dequantize().to(torch.float64)),
                    torch.nan_to_num(theirs.clone().to_dense().dequantize().to(torch.float64)),
                ):
                    found.append(f"{name} {i}: {type(ours).__name__} {ours!s:.200}")
    for line in found:
        print(f"differs {line}")
    print("done", flush=True)


if __name__ == "__main__":
    main()
