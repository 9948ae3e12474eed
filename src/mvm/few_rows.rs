//! The product of a few rows of line voltages with the weights, which stay as they are stored.

use pulp::{Arch, Simd, WithSimd};

use super::product::Matrix;

/// Rows that share one load of the weights.
const TOGETHER: usize = 4;

/// `y = v W^T` for any number of rows, made for few: nothing is packed.
pub(super) fn few_rows(v: &[f32], weights: Matrix<'_>, y: &mut [f32]) {
    Arch::new().dispatch(FewRows { v, weights, y });
}

struct FewRows<'a> {
    v: &'a [f32],
    weights: Matrix<'a>,
    y: &'a mut [f32],
}

impl WithSimd for FewRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Matrix { outputs, inputs, input_stride, .. } = self.weights;
        let vs = self.v.chunks(TOGETHER * inputs);
        for (v, y) in vs.zip(self.y.chunks_mut(TOGETHER * outputs)) {
            match (y.len() / outputs, input_stride == 1) {
                (1, true) => dots::<S, 1, 8>(simd, v, self.weights, y),
                (2, true) => dots::<S, 2, 4>(simd, v, self.weights, y),
                (3, true) => dots::<S, 3, 4>(simd, v, self.weights, y),
                (_, true) => dots::<S, 4, 4>(simd, v, self.weights, y),
                (1, false) => sums::<S, 1, 8>(simd, v, self.weights, y),
                (2, false) => sums::<S, 2, 4>(simd, v, self.weights, y),
                (3, false) => sums::<S, 3, 4>(simd, v, self.weights, y),
                (_, false) => sums::<S, 4, 4>(simd, v, self.weights, y),
            }
        }
    }
}

/// Inputs contiguous: `R` rows against all outputs, `C` dot products per row at a time.
#[inline(always)]
fn dots<S: Simd, const R: usize, const C: usize>(
    simd: S,
    v: &[f32],
    weights: Matrix<'_>,
    y: &mut [f32],
) {
    let Matrix { data, outputs, inputs, output_stride, .. } = weights;
    let mut vs = [v; R];
    for (r, row) in vs.iter_mut().enumerate() {
        *row = &v[r * inputs..][..inputs];
    }
    let mut first = 0;
    while first + C <= outputs {
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
    for output in first..outputs {
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
#[inline(always)]
fn sums<S: Simd, const R: usize, const C: usize>(
    simd: S,
    v: &[f32],
    weights: Matrix<'_>,
    y: &mut [f32],
) {
    let Matrix { outputs, inputs, .. } = weights;
    let width = C * S::F32_LANES;
    let mut first = 0;
    while first + width <= outputs {
        let tile = sum_tile::<S, R, C>(simd, v, weights, first, width);
        for (r, values) in tile.iter().enumerate() {
            let (head, _) = S::as_mut_simd_f32s(&mut y[r * outputs + first..][..width]);
            head.copy_from_slice(values);
        }
        first += width;
    }
    while first < outputs {
        let len = S::F32_LANES.min(outputs - first);
        let tile = sum_tile::<S, R, 1>(simd, v, weights, first, len);
        for (r, [value]) in tile.iter().enumerate() {
            simd.partial_store_f32s(&mut y[r * outputs + first..][..len], *value);
        }
        first += len;
    }
    debug_assert_eq!(v.len(), R * inputs);
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
