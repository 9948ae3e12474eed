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
/// Most columns of a panel of weights in a backward product: the widest tile there is. Rows of weights
/// are copied that far at once, since shorter pieces of them leave most of a line of the cache.
const PANEL: usize = 64;
/// Weights of a panel that stay in the first-level cache while all rows pass by.
const TILE_WEIGHTS: usize = 6 << 10;
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
    // What stays in the first-level cache beside a chunk of rows, where that is two tiles or more.
    let near = TILE_WEIGHTS.saturating_sub(ROWS * inputs) / inputs / C * C;
    let far = (BLOCK_WEIGHTS / inputs).next_multiple_of(2 * C).max(2 * C);
    let is_near = near >= 2 * C && y.len() > ROWS * outputs;
    let block = if is_near { near } else { far };
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

/// Columns of outputs, and for each of them chunks of up to [`ROWS`] rows. With room for a panel its
/// columns are as wide as a tile and so deep that they stay in the first-level cache while all rows
/// pass by; what is summed so far waits in `y`.
#[inline(always)]
fn backward<S: Simd, const C: usize>(
    simd: S,
    v: &[f32],
    weights: Matrix<'_>,
    y: &mut [f32],
    panel: &mut [f32],
) {
    let Matrix { outputs, inputs, .. } = weights;
    if panel.is_empty() {
        return columns::<S, C>(simd, v, 0, inputs, weights, y, 0, outputs);
    }
    let tile = C * S::F32_LANES;
    let depth = (TILE_WEIGHTS / tile).min(inputs);
    for first in (0..outputs).step_by(PANEL / tile * tile) {
        let width = (PANEL / tile * tile).min(outputs - first);
        for from in (0..inputs).step_by(depth) {
            let depth = depth.min(inputs - from);
            let part = &mut panel[..width * depth];
            pack::<S, C>(weights, first, from, part);
            for (number, data) in part.chunks(tile * depth).enumerate() {
                let outputs = data.len() / depth;
                let column = Matrix {
                    data,
                    outputs,
                    inputs: depth,
                    output_stride: 1,
                    input_stride: outputs,
                };
                let at = first + number * tile;
                columns::<S, C>(simd, v, from, inputs, column, y, at, weights.outputs);
            }
        }
    }
}

/// Copies weights of the outputs from `first` and the inputs from `from` on to a panel: tile after
/// tile, the last of which may be narrower, and in each the inputs one after another.
#[inline(always)]
fn pack<S: Simd, const C: usize>(
    weights: Matrix<'_>,
    first: usize,
    from: usize,
    panel: &mut [f32],
) {
    let tile = C * S::F32_LANES;
    let width = (PANEL / tile * tile).min(weights.outputs - first);
    let depth = panel.len() / width;
    for (number, part) in panel.chunks_mut(tile * depth).enumerate() {
        let (first, width) = (first + number * tile, part.len() / depth);
        let rows = weights.data[from * weights.input_stride + first..].chunks(weights.input_stride);
        for (to, row) in part.chunks_exact_mut(width).zip(rows) {
            match (S::as_mut_simd_f32s(to), S::as_simd_f32s(&row[..width])) {
                ((to, []), (row, [])) if row.len() == C => to[..C].copy_from_slice(&row[..C]),
                _ => to.copy_from_slice(&row[..width]),
            }
        }
    }
}

/// Chunks of rows against the weights of some outputs and of the inputs from `from` on, of `inputs`;
/// writes the outputs from `at` on of rows of `stride` elements.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn columns<S: Simd, const C: usize>(
    simd: S,
    v: &[f32],
    from: usize,
    inputs: usize,
    weights: Matrix<'_>,
    y: &mut [f32],
    at: usize,
    stride: usize,
) {
    for (v, y) in v.chunks(ROWS * inputs).zip(y.chunks_mut(ROWS * stride)) {
        let v = Part { v, stride: inputs, first: from };
        match y.len() / stride {
            1 => sums::<S, 1, 8>(simd, v, weights, y, at, stride),
            2 => sums::<S, 2, C>(simd, v, weights, y, at, stride),
            3 => sums::<S, 3, C>(simd, v, weights, y, at, stride),
            _ => sums::<S, ROWS, C>(simd, v, weights, y, at, stride),
        }
    }
}

