"""Functional operators for `torch.compile` and `torch.export`.

`mho::next_call` advances the position in the random stream, the only mutation. `mho::batches_seen`
lets ranges follow the data, except where a checkpoint would recompute that. `mho::mvm` is the
product with input range and scales; its gradient uses `mho::mvm_t`, keyed by the same call, and
`mho::trace`, which hands pairs to the context of a tile of this process.
"""

from functools import lru_cache
from typing import Any

import torch
import torch.fx.traceback as fx_traceback
from torch import Tensor

from mho import _core
from mho.exceptions import TileError
from mho.simulator.autograd.accumulation import accumulates
from mho.simulator.autograd.handles import tile_of_handle
from mho.simulator.autograd.recomputation import OPEN_PASSES, is_in_pass, number_in_pass
from mho.simulator.autograd.weight_gradient import weight_gradient
from mho.simulator.parameters.pre_post import InputRangeParameter
from mho.simulator.parts import input_range
from mho.simulator.raw_tiles.base import enter_range
from mho.simulator.raw_tiles.rows import from_rows

_LIBRARY: Any = torch.library.Library("mho", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define("next_call(Tensor(a!) calls) -> Tensor")
_LIBRARY.define("batches_seen(Tensor update_idx, int until) -> Tensor")
_LIBRARY.define(
    "mvm(Tensor x, Tensor weight, Tensor? token, Tensor? input_range, Tensor? scales,"
    " Tensor? alpha, Tensor seed, Tensor call, Tensor[] lines, Tensor[] back_lines, str line_names,"
    " str back_names, str config, int[] sizes,"
    " float[] factors, str range_config, bool is_test, bool masked, Tensor? modified)"
    " -> (Tensor, Tensor)"
)
_LIBRARY.define(
    "mvm_t(Tensor d, Tensor weight, Tensor seed, Tensor call, Tensor[] lines, str line_names,"
    " str config, int[] sizes, bool is_test) -> Tensor"
)
_LIBRARY.define("trace(Tensor x, Tensor d, Tensor? r, Tensor token, bool analog_bias) -> Tensor")


@lru_cache(maxsize=256)
def _spec(config: str, out_size: int, in_size: int, analog_bias: int) -> _core.TileSpec:
    return _core.TileSpec(config, out_size, in_size + analog_bias, bool(analog_bias))


@lru_cache(maxsize=256)
def _range_params(text: str) -> InputRangeParameter:
    return InputRangeParameter.from_json(text)


def _next_call(calls: Tensor) -> Tensor:
    if OPEN_PASSES and is_in_pass():
        return number_in_pass(lambda: _advanced(calls))
    return _advanced(calls)


def _advanced(calls: Tensor) -> Tensor:
    return torch.tensor([_core.next_call(calls)], dtype=torch.int64, device="cpu")


def _batches_seen(update_idx: Tensor, until: int) -> Tensor:
    # A graph would count a batch again where it is recomputed.
    if OPEN_PASSES and is_in_pass() and float(update_idx) < until:
        raise TileError(
            "checkpoint: a range that follows the data in a compiled graph would follow a"
            " recomputed batch twice; run the first batches (pre_post.input_range.init_from_data,"
            " pre_post.periph_quant.init_learning_after) without torch.compile or without"
            " torch.utils.checkpoint"
        )
    return update_idx.clone()


def _batches_seen_fake(update_idx: Tensor, until: int) -> Tensor:
    return torch.empty_like(update_idx)


def _next_call_fake(calls: Tensor) -> Tensor:
    # The compiler would advance the position again where it recomputes.
    if "recompute" in fx_traceback.current_meta:
        raise TileError(
            "checkpoint: the noise of a compiled graph cannot be repeated; compile without"
            " torch.utils.checkpoint, or checkpoint without torch.compile"
        )
    return torch.empty_like(calls)


def _named(names: str, lines: list[Tensor]) -> dict[str, Tensor] | None:
    return dict(zip(names.split(","), lines, strict=True)) if lines else None


def _mvm(
    x: Tensor,
    weight: Tensor,
    token: Tensor | None,
    range_: Tensor | None,
    scales: Tensor | None,
    alpha: Tensor | None,
    seed: Tensor,
    call: Tensor,
    lines: list[Tensor],
    back_lines: list[Tensor],
    line_names: str,
    back_names: str,
    config: str,
    sizes: list[int],
    factors: list[float],
    range_config: str,
    is_test: bool,
    masked: bool,
    modified: Tensor | None,
) -> tuple[Tensor, Tensor]:
    out_size, _, analog_bias = sizes
    r = None if range_ is None else input_range.positive(range_)
    seen = x if r is None else enter_range(x, r)
    bias = None if not analog_bias else (1.0 if r is None else 1.0 / float(r))
    y = x.new_empty(x.shape[0], out_size)
    shape = (x.shape[0], out_size) if masked else (0, 0)
    mask = torch.empty(shape, dtype=torch.uint8, device="cpu")
    _core.mvm(
        _spec(config, *sizes), False, seen.contiguous(), weight if modified is None else modified,
        y, seed, int(call), is_test, bias, _named(line_names, lines), mask if masked else None,
    )  # fmt: skip
    for factor in (r, scales, alpha):
        if factor is not None:
            y = y * factor
    return y, mask


def _mvm_fake(x: Tensor, weight: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
    rows, out_size, masked = x.shape[0], args[11][0], args[15]
    mask = x.new_empty((rows, out_size) if masked else (0, 0), dtype=torch.uint8)
    return x.new_empty((rows, out_size)), mask


def _mvm_t(
    d: Tensor,
    weight: Tensor,
    seed: Tensor,
    call: Tensor,
    lines: list[Tensor],
    line_names: str,
    config: str,
    sizes: list[int],
    is_test: bool,
) -> Tensor:
    y = d.new_empty(d.shape[0], sizes[1])
    _core.mvm(
        _spec(config, *sizes), True, d.contiguous(), weight, y, seed, int(call), is_test, None,
        _named(line_names, lines), None,
    )  # fmt: skip
    return y


def _mvm_t_fake(d: Tensor, weight: Tensor, *args: Any) -> Tensor:
    return d.new_empty((d.shape[0], args[5][1]))


def _trace(x: Tensor, d: Tensor, r: Tensor | None, token: Tensor, analog_bias: bool) -> Tensor:
    tile = tile_of_handle(int(token))
    if tile is None:
        raise TileError(
            "the analog tile of this compiled graph does not exist in this process; compile anew"
        )
    if not accumulates(tile._token):
        return torch.zeros_like(token)
    bias = None if not analog_bias else (1.0 if r is None else 1.0 / float(r))
    rows = (x.shape[0],)
    tile.analog_ctx.store(
        from_rows(x.detach().clone(), rows, tile.in_trans),
        from_rows(d.detach().clone(), rows, tile.out_trans),
        bias,
    )
    return torch.zeros_like(token)


def _trace_fake(x: Tensor, d: Tensor, r: Tensor | None, token: Tensor, analog_bias: bool) -> Tensor:
    return torch.empty_like(token)


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    x, weight, token, range_, scales, _, seed, call, lines, back_lines, _ = inputs[:11]
    ctx.back_names, ctx.config, ctx.sizes, ctx.factors = inputs[11:15]
    ctx.range_config, ctx.is_test, ctx.masked, modified = inputs[15:]
    ctx.line_count = len(lines)
    # The gradient of the weights needs none: it passes straight through a modifier.
    used = weight if modified is None else modified
    ctx.save_for_backward(x, used, token, range_, scales, seed, call, output[1], *back_lines)


def _backward(ctx: Any, d: Tensor, _: Any) -> tuple[Any, ...]:
    x, weight, token, range_, scales, seed, call, mask, *back_lines = ctx.saved_tensors
    r = None if range_ is None else input_range.positive(range_)
    clipped = mask if ctx.masked else None
    seen = x if r is None else enter_range(x, r)
    need_x, need_weight, need_token, need_range = ctx.needs_input_grad[:4]
    d_x = d_weight = d_token = d_range = None
    if need_x or need_range:
        scaled = d * ctx.factors[0]
        scaled = scaled if scales is None else scaled * scales
        if clipped is not None:
            scaled = scaled.masked_fill(clipped != 0, 0.0)
        d_x = torch.ops.mho.mvm_t(
            scaled,
            weight,
            seed,
            call,
            back_lines,
            ctx.back_names,
            ctx.config,
            ctx.sizes,
            ctx.is_test,
        )
        if need_range:
            d_range = input_range.gradient(x, d_x, r, _range_params(ctx.range_config), clipped)  # type: ignore[arg-type]
    if need_weight:
        d_weight = weight_gradient(
            seen, d, clipped, r, scales, ctx.factors[0], ctx.factors[1], bool(ctx.sizes[2])
        )
    if need_token:
        d_token = torch.ops.mho.trace(seen, d, r, token, bool(ctx.sizes[2]))
    lists = ([None] * ctx.line_count, [None] * len(back_lines))
    return (d_x, d_weight, d_token, d_range, *([None] * 4), *lists, *([None] * 9))


for _name, _function, _fake in (
    ("next_call", _next_call, _next_call_fake),
    ("mvm", _mvm, _mvm_fake),
    ("mvm_t", _mvm_t, _mvm_t_fake),
    ("trace", _trace, _trace_fake),
):
    _LIBRARY.impl(_name, _function, "CPU")
    torch.library.register_fake(f"mho::{_name}", _fake, lib=_LIBRARY)

# Torch tiles are on any device.
_LIBRARY.impl("batches_seen", _batches_seen, "CompositeExplicitAutograd")
torch.library.register_fake("mho::batches_seen", _batches_seen_fake, lib=_LIBRARY)


def _no_second_derivative(ctx: Any, _: Tensor) -> None:
    raise TileError("second derivative: those of compiled or exported products are not recorded")


torch.library.register_autograd("mho::mvm_t", _no_second_derivative, lib=_LIBRARY)
torch.library.register_autograd("mho::mvm", _backward, setup_context=_setup_context, lib=_LIBRARY)
