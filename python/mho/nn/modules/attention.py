"""Attention of several heads whose projections are analog layers, called as that of torch is."""

from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, pad, scaled_dot_product_attention, softmax

from mho.exceptions import ArgumentError, InputError, short_traceback
from mho.nn.conversion_table import register_analog
from mho.nn.modules.attention_masks import check_masks, mask_of_scores
from mho.nn.modules.container import AnalogContainerBase
from mho.nn.modules.layer_weight import refuse_assignment
from mho.nn.modules.linear import AnalogLinear
from mho.nn.modules.packed_weight import packed
from mho.simulator.parameters.arguments import (
    check_flags,
    check_instance,
    check_probability,
    check_size,
)
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parts.clipping import unwatched
from mho.simulator.state.ordinary import on_host
from mho.simulator.state.transaction import nobody_sees
from mho.simulator.tiles.analog import SingleRPUConfig

AttentionT = TypeVar("AttentionT", bound="AnalogMultiheadAttention")

INPUTS = ("q_proj", "k_proj", "v_proj")
PROJECTIONS = (*INPUTS, "out_proj")
# What torch has for the projections of the inputs, in one matrix or in three.
_SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
_VIEWS = ("in_proj_weight", "in_proj_bias", *_SEPARATE)
_ARGUMENTS = (
    "embed_dim", "num_heads", "dropout", "add_zero_attn", "kdim", "vdim", "batch_first",
)  # fmt: skip


