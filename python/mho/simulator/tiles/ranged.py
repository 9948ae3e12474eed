"""Input range of a tile."""

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, ConfigError
from mho.simulator.parameters.pre_post import InputRangeParameter
from mho.simulator.parts import input_range
from mho.simulator.tiles.crosspoints import CrosspointTile


class RangedTile(CrosspointTile):
    """Tile that can clip and scale its inputs to a range, learned or not."""

    input_range: Tensor | None
    input_range_update_idx: Tensor | None

    def _range_params(self) -> InputRangeParameter | None:
        pre_post = getattr(self.rpu_config, "pre_post", None)
        params: InputRangeParameter | None = getattr(pre_post, "input_range", None)
        return params if params is not None and params.enable else None

    def _range(self) -> Tensor | None:
        return None if self.input_range is None else input_range.positive(self.input_range)

    def _normalised(self, values: Tensor, update_from_data: bool) -> Tensor:
        clipped = self.apply_input_range(values, update_from_data)
        r = self._range()
        assert r is not None  # apply_input_range has checked it
        return clipped / r

    def init_input_processing(self) -> bool:
        """Add or remove the input range as the configuration says.

        Returns:
            Whether there is an input range.

        Raises:
            ConfigError: `manage_output_clipping` is on, but clipped outputs cannot be observed.
        """
        params = self._range_params()
        if params is not None and params.manage_output_clipping:
            if not params.supports_manage_output_clipping(self.rpu_config):
                raise ConfigError(
                    "pre_post.input_range.manage_output_clipping: needs a forward that is not"
                    " perfect, with noise and bound management NONE"
                )
        present = getattr(self, "input_range", None)
        self._parameters.pop("input_range", None)
        self._buffers.pop("input_range", None)
        if params is None:
            self.register_buffer("input_range", None)
            self.register_buffer("input_range_update_idx", None)
            return False
        value = (
            torch.full((1,), float(params.init_value), dtype=torch.float32)
            if present is None
            else present.detach().clone()
        )
        if params.learn_input_range:
            self.register_parameter("input_range", nn.Parameter(value))
        else:
            self.register_buffer("input_range", value)
        if getattr(self, "input_range_update_idx", None) is None:
            self.register_buffer("input_range_update_idx", torch.zeros(1, dtype=torch.float32))
        return True

    def set_input_range(self, value: Tensor | float) -> None:
        """Set the input range.

        Args:
            value: New range; the absolute value of the first element is taken.

        Raises:
            ArgumentError: It is zero or not finite.
            ConfigError: The tile has no input range.
        """
        if self.input_range is None:
            raise ConfigError("pre_post.input_range.enable: the tile has no input range; enable it")
        number = abs(float(value.reshape(-1)[0] if isinstance(value, Tensor) else value))
        if not 0.0 < number < float("inf"):
            raise ArgumentError(f"value: expected a finite range other than zero, got {value}")
        self.input_range.data.fill_(number)

    def apply_input_range(self, values: Tensor, update_from_data: bool = False) -> Tensor:
        """Return values clipped to the input range.

        Args:
            values: Inputs of any shape.
            update_from_data: Let the range follow the data first, as long as `init_from_data` says.

        Raises:
            ConfigError: The tile has no input range.
        """
        params, r, idx = self._range_params(), self.input_range, self.input_range_update_idx
        if params is None or r is None or idx is None:
            raise ConfigError("pre_post.input_range.enable: the tile has no input range; enable it")
        if update_from_data:
            input_range.update_from_data(values, r, idx, params)
        bound = input_range.positive(r)
        return torch.clamp(values, -bound, bound)
