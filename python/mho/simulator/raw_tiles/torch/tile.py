"""Raw simulator tile that computes in torch and is differentiable throughout."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mho.exceptions import (
    AnalogBiasConfigError,
    ArgumentError,
    ConfigError,
    InputError,
    StateError,
    TileError,
    TorchTileConfigError,
)
from mho.simulator.parameters.arguments import (
    check_flag,
    check_flags,
    check_mapping,
    check_parameters,
    check_size,
)
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.enums import WeightModifierType
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.inference import (
    WeightClipParameter,
    WeightModifierParameter,
    WeightRemapParameter,
)
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_tile_class
from mho.simulator.parameters.signatures import checked
from mho.simulator.raw_tiles import weight_limits
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.given_values import as_vector, named_values
from mho.simulator.raw_tiles.modifier import parsed
from mho.simulator.raw_tiles.rows import check_features, check_tensor
from mho.simulator.raw_tiles.torch.modifier import modify_weight
from mho.simulator.raw_tiles.torch.precision import check_numbers
from mho.simulator.raw_tiles.torch.product import AnalogMVM
from mho.simulator.state.entries import (
    Entry,
    check_entry,
    check_module_entries,
    describe_value,
)
from mho.simulator.state.header import Steps
from mho.simulator.state.ordinary import ordinary_tensors
from mho.simulator.state.plan import LoadPlan, load_with_tile
from mho.simulator.state.whole_weights import check_whole

_NOISE_ENTRY = "tile.out_noise_values"

_LARGEST_NORMAL = 10.0
"""Draws of a normal distribution stay below: in float32 none is beyond 6 standard deviations."""


@register_tile_class
class TorchSimulatorTile(SimulatorTile, nn.Module):
    """Weights of a tile as a torch parameter, and their analog product by `AnalogMVM`.

    `weight` has shape `[out, in]`. `out_noise_values`, shape `[out]`, is the frozen standard
    deviation of the output noise of each line, `|out_noise (1 + out_noise_std xi)|` with normal
    `xi`, and None without spread.

    The configuration is kept by reference and read in every call.
    """

    differentiable = True
    moves = True
    planned_names = frozenset({_NOISE_ENTRY})

    ignored_fields: ClassVar[tuple[str, ...]] = (
        "device",
        "backward",
        "update",
        "mapping.weight_scaling_lr_compensation",
    )
    """Fields of a configuration that no layer reads; the tile around warns where they are set."""

    out_noise_values: Tensor | None

    modified_weights: Tensor | None = None
    """Weights of the last pass that modified them, `[out, in]` or `[batch, out, in]`."""

    @checked
    @ordinary_tensors()
    def __init__(
        self,
        x_size: int,
        d_size: int,
        rpu_config: Any,
        bias: bool = False,
        analog_mvm: type[AnalogMVM] = AnalogMVM,
    ) -> None:
        """Build the tile with zero weights.

        Args:
            x_size: Number of inputs.
            d_size: Number of outputs.
            rpu_config: Configuration, kept by reference.
            bias: Refused: torch tiles have a digital bias only.
            analog_mvm: Class of the product.

        Raises:
            AnalogBiasConfigError: `bias` is true.
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        super().__init__()
        if bias:
            raise AnalogBiasConfigError(
                "mapping.digital_bias: torch tiles have no analog bias; set it to True"
            )
        self.analog_mvm = analog_mvm
        self.x_size, self.d_size = check_size("x_size", x_size), check_size("d_size", d_size)
        self.check_rpu_config_support(rpu_config)
        dtype = rpu_config.runtime.data_type.as_torch()
        self.weight = nn.Parameter(torch.zeros(d_size, x_size, dtype=dtype))
        self.register_buffer("out_noise_values", None)
        self._out_noise = (0.0, 0.0)
        self._resting: tuple[tuple[float, float], Tensor] | None = None
        self.set_config(rpu_config)

    @classmethod
    def check_rpu_config_support(cls, rpu_config: Any) -> None:
        """Check that torch tiles can simulate a configuration.

        Args:
            rpu_config: Configuration with forward parameters, clipping, remapping and a modifier.

        Raises:
            TorchTileConfigError: An option is not supported, or absent; the message names the
                field.
            ConfigError: A value has the wrong type.
        """
        for field in ("forward", "modifier", "clip", "remap", "runtime"):
            if not hasattr(rpu_config, field):
                raise TorchTileConfigError(
                    f"rpu_config: torch tiles need a configuration for inference; {field!r} is"
                    f" missing in {describe(rpu_config)}"
                )
        cls._check_forward(rpu_config)
        parsed(rpu_config.modifier)
        check_parameters("clip", rpu_config.clip, WeightClipParameter)
        weight_limits.check_remap(rpu_config.remap)

    @classmethod
    def _check_forward(cls, rpu_config: Any) -> None:
        AnalogMVM.check_support(rpu_config.forward, "forward")

    def set_config(self, rpu_config: Any) -> None:
        """Follow a configuration.

        Frozen values of the output noise follow its strength; they are drawn anew if their spread
        has changed.

        Args:
            rpu_config: Configuration, kept by reference.

        Raises:
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        self.check(rpu_config)
        self._config = rpu_config
        self._follow_out_noise(rpu_config.forward)

    @property
    def core_text(self) -> str | None:  # type: ignore[override]
        """Configuration of a tile of the core with the same product; see the base class."""
        if type(self) is not TorchSimulatorTile:
            return None
        try:
            text: str = self._config.core_json()
        except ConfigError:  # double precision, for one
            return None
        return text

    def check(self, config: Any) -> None:
        """Refuse what torch tiles cannot simulate; see the base class."""
        self.check_rpu_config_support(config)
        io, dtype = config.forward, self.weight.dtype
        self.check_precision(config, dtype)
        largest = io.out_noise * (1.0 + _LARGEST_NORMAL * io.out_noise_std)
        if _spread(io) > 0.0 and largest > torch.finfo(dtype).max:
            raise ConfigError(f"forward.out_noise_std: draws of out_noise are beyond {dtype}")
        self._check_array(config)

    def _check_array(self, config: Any) -> None:
        """Refuse what the array cannot be built of; any exact array can."""

    def _array_parameters(self) -> dict[str, Any]:
        """Return what the class of the product needs to know of the array."""
        return {}

    def check_precision(self, config: Any, dtype: torch.dtype) -> None:
        """Refuse numbers of the product that a precision does not hold; see the base class."""
        check_numbers(config.forward, "forward", dtype)

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign an attribute; shards of the weights are refused."""
        check_whole(self, name, value, "weight")
        super().__setattr__(name, value)

    def follow(self, config: Any) -> None:
        """Follow a new configuration; see the base class."""
        self.set_config(config)

    @ordinary_tensors()
    def _follow_out_noise(self, io: IOParameters) -> None:
        spread = _spread(io)
        old, self._out_noise = self._out_noise, (io.out_noise, spread)
        if self._out_noise == old:
            return
        values = self.out_noise_values
        if spread <= 0.0:
            # A product that is perfect for a while, such as in a calibration, is of the same chip.
            kept = self._resting if values is None else (old, values)
            self._resting, self.out_noise_values = kept if io.is_perfect else None, None
            return
        if values is None and self._resting is not None:
            old, values = self._resting[0], self._resting[1].to(self.weight)
        if values is not None and spread == old[1] and old[0] > 0.0:
            values.mul_(io.out_noise / old[0]).clamp_(max=torch.finfo(values.dtype).max)
            self.out_noise_values = values
        else:
            xi = torch.randn(self.d_size, device="cpu")
            drawn = (io.out_noise * (1.0 + spread * xi)).abs()
            self.out_noise_values = drawn.to(self.weight)

    def check_entries(self, entries: Mapping[str, Any]) -> None:
        """Check the entries that this module loads itself; see the base class."""
        check_module_entries(self, "tile.", entries)

    def plan(
        self,
        entries: dict[str, Any],
        saved: Any,
        config: Any,
        saved_dw_min: Steps | None = None,
        foreign: bool = False,
        only_present: bool = False,
    ) -> LoadPlan:
        """Check its entries of a state; see the base class.

        Whether there are values of the output noise depends on the configuration to come, which
        torch does not know when it loads this module.
        """
        value = entries.get(_NOISE_ENTRY)
        plan = super().plan(entries, saved, config, saved_dw_min, foreign, only_present)
        if only_present:  # it stays, and follows the new configuration
            return plan
        if _spread(config.forward) > 0.0:
            if value is None:
                plan.missing.append(_NOISE_ENTRY)
            else:
                values = check_entry(_NOISE_ENTRY, value, Entry(shapes=((self.d_size,),)))
                plan.steps.append(lambda: self.set_forward_parameters(out_noise_values=values))
        elif value is not None:
            plan.unexpected.append(_NOISE_ENTRY)
        return plan

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        own, name = self.state_dict(prefix=prefix), f"{prefix}out_noise_values"
        others = {key: value for key, value in state_dict.items() if key != name}
        if name in own:
            others[name] = own[name]
        load_with_tile(super()._load_from_state_dict, own, others, prefix, *rest)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load the state of a raw tile that stands alone, with an equal configuration.

        Args:
            state_dict: State.
            strict: Whether missing and unexpected names are an error.
            assign: As in torch.

        Raises:
            InputError: An entry has the wrong shape or is not finite.
            StateError: `strict` is set and a name is missing or unexpected, such as values of the
                output noise without `forward.out_noise_std`.
        """
        given, own = check_mapping("state_dict", state_dict), self.state_dict()
        strict, assign = check_flag("strict", strict), check_flag("assign", assign)
        check_module_entries(self, "", given)
        missing, unexpected = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
        if strict and (missing or unexpected):
            raise StateError(
                f"state_dict: does not fit {type(self).__name__}; missing {missing}, unexpected"
                f" {unexpected}; there are out_noise_values where forward.out_noise_std is positive"
            )
        found = super().load_state_dict(given, strict, assign)
        if "out_noise_values" in own.keys() & given.keys():
            self.set_forward_parameters(out_noise_values=given["out_noise_values"])
        return found

    def get_forward_parameters(self) -> dict[str, Tensor]:
        """Return copies of the frozen values per line: `out_noise_values`, empty without spread."""
        values = self.out_noise_values
        empty = self.weight.new_empty(0)
        return {"out_noise_values": empty if values is None else values.detach().clone()}

    @torch.no_grad()
    def set_forward_parameters(
        self, dic: Mapping[str, Tensor] | None = None, **kwargs: Tensor
    ) -> None:
        """Write frozen values per line; see the base class."""
        given = named_values(dic, kwargs)
        if unknown := set(given) - {"out_noise_values"}:
            name = min(map(str, unknown))
            raise ArgumentError(f"{name}: unknown parameter; known: out_noise_values")
        present = self.out_noise_values
        for value in given.values():
            flat = as_vector("out_noise_values", value)
            length = 0 if present is None else present.numel()
            if flat.numel() != length or not all_finite(flat):
                raise ArgumentError(f"out_noise_values: expected {length} finite values")
            if present is not None:
                present.copy_(flat)

    def forward(
        self,
        x_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        is_test: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return outputs, shape `[..., out]`; differentiable in inputs and weights.

        Args:
            x_input: Inputs, shape `[..., in]`, of the dtype of the weights.
            bias: Must be false.
            in_trans: Must be false.
            out_trans: Must be false.
            is_test: Evaluation mode; noise acts there as well.
            non_blocking: Accepted for compatibility.

        Raises:
            InputError: Wrong number of features or dtype.
            TorchTileConfigError: A bias or another layout is asked for.
        """
        _refuse_layout(bias, in_trans, out_trans)
        self._check_input(x_input, self.x_size, "x_input")
        return self.product(x_input, self.weight, is_test)[0]

    def product(
        self, x: Tensor, weight: Tensor, is_test: bool, want_clipped: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the analog product of checked inputs, and which outputs sit at their bound.

        Args:
            x: Inputs, shape `[..., in]`.
            weight: Shape `[out, in]`, or `[batch, out, in]` for weights per entry of the first
                axis.
            is_test: Evaluation mode.
            want_clipped: Ask for the mask of clipped outputs.

        Returns:
            Outputs `[..., out]`, and a mask of this shape or None.
        """
        changes = self._config.modifier
        if changes.type is not WeightModifierType.NONE and (
            changes.enable_during_test or not is_test
        ):
            weight = self._modified(weight, changes, x)
        mvm, io, noise = self.analog_mvm, self._config.forward, self.out_noise_values
        array = self._array_parameters()
        if want_clipped:
            return mvm.matmul_with_clipped(weight, x, io, False, is_test, noise, **array)
        return mvm.matmul(weight, x, io, False, is_test, noise, **array), None

    def _modified(self, weight: Tensor, changes: WeightModifierParameter, x: Tensor) -> Tensor:
        """Return the weights of a pass, and keep them for who wants to see them."""
        batch_size = len(x) if x.dim() > 1 else 1
        samples = batch_size if changes.per_batch_sample and batch_size > 0 else None
        new = modify_weight(weight, changes, samples)
        if not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()):
            vars(self)["modified_weights"] = new.detach()
        return new

    @staticmethod
    @checked
    def modify_weight(
        inp_weight: Tensor, modifier: WeightModifierParameter, batch_size: int
    ) -> Tensor:
        """Return modified weights; gradients pass straight through to the weights.

        Args:
            inp_weight: Weights, shape `[out, in]`.
            modifier: Kind and strengths.
            batch_size: Number of independent draws with `per_batch_sample`.

        Returns:
            Shape `[out, in]`, or `[batch_size, out, in]` with `per_batch_sample` if anything is
            drawn.

        Raises:
            ArgumentError: The parameters are none, or `batch_size` is not positive.
            ConfigError: A value of them is impossible; the message names the field.
            InputError: The weights are no matrix of floating-point numbers.
        """
        check_tensor(inp_weight, "inp_weight")
        if inp_weight.dim() != 2 or not inp_weight.is_floating_point():
            raise InputError(
                f"inp_weight: expected a floating-point matrix, got {describe_value(inp_weight)}"
            )
        parsed(modifier)
        samples = check_size("batch_size", batch_size)
        return modify_weight(inp_weight, modifier, samples if modifier.per_batch_sample else None)

    @torch.no_grad()
    def backward(
        self,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return the transposed product with the backward parameters, shape `[..., in]`.

        Gradients do not need it: they come from autograd.

        Args:
            d_input: Gradients of the outputs, shape `[..., out]`, of the dtype of the weights.
            bias: Must be false.
            in_trans: Must be false.
            out_trans: Must be false.
            non_blocking: Accepted for compatibility.

        Raises:
            ConfigError: The backward parameters are not supported; the message names the field.
            InputError: Wrong number of features or dtype.
            TorchTileConfigError: A bias or another layout is asked for.
        """
        _refuse_layout(bias, in_trans, out_trans)
        self._check_input(d_input, self.d_size, "d_input")
        io = self._config.backward
        self.analog_mvm.check_support(io, "backward")
        if not torch.compiler.is_compiling():
            check_numbers(io, "backward", self.weight.dtype)
        return self.analog_mvm.matmul(self.weight, d_input, io, trans=True)

    def update(
        self,
        x_input: Tensor,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> None:
        """Refuse: the weights follow their gradient.

        Args:
            x_input: Inputs.
            d_input: Gradients of the outputs.
            bias: Not used.
            in_trans: Not used.
            out_trans: Not used.
            non_blocking: Not used.

        Raises:
            TileError: Always.
        """
        raise TileError("update: torch tiles are trained by a torch optimizer on tile.weight")

    def _check_input(self, value: Tensor, size: int, name: str) -> None:
        check_tensor(value, name)
        check_features(value, size, False, name)
        if value.dtype is not self.weight.dtype:
            raise InputError(f"{name}: expected dtype {self.weight.dtype}, got {value.dtype}")

    @checked
    def clip_weights(self, clip: WeightClipParameter) -> None:
        """Clip the weights in place.

        Args:
            clip: Kind and limits.

        Raises:
            ArgumentError: The parameters are none.
        """
        check_parameters("clip", clip, WeightClipParameter)
        weight_limits.clip_(self.weight.detach(), clip)

    @checked
    def remap_weights(self, remap: WeightRemapParameter, scales: Tensor) -> Tensor:
        """Rescale the weights in place; scales times weights stay the same.

        The largest logical weight, of the tile or of each output, over `remapped_wmax` becomes the
        new scale, which is positive: the weights take over the sign of learned ones.

        Args:
            remap: Kind.
            scales: Present scales, shape `[out]`.

        Returns:
            New scales, shape `[out]`.

        Raises:
            ArgumentError: The parameters are none, or a scale is not finite.
            ConfigError: The limits do not go together.
            InputError: `scales` has another shape.
        """
        weight_limits.check_remap(remap)
        weight_limits.check_scales(scales, self.d_size)
        return weight_limits.remap_(self.weight.detach(), remap, scales, of_logical=True).clone()

    def register_weight_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Any:
        """Return the handle of a hook on the gradient of the weights.

        Args:
            hook: Gets the gradient; may return another one.
        """
        return self.weight.register_hook(hook)  # type: ignore[no-untyped-call]

    def get_brief_info(self) -> str:
        """Return kind, size and device in one line."""
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """Return size and device."""
        return f"{self.d_size}, {self.x_size}, {self.weight.device}"

    def get_weights(self, as_ref: bool = False) -> Tensor:
        """Return the weights, shape `[out, in]`; a copy on the host.

        Args:
            as_ref: Return the live storage instead.
        """
        weight = self.weight.detach()
        return weight if check_flag("as_ref", as_ref) else weight.cpu().clone()

    @torch.no_grad()
    def set_weights(self, weight: Tensor) -> None:
        """Write the weights.

        Args:
            weight: Shape `[out, in]`; any floating-point dtype and device.

        Raises:
            ArgumentError: A value is not finite in the precision of the tile; nothing is changed.
            InputError: Wrong shape.
        """
        own, shape = self.weight, (self.d_size, self.x_size)
        own.copy_(weight_limits.check_weights(weight, shape, dtype=own.dtype, device=own.device))

    @torch.no_grad()
    def set_weights_uniform_random(self, bmin: float, bmax: float) -> None:
        """Draw the weights uniformly from `[bmin, bmax)`.

        Raises:
            ArgumentError: The limits are not finite or not in order.
        """
        bmin, bmax = weight_limits.check_limits(bmin, bmax, self.weight.dtype)
        self.weight.uniform_(bmin, bmax)

    def get_x_size(self) -> int:
        """Return the number of inputs."""
        return self.x_size

    def get_d_size(self) -> int:
        """Return the number of outputs."""
        return self.d_size

    def get_learning_rate(self) -> float | None:
        """Return None: the rate is that of the torch optimizer."""
        return None

    def set_learning_rate(self, learning_rate: float | None) -> None:
        """Ignore the rate: it is that of the torch optimizer."""

    def get_meta_parameters(self) -> Any:
        """Return the configuration."""
        return self._config


def _refuse_layout(bias: bool, in_trans: bool, out_trans: bool) -> None:
    if bias is False and in_trans is False and out_trans is False:  # in every product
        return
    bias, in_trans, out_trans = check_flags(bias=bias, in_trans=in_trans, out_trans=out_trans)
    if bias:
        raise AnalogBiasConfigError("bias: torch tiles have no analog bias; use a digital one")
    if in_trans or out_trans:
        raise TorchTileConfigError(
            "in_trans, out_trans: torch tiles have their features on the last axis"
        )


def _spread(io: IOParameters) -> float:
    return 0.0 if io.is_perfect else io.out_noise_std