@register_analog(nn.MultiheadAttention)
class AnalogMultiheadAttention(AnalogContainerBase, nn.Module):
    """What `torch.nn.MultiheadAttention` becomes: four linear layers, and digital attention.

    ``q_proj``, ``k_proj``, ``v_proj`` and ``out_proj`` are layers of their own, so each has tiles,
    ranges and a configuration of its own. Scores, softmax and the weighted sum of values multiply
    two inputs with each other, for which there is nothing to store in a crossbar; they are digital,
    as are the vectors that ``add_bias_kv`` adds.

    With the same torch seed the initial logical weights are those of torch, within the bounds of
    the devices.
    """

    STANDS_FOR_LAYER: ClassVar[bool] = True
    OWN_ENTRIES: ClassVar[tuple[str, ...]] = PROJECTIONS

    embed_dim: int
    num_heads: int
    head_dim: int
    dropout: float
    kdim: int
    vdim: int
    batch_first: bool
    add_zero_attn: bool
    bias_k: Tensor | None
    bias_v: Tensor | None
    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear
    out_proj: nn.Linear

    @short_traceback
    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        rpu_config: RPUConfigBase | None = None,
        tile_module_class: type | None = None,
    ) -> None:
        """Build the projections, with the arguments and the initial weights of torch.

        Args:
            embed_dim: Size of queries and outputs, over all heads.
            num_heads: Number of heads, by which it can be divided.
            dropout: Probability with which a weight of the attention is dropped in training.
            bias: Whether projections have a bias.
            add_bias_kv: Whether to append a trained vector to keys and to values.
            add_zero_attn: Whether to append zeros to keys and values.
            kdim: Size of keys, ``embed_dim`` by default.
            vdim: Size of values, ``embed_dim`` by default.
            batch_first: Whether the batch is the first axis of tensors, not the second.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` by default.
            tile_module_class: As for `AnalogLinear`.

        Raises:
            ArgumentError: A size is no positive integer, or cannot be divided by the number of
                heads, a choice is no truth value, or ``rpu_config`` is no configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        super().__init__()
        check_size("embed_dim", embed_dim)
        check_size("num_heads", num_heads)
        if embed_dim % num_heads:
            raise ArgumentError(
                f"embed_dim: {embed_dim} cannot be divided by num_heads, {num_heads}"
            )
        for name, size in (("kdim", kdim), ("vdim", vdim)):
            if size is not None:
                check_size(name, size)
        probability = check_probability("dropout", dropout)
        flags = check_flags(
            bias=bias,
            add_bias_kv=add_bias_kv,
            add_zero_attn=add_zero_attn,
            batch_first=batch_first,
        )
        arguments: Any = (embed_dim, num_heads, probability, *flags[:3], kdim, vdim, flags[3])
        # Tiles first, and their draws apart: the layer consumes those of torch's only.
        with torch.random.fork_rng(devices=[]):
            with torch.device("meta"):
                empty = nn.MultiheadAttention(*arguments)
            self._adopt(empty)
            self._make_analog(rpu_config, tile_module_class)
        with on_host(), unwatched(), nobody_sees():
            drawn = self.opened(nn.MultiheadAttention(*arguments))
            for name in PROJECTIONS:
                digital = getattr(drawn, name)
                getattr(self, name).set_weights(digital.weight, digital.bias)
        self.bias_k, self.bias_v = drawn.bias_k, drawn.bias_v

    def _adopt(self, digital: nn.MultiheadAttention) -> None:
        """Take over arguments and vectors, and make a digital layer of each projection."""
        for name in _ARGUMENTS:
            setattr(self, name, getattr(digital, name))
        self.head_dim = self.embed_dim // self.num_heads
        self.bias_k, self.bias_v = digital.bias_k, digital.bias_v
        weights = [getattr(digital, name) for name in _SEPARATE]
        if digital.in_proj_weight is not None:
            weights = list(digital.in_proj_weight.chunk(3))
        biases: Any = (None, None, None)
        if digital.in_proj_bias is not None:
            biases = digital.in_proj_bias.chunk(3)
        for name, weight, bias in zip(INPUTS, weights, biases, strict=True):
            setattr(self, name, _linear(weight, bias).train(digital.training))
        self.out_proj = digital.out_proj
        self.train(digital.training)

    def _make_analog(
        self, rpu_config: RPUConfigBase | None, tile_module_class: type | None
    ) -> None:
        config = SingleRPUConfig() if rpu_config is None else rpu_config
        for name in PROJECTIONS:
            digital = getattr(self, name)
            analog = AnalogLinear.from_digital(digital, config, tile_module_class)
            for own, given in ((analog.weight, digital.weight), (analog.bias, digital.bias)):
                if own is not None and not given.requires_grad:
                    own.requires_grad_(False)
            setattr(self, name, analog)

    @classmethod
    def opened(cls: type[AttentionT], module: nn.MultiheadAttention) -> AttentionT:
        """Return the module with projections that are digital layers still.

        Conversion of a model goes on with these, so that each has a name, a configuration and hooks
        of its own.

        Args:
            module: Digital module; not changed, ``out_proj`` and additional vectors are shared.
        """
        opened = cls.__new__(cls)
        nn.Module.__init__(opened)
        opened._adopt(module)
        return opened

    @classmethod
    def from_digital(
        cls: type[AttentionT],
        module: nn.MultiheadAttention,
        rpu_config: RPUConfigBase | None,
        tile_module_class: type | None = None,
    ) -> AttentionT:
        """Return a module with the weights of a digital one, whose projections are analog.

        Args:
            module: Digital module; not changed, additional vectors are shared.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` if it is None.
            tile_module_class: As for `AnalogLinear`.

        Raises:
            ArgumentError: `module` is no such module, or ``rpu_config`` no configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        check_instance("module", module, nn.MultiheadAttention)
        analog = cls.opened(module)
        analog._make_analog(rpu_config, tile_module_class)
        return analog

    @classmethod
    def to_digital(
        cls, module: "AnalogMultiheadAttention", realistic: bool = False
    ) -> nn.MultiheadAttention:
        """Return the module of torch with the weights of the projections, on their device.

        Args:
            module: Module; not changed, additional vectors are shared.
            realistic: Estimate the weights from noisy products instead of reading them exactly.

        Raises:
            ArgumentError: `module` is no such module, or a projection is no linear layer any more.
        """
        check_instance("module", module, AnalogMultiheadAttention)
        layers: list[nn.Linear] = [getattr(module, name) for name in PROJECTIONS]
        for name, layer in zip(PROJECTIONS, layers, strict=True):
            if not isinstance(layer, nn.Linear):
                raise ArgumentError(
                    f"module: {name} is {type(layer).__name__}, and torch's module has room for"
                    " the weights of a linear layer only; merge or unload adapters first"
                )
        values = [_values(layer, realistic) for layer in layers]
        like = layers[0].weight
        # Without storage nothing is drawn from torch's generator.
        digital = nn.MultiheadAttention(
            module.embed_dim, module.num_heads, module.dropout, values[0][1] is not None, False,
            module.add_zero_attn, module.kdim, module.vdim, module.batch_first, "meta", like.dtype,
        ).to_empty(device=like.device)  # fmt: skip
        digital.bias_k, digital.bias_v = module.bias_k, module.bias_v
        weights, biases = ([pair[i] for pair in values] for i in (0, 1))
        if digital.in_proj_weight is not None:
            _fill(digital.in_proj_weight, weights[:3], layers[0].weight)
        else:
            for name, weight, layer in zip(_SEPARATE, weights, layers, strict=False):
                _fill(getattr(digital, name), [weight], layer.weight)
        _fill(digital.out_proj.weight, weights[3:], layers[3].weight)
        if digital.in_proj_bias is not None:
            _fill(digital.in_proj_bias, biases[:3], layers[0].bias)
            _fill(digital.out_proj.bias, biases[3:], layers[3].bias)
        return digital.train(module.training)

    def digital_entries(self) -> tuple[str, ...]:
        """Return names of entries of the module of torch, which the projections have instead."""
        return _VIEWS

    @property
    def _qkv_same_embed_dim(self) -> bool:
        # Torch's transformers ask for it.
        return self.kdim == self.embed_dim and self.vdim == self.embed_dim

    @property
    def in_proj_weight(self) -> Tensor | None:
        """Logical weights of the three inputs, ``[3 embed_dim, embed_dim]``.

        Values are read on demand and written through, see `AnalogLinear.weight`. None if keys or
        values have another size, as in torch.
        """
        return self._packed("weight") if self._qkv_same_embed_dim else None

    @property
    def in_proj_bias(self) -> Tensor | None:
        """Bias of the three inputs, ``[3 embed_dim]``, in the same way; None without one."""
        return self._packed("bias")

    @property
    def q_proj_weight(self) -> Tensor | None:
        """Logical weights of the queries if sizes differ, else None, as in torch."""
        return None if self._qkv_same_embed_dim else self.q_proj.weight

    @property
    def k_proj_weight(self) -> Tensor | None:
        """The same for the keys."""
        return None if self._qkv_same_embed_dim else self.k_proj.weight

    @property
    def v_proj_weight(self) -> Tensor | None:
        """The same for the values."""
        return None if self._qkv_same_embed_dim else self.v_proj.weight

    def _packed(self, name: str) -> Tensor | None:
        # Inside of a graph torch's layers only ask whether there is something for a fused kernel.
        if torch.compiler.is_compiling():
            return None
        return packed([getattr(self, projection) for projection in INPUTS], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _VIEWS:
            refuse_assignment(name)
        super().__setattr__(name, value)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, as the module of torch does; there is no other, fused path.

        Args:
            query: Queries ``[L, N, embed_dim]``, ``[N, L, embed_dim]`` if the batch is first, or
                ``[L, embed_dim]`` without a batch.
            key: Keys of size ``kdim`` in the same form, S of them.
            value: Values of size ``vdim`` in the same form, S of them.
            key_padding_mask: ``[N, S]``, ``[S]`` without a batch; True, or what is added to scores,
                where a key is to be ignored.
            need_weights: Whether to return the weights of the attention.
            attn_mask: ``[L, S]``, or ``[N * num_heads, L, S]``; the same for pairs.
            average_attn_weights: Whether to average the weights over the heads.
            is_causal: Whether ``attn_mask``, which has to be given, is the causal one.

        Returns:
            Outputs in the form of the queries, and weights ``[N, L, S]`` or
            ``[N, num_heads, L, S]``, or None.

        Raises:
            InputError: Number of axes, sizes, dtype or device does not fit, a mask has the wrong
                shape, or a tensor is nested.
        """
        is_single = self._check(query, key, value)
        check_masks(key_padding_mask=key_padding_mask, attn_mask=attn_mask)
        if is_causal and attn_mask is None:
            raise InputError(
                "is_causal: says that attn_mask is the causal one, but there is none; see"
                " torch.nn.Transformer.generate_square_subsequent_mask"
            )
        batch_axis = 0 if self.batch_first or is_single else 1
        if is_single:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            if key_padding_mask is not None:
                key_padding_mask = key_padding_mask.unsqueeze(0)
        heads = [
            self._heads(getattr(self, name)(x), batch_axis)
            for name, x in zip(INPUTS, (query, key, value), strict=True)
        ]
        more = int(self.bias_k is not None) + int(self.add_zero_attn)
        mask, is_causal = mask_of_scores(
            heads[0], heads[1], key_padding_mask, attn_mask, is_causal and not need_weights, more
        )
        q, k, v = heads[0], *self._extended(heads[1], heads[2])
        probability = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * (1.0 / self.head_dim) ** 0.5) @ k.transpose(-2, -1)
            weights = softmax(scores if mask is None else scores + mask, dim=-1)
            if probability > 0.0:
                weights = dropout(weights, probability)
            attended = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights.squeeze(0) if is_single else weights
        else:
            attended = scaled_dot_product_attention(q, k, v, mask, probability, is_causal)
        order = (0, 2, 1, 3) if batch_axis == 0 else (2, 0, 1, 3)
        output: Tensor = self.out_proj(attended.permute(order).flatten(2))
        return output.squeeze(0) if is_single else output, weights

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> bool:
        """Check the inputs; returns whether they are without a batch."""
        inputs = {"query": query, "key": key, "value": value}
        for name, x in inputs.items():
            if not isinstance(x, Tensor) or x.dim() not in (2, 3) or x.dim() != query.dim():
                given = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
                raise InputError(
                    f"{name}: expected a tensor of two axes, or of three with a batch, as many as"
                    f" the query has, got {given}"
                )
            if x.is_nested:
                raise InputError(
                    f"{name}: nested tensors are made for the fused kernel of torch, which would go"
                    " past the tiles; pad the sequences and hand over key_padding_mask"
                )
        if key.shape[:-1] != value.shape[:-1]:
            raise InputError(
                f"value: {tuple(value.shape)} has not the batch and the length of the key,"
                f" {tuple(key.shape)}"
            )
        batch_axis = 0 if self.batch_first else 1
        if query.dim() == 3 and query.shape[batch_axis] != key.shape[batch_axis]:
            raise InputError(
                f"key: batch of {key.shape[batch_axis]}, but the query has one of"
                f" {query.shape[batch_axis]}; batch_first is {self.batch_first}"
            )
        return query.dim() == 2

    def _heads(self, projected: Tensor, batch_axis: int) -> Tensor:
        """Return projected vectors as ``[N, num_heads, length, head_dim]``."""
        split = projected.reshape(*projected.shape[:2], self.num_heads, self.head_dim)
        return split.permute((0, 2, 1, 3) if batch_axis == 0 else (1, 2, 0, 3))

    def _extended(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append the additional vectors to keys and values."""
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (
                torch.cat([x, self._heads(extra.to(x.dtype), 0).expand(x.shape[0], -1, -1, -1)], 2)
                for x, extra in ((k, self.bias_k), (v, self.bias_v))
            )
        if self.add_zero_attn:
            k, v = (pad(x, (0, 0, 0, 1)) for x in (k, v))
        return k, v


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a layer of torch with copies of weights and bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta")
    layer.weight = nn.Parameter(weight.detach().clone(), weight.requires_grad)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
    return layer


def _values(layer: nn.Linear, realistic: bool) -> tuple[Tensor, Tensor | None]:
    """Return copies of weights and bias of a layer, analog or digital."""
    if isinstance(layer, AnalogLinear):
        return layer.get_weights(realistic=realistic)
    return layer.weight.detach(), None if layer.bias is None else layer.bias.detach()


@torch.no_grad()
def _fill(parameter: Tensor, values: Any, like: Any) -> None:
    """Write values, one below the other, and freeze the parameter as another one is."""
    parameter.copy_(torch.cat(values))
    parameter.requires_grad_(like.requires_grad)
