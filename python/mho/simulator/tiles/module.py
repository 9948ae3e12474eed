"""Module behaviour of tiles: configuration, moving, copying."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ConfigError, CudaError, TileError, TileModuleError
from mho.optim.context import AnalogContext
from mho.settings import check_backend
from mho.simulator.autograd.handles import new_token
from mho.simulator.parameters.arguments import check_size, checked_copy
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.enums import RPUDataType
from mho.simulator.parameters.mapping import MappingParameter
from mho.simulator.parameters.runtime import RuntimeParameter
from mho.simulator.raw_tiles.core.gpu.watched_buffers import peek
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.tensor_group import TensorGroup
from mho.simulator.tiles.stateful import StatefulTile


class TileModule(StatefulTile):
    """Base of all tiles: a module with a configuration, a raw tile and a context.

    Subclasses give `tile` its value in their constructor and then call `_bind` and
    `_prepare`.
    """

    supports_ddp: bool = False
    """Whether gradients of the weights can be averaged over processes."""

    supports_indexed: bool = False
    """Whether convolutions may hand over images with an index table."""

    known_backends: tuple[str, ...] = ("cpu",)
    """Where the kernels of the tile can run."""

    analog_ctx: AnalogContext
    bias: nn.Parameter | None
    mapping_scales: Tensor | None

    def __init__(
        self,
        out_size: int,
        in_size: int,
        rpu_config: RPUConfigBase,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
    ) -> None:
        """Check the arguments and copy the configuration.

        Args:
            out_size: Number of outputs.
            in_size: Number of inputs.
            rpu_config: Configuration, copied.
            bias: Whether there is a bias.
            in_trans: Whether features are on the first axis of inputs instead of the last.
            out_trans: Whether features are on the first axis of outputs.

        Raises:
            ArgumentError: A size is not a positive integer or `rpu_config` is not a configuration.
            ConfigError: The configuration is invalid; the message names the field.
        """
        super().__init__()
        self.out_size = check_size("out_size", out_size)
        self.in_size = check_size("in_size", in_size)
        self.rpu_config: Any = checked_copy(rpu_config)
        if self.rpu_config.runtime.backend not in (None, *self.known_backends):
            raise ConfigError(f"runtime.backend: {self._not_on(rpu_config.runtime.backend)}")
        self._check_config(rpu_config)
        mapping = getattr(rpu_config, "mapping", MappingParameter())
        self.use_bias = bool(bias)
        self.digital_bias = self.use_bias and mapping.digital_bias
        self.analog_bias = self.use_bias and not mapping.digital_bias
        self.in_trans = bool(in_trans)
        self.out_trans = bool(out_trans)
        self.non_blocking = False
        self.ignore_analog_state = False
        self.io_dtype = torch.float32
        self.load_rpu_config = True
        self.strict_rpu_config_check = True
        self.image_sizes: list[int] = []
        self.register_parameter("bias", self._new_bias())
        self._take_handle()

    def _new_bias(self) -> nn.Parameter | None:
        if not self.digital_bias:
            return None
        return nn.Parameter(torch.zeros(self.out_size, dtype=torch.float32))

    def _take_handle(self) -> None:
        object.__setattr__(self, "_token", new_token(self))

    def _follow_requires_grad(self, value: bool) -> None:
        self._token.requires_grad_(value)

    def _bind(self) -> None:
        """Make the context (and other aliases of the weights) share the storage of the raw tile."""
        self.analog_ctx = AnalogContext(self)  # type: ignore[arg-type]

    def _get_tile_weights_ref(self) -> Tensor:
        return self.tile.get_weights(as_ref=True)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        own = peek(self._buffers, Names.WEIGHTS)
        return (self._get_tile_weights_ref() if own is None else own).device

    @property
    def backend(self) -> str:
        """Where the kernels of the tile run, `"cpu"` or `"wgpu"`."""
        return "cpu"

    def to_backend(self, backend: str, adapter: int | str | None = None) -> "TileModule":
        """Run the kernels of the tile elsewhere from now on; returns the tile.

        Args:
            backend: `"cpu"`; tiles of the core also `"wgpu"`.
            adapter: Number or part of the name of an adapter of `"wgpu"`.

        Raises:
            ConfigError: The tile cannot run there.
        """
        if check_backend(backend) not in self.known_backends:
            raise ConfigError(f"backend: {self._not_on(backend)}")
        return self

    def _not_on(self, backend: str | None) -> str:
        return f"{type(self).__name__} cannot run on {backend!r}; use 'cpu'"

    @property
    def is_cuda(self) -> bool:
        """Whether the weights are on a CUDA device."""
        return self.device.type == "cuda"

    def get_runtime(self) -> RuntimeParameter:
        """Return the run options of the configuration."""
        runtime: RuntimeParameter = self.rpu_config.runtime
        return runtime

    def get_data_type(self) -> RPUDataType:
        """Return the floating-point type of the tile as the configuration names it."""
        return self.get_runtime().data_type

    def get_dtype(self) -> torch.dtype:
        """Return the floating-point type of the tile."""
        return self.get_data_type().as_torch()

    def get_analog_ctx(self) -> AnalogContext:
        """Return the context."""
        return self.analog_ctx

    def get_brief_info(self) -> str:
        """Return one line with kind and size."""
        return self.tile.get_brief_info()

    def __repr__(self) -> str:
        """Return kind and size in one line, unless there are children other than the state."""
        if all(isinstance(child, TensorGroup) for child in self.children()):
            return f"{type(self).__name__}({self.extra_repr()})"
        return super().__repr__()

    def extra_repr(self) -> str:
        """Return kind and size of a raw tile that is not shown as a child."""
        return "" if isinstance(self.tile, nn.Module) else self.tile.get_brief_info()

    def is_floating_point(self) -> bool:
        """Return True: tiles hold floating-point values."""
        return True

    def _apply(self, fn: Any, recurse: bool = True) -> "TileModule":
        """Follow a move or cast of the model: the state stays float32, inputs and outputs are cast.

        Raises:
            TileModuleError: The tile cannot go to that device.
        """
        try:
            probe: Tensor = fn(torch.zeros(1, dtype=torch.float32))
        except Exception as error:
            raise TileModuleError(
                f"{type(self).__name__} cannot be moved or cast: {error}"
            ) from error
        if probe.device.type != "cpu":
            raise TileModuleError(
                f"{type(self).__name__} computes on the host and cannot be moved to {probe.device};"
                " keep the analog layers on the CPU (to_backend('wgpu') runs them on a graphics"
                " processor from there) or use TorchInferenceRPUConfig"
            )
        self.io_dtype = probe.dtype
        return self

    def to(self, *args: Any, **kwargs: Any) -> "TileModule":
        """Move or cast as any module; a configuration as argument replaces that of the tile.

        Args:
            args: As for `torch.nn.Module.to`, or a configuration.
            kwargs: As for `torch.nn.Module.to`, or `rpu_config`.

        Raises:
            TileModuleError: The tile cannot go there or the configuration does not fit.
        """
        config = kwargs.pop("rpu_config", None)
        rest = [arg for arg in args if not isinstance(arg, RPUConfigBase)]
        config = next((arg for arg in args if isinstance(arg, RPUConfigBase)), config)
        if rest or kwargs:
            super().to(*rest, **kwargs)
        if config is not None:
            self.replace_with(config)
        return self

    def cuda(self, device: Any = None) -> "TileModule":
        """Refuse: tiles of the core compute on the host.

        Args:
            device: Device.

        Raises:
            CudaError: Always.
        """
        raise CudaError(
            f"{type(self).__name__} cannot be moved to CUDA; use to_backend('wgpu') for graphics"
            " processors, or TorchInferenceRPUConfig"
        )

    def cpu(self) -> "TileModule":
        """Return the tile, which is on the host."""
        return self

    def is_indexed(self) -> bool:
        """Return whether inputs are images with an index table."""
        return False

    def set_indexed(self, indices: Tensor, image_sizes: list[int]) -> None:
        """Refuse: convolutions unfold their images, no tile reads them through an index table.

        Args:
            indices: Index table.
            image_sizes: Sizes of input and output images.

        Raises:
            TileError: Always.
        """
        raise TileError(f"{type(self).__name__} reads no indexed images; unfold them")

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: all but the aliases and handles of this process."""
        content = dict(self.__dict__)
        content["_parameters"] = {
            name: value for name, value in self._parameters.items() if name != Names.CONTEXT
        }
        content["context_state"] = (self.analog_ctx.requires_grad, self.analog_ctx.use_torch_update)
        content["parameter_order"] = list(self._parameters)
        content.pop("_token", None)
        return content

    def __setstate__(self, content: dict[str, Any]) -> None:
        """Restore a copy with a context of its own, which has no trace."""
        requires_grad, use_torch_update = content.pop("context_state")
        order = content.pop("parameter_order")
        super().__setstate__(content)  # type: ignore[no-untyped-call]
        self._take_handle()
        self.tile.connect(self)
        self._bind()
        self.analog_ctx.requires_grad_(requires_grad)
        self.analog_ctx.use_torch_update = use_torch_update
        parameters = self._parameters
        for name in order:
            parameters[name] = parameters.pop(name)
        self._prepare()

    def __deepcopy__(self, memo: dict[int, Any]) -> "TileModule":
        """Return an independent copy that continues the same random stream."""
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        new.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        # An optimizer copied together with its model finds the new context.
        memo[id(self.analog_ctx)] = new.analog_ctx
        return new
