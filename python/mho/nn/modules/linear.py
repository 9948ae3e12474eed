"""Fully connected layer on one tile or on an array of tiles."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mho.exceptions import InputError, short_traceback
from mho.nn.conversion_table import register_analog
from mho.nn.modules import loading
from mho.nn.modules.base import AnalogLayerBase
from mho.nn.modules.construction import build, weights_follow
from mho.nn.modules.layer_weight import (
    LayerWeight,
    WeightSource,
    check_assignment,
    io_dtype,
    refuse_reparametrisation,
)
from mho.nn.modules.location import raise_located
from mho.nn.modules.module_call import call
from mho.simulator.parameters.arguments import (
    check_flag,
    check_instance,
    check_rpu_config,
    check_size,
    check_tile_module_class,
)
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parts.clipping import unwatched, warning_of_clipping
from mho.simulator.state.ordinary import on_host
from mho.simulator.state.transaction import nobody_sees
from mho.simulator.tiles.analog import SingleRPUConfig

LinearT = TypeVar("LinearT", bound="AnalogLinear")


@register_analog(nn.Linear)
class AnalogLinear(AnalogLayerBase, nn.Linear):
    """Linear layer ``y = x W^T + b`` whose product is computed by a crossbar.

    With the same torch seed the initial logical weights are those of `torch.nn.Linear`, limited
    only by the bounds of the devices, and exactly as many random numbers are drawn from torch's
    generator.
    """

    @short_traceback
    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
    ) -> None:
        """Build the tile and initialise its weights.

        Args:
            in_features: Size of an input vector.
            out_features: Size of an output vector.
            bias: Whether to add a trained bias; the mapping of the configuration says where.
            rpu_config: Configuration of the tile, `SingleRPUConfig()` by default; the tile gets a
                copy.
            tile_module_class: Tile or tile array; by default the configuration chooses by size.

        Raises:
            ArgumentError: A size is not a positive integer, ``bias`` is no truth value, or
                ``rpu_config`` is not an instance of a configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        nn.Module.__init__(self)  # that of nn.Linear would allocate and draw digital weights
        check_size("in_features", in_features)
        check_size("out_features", out_features)
        bias = check_flag("bias", bias)
        rpu_config = SingleRPUConfig() if rpu_config is None else check_rpu_config(rpu_config)
        if tile_module_class is None:
            tile_module_class = rpu_config.get_default_tile_module_class(out_features, in_features)
        check_tile_module_class(tile_module_class)
        self.in_features = in_features
        self.out_features = out_features
        self.analog_module: Any

        def make_tiles() -> None:
            self.analog_module = tile_module_class(out_features, in_features, rpu_config, bias)

        build(make_tiles, self.reset_parameters)

    @property
    def weight(self) -> LayerWeight:  # type: ignore[override]
        """Logical weights ``[out_features, in_features]``, read from the tiles on demand.

        `torch.nn.init` and other operations in place write through the tiles. Gradients do not
        pass: a penalty on the weights belongs to the tiles, see their configuration.

        Raises:
            ModuleError: On assignment; use `set_weights`.
        """
        return LayerWeight(WeightSource(self, self._analog_module(), self._weight_shape(), False))

    @property
    def bias(self) -> LayerWeight | None:  # type: ignore[override]
        """Bias ``[out_features]`` in the same way, true as a condition; None without one."""
        if not self._has_bias():
            return None
        return LayerWeight(WeightSource(self, self._analog_module(), (self.out_features,), True))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("weight", "bias"):
            check_assignment(self, name, value)
            return
        super().__setattr__(name, value)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter; the logical weights cannot become another one.

        Raises:
            ModuleError: They are handed over, as pruning and weight norm of torch do.
        """
        if isinstance(param, LayerWeight):
            refuse_reparametrisation(name)
        super().register_parameter(name, param)

    def _has_bias(self) -> bool:
        return bool(self.analog_module.use_bias)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, missing_keys: Any,
        unexpected_keys: Any, error_msgs: list[str],
    ) -> None:  # fmt: skip
        if strict and loading.is_digital_entry(state_dict, prefix):
            error_msgs.append(loading.digital_entry(prefix))
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def reset_parameters(self) -> None:
        """Draw the weights of a new `torch.nn.Linear` and write them to the tile."""
        with on_host(), unwatched():
            digital = nn.Linear(self.in_features, self.out_features, bias=self._has_bias())
            self.set_weights(digital.weight, digital.bias)

    def forward(self, x_input: Tensor) -> Tensor:
        """Compute the analog product of every input vector.

        Args:
            x_input: Tensor ``[..., in_features]`` of rank 1 or more.

        Returns:
            Tensor ``[..., out_features]``.

        Raises:
            InputError: Number of features, dtype or device does not fit the tile; the message has
                the sizes of the layer and, inside a model, its name.
        """
        # Not self.analog_module: the lookup of submodules by attribute costs as much as the call.
        try:
            return call(self._modules["analog_module"], x_input)
        except InputError as error:
            raise_located(error, self)

    def _weight_shape(self) -> tuple[int, ...]:
        return self.out_features, self.in_features

    def extra_repr(self) -> str:
        """Return sizes, whether there is a bias, and the name of the configuration."""
        return self._with_config_name(
            f"in_features={self.in_features}, out_features={self.out_features},"
            f" bias={self._has_bias()}"
        )

    @classmethod
    def from_digital(
        cls: type[LinearT],
        module: nn.Linear,
        rpu_config: RPUConfigBase,
        tile_module_class: type | None = None,
    ) -> LinearT:
        """Return an analog layer with the weights of a digital one, on the same device.

        Warns if weights are beyond the bounds of the devices, which clip them. A layer on the meta
        device has no weights yet: its tile is made on the host, with those of a fresh layer.

        Args:
            module: Digital layer; not changed.
            rpu_config: Configuration of the tile.
            tile_module_class: As in the constructor.

        Raises:
            ArgumentError: `module` is no `torch.nn.Linear`, or as for the constructor.
        """
        check_instance("module", module, nn.Linear)
        sizes = module.in_features, module.out_features, module.bias is not None
        if module.weight.is_meta:
            layer = cls(*sizes, rpu_config, tile_module_class).train(module.training)
            return layer.to(dtype=module.weight.dtype)
        with weights_follow():
            layer = cls(*sizes, rpu_config, tile_module_class).train(module.training)
        with warning_of_clipping(), nobody_sees():
            layer.set_weights(module.weight, module.bias)
        return layer.to(module.weight.device, module.weight.dtype)

    @classmethod
    def to_digital(cls, module: "AnalogLinear", realistic: bool = False) -> nn.Linear:
        """Return a digital layer with the weights of an analog one, on the device of its tile.

        Args:
            module: Analog layer; not changed.
            realistic: Estimate the weights from noisy products instead of reading them exactly.

        Raises:
            ArgumentError: `module` is no such layer.
        """
        check_instance("module", module, AnalogLinear)
        tile = next(module.analog_tiles())
        weight, bias = module.get_weights(realistic=realistic)
        # Without storage nothing is drawn from torch's generator.
        digital = nn.Linear(
            module.in_features, module.out_features, bias is not None, "meta", io_dtype(tile)
        )
        digital = digital.to_empty(device=tile.device).train(module.training)
        with torch.no_grad():
            digital.weight.copy_(weight)
            if bias is not None:
                digital.bias.copy_(bias)
        return digital
