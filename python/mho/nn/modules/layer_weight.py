"""The logical weights of an analog layer, as a tensor that code for digital layers can use."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from mho.exceptions import ModuleError

# Layers of torch: nobody would notice that the analog one is not called.
_DIGITAL_LAYERS = frozenset(
    "linear bilinear conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d"
    " conv_transpose3d multi_head_attention_forward".split()
)
# Products, which are also ways to look at weights: refused only where training would miss a
# gradient. Names of functions and methods, then those of operators that reach `__torch_dispatch__`.
_DIGITAL_PRODUCTS = frozenset(
    "matmul __matmul__ __rmatmul__ mm bmm mv dot vdot inner outer ger einsum tensordot chain_matmul"
    " multi_dot kron embedding embedding_bag scaled_dot_product_attention rnn_tanh rnn_relu lstm"
    " gru rnn_tanh_cell rnn_relu_cell lstm_cell gru_cell".split()
)
# The same, of which the first operand is only added to.
_ADDED_PRODUCTS = frozenset(
    "addmm addmm_ addmv addmv_ addbmm addbmm_ baddbmm baddbmm_ addr addr_".split()
)

# What asks for the memory of a tensor.
_STORAGE = frozenset("untyped_storage storage _typed_storage data_ptr share_memory_".split())

# Call a function for each element, past the operators of torch.
_ELEMENTWISE = frozenset("apply_ map_ map2_".split())

# Make tensors like another one, whose device they find past the view.
_LIKE = frozenset("new new_tensor type".split())


class WeightedLayer(Protocol):
    """What the view needs of a layer."""

    def get_weights(self, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Return copies of the logical weights and of the bias."""

    def set_weights(self, weight: Tensor, bias: Tensor | None = None, **kwargs: Any) -> None:
        """Write logical weights and bias."""


class WeightSource:
    """Reads and writes the weights or the bias of a layer.

    Devices limit what is written, and a function of several steps in place must not feel that in
    between: steps go on from what was written last, as long as nothing else has changed the layer.
    """

    def __init__(
        self, layer: WeightedLayer, module: Any, shape: tuple[int, ...], is_bias: bool
    ) -> None:
        """Remember the layer; nothing is read.

        Args:
            layer: Layer.
            module: What holds its tiles, and its digital bias.
            shape: Shape of its weights, or of its bias.
            is_bias: Whether it is the bias.
        """
        self.layer = layer
        self.module = module
        self.shape = shape
        self.is_bias = is_bias
        self._written: Tensor | None = None
        self._read_back: Tensor | None = None

    def contexts(self) -> Iterator[Tensor]:
        """Yield the parameters by which optimizers train the values."""
        bias = self.digital_bias()
        if bias is not None:
            yield bias
            return
        for part in self.module.modules():
            for name in ("analog_ctx", "shared_weights", "weight"):
                value = part._parameters.get(name)
                if value is not None:
                    yield value

    def digital_bias(self) -> Tensor | None:
        """Return the parameter of a digital bias, None if the values are in the array."""
        bias: Tensor | None = self.module._parameters.get("bias")
        return bias if self.is_bias else None

    def read(self) -> Tensor:
        """Return a copy of the present values."""
        values = self.layer.get_weights()[int(self.is_bias)]
        assert values is not None  # a layer without bias gives no source for it
        return values.reshape(self.shape).to(self.module.device, io_dtype(self.module))

    def for_steps(self) -> Tensor:
        """Return a copy of the values that a step in place goes on from."""
        present = self.read()
        if self._written is not None and torch.equal(present, self._read_back):  # type: ignore[arg-type]
            return self._written.clone()
        return present

    def write(self, values: Tensor) -> None:
        """Write values, and remember them for further steps.

        Args:
            values: Of the shape of the source.
        """
        bias = self.digital_bias()
        if bias is not None:
            bias.data.copy_(values)
        elif self.is_bias:
            self.layer.set_weights(self.layer.get_weights()[0], values)
        else:
            self.layer.set_weights(values, self.layer.get_weights()[1])
        self._written, self._read_back = values.clone(), self.read()


