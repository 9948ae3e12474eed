"""Analog matrix-vector product as ordinary, differentiable torch code.

A row is one input vector `x`. With `s = 1 / (alpha rho)`, where `alpha` comes from noise management
and `rho` from bound management, it becomes

    v = K_in(clip(Q(x s)) + noise)                        input converter
    z = W v                                               array
    y = clip(Q(K_out(z) + noise)) out_scale / s           output converter

Gradients take the quantiser `Q` as the identity and noise and `s` as constants, and pass a clip
where the quantised value lies within the bound:
`dL/dx = M_in K_in W^T (M_out K_out dL/dy) out_scale`, with the masks `M` of the clips and the
factors `K` of the asymmetries.

Every draw comes from torch's default generator. So `torch.manual_seed` makes results reproducible,
a compiled graph draws afresh in every call, and the code runs on any device. The price: unlike in
the core, what a call draws depends on all that was drawn before it.

Tiles in half precision multiply in half precision, but scale, convert and add noise in float32:
reciprocals and levels would lose most of their bits otherwise.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from mho.exceptions import ConfigError, TorchTileConfigError
from mho.simulator.parameters.checking import join
from mho.simulator.parameters.enums import (
    AnalogMVType,
    BoundManagementType,
    NoiseManagementType,
    WeightNoiseType,
)
from mho.simulator.parameters.io import IOParameters
from mho.simulator.raw_tiles.torch.dac_adc import (
    ScaleRows,
    add_noise,
    attenuate_negative,
    converter,
    depends_on_sample,
    tracks,
)

Array = Callable[[Tensor], Sequence[tuple[float, Tensor]]]
"""What an array makes of converted inputs, shape `[rows, in]`: one or several phases, each with the
digital factor of its result and its analog outputs, shape `[rows, out]`."""

_MAX_PASSES = 64
_LOW_PRECISION = (torch.float16, torch.bfloat16)
# Parameters of the array and of the output stage that only the core simulates; off at zero or less.
_CORE_ONLY = (
    "w_noise",
    "ir_drop",
    "out_nonlinearity",
    "slope_calibration",
    "v_offset_std",
    "v_offset_w_min",
    "r_series",
    "w_read_asymmetry_dtod",
)


class Product(NamedTuple):
    """Result of one or several passes, one row per input vector."""

    y: Tensor
    """Outputs, shape `[rows, out]`."""

    ok: Tensor | None
    """Whether no output of the row exceeded its bound, shape `[rows, 1]`, if bounds are managed."""

    clipped: Tensor | None
    """Whether an output sits at its bound, shape `[rows, out]`, if asked for."""


class InputScale(NamedTuple):
    """Scale of the inputs that noise management chose."""

    s: Tensor | float
    """Factor on the inputs, `1 / alpha`; shape `[rows, 1]` or one number for all rows."""

    silent: Tensor | None
    """Rows without signal, whose output is exactly zero, shape `[rows, 1]`, if that is a rule."""


class AnalogMVM:
    """Analog product with the non-idealities that `check_support` admits."""

    _known_mv_types: ClassVar[tuple[AnalogMVType, ...]] = (AnalogMVType.ONE_PASS,)
    _own_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that a derived class simulates, of those that are else left to the core."""

    @classmethod
    def check_support(cls, io_pars: IOParameters, path: str = "forward") -> None:
        """Check that torch tiles can simulate the parameters.

        Args:
            io_pars: Parameters of one direction.
            path: Name of the parameters in messages.

        Raises:
            TorchTileConfigError: A parameter asks for what only tiles of the core simulate, or two
                parameters contradict each other; the message names the field.
            ConfigError: A value has the wrong type.
        """
        if not torch.compiler.is_compiling():  # types cannot be looked up in a captured graph
            io_pars.check(path)
        for name, problem in cls._problems(io_pars):
            raise TorchTileConfigError(f"{join(path, name)}: {problem}")

    @classmethod
    def matmul(
        cls,
        weight: Tensor,
        input_: Tensor,
        io_pars: IOParameters,
        trans: bool = False,
        is_test: bool = False,
        out_noise_values: Tensor | None = None,
        **array: Any,
    ) -> Tensor:
        """Return the analog product of inputs and weights.

        Args:
            weight: Shape `[out, in]`, or `[batch, out, in]` for weights per entry of the first axis
                of the input.
            input_: Shape `[..., in]`, or `[..., out]` for the transposed product; dtype of the
                weight.
            io_pars: Parameters that passed `check_support`.
            trans: Multiply with the transposed weights. As in the backward pass of the core, bound
                management is then off and a row without signal gives zero in spite of input noise.
            is_test: Evaluation mode; noise acts in training and evaluation alike.
            out_noise_values: Standard deviation of the output noise of each line, shape `[out]`;
                needed if `out_noise_std` is positive.
            array: What the array of a derived class needs to know; nothing here.

        Returns:
            Shape `[..., out]`, or `[..., in]` for the transposed product; dtype of the weight.

        Raises:
            ConfigError: `out_noise_std` is positive but there are no `out_noise_values`.
        """
        rows = input_.reshape(-1, input_.shape[-1])
        phases = cls._array(weight, io_pars, trans, is_test, **array)
        y = cls._product(weight, phases, rows, io_pars, trans, out_noise_values, False).y
        return y.reshape(*input_.shape[:-1], y.shape[-1])

    @classmethod
    def matmul_with_clipped(
        cls,
        weight: Tensor,
        input_: Tensor,
        io_pars: IOParameters,
        trans: bool = False,
        is_test: bool = False,
        out_noise_values: Tensor | None = None,
        **array: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the analog product, and which outputs sit at the bound of the output converter.

        Args:
            weight: As for `matmul`.
            input_: As for `matmul`.
            io_pars: As for `matmul`.
            trans: As for `matmul`.
            is_test: As for `matmul`.
            out_noise_values: As for `matmul`.
            array: As for `matmul`.

        Returns:
            The product, and a mask of its shape, None if the outputs have no bound.

        Raises:
            ConfigError: As `matmul`.
        """
        rows = input_.reshape(-1, input_.shape[-1])
        phases = cls._array(weight, io_pars, trans, is_test, **array)
        y, _, clipped = cls._product(weight, phases, rows, io_pars, trans, out_noise_values, True)
        y = y.reshape(*input_.shape[:-1], y.shape[-1])
        return y, None if clipped is None else clipped.reshape(y.shape)

    @classmethod
    def _product(
        cls,
        weight: Tensor,
        array: Array,
        rows: Tensor,
        io: IOParameters,
        trans: bool,
        out_noise_values: Tensor | None,
        want_clipped: bool,
    ) -> Product:
        if io.is_perfect:
            exact = cls._multiply(weight, rows, trans).to(weight.dtype)
            return Product(exact if io.out_scale == 1.0 else exact * io.out_scale, None, None)
        noise_std = _noise_std(io, out_noise_values)
        run = _Run(array, io, trans, noise_std, want_clipped, weight.dim() == 3)
        y, ok, clipped = run(rows.float() if rows.dtype in _LOW_PRECISION else rows)
        return Product(y.to(weight.dtype), ok, clipped)

    @classmethod
    def _array(cls, weight: Tensor, io: IOParameters, trans: bool, is_test: bool) -> Array:
        """Return the array between the converters: an exact product."""
        return lambda v: ((1.0, cls._multiply(weight, v.to(weight.dtype), trans)),)

    @classmethod
    def _problems(cls, io: IOParameters) -> list[tuple[str, str]]:
        """Return names of unsupported fields with what to do about them."""
        bound, noise = io.bound_management, io.noise_management
        found = []
        if io.mv_type is AnalogMVType.IDEAL:
            found.append(("mv_type", "IDEAL is not supported by torch tiles; set is_perfect=True"))
        elif io.mv_type not in cls._known_mv_types:
            names = " or ".join(mv_type.name for mv_type in cls._known_mv_types)
            found.append(("mv_type", _refusal(io.mv_type.name, names)))
        if bound not in (BoundManagementType.NONE, BoundManagementType.ITERATIVE):
            found.append(("bound_management", _refusal(bound.name, "ITERATIVE or NONE")))
        if noise in (NoiseManagementType.AVERAGE_ABS_MAX, NoiseManagementType.ABS_MAX_NP_SUM):
            found.append(("noise_management", _refusal(noise.name, "ABS_MAX")))
        if io.w_noise_type is not WeightNoiseType.NONE:
            found.append(("w_noise_type", _refusal(io.w_noise_type.name, "NONE")))
        refused = (name for name in _CORE_ONLY if name not in cls._own_fields)
        found += [(n, _refusal("a positive value", "0")) for n in refused if getattr(io, n) > 0]
        managed = noise is not NoiseManagementType.NONE and not io.is_perfect
        if managed and io.inp_bound != 1.0:
            found.append(
                ("inp_bound", "must be 1 with noise management; scale the weights instead")
            )
        return found

    @classmethod
    def _multiply(cls, weight: Tensor, rows: Tensor, trans: bool) -> Tensor:
        """Return the exact product of rows, shape `[rows, out]`."""
        if weight.dim() == 2:
            return rows @ weight if trans else torch.nn.functional.linear(rows, weight)
        grouped = rows.reshape(weight.shape[0], -1, rows.shape[-1])
        product = grouped @ (weight if trans else weight.mT)
        return product.reshape(rows.shape[0], product.shape[-1])


class _Run:
    """The product of one call: parameters resolved once, then one or several passes."""

    def __init__(
        self,
        array: Array,
        io: IOParameters,
        trans: bool,
        noise_std: Tensor | float | None,
        want_clipped: bool,
        is_batched: bool,
    ) -> None:
        self.array, self.io, self.trans, self.noise_std = array, io, trans, noise_std
        self.is_batched = is_batched  # the weights differ between entries of the first axis
        self.dac = converter(io.inp_res, io.inp_bound)
        self.adc = converter(io.out_res, io.out_bound)
        self.want_clipped = want_clipped and self.adc.is_bounded()
        iterative = io.bound_management is BoundManagementType.ITERATIVE
        self.manages_bound = iterative and self.adc.is_bounded() and not trans

    def __call__(self, rows: Tensor) -> Product:
        """Return the product of all rows, shape `[rows, in]`, with bound management."""
        scale = _input_scale(rows, self.io, self.trans)
        first = self._pass(rows, scale)
        if first.ok is None:
            return first
        # Rows that passed are never redone. Selecting the others needs their number, which a
        # captured graph cannot depend on, and would copy weights per batch entry for each row.
        if _is_static(first.ok) or self.is_batched:
            return self._redo_all(rows, scale, first, first.ok)
        return self._redo_failed(rows, scale, first, first.ok)

    def _redo_failed(self, rows: Tensor, scale: InputScale, first: Product, ok: Tensor) -> Product:
        y, _, clipped = first
        failed = (~ok).squeeze(1).nonzero().squeeze(1)
        for rho in self._reductions():
            if failed.numel() == 0:
                break
            again = self._pass(rows[failed], _reduce(scale, rho, failed))
            y = y.index_copy(0, failed, again.y)
            if clipped is not None and again.clipped is not None:
                clipped = clipped.index_copy(0, failed, again.clipped)
            assert again.ok is not None
            failed = failed[~again.ok.squeeze(1)]
        return Product(y, None, clipped)

    def _redo_all(self, rows: Tensor, scale: InputScale, first: Product, ok: Tensor) -> Product:
        y, _, clipped = first
        for rho in self._reductions():
            if not _is_static(ok) and bool(ok.all()):
                break
            again = self._pass(rows, _reduce(scale, rho, None))
            y = torch.where(ok, y, again.y)
            if clipped is not None and again.clipped is not None:
                clipped = torch.where(ok, clipped, again.clipped)
            assert again.ok is not None
            ok = ok | again.ok
        return Product(y, None, clipped)

    def _reductions(self) -> list[float]:
        """Return the factors by which repeated passes reduce the input."""
        io, step, rho = self.io, self.dac.step, 1.0
        reductions: list[float] = []
        while len(reductions) < _MAX_PASSES - 1:
            if math.floor(rho) > io.max_bm_factor or (step > 0.0 and rho > io.max_bm_res / step):
                break
            rho *= 2.0
            reductions.append(rho)
        return reductions

    def _pass(self, rows: Tensor, scale: InputScale) -> Product:
        """Return the product of all rows without bound management."""
        unscaled = not isinstance(scale.s, Tensor) and scale.s == 1.0
        v = self._convert_input(rows if unscaled else rows * scale.s)
        phases = [
            (factor, self._convert_output(z.to(v.dtype), scale)) for factor, z in self.array(v)
        ]
        y, ok, clipped = _sum_of_phases(phases)
        return Product(_rescale(y, self.io.out_scale, scale), ok, clipped)

    def _convert_output(self, z: Tensor, scale: InputScale) -> Product:
        """Return what the output converter makes of one phase."""
        analog = add_noise(attenuate_negative(z, self.io.out_asymmetry), self.noise_std)
        quantized = self.adc.quantize(analog, self.io.out_sto_round)
        values = quantized.detach()
        ok = self._within_bound(values, scale.silent) if self.manages_bound else None
        clipped = self._at_bound(values, scale.silent) if self.want_clipped else None
        return Product(self.adc.clip(quantized), ok, clipped)

    def _convert_input(self, scaled: Tensor) -> Tensor:
        io = self.io
        v = self.dac.clip(self.dac.quantize(scaled, io.inp_sto_round))
        v = add_noise(v, io.inp_noise if io.inp_noise > 0.0 else None)
        return attenuate_negative(v, io.inp_asymmetry)

    def _within_bound(self, quantized: Tensor, silent: Tensor | None) -> Tensor:
        lowest, largest = quantized.aminmax(dim=-1, keepdim=True)
        if self.io.bm_test_negative_bound:
            largest = largest.maximum(-lowest)
        ok = ~self.adc.exceeds(largest)
        return ok if silent is None else ok | silent

    def _at_bound(self, quantized: Tensor, silent: Tensor | None) -> Tensor:
        clipped = self.adc.reaches(quantized.abs())
        return clipped if silent is None else clipped & ~silent


def _sum_of_phases(phases: list[tuple[float, Product]]) -> Product:
    """Return the digital sum; it is within the bound, or at it, if all phases are."""
    if len(phases) == 1 and phases[0][0] == 1.0:
        return phases[0][1]
    y = functools.reduce(torch.add, [product.y * factor for factor, product in phases])
    return Product(
        y,
        _all_of([product.ok for _, product in phases]),
        _all_of([product.clipped for _, product in phases]),
    )


def _all_of(masks: list[Tensor | None]) -> Tensor | None:
    present = [mask for mask in masks if mask is not None]
    return functools.reduce(torch.logical_and, present) if present else None


def _is_static(values: Tensor) -> bool:
    """Return whether nothing that Python does may depend on values."""
    return torch.compiler.is_compiling() or depends_on_sample(values)


def _refusal(value: str, alternative: str) -> str:
    return f"{value} is not supported by torch tiles; use {alternative}, or a tile of the core"


def _noise_std(io: IOParameters, values: Tensor | None) -> Tensor | float | None:
    """Return the standard deviation of the output noise, per line if it varies."""
    if io.out_noise_std > 0.0:
        if values is None:
            raise ConfigError(
                "out_noise_std: the values per line are drawn when a tile is built; build it with"
                " out_noise_std > 0, or pass out_noise_values"
            )
        return values
    return io.out_noise if io.out_noise > 0.0 else None


def _input_scale(rows: Tensor, io: IOParameters, trans: bool) -> InputScale:
    """Return the scale of noise management for every row, as a constant for autograd."""
    management, limit = io.noise_management, io.nm_thres
    if management is NoiseManagementType.NONE:
        return InputScale(1.0, None)
    # The reciprocal of a subnormal number is infinite.
    tiny = torch.finfo(rows.dtype).tiny
    if management is NoiseManagementType.CONSTANT:
        return InputScale(1.0 / max(limit, tiny) if limit > 0.0 else 1.0, None)
    rows = rows.detach()
    lowest, alpha = rows.aminmax(dim=-1, keepdim=True)
    if management is NoiseManagementType.ABS_MAX:
        alpha = alpha.maximum(-lowest)
    if limit > 0.0:
        alpha = alpha.clamp(max=limit)
    silent = alpha <= 0.0
    alpha = alpha.clamp(min=tiny).masked_fill(silent, 1.0)
    return InputScale(alpha.reciprocal(), silent if trans or io.inp_noise <= 0.0 else None)


def _reduce(scale: InputScale, rho: float, rows: Tensor | None) -> InputScale:
    """Return the scale of some rows, or of all, reduced by a factor."""
    s, silent = scale
    if not isinstance(s, Tensor):
        return InputScale(s / rho, None)
    if rows is None:
        return InputScale(s / rho, silent)
    return InputScale(s[rows] / rho, None)


def _rescale(y: Tensor, out_scale: float, scale: InputScale) -> Tensor:
    """Return outputs in the units of the input; rows without signal become zero.

    A row without signal still passes gradients to its input: a layer behind zero-initialised
    weights could never learn otherwise.
    """
    if not isinstance(scale.s, Tensor):
        factor = out_scale / scale.s
        return y if factor == 1.0 else y * factor
    largest = torch.finfo(y.dtype).max
    factors = (out_scale / scale.s).clamp(-largest, largest)
    if scale.silent is None:
        return y * factors
    audible = factors.masked_fill(scale.silent, 0.0)
    if not tracks(y):
        return y * audible
    scaled: Tensor = ScaleRows.apply(y, audible, factors)
    return scaled
