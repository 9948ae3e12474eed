"""Layers of torch with quantised weights and outputs."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mho.exceptions import ArgumentError
from mho.simulator.digital_low_precision.base_quantized_classes import (
    FP32Acts,
    QuantizedActivation,
)
from mho.simulator.digital_low_precision.base_quantized_model import QuantizedModel
from mho.simulator.digital_low_precision.hijacker import QuantizationHijacker
from mho.simulator.parameters.signatures import checked

__all__ = [
    "FP32Acts",
    "QuantBatchNorm2d",
    "QuantConv2d",
    "QuantEmbedding",
    "QuantLayerNorm",
    "QuantLinear",
    "QuantizationHijacker",
    "QuantizedActivation",
    "QuantizedModel",
]


class QuantLinear(QuantizationHijacker, nn.Linear):
    """Linear layer with quantised weights and outputs."""

    def run_forward(
        self, x: Tensor, weight: Any, bias: Tensor | None, offsets: Any = None
    ) -> Tensor:
        """Return the product; see the base class.

        Args:
            x: Shape `[..., in_features]`.
            weight: Shape `[out_features, in_features]`.
            bias: Shape `[out_features]`.
            offsets: Not used.
        """
        return F.linear(x, weight, bias)


class QuantConv2d(QuantizationHijacker, nn.Conv2d):
    """Convolution of images with quantised kernels and outputs."""

    def run_forward(
        self, x: Tensor, weight: Any, bias: Tensor | None, offsets: Any = None
    ) -> Tensor:
        """Return the convolution; see the base class.

        Args:
            x: Shape `[batch, in_channels, height, width]`.
            weight: Kernels.
            bias: Shape `[out_channels]`.
            offsets: Not used.
        """
        convolved: Tensor = self._conv_forward(x, weight, bias)
        return convolved


class QuantLayerNorm(QuantizationHijacker, nn.LayerNorm):
    """Layer normalisation with quantised factors and outputs."""

    def run_forward(
        self, x: Tensor, weight: Any, bias: Tensor | None, offsets: Any = None
    ) -> Tensor:
        """Return the normalised values; see the base class.

        Args:
            x: Last axes as `normalized_shape`.
            weight: Factors.
            bias: Offsets.
            offsets: Not used.
        """
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


class QuantEmbedding(QuantizationHijacker, nn.Embedding):
    """Table of quantised vectors. Outputs are its rows, and so quantised already."""

    def __init__(self, *args: Any, activation: nn.Module | None = None, **kwargs: Any) -> None:
        """Build the table.

        Args:
            args: As for `torch.nn.Embedding`.
            activation: Function applied to the rows.
            kwargs: As for `torch.nn.Embedding` and `QuantizedModule`.

        Raises:
            ArgumentError: `sparse` is set: all rows share a range, so their gradients are dense.
        """
        if kwargs.get("sparse", False):
            raise ArgumentError("sparse: gradients of quantised tables are dense; set it to False")
        super().__init__(*args, activation=activation, **kwargs)
        self.activation_quantizer = FP32Acts()

    def run_forward(
        self, x: Tensor, weight: Any, bias: Tensor | None, offsets: Any = None
    ) -> Tensor:
        """Return rows of the table; see the base class.

        Args:
            x: Numbers of rows, any shape.
            weight: Table.
            bias: None.
            offsets: Not used.
        """
        return F.embedding(
            x,
            weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )


class _QuantizedNorm(QuantizationHijacker, nn.BatchNorm2d):
    """Batch normalisation with quantised factors and outputs."""

    def run_forward(
        self, x: Tensor, weight: Any, bias: Tensor | None, offsets: Any = None
    ) -> Tensor:
        self._check_input_dim(x)
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:
            seen = self.num_batches_tracked
            momentum = 1.0 / float(seen) if self.training and seen is not None else 0.0
        uses_batch = self.training or (self.running_mean is None and self.running_var is None)
        keeps = not self.training or self.track_running_stats
        return F.batch_norm(
            x,
            self.running_mean if keeps else None,
            self.running_var if keeps else None,
            weight,
            bias,
            uses_batch,
            momentum,
            self.eps,
        )


class QuantBatchNorm2d(QuantizedModel):
    """Batch normalisation with quantised factors and outputs, made of one in full precision."""

    @checked
    def __init__(self, org_model: nn.Module, **quant_params: Any) -> None:
        """Take over parameters and statistics.

        Args:
            org_model: A `torch.nn.BatchNorm2d`.
            quant_params: As for `QuantizedModule`. What `convert_to_quantized` adds,
                `quantization_map`, is not needed.

        Raises:
            ArgumentError: It is something else.
        """
        super().__init__()
        if not isinstance(org_model, nn.BatchNorm2d):
            raise ArgumentError(f"org_model: expected BatchNorm2d, got {type(org_model).__name__}")
        quant_params.pop("quantization_map", None)
        self.norm = _QuantizedNorm(
            org_model.num_features,
            eps=org_model.eps,
            momentum=org_model.momentum,
            affine=org_model.affine,
            track_running_stats=org_model.track_running_stats,
            **quant_params,
        )
        self.norm._parameters.update(org_model._parameters)
        self.norm._buffers.update(org_model._buffers)
        self.train(org_model.training)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised values.

        Args:
            x: Shape `[batch, channels, height, width]`.
        """
        result: Tensor = self.norm(x)
        return result