class LayerWeight(Tensor):
    """Logical weights or bias of an analog layer.

    Shape, dtype and device are known without reading; values are read from the tiles when an
    operation needs them, and carry no gradient. Operations in place, `torch.nn.init` among them,
    and ``weight.data = values`` write through the tiles, within the bounds of the devices. Under
    `torch.no_grad`, in which these functions run, reading shows what was last written with the same
    object, without the bounds.

    There is no memory to share: arrays of NumPy are copies that cannot be written, and what asks
    for storage or address raises `ModuleError`.

    ``requires_grad`` tells whether optimizers train the values, and freezes them.
    """

    _source: WeightSource
    _path: tuple[Callable[[Tensor], Tensor], ...]

    @staticmethod
    def __new__(
        cls,
        source: WeightSource,
        path: tuple[Callable[[Tensor], Tensor], ...] = (),
        like: Tensor | None = None,
    ) -> "LayerWeight":
        """Make a tensor without storage.

        Args:
            cls: Class of the tensor.
            source: Where the values are.
            path: Views to be taken of them.
            like: Shape and strides of the result of these views.
        """
        module = source.module
        shape = source.shape if like is None else like.shape
        strides = None if like is None else like.stride()
        # For torch a tensor of the meta device, which answers itself what its device is: code in
        # C++ that goes past the functions below finds no kernel and no memory, where with a wrapper
        # of another device it would read a null pointer.
        view: LayerWeight = torch.Tensor._make_wrapper_subclass(
            cls,
            shape,
            strides=strides,
            dtype=io_dtype(module),
            device=torch.device("meta"),
            dispatch_device=True,
        )
        torch._C._set_throw_on_mutable_data_ptr(view)
        view._source, view._path = source, path
        return view

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Refuse products that would go past the layer, and what needs memory."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _STORAGE:
            _refuse_memory(name)
        if name in _DIGITAL_LAYERS:
            _refuse_product(name)
        _refuse_recorded_product(name, args, kwargs)
        if name in _LIKE:
            args, kwargs = _values(args), _values(kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            if name in _ELEMENTWISE:
                return _written_elementwise(func, args, kwargs)
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation on the values; views stay views, writes go to the tiles."""
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:
            return args[0]._source.module.device
        schema = func._schema
        _refuse_recorded_product(schema.name.partition("::")[2], args, kwargs)
        if schema.is_mutable:
            return _write(func, args, kwargs)
        if any(result.alias_info is not None for result in schema.returns):
            return args[0]._views(lambda value: func(value, *args[1:], **kwargs))
        return func(*_values(args), **_values(kwargs))

    def _views(self, view: Callable[[Tensor], Any]) -> Any:
        """Return what becomes of a view, or the list of several."""
        shape = torch.empty_strided(self.shape, self.stride(), dtype=self.dtype, device="meta")
        result = view(shape)
        if isinstance(result, Tensor):
            return LayerWeight(self._source, (*self._path, view), result)
        return [
            LayerWeight(self._source, (*self._path, lambda v, i=i: view(v)[i]), part)  # type: ignore[misc]
            for i, part in enumerate(result)
        ]

    def _along_path(self, values: Tensor) -> Tensor:
        for view in self._path:
            values = view(values)
        return values

    def values(self) -> Tensor:
        """Return the present values as an ordinary tensor."""
        source = self._source
        return self._along_path(source.read() if torch.is_grad_enabled() else source.for_steps())

    @property
    def data(self) -> "LayerWeight":
        """The same values; assignment writes them."""
        return self.detach()  # type: ignore[return-value]

    @data.setter
    def data(self, values: Tensor) -> None:
        if isinstance(values, LayerWeight) and values._source is self._source:
            return
        with torch.no_grad():
            self.copy_(values)

    @property
    def requires_grad(self) -> bool:
        """Whether optimizers train the values."""
        if self._path:
            return False
        return any(value.requires_grad for value in self._source.contexts())

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not self._path:
            for context in self._source.contexts():
                context.requires_grad_(value)
        elif value:
            self._refuse_parameter()

    @property
    def _is_param(self) -> bool:
        # torch asks so whether a tensor is a parameter, and makes it one by setting it.
        return False

    @_is_param.setter
    def _is_param(self, value: bool) -> None:
        self._refuse_parameter()

    def _refuse_parameter(self) -> NoReturn:
        raise ModuleError(
            "weight: a view of analog weights cannot be trained by itself; train the parameters of"
            " the layer, or make a parameter of weight.clone()"
        )

    def requires_grad_(self, requires_grad: bool = True) -> "LayerWeight":
        """Freeze the values, or not; returns the tensor.

        Args:
            requires_grad: Whether optimizers train them.
        """
        self.requires_grad = requires_grad
        return self

    def __bool__(self) -> bool:
        """Return True for a bias: scripts ask so whether a layer has one."""
        if self._source.is_bias and not self._path:
            return True
        return bool(self.values())

    def numpy(self, *, force: bool = False) -> Any:
        """Return the values as an array that cannot be written: the tiles would not see it.

        Args:
            force: As for any tensor.
        """
        return _read_only(self.values().numpy(force=force))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if copy is False:
            raise ValueError("analog weights are in their tiles: an array of them is a copy")
        values = self.values().__array__(dtype)  # type: ignore[no-untyped-call]
        return values if copy else _read_only(values)

    def __dlpack__(self, **kwargs: Any) -> Any:
        """Return a copy of the values, if the consumer asks for one.

        Args:
            kwargs: As for any tensor.

        Raises:
            ModuleError: It wants to share memory.
        """
        if not kwargs.pop("copy", None):
            _refuse_memory("__dlpack__")
        return self.values().__dlpack__(**kwargs)

    def tolist(self) -> Any:
        """Return the values as nested lists."""
        return self.values().tolist()

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        """Return the values."""
        return f"LayerWeight of analog tiles:\n{self.values()!r}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """Return an ordinary tensor with the values."""
        return self.values()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle as an ordinary tensor with the values."""
        return self.values().__reduce_ex__(protocol)  # type: ignore[no-untyped-call]


def io_dtype(module: Any) -> torch.dtype:
    """Return the floating-point type that a layer takes and gives.

    Args:
        module: Tile, or array of tiles.
    """
    tile = next((part for part in module.modules() if hasattr(part, "io_dtype")), None)
    found: torch.dtype = torch.float32 if tile is None else tile.io_dtype
    return found


def refuse_reparametrisation(name: str) -> NoReturn:
    """Raise the error of computing the weights of a layer from other parameters.

    Args:
        name: Name of such a parameter.

    Raises:
        ModuleError: Always.
    """
    raise ModuleError(
        f"{name}: the weights of an analog layer are in its tiles and cannot be computed from"
        " others; prune or parametrise the digital layer and convert it then"
    )


def check_assignment(layer: Any, name: str, value: Any) -> None:
    """Refuse to assign anything to the weights of a layer but what they are.

    Scripts that move weights between modules hand back what they took, also that there is no bias.

    Args:
        layer: Layer.
        name: ``"weight"`` or ``"bias"``.
        value: What is assigned.

    Raises:
        ModuleError: It is something else.
    """
    if value is None and getattr(layer, name) is None:
        return
    if not isinstance(value, LayerWeight) or value._source.layer is not layer:
        refuse_assignment(name)


def refuse_assignment(name: str) -> NoReturn:
    """Raise the error of an assignment to the weights of a layer.

    Args:
        name: Name of the attribute.

    Raises:
        ModuleError: Always.
    """
    raise ModuleError(
        f"{name}: the weights of an analog layer are in its tiles and cannot be assigned; use"
        " set_weights(weight, bias)"
    )


def _refuse_product(name: str) -> NoReturn:
    raise ModuleError(
        f"{name}: the weights of an analog layer are used for a digital product, which neither the"
        " tiles nor the gradient of the weights would take part in; call the layer (weights cannot"
        " be tied), or use copies from its get_weights()"
    )


def _refuse_memory(name: str) -> NoReturn:
    raise ModuleError(
        f"{name}: the weights of an analog layer are in its tiles and have no memory of their own;"
        " use a copy, weight.clone(), or share_memory() of the layer"
    )


def _refuse_recorded_product(name: str, args: Any, kwargs: Any) -> None:
    """Refuse a product with views that torch would record if they were ordinary parameters."""
    if not (name in _DIGITAL_PRODUCTS or name in _ADDED_PRODUCTS) or not torch.is_grad_enabled():
        return
    operands = (*args, *(value for key, value in kwargs.items() if key != "out"))
    tensors = [value for value in tree_leaves(operands) if isinstance(value, Tensor)]
    factors = tensors[1:] if name in _ADDED_PRODUCTS else tensors
    views = [value for value in factors if isinstance(value, LayerWeight)]
    trained = (context for view in views for context in view._source.contexts())
    if views and any(value.requires_grad for value in (*tensors, *trained)):
        _refuse_product(name)


def _written_elementwise(func: Any, args: Any, kwargs: Any) -> Any:
    """Call a method that writes element by element on copies, and write what it made."""
    target = args[0]
    result = func(*_values(args), **_values(kwargs))
    if not isinstance(target, LayerWeight):
        return result
    with torch.no_grad():
        return target.copy_(result)


def _read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def _values(value: Any) -> Any:
    """Return a value with the values in place of views, also inside lists."""
    return tree_map_only(LayerWeight, lambda view: view.values(), value)


def _write(func: Any, args: Any, kwargs: Any) -> Any:
    if torch.Tag.inplace_view in func.tags or func._schema.name in ("aten::set_", "aten::resize_"):
        raise ModuleError(f"{func._schema.name}: the shape of analog weights cannot be changed")
    # What is written goes to one buffer per source, of which the arguments are views.
    buffers: dict[int, tuple[WeightSource, Tensor]] = {}

    def written(view: LayerWeight) -> Tensor:
        source = view._source
        if id(source) not in buffers:
            buffers[id(source)] = (source, source.for_steps())
        return view._along_path(buffers[id(source)][1])

    targets = []
    given = dict(kwargs)
    positional = list(args)
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        holder: Any = positional if i < len(args) else given
        key: Any = i if i < len(args) else argument.name
        if i < len(args) or argument.name in given:
            targets.append(holder[key])
            holder[key] = tree_map_only(LayerWeight, written, holder[key])
    func(*_values(positional), **_values(given))
    for source, values in buffers.values():
        source.write(values)
    results = func._schema.returns
    if not results:
        return None
    return targets[0] if len(results) == 1 else tuple(targets)
