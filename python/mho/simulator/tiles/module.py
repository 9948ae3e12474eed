"""How something made of a raw tile and parts behaves as a torch module."""

import copy
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from mho._core import __version__
from mho.exceptions import ConfigError, StateError, TileError, TileModuleError
from mho.optim.context import AnalogContext, stands_for
from mho.settings import check_backend, refused_backend
from mho.simulator.autograd.handles import new_token
from mho.simulator.parameters.arguments import check_flag, check_rpu_config, check_size
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.enums import RPUDataType
from mho.simulator.parameters.given_config import checked_copy
from mho.simulator.parameters.mapping import MappableRPU, MappingParameter
from mho.simulator.parameters.runtime import RuntimeParameter
from mho.simulator.parameters.watching import watch
from mho.simulator.parts.base import Part
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.core.gpu.watched_buffers import peek
from mho.simulator.state.header import encode_header
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.ordinary import keep_ordinary, on_host, ordinary_tensors
from mho.simulator.state.plan import commit, deferred_commits
from mho.simulator.state.tensor_group import TensorGroup
from mho.simulator.state.trained_buffers import TrainedBuffers
from mho.simulator.state.transaction import unchanged_on_error
from mho.simulator.state.whole_weights import check_kept, check_not_computed, check_whole
from mho.simulator.tiles import editing, loading
from mho.simulator.tiles.base import SimulatorTileWrapper, TileModuleBase
from mho.simulator.tiles.moving import check_cuda, move_like, move_with_model, stay_on_host

# What scripts assign tensors to although it is a parameter.
_SETTERS = {"out_scaling_alpha": "set_learned_out_scales", "input_range": "set_input_range"}