/// Inputs from `first` on of rows of `stride` elements.
#[derive(Clone, Copy)]
struct Part<'a> {
    v: &'a [f32],
    stride: usize,
    first: usize,
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
    // Twice two instead of three and one, whose sums would wait for their predecessors.
    while first + C <= range.end && (C != 3 || first + C + 1 != range.end) {
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
        let pairs = (range.end - first) / 2 * 2;
        dots::<S, R, 2>(simd, v, weights, first..first + pairs, y);
        first += pairs;
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
    // Partial loads are calls, around which all sums would go to memory.
    if v_tails[0].is_empty() {
        for r in 0..R {
            for c in 0..C {
                // As an empty rest would: a sum of -0 becomes 0.
                sums[r][c] = simd.add_f32s(sums[r][c], simd.splat_f32s(0.0));
            }
        }
    } else {
        for r in 0..R {
            let v_tail = simd.partial_load_f32s(v_tails[r]);
            for c in 0..C {
                let w_tail = simd.partial_load_f32s(w_tails[c]);
                sums[r][c] = simd.mul_add_f32s(v_tail, w_tail, sums[r][c]);
            }
        }
    }
    let mut out = [[0.0; C]; R];
    for r in 0..R {
        for c in 0..C {
            out[r][c] = simd.reduce_sum_f32s(sums[r][c]);
        }
    }
    out
}

/// Outputs contiguous: `R` rows, `C` registers of outputs at a time, the inputs one after another.
/// Writes the outputs from `at` on of rows of `stride` elements.
#[inline(always)]
fn sums<S: Simd, const R: usize, const C: usize>(
    simd: S,
    v: Part<'_>,
    weights: Matrix<'_>,
    y: &mut [f32],
    at: usize,
    stride: usize,
) {
    let outputs = weights.outputs;
    let width = C * S::F32_LANES;
    let mut first = 0;
    while first + width <= outputs {
        let mut tile = [[simd.splat_f32s(0.0); C]; R];
        if v.first > 0 {
            for r in 0..R {
                let (head, _) = S::as_simd_f32s(&y[r * stride + at + first..][..width]);
                tile[r].copy_from_slice(head);
            }
        }
        let tile = sum_tile::<S, R, C>(simd, v, weights, first, width, tile);
        for (r, values) in tile.iter().enumerate() {
            let (head, _) = S::as_mut_simd_f32s(&mut y[r * stride + at + first..][..width]);
            head.copy_from_slice(values);
        }
        first += width;
    }
    while first < outputs {
        let len = S::F32_LANES.min(outputs - first);
        let mut tile = [[simd.splat_f32s(0.0); 1]; R];
        if v.first > 0 {
            for r in 0..R {
                tile[r][0] = simd.partial_load_f32s(&y[r * stride + at + first..][..len]);
            }
        }
        let tile = sum_tile::<S, R, 1>(simd, v, weights, first, len, tile);
        for (r, [value]) in tile.iter().enumerate() {
            simd.partial_store_f32s(&mut y[r * stride + at + first..][..len], *value);
        }
        first += len;
    }
}

/// Adds to the outputs `first ..` of some rows: `C` registers, or `len` outputs of one register.
#[inline(always)]
fn sum_tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    v: Part<'_>,
    weights: Matrix<'_>,
    first: usize,
    len: usize,
    mut sums: [[S::f32s; C]; R],
) -> [[S::f32s; C]; R] {
    let Matrix { data, inputs, input_stride, .. } = weights;
    let mut vs = [v.v; R];
    for (r, row) in vs.iter_mut().enumerate() {
        *row = &v.v[r * v.stride + v.first..][..inputs];
    }
    for (j, row) in data.chunks(input_stride).take(inputs).enumerate() {
        let mut w = [simd.splat_f32s(0.0); C];
        match S::as_simd_f32s(&row[first..][..len]) {
            (head, []) => w.copy_from_slice(head),
            (_, tail) => w[0] = simd.partial_load_f32s(tail),
        }
        for r in 0..R {
            let x = simd.splat_f32s(vs[r][j]);
            for c in 0..C {
                sums[r][c] = simd.mul_add_f32s(x, w[c], sums[r][c]);
            }
        }
    }
    sums
}
