//! Kernels of the product, on the vector registers of this machine.
//!
//! A tile of `R` rows and `C` outputs (or registers of outputs) is summed in registers over all
//! inputs. Forward the weights are contiguous along the inputs: dot products, whose partial sums are
//! added up at the end. Backward they are contiguous along the outputs: the inputs are broadcast.
//! The order of additions within an element does not depend on `R` and `C`.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::matrix::Matrix;
use crate::simd;

/// Rows of one tile.
const ROWS: usize = 4;
/// Weights that stay in the second-level cache while all rows pass by.
const BLOCK_WEIGHTS: usize = 1 << 16;
/// Most columns of a panel of weights in a backward product: the widest tile there is.
const PANEL: usize = 64;
/// From this number of rows on a panel is copied together before use, because rows of weights that
/// are a power of two apart compete for the same places of the caches.
const PACKED_ROWS: usize = 32;

/// Working memory that [`multiply`] needs for `rows` rows.
pub(super) fn panel_len(weights: Matrix<'_>, rows: usize) -> usize {
    let packs = weights.input_stride != 1 && rows >= PACKED_ROWS;
    if packs { PANEL * weights.inputs } else { 0 }
}

/// `y = v W^T`; `panel` is working memory of [`panel_len`] elements.
pub(super) fn multiply(v: &[f32], weights: Matrix<'_>, y: &mut [f32], panel: &mut [f32]) {
    simd::vectors(Multiply { v, weights, y, panel });
}

struct Multiply<'a> {
    v: &'a [f32],
    weights: Matrix<'a>,
    y: &'a mut [f32],
    panel: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { v, weights, y, panel } = self;
        // Of 16 registers 12 sum, and each weight that is read serves 4 of them: with 8 sums the reads
        // take as long as the sums, and the sums wait for their predecessors.
        match (weights.input_stride == 1, S::REGISTER_COUNT >= 32) {
            (true, true) => forward::<S, 4>(simd, v, weights, y),
            (true, false) => forward::<S, 3>(simd, v, weights, y),
            (false, true) => backward::<S, 4>(simd, v, weights, y, panel),
            (false, false) => backward::<S, 3>(simd, v, weights, y, panel),
        }
    }
}

/// Blocks of outputs, in each of them chunks of up to [`ROWS`] rows.
#[inline(always)]
fn forward<S: Simd, const C: usize>(simd: S, v: &[f32], weights: Matrix<'_>, y: &mut [f32]) {
    let Matrix { outputs, inputs, .. } = weights;
    let block = (BLOCK_WEIGHTS / inputs).next_multiple_of(2 * C).max(2 * C);
    for first in (0..outputs).step_by(block) {
        let last = outputs.min(first + block);
        for (v, y) in v.chunks(ROWS * inputs).zip(y.chunks_mut(ROWS * outputs)) {
            match y.len() / outputs {
                1 => dots::<S, 1, 8>(simd, v, weights, first..last, y),
                2 => dots::<S, 2, C>(simd, v, weights, first..last, y),
                3 => dots::<S, 3, C>(simd, v, weights, first..last, y),
                _ => dots::<S, ROWS, C>(simd, v, weights, first..last, y),
            }
        }
    }
}

/// Panels of outputs, in each of them chunks of up to [`ROWS`] rows.
#[inline(always)]
fn backward<S: Simd, const C: usize>(
    simd: S,
    v: &[f32],
    weights: Matrix<'_>,
    y: &mut [f32],
    panel: &mut [f32],
) {
    let Matrix { outputs, inputs, .. } = weights;
    let tile = C * S::F32_LANES;
    let step = if panel.is_empty() { outputs } else { PANEL / tile * tile };
    for first in (0..outputs).step_by(step) {
        let width = step.min(outputs - first);
        let part = columns(weights, first, width, panel);
        for (v, y) in v.chunks(ROWS * inputs).zip(y.chunks_mut(ROWS * outputs)) {
            match y.len() / outputs {
                1 => sums::<S, 1, 8>(simd, v, part, y, first, outputs),
                2 => sums::<S, 2, C>(simd, v, part, y, first, outputs),
                3 => sums::<S, 3, C>(simd, v, part, y, first, outputs),
                _ => sums::<S, ROWS, C>(simd, v, part, y, first, outputs),
            }
        }
    }
}

/// The weights of outputs `first ..`, `width` of them, copied to `panel` where that has room.
#[inline(always)]
fn columns<'a>(
    weights: Matrix<'a>,
    first: usize,
    width: usize,
    panel: &'a mut [f32],
) -> Matrix<'a> {
    let data = &weights.data[first..];
    if panel.is_empty() {
        return Matrix { data, outputs: width, ..weights };
    }
    let rows = data.chunks(weights.input_stride);
    for (to, from) in panel.chunks_exact_mut(width).zip(rows) {
        to.copy_from_slice(&from[..width]);
    }
    Matrix { data: panel, outputs: width, input_stride: width, ..weights }
}