@SimulatorTileWrapper.register
@TileModuleBase.register
class TileModule(nn.Module):
    """A module with a configuration, a raw tile, digital parts and a context.

    Final classes say which raw tile and which parts by the methods at the top.
    """

    supports_ddp: bool = True
    """Whether several processes can train it together."""

    supports_indexed: bool = False
    """Whether convolutions may hand over images with an index table."""

    known_backends: tuple[str, ...] = SimulatorTile.known_backends
    """Where the kernels of the tile can run."""

    rpu_config: Any
    """Configuration; a change of a field is checked and acts at once, in the next call."""

    tile: SimulatorTile
    parts: tuple[Part, ...]
    analog_ctx: AnalogContext
    bias: nn.Parameter | None
    _token: Tensor

    def _create_raw_tile(self) -> Any:
        """Return a fresh raw tile."""
        raise NotImplementedError(f"{type(self).__name__} lacks a raw tile")

    def _create_parts(self) -> None:
        """Make the parts, and `parts` of them in the order in which they follow."""
        raise NotImplementedError(f"{type(self).__name__} lacks parts")

    def check_config(self, config: Any) -> None:
        """Refuse what this tile does not support.

        Args:
            config: Configuration.

        Raises:
            ConfigError: An option is not supported; the message names the field.
        """

    @ordinary_tensors()
    def __init__(
        self,
        out_size: int,
        in_size: int,
        rpu_config: RPUConfigBase,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
    ) -> None:
        """Check the arguments, copy the configuration and build the raw tile.

        Args:
            out_size: Number of outputs.
            in_size: Number of inputs.
            rpu_config: Configuration, copied.
            bias: Whether there is a bias.
            in_trans: Whether features are on the first axis of inputs instead of the last.
            out_trans: Whether features are on the first axis of outputs.

        Raises:
            ArgumentError: A size is not a positive integer, a flag is none, or `rpu_config` is not
                a configuration.
            ConfigError: The configuration is invalid; the message names the field.
        """
        super().__init__()
        bias = check_flag("bias", bias)
        in_trans = check_flag("in_trans", in_trans)
        out_trans = check_flag("out_trans", out_trans)
        self.out_size = check_size("out_size", out_size)
        self.in_size = check_size("in_size", in_size)
        config = checked_copy(rpu_config)
        mapping = getattr(config, "mapping", MappingParameter())
        self.use_bias = bias
        self.digital_bias = self.use_bias and mapping.digital_bias
        self.analog_bias = self.use_bias and not mapping.digital_bias
        self.take_config(config.for_tile(self.out_size, self.in_size + self.analog_bias))
        backend = self.rpu_config.runtime.backend
        if backend not in (None, *self.known_backends):
            refused = refused_backend(type(self).__name__, backend)
            raise ConfigError(f"runtime.backend: {refused}")
        self.check_config(self.rpu_config)
        self.in_trans, self.out_trans = in_trans, out_trans
        self.non_blocking = False
        self.ignore_analog_state = False
        self.io_dtype = torch.float32
        self.load_rpu_config = True
        self.strict_rpu_config_check = True
        self.image_sizes: list[int] = []
        with on_host():
            zeros = torch.zeros(self.out_size, dtype=torch.float32)
            self.register_parameter("bias", nn.Parameter(zeros) if self.digital_bias else None)
            self._take_token()
            self.tile = self._create_raw_tile()

    def take_config(self, config: RPUConfigBase) -> None:
        """Hold a checked configuration, which tells of its changes from now on.

        Args:
            config: Configuration that belongs to nobody else.
        """
        self.__dict__["rpu_config"] = config
        watch(config, self.own_reference())

    def own_reference(self) -> Callable[[], Any]:
        """Return what tells objects of the configuration whose they are."""
        return weakref.ref(self)

    def plan_edit(self, obj: object, name: str, old: Any) -> Callable[[], None]:
        """Check a change of the configuration that was made; returns what makes it act.

        Args:
            obj: Object of the configuration whose field was changed.
            name: Name of the field.
            old: What it was.

        Raises:
            ConfigError: The new configuration is invalid or not supported.
            TileModuleError: The field decides how a tile is built.
        """
        return editing.plan_edit(self, obj, name, old)

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign an attribute.

        A whole configuration is handed to `replace_with`, and a tensor that is assigned to learned
        scales or to the input range becomes their new values. Shards are refused.
        """
        check_whole(self, name, value, Names.SHARED_WEIGHTS)
        if name == "rpu_config":
            self.replace_with(value)
        elif name in _SETTERS and isinstance(value, Tensor) and type(value) is not nn.Parameter:
            getattr(self, _SETTERS[name])(value)
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        """Delete an attribute; tensors and modules of the tile are refused."""
        check_kept(self, name)
        super().__delattr__(name)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Add a parameter; one from which a tensor of the tile would be computed is refused."""
        check_not_computed(self, name)
        super().register_parameter(name, param)

    def _take_token(self) -> None:
        # Not registered: it is no state, and a parameter of the module would get a gradient.
        object.__setattr__(self, "_token", new_token(self))

    def _follow_requires_grad(self, value: bool) -> None:
        self._token.requires_grad_(value)
        trained = self.trained_parameter()
        if trained is not None:
            trained.requires_grad_(value)

    def _list_weights_once(self) -> None:
        """List trained weights among the parameters only."""
        if self._parameters.get(Names.SHARED_WEIGHTS) is None:
            return
        buffers: Any = self._buffers
        if not isinstance(buffers, TrainedBuffers):
            names = (Names.WEIGHTS, self._parameters, Names.SHARED_WEIGHTS)
            buffers = TrainedBuffers(buffers, *names)
            object.__setattr__(self, "_buffers", buffers)
            self.tile.connect(self)

    def trained_parameter(self) -> nn.Parameter | None:
        """Return the parameter by which torch trains the weights, None if devices are pulsed."""
        if self.tile.differentiable:
            raw: Any = self.tile
            weight: nn.Parameter = raw.weight
            return weight
        return self._parameters.get(Names.SHARED_WEIGHTS)

    def connect(self) -> None:
        """Make the context, an alias of the weights, share the storage of the raw tile.

        It is a parameter of the tile only where no other parameter stands for the weights.
        """
        context = AnalogContext(self)  # type: ignore[arg-type]
        trained = self.trained_parameter()
        if trained is None:
            self.analog_ctx = context
            return
        self._parameters.pop(Names.CONTEXT, None)
        object.__setattr__(self, Names.CONTEXT, context)
        stands_for(trained, self)

    def follow(self) -> None:
        """Follow a new configuration: parts add, drop and recompute what it asks for."""
        for part in self.parts:
            part.follow(self.rpu_config)
        self.settle()

    def settle(self) -> None:
        """Compute what depends on the configuration and on what is there."""
        self.tile.follow(self.rpu_config)
        if self.tile.moves and hasattr(self, Names.CONTEXT):
            move_like(self, self._get_tile_weights_ref())

    def _get_tile_weights_ref(self) -> Tensor:
        return self.tile.get_weights(as_ref=True)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        own = peek(self._buffers, Names.WEIGHTS)
        return (self._get_tile_weights_ref() if own is None else own).device

    @property
    def is_cuda(self) -> bool:
        """Whether the weights are on a CUDA device."""
        return self.device.type == "cuda"

    @property
    def backend(self) -> str:
        """Where the kernels of the tile run, `"cpu"` or `"wgpu"`."""
        return self.tile.backend

    def to_backend(self, backend: str, adapter: int | str | None = None) -> "TileModule":
        """Run the kernels of the tile elsewhere from now on; returns the tile.

        On any error the tile stays where it is.

        Args:
            backend: `"cpu"`; tiles of the core also `"wgpu"`.
            adapter: Number or part of the name of an adapter, see `mho.backends`; None for the one
                that `mho.set_backend` or the variable `MHO_GPU` names, else the best one.

        Raises:
            ArgumentError: The adapter is neither a number nor a name.
            BackendError: There is no such adapter, or too little memory.
            ConfigError: The backend is unknown, or the tile has an option that it cannot do; the
                message names both.
        """
        if check_backend(backend) not in self.known_backends:
            raise ConfigError(f"backend: {refused_backend(type(self).__name__, backend)}")
        self.tile.to_backend(backend, adapter)
        self._list_weights_once()
        if len(self.known_backends) > 1:  # otherwise there is nothing to choose
            # Past the check of changes, which names this method.
            vars(self.rpu_config.runtime)["backend"] = backend
        return self

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
        is_child = isinstance(self.tile, nn.Module) and not isinstance(self.tile, TensorGroup)
        return "" if is_child else self.tile.get_brief_info()

    def is_floating_point(self) -> bool:
        """Return True: tiles hold floating-point values."""
        return True

    def _slow_forward(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to be traced: a trace would freeze passes, ranges and drift of one call.

        torch comes here instead of `forward` while `torch.jit.trace` records.

        Raises:
            TileError: Always.
        """
        raise TileError(
            f"torch.jit.trace: cannot record {type(self).__name__}; use torch.compile or"
            " torch.export"
        )

    def _apply(self, fn: Any, recurse: bool = True) -> "TileModule":
        """Follow a move or cast of the model.

        Raises:
            TileModuleError: The tile cannot be moved or cast so.
        """
        if self.tile.moves:
            move_with_model(self, fn, recurse)
            for part in self.parts:
                part.follow_cast()
        else:
            stay_on_host(self, fn, recurse)
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
        """Move the tile to a CUDA device; returns it.

        Args:
            device: Device.

        Raises:
            CudaError: There is no CUDA device, or the tile computes in the core, on the host.
        """
        check_cuda(type(self).__name__, self.tile.moves)
        return super().cuda(device)

    def cpu(self) -> "TileModule":
        """Move the tile to the host; returns it."""
        return super().cpu() if self.tile.moves else self

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: all but aliases, parts and handles of this process."""
        content = {n: v for n, v in self.__dict__.items() if not isinstance(v, Part)}
        content["_parameters"] = {
            name: value for name, value in self._parameters.items() if name != Names.CONTEXT
        }
        content["context_state"] = (self.analog_ctx.requires_grad, self.analog_ctx.use_torch_update)
        content["parameter_order"] = list(self._parameters)
        for name in ("_token", "_handle", "parts", Names.CONTEXT):
            content.pop(name, None)
        return content

    @ordinary_tensors()
    def __setstate__(self, content: dict[str, Any]) -> None:
        """Restore a copy with a context of its own, which has no trace."""
        requires_grad, use_torch_update = content.pop("context_state")
        order = content.pop("parameter_order")
        super().__setstate__(content)  # type: ignore[no-untyped-call]
        keep_ordinary(self)
        self._take_token()
        watch(self.rpu_config, self.own_reference())
        self.tile.connect(self)
        self._create_parts()
        self.connect()
        self.analog_ctx.requires_grad_(requires_grad)
        self.analog_ctx.use_torch_update = use_torch_update
        parameters = self._parameters
        for name in order:
            if name in parameters:  # earlier versions listed every context
                parameters[name] = parameters.pop(name)
        self.settle()

    def __deepcopy__(self, memo: dict[int, Any]) -> "TileModule":
        """Return an independent copy that continues the same random stream."""
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        new.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        # An optimizer copied together with its model finds the new context.
        memo[id(self.analog_ctx)] = new.analog_ctx
        return new

    def set_load_rpu_config_state(
        self, load_rpu_config: bool | None, strict_rpu_config_check: bool | None = None
    ) -> None:
        """Choose what loading a state does with the configuration saved in it.

        Args:
            load_rpu_config: Take it over; None keeps the present choice.
            strict_rpu_config_check: Otherwise require that its class fits; None keeps the present
                choice.
        """
        if load_rpu_config is not None:
            load_rpu_config = check_flag("load_rpu_config", load_rpu_config)
        if strict_rpu_config_check is not None:
            self.strict_rpu_config_check = check_flag(
                "strict_rpu_config_check", strict_rpu_config_check
            )
        if load_rpu_config is not None:
            self.load_rpu_config = load_rpu_config

    def compatible_with(self, rpu_config: RPUConfigBase) -> tuple[bool, str | None]:
        """Return whether the tile could have a configuration, and if not why.

        Args:
            rpu_config: Configuration.
        """
        mine = self.rpu_config
        if self.strict_rpu_config_check and not (
            isinstance(mine, type(rpu_config)) or isinstance(rpu_config, type(mine))
        ):
            return False, f"class {type(rpu_config).__name__} does not fit {type(mine).__name__}"
        if not isinstance(mine, MappableRPU) or not isinstance(rpu_config, MappableRPU):
            return True, None
        if not mine.mapping.compatible_with(rpu_config.mapping):
            return False, "mapping differs in more than weight scaling"
        return True, None

    def replace_with(self, rpu_config: RPUConfigBase) -> None:
        """Give the tile another configuration and keep its state.

        Args:
            rpu_config: Configuration, copied.

        Raises:
            ConfigError: The configuration is invalid.
            TileError: The state does not fit the new device.
            TileModuleError: The configuration does not fit the tile; nothing is changed.
        """
        check_rpu_config(rpu_config).check()
        fits, why = self.compatible_with(rpu_config)
        if not fits:
            raise TileModuleError(f"rpu_config: {why}")
        loading.replace_config(self, rpu_config)

    @staticmethod
    def get_analog_state_name(prefix: str) -> str:
        """Return the key in a state dictionary that tells a tile from other modules.

        Args:
            prefix: Prefix of the tile.
        """
        return prefix + Names.CONFIG

    @property
    def analog_tile_config(self) -> Tensor:
        """Class, configuration and learning rate as states hold them, uint8 (see `header.py`)."""
        raw, name = self.tile, type(self).__name__
        rate, core = raw.get_learning_rate(), raw.core_text
        return encode_header(name, self.rpu_config, rate, raw.dw_min, core, self.analog_bias)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in (Names.CONTEXT, Names.SHARED_WEIGHTS):
            destination.pop(prefix + name, None)
        if isinstance(self._buffers, TrainedBuffers):  # all buffers, in their order
            for name, value in self._buffers.plain().items():
                if value is not None and name not in self._non_persistent_buffers_set:
                    destination.pop(prefix + name, None)
                    destination[prefix + name] = value if keep_vars else value.detach()
        destination[prefix + Names.CONFIG] = self.analog_tile_config
        for part in self.parts:
            for name, value in part.listed().items():
                destination[prefix + name] = value

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        for hook in self._load_state_dict_pre_hooks.values():
            hook(
                state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                error_msgs,
            )  # fmt: skip
        plan = loading.plan_load(self, state_dict, prefix)
        missing_keys.extend(prefix + name for name in plan.missing)
        unexpected_keys.extend(prefix + name for name in plan.unexpected)
        commit(plan)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load a state in place; on any error nothing is changed.

        Args:
            state_dict: State of the tile.
            strict: Whether missing and unexpected names are an error.
            assign: Ignored, the tensors of a tile are always written in place.

        Returns:
            Missing and unexpected names, as in torch.

        Raises:
            StateError: `strict` is set and a name is missing or unexpected.
            TileError: An entry does not fit the tile.
        """
        strict = check_flag("strict", strict)
        missing, unexpected = self.check_state_dict(state_dict)
        if strict and (missing or unexpected):
            raise StateError(
                f"state_dict: does not fit {type(self).__name__}; missing {missing}, unexpected"
                f" {unexpected}"
            )
        with unchanged_on_error([self]), deferred_commits():  # a raw tile in torch loads its own
            return super().load_state_dict(state_dict, strict=strict)

    def check_state_dict(self, state_dict: Any, prefix: str = "") -> tuple[list[str], list[str]]:
        """Check entries of a state dictionary without loading them.

        Args:
            state_dict: State of a model.
            prefix: Prefix of this tile in it.

        Returns:
            Names of missing and of unexpected entries, without prefix.

        Raises:
            TileError: The entries do not fit the tile.
        """
        plan = loading.plan_load(self, state_dict, prefix)
        missing, unexpected = loading.names_of_children(self, state_dict, prefix)
        return plan.missing + missing, plan.unexpected + unexpected

    def get_analog_state(self) -> dict[str, Any]:
        """Return weights, hidden parameters, configuration and learning rate, all copied."""
        raw = self.tile
        return {
            Names.MHO_VERSION: __version__,
            Names.CLASS: type(self).__name__,
            Names.RPU_CONFIG: copy.deepcopy(self.rpu_config),
            Names.WEIGHTS: raw.get_weights().cpu(),
            Names.HIDDEN_PARAMETERS: raw.get_hidden_parameters().cpu(),
            Names.HIDDEN_PARAMETER_NAMES: raw.get_hidden_parameter_names(),
            Names.LR: raw.get_learning_rate(),
            Names.EXTRA: raw.dump_extra(),
        }