/// Inputs contiguous: `R` rows against a range of outputs, `C` dot products per row at a time.
#[inline(always)]
fn dots<S: Simd, const R: usize, const C: usize>(
    simd: S,
    v: &[f32],
    weights: Matrix<'_>,
    range: Range<usize>,
    y: &mut [f32],
) {
    let Matrix { data, outputs, inputs, output_stride, .. } = weights;
    let mut vs = [v; R];
    for (r, row) in vs.iter_mut().enumerate() {
        *row = &v[r * inputs..][..inputs];
    }
    let mut first = range.start;
    while first + C <= range.end {
        let mut ws = [data; C];
        for (c, row) in ws.iter_mut().enumerate() {
            *row = &data[(first + c) * output_stride..][..inputs];
        }
        let tile = dot_tile::<S, R, C>(simd, vs, ws);
        for (r, values) in tile.iter().enumerate() {
            y[r * outputs + first..][..C].copy_from_slice(values);
        }
        first += C;
    }
    if C > 2 && first + 2 <= range.end {
        dots::<S, R, 2>(simd, v, weights, first..first + 2, y);
        first += 2;
    }
    for output in first..range.end {
        let tile = dot_tile::<S, R, 1>(simd, vs, [&data[output * output_stride..][..inputs]]);
        for (r, [value]) in tile.iter().enumerate() {
            y[r * outputs + output] = *value;
        }
    }
}

/// All dot products of the rows `v` with the rows `w`. The order of additions is that of one dot
/// product, whatever `R` and `C`.
#[inline(always)]
fn dot_tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    v: [&[f32]; R],
    w: [&[f32]; C],
) -> [[f32; C]; R] {
    let mut sums = [[simd.splat_f32s(0.0); C]; R];
    let (mut v_heads, mut v_tails) = ([[].as_slice(); R], v);
    for r in 0..R {
        (v_heads[r], v_tails[r]) = S::as_simd_f32s(v[r]);
    }
    let (mut w_heads, mut w_tails) = ([[].as_slice(); C], w);
    for c in 0..C {
        (w_heads[c], w_tails[c]) = S::as_simd_f32s(w[c]);
    }
    let len = v_heads[0].len();
    v_heads.iter_mut().for_each(|head| *head = &head[..len]);
    w_heads.iter_mut().for_each(|head| *head = &head[..len]);
    for k in 0..len {
        for r in 0..R {
            for c in 0..C {
                sums[r][c] = simd.mul_add_f32s(v_heads[r][k], w_heads[c][k], sums[r][c]);
            }
        }
    }
    let mut out = [[0.0; C]; R];
    for r in 0..R {
        let v_tail = simd.partial_load_f32s(v_tails[r]);
        for c in 0..C {
            let w_tail = simd.partial_load_f32s(w_tails[c]);
            out[r][c] = simd.reduce_sum_f32s(simd.mul_add_f32s(v_tail, w_tail, sums[r][c]));
        }
    }
    out
}

/// Outputs contiguous: `R` rows, `C` registers of outputs at a time, the inputs one after another.
/// Writes the outputs from `at` on of rows of `stride` elements.
#[inline(always)]
fn sums<S: Simd, const R: usize, const C: usize>(
    simd: S,
    v: &[f32],
    weights: Matrix<'_>,
    y: &mut [f32],
    at: usize,
    stride: usize,
) {
    let outputs = weights.outputs;
    let width = C * S::F32_LANES;
    let mut first = 0;
    while first + width <= outputs {
        let tile = sum_tile::<S, R, C>(simd, v, weights, first, width);
        for (r, values) in tile.iter().enumerate() {
            let (head, _) = S::as_mut_simd_f32s(&mut y[r * stride + at + first..][..width]);
            head.copy_from_slice(values);
        }
        first += width;
    }
    while first < outputs {
        let len = S::F32_LANES.min(outputs - first);
        let tile = sum_tile::<S, R, 1>(simd, v, weights, first, len);
        for (r, [value]) in tile.iter().enumerate() {
            simd.partial_store_f32s(&mut y[r * stride + at + first..][..len], *value);
        }
        first += len;
    }
}

/// Outputs `first ..` of the rows `v`: `C` registers, or `len` outputs of one register.
#[inline(always)]
fn sum_tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    v: &[f32],
    weights: Matrix<'_>,
    first: usize,
    len: usize,
) -> [[S::f32s; C]; R] {
    let Matrix { data, inputs, input_stride, .. } = weights;
    let mut sums = [[simd.splat_f32s(0.0); C]; R];
    for j in 0..inputs {
        let row = &data[j * input_stride + first..][..len];
        let mut w = [simd.splat_f32s(0.0); C];
        match S::as_simd_f32s(row) {
            (head, []) => w.copy_from_slice(head),
            (_, tail) => w[0] = simd.partial_load_f32s(tail),
        }
        for r in 0..R {
            let x = simd.splat_f32s(v[r * inputs + j]);
            for c in 0..C {
                sums[r][c] = simd.mul_add_f32s(x, w[c], sums[r][c]);
            }
        }
    }
    sums
}
